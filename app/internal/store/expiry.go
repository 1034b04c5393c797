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
	hash   TokenHash // in record, of the kinds that have one
}

// errUnknownKind: another release made the entry, and alone knows what it is.
var errUnknownKind = errors.New("unknown kind of expiry entry")

// asHash returns the hash that an element of a key is.
func asHash(element any) (TokenHash, bool) {
	b, isBytes := element.([]byte)
	if !isBytes || len(b) != len(TokenHash{}) {
		return TokenHash{}, false
	}
	return TokenHash(b), true
}

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
	case (kind == nameThrottles || isOwnedKind(kind)) && len(id) == 1:
		if hash, isHash := asHash(id[0]); isHash {
			e.record, e.hash = s.hashed(kind, hash), hash
			return e, nil
		}
	case (kind == nameInvitations || kind == nameAudit) && len(id) == 2:
		tenant, isTenant := id[0].(uuid.UUID)
		item, isItem := id[1].(uuid.UUID)
		if isTenant && isItem {
			e.record = s.tenant(tenant).Text(kind).UUID(item)
			return e, nil
		}
	}
	return expiryEntry{}, errUnknownKind
}

// holds reports whether the record of e is there and expires at e's time, and
// which index keys go with it.
func (r *Reader) holds(e expiryEntry) (index []tuple.Key, holds bool, err error) {
	var at time.Time
	switch e.kind {
	case nameLogins:
		var l Login
		l, err = load[Login](r, e.record)
		at = l.ExpiresAt
	case nameThrottles:
		var th Throttle
		th, err = load[Throttle](r, e.record)
		at = th.ExpiresAt
	case nameAudit:
		var ev Event
		ev, err = load[Event](r, e.record)
		at = ev.ExpiresAt
	case nameInvitations:
		var i Invitation
		i, err = load[Invitation](r, e.record)
		at, index = i.ExpiresAt, []tuple.Key{r.space.hashed(nameInviteTokens, i.Token)}
	default:
		var owner uuid.UUID
		owner, at, err = r.ownership(e.kind, e.hash)
		index = []tuple.Key{r.space.owned(owner, e.kind, e.hash)}
	}
	if isNotFound(err) {
		return nil, false, nil
	}
	return index, err == nil && at.Equal(e.at), err
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
			index, holds, err := tx.holds(entry)
			if err != nil {
				return err
			}
			if holds {
				tx.clear(entry.record)
				for _, key := range index {
					tx.clear(key)
				}
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
