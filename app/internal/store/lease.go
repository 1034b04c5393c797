package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store/tuple"
)

// Lease says who does some work that one replica at a time does. It keeps
// others from doing the same again; what must not happen twice is safe by its
// own transactions, since clocks differ.
type Lease struct {
	Holder uuid.UUID `json:"holder"`
	Until  time.Time `json:"until"` // whoever comes later takes the work over
	Extra
}

func (Lease) version() byte { return 1 }

func (s space) lease(work string) tuple.Key { return s.prefix.Text(nameLeases).Text(work) }

// Lease takes work for holder, or keeps it, until so long from now. It returns
// false where another holds it.
func (s *Store) Lease(ctx context.Context, work string, holder uuid.UUID, ttl time.Duration) (held bool, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		held = false
		l, err := load[Lease](tx.Reader, tx.space.lease(work))
		if err != nil && !isNotFound(err) {
			return err
		}
		if l.Holder != holder && l.Until.After(tx.now) {
			return nil
		}
		held = true
		l.Holder, l.Until = holder, tx.now.Add(ttl)
		tx.put(l, tx.space.lease(work))
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("taking the lease of %s: %w", work, err)
	}
	return held, nil
}

// Leave lets go of work, if holder has it.
func (s *Store) Leave(ctx context.Context, work string, holder uuid.UUID) error {
	err := s.Update(ctx, func(tx *Tx) error {
		held, err := tx.holds(work, holder)
		if held {
			tx.clear(tx.space.lease(work))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("leaving the lease of %s: %w", work, err)
	}
	return nil
}

// holds reports whether holder has work, and has the commit depend on it.
func (r *Reader) holds(work string, holder uuid.UUID) (bool, error) {
	l, err := load[Lease](r, r.space.lease(work))
	if isNotFound(err) {
		return false, nil
	}
	return err == nil && l.Holder == holder && l.Until.After(r.now), err
}
