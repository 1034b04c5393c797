package store

import (
	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// Session returns a session of the tenant, or ErrNotFound.
func (r *Reader) Session(tenantID, id uuid.UUID) (Session, error) {
	s, err := load[Session](r, r.space.session(tenantID, id))
	s.TenantID, s.ID = tenantID, id
	return s, err
}

// Sessions returns up to limit sessions of the user in the tenant, newest
// first; with a before that is not nil, those older than it.
func (r *Reader) Sessions(tenantID, userID, before uuid.UUID, limit int) ([]Session, error) {
	page := below(r.space.sessionsByUser(tenantID, userID))
	if before != uuid.Nil {
		page.End = r.space.sessionByUser(tenantID, userID, before)
	}
	pairs, err := r.scan(page, kv.RangeOptions{Limit: limit, Reverse: true})
	if err != nil {
		return nil, err
	}
	out := make([]Session, 0, len(pairs))
	for _, p := range pairs {
		s, err := decode[Session](p.Value)
		if err != nil {
			return nil, err
		}
		s.TenantID = tenantID
		if s.ID, err = lastID(p.Key); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// PutSession adds or replaces a session with its indexes. Its tenant and user never change.
func (t *Tx) PutSession(s Session) {
	t.put(s, t.space.session(s.TenantID, s.ID), t.space.sessionByUser(s.TenantID, s.UserID, s.ID))
	t.set(t.space.sessionOwner(s.ID), tuple.Key{}.UUID(s.TenantID).UUID(s.UserID))
}

// DeleteSession removes a session with its indexes.
func (t *Tx) DeleteSession(s Session) {
	t.clear(t.space.session(s.TenantID, s.ID))
	t.clear(t.space.sessionByUser(s.TenantID, s.UserID, s.ID))
	t.clear(t.space.sessionOwner(s.ID))
}
