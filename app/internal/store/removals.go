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

// RemovalKind is what a Removal removes.
type RemovalKind string

// The kinds.
const (
	// RemoveUser: everything below a user who has been deleted.
	RemoveUser RemovalKind = "user"
	// RemoveTenant: everything below a tenant that has been deleted.
	RemoveTenant RemovalKind = "tenant"
	// RemoveSessions: the sessions that a former member had in a tenant.
	RemoveSessions RemovalKind = "sessions"
)

// Removal is work that is too large for the transaction that caused it. What
// it removes nobody can reach any more; the sweeper does it bit by bit.
type Removal struct {
	Kind      RemovalKind `json:"kind"`
	TenantID  uuid.UUID   `json:"tenant_id"` // of RemoveTenant and RemoveSessions
	UserID    uuid.UUID   `json:"user_id"`   // of RemoveUser and RemoveSessions
	CreatedAt time.Time   `json:"created_at"`
	Extra
}

func (k RemovalKind) known() bool {
	return k == RemoveUser || k == RemoveTenant || k == RemoveSessions
}

func (s space) removal(m Removal) tuple.Key {
	key := s.removals().Text(string(m.Kind))
	switch m.Kind {
	case RemoveUser:
		return key.UUID(m.UserID)
	case RemoveTenant:
		return key.UUID(m.TenantID)
	default:
		return key.UUID(m.TenantID).UUID(m.UserID)
	}
}

// PutRemoval asks for a removal.
func (t *Tx) PutRemoval(m Removal) {
	m.CreatedAt = t.now
	t.put(m, t.space.removal(m))
}

func (r *Reader) removing(m Removal) bool {
	_, err := load[Removal](r, r.space.removal(m))
	return err == nil
}

// Remove does up to limit keys' worth of the first removal that is asked for,
// in one transaction, and tells whether there may be more to do. A process that
// dies leaves the rest to the next.
func (s *Store) Remove(ctx context.Context, limit int) (more bool, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		more = false
		pairs, err := tx.scan(below(tx.space.removals()), kv.RangeOptions{Limit: limit})
		if err != nil {
			return err
		}
		for _, p := range pairs {
			m, err := decode[Removal](p.Value)
			if err != nil || !m.Kind.known() {
				continue // a newer release's: it is in nobody's way
			}
			done, err := tx.remove(m, limit)
			if done {
				tx.clear(p.Key)
			}
			more = true
			return err
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("removing what was deleted: %w", err)
	}
	return more, nil
}

func (t *Tx) remove(m Removal, limit int) (done bool, err error) {
	var keys kv.Range
	switch m.Kind {
	case RemoveUser:
		keys = below(t.space.user(m.UserID))
	case RemoveTenant:
		keys = below(t.space.tenant(m.TenantID))
	case RemoveSessions:
		keys = below(t.space.sessionsByUser(m.TenantID, m.UserID))
	default:
		return false, fmt.Errorf("removal of unknown kind %q: a newer release wrote it", m.Kind)
	}
	pairs, err := t.scan(keys, kv.RangeOptions{Limit: limit})
	if err != nil {
		return false, err
	}
	for _, p := range pairs {
		kept, err := t.removeKey(p, m)
		if err != nil {
			return false, err
		}
		if kept {
			return true, nil
		}
	}
	return len(pairs) < limit, nil
}

// removeKey removes what p belongs to, with its counterparts. kept says that it
// came after the removal was asked for, and with it all that follow.
func (t *Tx) removeKey(p kv.Pair, m Removal) (kept bool, err error) {
	elements, err := tuple.Decode(p.Key[len(t.space.prefix):])
	if err != nil {
		return false, fmt.Errorf("decoding a key: %w", err)
	}
	switch form, ids := formOf(elements); form {
	case "users # logins #":
		l, err := decode[Login](p.Value)
		if err != nil {
			return false, err
		}
		l.UserID, l.ID, l.indexed = ids[0], ids[1], l.ExpiresAt
		t.DeleteLogin(l)
	case "users # refresh_tokens $", "users # one_time_tokens $", "users # kept_answers $", "users # challenges $":
		kind, _ := elements[2].(string)
		hash, isHash := asHash(elements[3])
		if !isHash {
			return false, errForeign
		}
		owner, expiresAt, err := t.ownership(kind, hash)
		switch {
		case err == nil:
			t.deleteHashed(kind, owner, hash, expiresAt)
		case !errors.Is(err, ErrNotFound):
			return false, err
		}
		t.clear(p.Key)
	case "tenants # sessions #", "tenants # sessions_by_user # #":
		s, err := decode[Session](p.Value)
		if err != nil {
			return false, err
		}
		s.TenantID, s.ID = ids[0], ids[len(ids)-1]
		if m.Kind == RemoveSessions && s.CreatedAt.After(m.CreatedAt) {
			return true, nil
		}
		t.DeleteSession(s)
	case "tenants # invitations #":
		i, err := decode[Invitation](p.Value)
		if err != nil {
			return false, err
		}
		i.TenantID, i.ID = ids[0], ids[1]
		t.DeleteInvitation(i)
	case "tenants # audit #":
		e, err := decode[Event](p.Value)
		if err != nil {
			return false, err
		}
		e.TenantID, e.ID = ids[0], ids[1]
		t.deleteEvent(e)
	default:
		t.clear(p.Key)
	}
	return false, nil
}
