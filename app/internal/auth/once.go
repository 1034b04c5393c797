package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// onceTTL is how long the answer to an idempotency key is kept.
const onceTTL = 24 * time.Hour

var errOtherForm = fault.New(fault.IdempotencyConflict, "This Idempotency-Key came with another request before; use a new key for a new request.")

// Once makes a request that comes again with the same idempotency key the same
// act with the same answer. Of the key only a hash is kept, and of the form
// too, so a form must not hold a password. The zero value lets every request be a new one.
type Once struct {
	key, form store.TokenHash
	asked     bool
}

// NewOnce returns the Once of a key, "" for none, that is scope's alone: what
// is done, and by whom. form is all that the act depends on.
func NewOnce(key string, form any, scope ...string) (Once, error) {
	if key == "" {
		return Once{}, nil
	}
	parts := [][]byte{[]byte(key)}
	for _, s := range scope {
		parts = append(parts, []byte(s))
	}
	text, err := json.Marshal(form)
	if err != nil {
		return Once{}, fmt.Errorf("naming a form: %w", err)
	}
	return Once{key: store.HashOf(parts...), form: sha256.Sum256(text), asked: true}, nil
}

// Recall reads the answer of an earlier time into answer, and reports whether
// there was one. The same key with another form is fault.IdempotencyConflict.
func (o Once) Recall(r *store.Reader, answer any) (bool, error) {
	_, found, err := o.recallOf(r, answer)
	return found, err
}

// recallOf is Recall that tells the user with whom the answer goes, too.
func (o Once) recallOf(r *store.Reader, answer any) (uuid.UUID, bool, error) {
	if !o.asked {
		return uuid.Nil, false, nil
	}
	kept, err := r.KeptAnswer(o.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return uuid.Nil, false, nil
	case err != nil:
		return uuid.Nil, false, fmt.Errorf("reading a kept answer: %w", err)
	case kept.Form != o.form:
		return uuid.Nil, false, errOtherForm
	}
	if err := json.Unmarshal(kept.Answer, answer); err != nil {
		return uuid.Nil, false, fmt.Errorf("decoding a kept answer: %w", err)
	}
	return kept.UserID, true, nil
}

// Keep keeps the answer in the transaction of the act itself. It goes with the
// user whose it is.
func (o Once) Keep(tx *store.Tx, userID uuid.UUID, answer any) error {
	if !o.asked {
		return nil
	}
	var text bytes.Buffer
	body := json.NewEncoder(&text)
	body.SetEscapeHTML(false) // it would make six bytes of one, and another answer of a client's own JSON
	if err := body.Encode(answer); err != nil {
		return fmt.Errorf("encoding an answer to keep: %w", err)
	}
	tx.PutKeptAnswer(store.KeptAnswer{Hash: o.key, UserID: userID, Form: o.form, Answer: text.Bytes(), ExpiresAt: tx.Now().Add(onceTTL)})
	return nil
}
