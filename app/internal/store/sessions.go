package store

import (
	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store/tuple"
)

// Session returns a session of the tenant, or ErrNotFound.
func (r *Reader) Session(tenantID, id uuid.UUID) (Session, error) {
	s, err := load[Session](r, r.space.session(tenantID, id))
	s.TenantID, s.ID = tenantID, id
	return s, err
}

// Sessions returns a page of the sessions of the user in the tenant as newestFirst does.
func (r *Reader) Sessions(tenantID, userID, before uuid.UUID, limit int) (page []Session, more bool, err error) {
	return newestFirst(r, r.space.sessionsByUser(tenantID, userID), before, limit, func(s *Session, id uuid.UUID) {
		s.TenantID, s.ID = tenantID, id
	})
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
