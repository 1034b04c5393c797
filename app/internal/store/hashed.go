package store

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Purpose is what a one-time token is good for.
type Purpose string

// The purposes.
const (
	PurposeVerify Purpose = "verify_email"
	PurposeReset  Purpose = "reset_password"
)

// OneTimeToken is a token that was mailed to a user.
type OneTimeToken struct {
	Hash      TokenHash `json:"-"`
	UserID    uuid.UUID `json:"user_id"`
	Purpose   Purpose   `json:"purpose"`
	Epoch     int64     `json:"epoch,omitempty"` // the user's LoginEpoch when it was made
	ExpiresAt time.Time `json:"expires_at"`
	Extra
}

// KeptAnswer is the answer of a request that had an idempotency key, for who asks again.
type KeptAnswer struct {
	Hash      TokenHash       `json:"-"` // of the key and of whose it is
	UserID    uuid.UUID       `json:"user_id"`
	Form      TokenHash       `json:"form"` // of what was asked
	Answer    json.RawMessage `json:"answer"`
	ExpiresAt time.Time       `json:"expires_at"`
	Extra
}

// Throttle counts the failures of an account or an address.
type Throttle struct {
	Hash      TokenHash `json:"-"` // see HashOf
	Failures  int       `json:"failures"`
	Until     time.Time `json:"until"` // no further try before
	Last      uuid.UUID `json:"last"`  // the try that was counted last
	ExpiresAt time.Time `json:"expires_at"`
	Extra

	indexed time.Time
}

// HashOf names a record after parts that are not kept.
func HashOf(parts ...[]byte) TokenHash {
	h := sha256.New()
	for _, p := range parts {
		size := sha256.Sum256(p) // of fixed length, so that no two lists of parts are the same
		_, _ = h.Write(size[:])
	}
	return TokenHash(h.Sum(nil))
}

// putHashed adds a record that expires, with the index of its owner. Nobody
// owns a throttle, nor a challenge that was given to somebody unknown.
func (t *Tx) putHashed(rec record, kind string, userID uuid.UUID, hash TokenHash, expiresAt time.Time) {
	t.set(t.space.hashedExpiry(expiresAt, kind, hash), []byte{})
	if userID != uuid.Nil {
		t.set(t.space.owned(userID, kind, hash), []byte{})
	}
	t.put(rec, t.space.hashed(kind, hash))
}

func (t *Tx) deleteHashed(kind string, userID uuid.UUID, hash TokenHash, expiresAt time.Time) {
	t.clear(t.space.hashed(kind, hash))
	t.clear(t.space.owned(userID, kind, hash))
	t.clear(t.space.hashedExpiry(expiresAt, kind, hash))
}

// ownership is what the records that users own by hash have in common.
func (r *Reader) ownership(kind string, hash TokenHash) (userID uuid.UUID, expiresAt time.Time, err error) {
	switch key := r.space.hashed(kind, hash); kind {
	case nameOneTimeTokens:
		rec, err := load[OneTimeToken](r, key)
		return rec.UserID, rec.ExpiresAt, err
	case nameKeptAnswers:
		rec, err := load[KeptAnswer](r, key)
		return rec.UserID, rec.ExpiresAt, err
	case nameChallenges:
		rec, err := load[Challenge](r, key)
		return rec.UserID, rec.ExpiresAt, err
	default:
		rec, err := load[RefreshToken](r, key)
		return rec.UserID, rec.ExpiresAt, err
	}
}

// ownedKinds are the kinds that users own by hash.
var ownedKinds = []string{nameRefreshTokens, nameOneTimeTokens, nameKeptAnswers, nameChallenges}

func isOwnedKind(kind string) bool { return slices.Contains(ownedKinds, kind) }

// OneTimeToken returns the token with this hash, or ErrNotFound where there is
// none, it has expired, or it is good for something else.
func (r *Reader) OneTimeToken(hash TokenHash, purpose Purpose) (OneTimeToken, error) {
	token, err := load[OneTimeToken](r, r.space.hashed(nameOneTimeTokens, hash))
	if err != nil {
		return OneTimeToken{}, err
	}
	if !token.ExpiresAt.After(r.now) || token.Purpose != purpose {
		return OneTimeToken{}, ErrNotFound
	}
	token.Hash = hash
	return token, nil
}

// PutOneTimeToken adds a token.
func (t *Tx) PutOneTimeToken(token OneTimeToken) {
	t.putHashed(token, nameOneTimeTokens, token.UserID, token.Hash, token.ExpiresAt)
}

// DeleteOneTimeToken removes a token.
func (t *Tx) DeleteOneTimeToken(token OneTimeToken) {
	t.deleteHashed(nameOneTimeTokens, token.UserID, token.Hash, token.ExpiresAt)
}

// KeptAnswer returns the answer with this hash, or ErrNotFound where there is
// none or it has expired.
func (r *Reader) KeptAnswer(hash TokenHash) (KeptAnswer, error) {
	kept, err := load[KeptAnswer](r, r.space.hashed(nameKeptAnswers, hash))
	if err != nil {
		return KeptAnswer{}, err
	}
	if !kept.ExpiresAt.After(r.now) {
		return KeptAnswer{}, ErrNotFound
	}
	kept.Hash = hash
	return kept, nil
}

// PutKeptAnswer adds an answer where there is none that lives. One that has
// expired and is not yet swept gives way.
func (t *Tx) PutKeptAnswer(kept KeptAnswer) {
	if old, err := load[KeptAnswer](t.Reader, t.space.hashed(nameKeptAnswers, kept.Hash)); err == nil {
		t.deleteHashed(nameKeptAnswers, old.UserID, kept.Hash, old.ExpiresAt)
	}
	t.putHashed(kept, nameKeptAnswers, kept.UserID, kept.Hash, kept.ExpiresAt)
}

// Throttle returns the throttle with this hash; one without failures where
// there is none or it has expired.
func (r *Reader) Throttle(hash TokenHash) (Throttle, error) {
	th, err := load[Throttle](r, r.space.hashed(nameThrottles, hash))
	if err != nil && !isNotFound(err) {
		return Throttle{}, err
	}
	indexed := th.ExpiresAt
	if !th.ExpiresAt.After(r.now) {
		th = Throttle{}
	}
	th.Hash, th.indexed = hash, indexed
	return th, nil
}

// PutThrottle replaces a throttle that was read in this transaction.
func (t *Tx) PutThrottle(th Throttle) {
	if !th.indexed.IsZero() && !th.indexed.Equal(th.ExpiresAt) {
		t.clear(t.space.hashedExpiry(th.indexed, nameThrottles, th.Hash))
	}
	t.set(t.space.hashedExpiry(th.ExpiresAt, nameThrottles, th.Hash), []byte{})
	t.put(th, t.space.hashed(nameThrottles, th.Hash))
}

// DeleteThrottle removes a throttle that was read in this transaction.
func (t *Tx) DeleteThrottle(th Throttle) {
	if !th.indexed.IsZero() {
		t.clear(t.space.hashed(nameThrottles, th.Hash))
		t.clear(t.space.hashedExpiry(th.indexed, nameThrottles, th.Hash))
	}
}
