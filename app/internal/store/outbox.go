package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
)

// Letter is a mail to be sent. It has no secret: the token in the mail is made
// again from Seed, with a key that is not in the store.
type Letter struct {
	ID         uuid.UUID `json:"-"`
	Due        time.Time `json:"-"` // of the next try
	Kind       string    `json:"kind"`
	UserID     uuid.UUID `json:"user_id"` // who caused it
	To         string    `json:"to"`
	TenantName string    `json:"tenant_name,omitempty"`
	Seed       []byte    `json:"seed"`
	KeyID      string    `json:"key_id"`
	Tries      int       `json:"tries,omitempty"`
	ExpiresAt  time.Time `json:"expires_at"` // of the token: no use to send it later
	Extra
}

// PutLetter adds a letter that is due at once.
func (t *Tx) PutLetter(l Letter) {
	t.put(l, t.space.letter(t.now, l.ID))
}

// TakeLetters returns up to limit letters that are due and puts each off for as
// long as again says, after so many tries: a letter that is not deleted by
// then is tried anew, by whichever replica comes first. Those that have expired
// or had their last try are removed and returned with Due zero.
func (s *Store) TakeLetters(ctx context.Context, limit, maxTries int, again func(tries int) time.Duration) ([]Letter, error) {
	var taken []Letter
	err := s.Update(ctx, func(tx *Tx) error {
		taken = nil
		due := below(tx.space.outbox())
		due.End = tx.space.outbox().Int(tx.now.UnixMilli() + 1)
		for range outboxPages {
			pairs, err := tx.scan(due, kv.RangeOptions{Limit: limit})
			if err != nil {
				return err
			}
			for _, p := range pairs {
				if len(taken) == limit {
					break
				}
				if l, known := tx.takeLetter(p, maxTries, again); known {
					taken = append(taken, l)
				}
			}
			if len(pairs) < limit || len(taken) >= limit {
				break
			}
			due.Begin = kv.KeyRange(pairs[len(pairs)-1].Key).End
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("taking letters from the outbox: %w", err)
	}
	return taken, nil
}

// outboxPages bounds the letters of newer releases that one transaction looks past.
const outboxPages = 10

// takeLetter puts a letter off or removes it. It is not known where a newer
// release wrote it: that stays as it is, in nobody's way.
func (t *Tx) takeLetter(p kv.Pair, maxTries int, again func(tries int) time.Duration) (l Letter, known bool) {
	l, err := decode[Letter](p.Value)
	if err != nil {
		return l, false
	}
	if l.ID, err = lastID(p.Key); err != nil {
		return l, false
	}
	t.clear(p.Key)
	if l.ExpiresAt.After(t.now) && l.Tries < maxTries {
		l.Tries++
		l.Due = t.now.Add(again(l.Tries))
		t.put(l, t.space.letter(l.Due, l.ID))
	}
	return l, true
}

// DeleteLetter removes a letter that TakeLetters returned.
func (t *Tx) DeleteLetter(l Letter) { t.clear(t.space.letter(l.Due, l.ID)) }
