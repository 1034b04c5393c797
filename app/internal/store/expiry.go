package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// expiryEntry is a key of the expiry index, taken apart.
type expiryEntry struct {
	at     time.Time
	record tuple.Key // of what expires
	kind   string
}

// errUnknownKind: another release made the entry, and alone knows what it is.
var errUnknownKind = errors.New("unknown kind of expiry entry")

func (s space) parseExpiry(key []byte) (expiryEntry, error) {
	elements, err := tuple.Decode(key[len(s.expiry()):])
	if err != nil {
		return expiryEntry{}, fmt.Errorf("decoding an expiry entry: %w", err)
	}
	if len(elements) < 3 {
		return expiryEntry{}, errUnknownKind
	}
	ms, isTime := elements[0].(int64)
	kind, isKind := elements[1].(string)
	if !isTime || !isKind {
		return expiryEntry{}, errUnknownKind
	}
	e := expiryEntry{at: time.UnixMilli(ms).UTC(), kind: kind}
	switch id := elements[2:]; {
	case kind == nameLogins && len(id) == 2:
		user, isUser := id[0].(uuid.UUID)
		login, isLogin := id[1].(uuid.UUID)
		if isUser && isLogin {
			e.record = s.login(user, login)
			return e, nil
		}
	case (kind == nameRefreshTokens || kind == nameChallenges) && len(id) == 1:
		if hash, isBytes := id[0].([]byte); isBytes && len(hash) == len(TokenHash{}) {
			e.record = s.prefix.Text(kind).Bytes(hash)
			return e, nil
		}
	}
	return expiryEntry{}, errUnknownKind
}

// holds reports whether the record of e is there and expires at e's time.
func (r *Reader) holds(e expiryEntry) (bool, error) {
	var at time.Time
	var err error
	switch e.kind {
	case nameLogins:
		var l Login
		l, err = load[Login](r, e.record)
		at = l.ExpiresAt
	case nameChallenges:
		var c Challenge
		c, err = load[Challenge](r, e.record)
		at = c.ExpiresAt
	default:
		var t RefreshToken
		t, err = load[RefreshToken](r, e.record)
		at = t.ExpiresAt
	}
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && at.Equal(e.at), err
}

// Sweep removes up to limit of what has expired, in one transaction, and
// returns how many it removed: fewer than limit says that nothing is left. The
// index is read without conflicts and each record again with them, so a sweep
// neither disturbs others nor removes what has been renewed meanwhile.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		removed = 0
		due := below(tx.space.expiry())
		due.End = tx.space.expiry().Int(tx.now.UnixMilli() + 1)
		tx.stats.reads.Add(1)
		entries, err := tx.kv.Snapshot().Range(due, kv.RangeOptions{Limit: limit})
		if err != nil {
			return fmt.Errorf("reading the expiry index: %w", err)
		}
		for _, p := range entries {
			entry, err := tx.space.parseExpiry(p.Key)
			if errors.Is(err, errUnknownKind) {
				continue
			}
			if err != nil {
				return err
			}
			holds, err := tx.holds(entry)
			if err != nil {
				return err
			}
			if holds {
				tx.clear(entry.record)
			}
			tx.clear(p.Key)
			removed++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("sweeping what has expired: %w", err)
	}
	return removed, nil
}
