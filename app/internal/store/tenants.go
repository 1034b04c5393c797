package store

import (
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store/tuple"
)

// Invitation lets the owner of an address become a member of a tenant.
type Invitation struct {
	ID        uuid.UUID `json:"-"` // UUIDv7
	TenantID  uuid.UUID `json:"-"`
	Email     string    `json:"email"` // in its normal form
	Role      Role      `json:"role"`
	InvitedBy uuid.UUID `json:"invited_by"`
	Token     TokenHash `json:"token"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Extra
}

// Event is one line of a tenant's audit trail. It names people by their ids alone.
type Event struct {
	ID        uuid.UUID         `json:"-"` // UUIDv7
	TenantID  uuid.UUID         `json:"-"`
	At        time.Time         `json:"at"`
	ActorID   uuid.UUID         `json:"actor_id"`
	Action    string            `json:"action"`
	SubjectID uuid.UUID         `json:"subject_id"` // what it was done to
	Detail    map[string]string `json:"detail,omitempty"`
	ExpiresAt time.Time         `json:"expires_at"`
	Extra
}

// DeleteTenant removes a tenant's record. What else is its own is for a
// Removal of kind RemoveTenant, in the same transaction; its memberships are
// the caller's to remove.
func (t *Tx) DeleteTenant(id uuid.UUID) { t.clear(t.space.tenant(id)) }

// Invitation returns an invitation of the tenant, or ErrNotFound where there
// is none or it has expired.
func (r *Reader) Invitation(tenantID, id uuid.UUID) (Invitation, error) {
	i, err := load[Invitation](r, r.space.invitation(tenantID, id))
	if err != nil {
		return Invitation{}, err
	}
	if !i.ExpiresAt.After(r.now) {
		return Invitation{}, ErrNotFound
	}
	i.TenantID, i.ID = tenantID, id
	return i, nil
}

// InvitationByToken returns the invitation that a token is for, or ErrNotFound.
func (r *Reader) InvitationByToken(hash TokenHash) (Invitation, error) {
	ids, err := loadIDs(r, r.space.hashed(nameInviteTokens, hash), 2)
	if err != nil {
		return Invitation{}, err
	}
	return r.Invitation(ids[0], ids[1])
}

// Invitations returns a page of the tenant's invitations as newestFirst does,
// the expired that are not yet swept included.
func (r *Reader) Invitations(tenantID, before uuid.UUID, limit int) (page []Invitation, more bool, err error) {
	return newestFirst(r, r.space.invitations(tenantID), before, limit, func(i *Invitation, id uuid.UUID) {
		i.TenantID, i.ID = tenantID, id
	})
}

// PutInvitation adds an invitation with its indexes.
func (t *Tx) PutInvitation(i Invitation) {
	t.put(i, t.space.invitation(i.TenantID, i.ID))
	t.set(t.space.hashed(nameInviteTokens, i.Token), tuple.Key{}.UUID(i.TenantID).UUID(i.ID))
	t.set(t.space.tenantExpiry(i.ExpiresAt, nameInvitations, i.TenantID, i.ID), []byte{})
}

// DeleteInvitation removes an invitation with its indexes.
func (t *Tx) DeleteInvitation(i Invitation) {
	t.clear(t.space.invitation(i.TenantID, i.ID))
	t.clear(t.space.hashed(nameInviteTokens, i.Token))
	t.clear(t.space.tenantExpiry(i.ExpiresAt, nameInvitations, i.TenantID, i.ID))
}

// Events returns a page of the tenant's events as newestFirst does.
func (r *Reader) Events(tenantID, before uuid.UUID, limit int) (page []Event, more bool, err error) {
	return newestFirst(r, r.space.audit(tenantID), before, limit, func(e *Event, id uuid.UUID) {
		e.TenantID, e.ID = tenantID, id
	})
}

// PutEvent adds an event.
func (t *Tx) PutEvent(e Event) {
	t.put(e, t.space.event(e.TenantID, e.ID))
	t.set(t.space.tenantExpiry(e.ExpiresAt, nameAudit, e.TenantID, e.ID), []byte{})
}

func (t *Tx) deleteEvent(e Event) {
	t.clear(t.space.event(e.TenantID, e.ID))
	t.clear(t.space.tenantExpiry(e.ExpiresAt, nameAudit, e.TenantID, e.ID))
}
