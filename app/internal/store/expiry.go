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
	e := expiryEntry{at: time.UnixMilli(ms).UTC()}
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
			e.record = s.hashed(kind, hash)
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

// maxSteps bounds the transactions of one sweep.
const maxSteps = 1000

// Swept is what a sweep did.
type Swept struct {
	Removed int  // entries, each with what it was about
	Foreign int  // entries left alone: a newer release wrote them or what they are about
	More    bool // whether there may be more to do now
}

// Sweep removes what has expired, up to batch entries a transaction. The index
// is read without conflicts and each record again with them, so a sweep neither
// disturbs others nor removes what has been renewed meanwhile. What it does not
// know it passes by.
func (s *Store) Sweep(ctx context.Context, batch int) (Swept, error) {
	var total Swept
	due := below(s.space.expiry())
	due.End = s.space.expiry().Int(s.clock().UnixMilli() + 1)
	for range maxSteps {
		var step Swept
		next := due
		err := s.Update(ctx, func(tx *Tx) (err error) {
			next = due
			step, next.Begin, err = tx.sweep(due, batch)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("sweeping what has expired: %w", err)
		}
		total.Removed += step.Removed
		total.Foreign += step.Foreign
		if total.More = step.More; !step.More {
			break
		}
		due = next
	}
	return total, nil
}

// sweep removes up to limit entries of due and returns where the next ones begin.
func (t *Tx) sweep(due kv.Range, limit int) (done Swept, next []byte, err error) {
	t.stats.reads.Add(1)
	entries, err := t.kv.Snapshot().Range(due, kv.RangeOptions{Limit: limit})
	if err != nil {
		return done, nil, fmt.Errorf("%w the expiry index: %w", errReading, err)
	}
	for _, p := range entries {
		next = kv.KeyRange(p.Key).End
		switch err := t.expire(p); {
		case err == nil:
			done.Removed++
		case errors.Is(err, errReading):
			return done, nil, err
		default:
			done.Foreign++
		}
	}
	done.More = len(entries) == limit
	return done, next, nil
}

// expire removes an expiry entry, and what it is about unless that has been
// renewed. An error says that this release does not know what it is about.
func (t *Tx) expire(p kv.Pair) error {
	e, err := t.space.parse(p)
	if err != nil {
		return err
	}
	if forms[e.form].kind != nameExpiry {
		return errUnknownKind
	}
	rec, derived, err := t.recordOf(e)
	switch {
	case err == nil:
		t.clear(rec.Key)
		for _, d := range derived {
			t.clear(d.Key)
		}
	case !isNotFound(err) && !errors.Is(err, errDiffers):
		return err
	}
	t.clear(p.Key)
	return nil
}
