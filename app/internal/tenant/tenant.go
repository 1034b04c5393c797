// Package tenant owns tenants and who belongs to them: members, their roles,
// and invitations. To who is no member a tenant does not exist.
//
// Authority is that of the moment: each act reads the caller's role in its own
// transaction, so a removed member or a lowered role counts at once. Only an
// owner grants or takes the owner role, an admin manages the rest, and a
// tenant keeps at least one owner.
//
// It knows store, fault, paging, and auth for Authorize and letters.
package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/store"
)

const maxName = 200 // characters

// The acts of tenants, as audit trails name them.
const (
	actCreated     = "tenant.created"
	actRenamed     = "tenant.renamed"
	actDeleted     = "tenant.deleted"
	actRoleChanged = "member.role_changed"
	actRemoved     = "member.removed"
	actLeft        = "member.left"
	actInvited     = "invitation.created"
	actRevoked     = "invitation.revoked"
	actAccepted    = "invitation.accepted"
)

// Names of the lists in cursors.
const (
	tenantPages     = "tenants"
	memberPages     = "members"
	invitationPages = "invitations"
	auditPages      = "audit"
)

// Tenant is a tenant as one of its members sees it.
type Tenant struct {
	ID        uuid.UUID
	Name      string
	Role      store.Role // of the caller
	Self      bool       // the caller's self-tenant
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Service keeps tenants. It is safe for concurrent use.
type Service struct {
	store *store.Store
	auth  *auth.Service
}

// NewService returns a Service on st.
func NewService(st *store.Store, a *auth.Service) *Service { return &Service{store: st, auth: a} }

// rank orders the roles.
func rank(role store.Role) int {
	switch role {
	case store.RoleOwner:
		return 3
	case store.RoleAdmin:
		return 2
	case store.RoleMember:
		return 1
	}
	return 0
}

var errForbidden = fault.New(fault.Forbidden, "Your role in this tenant does not allow this.")

// member returns the caller's membership in a tenant, which has at least the
// role. Who is no member gets auth.ErrNoTenant, and fault.Forbidden whose role
// is too low.
func member(r *store.Reader, a auth.Access, tenantID uuid.UUID, least store.Role) (store.Membership, error) {
	if _, err := auth.Authorize(r, a); err != nil {
		return store.Membership{}, err
	}
	m, err := r.Membership(tenantID, a.UserID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.Membership{}, auth.ErrNoTenant
	case err != nil:
		return store.Membership{}, fmt.Errorf("reading the membership: %w", err)
	case rank(m.Role) < rank(least):
		return store.Membership{}, errForbidden
	}
	return m, nil
}

func view(r *store.Reader, m store.Membership) (Tenant, error) {
	t, err := r.Tenant(m.TenantID)
	if err != nil {
		return Tenant{}, fmt.Errorf("reading tenant %s: %w", m.TenantID, err)
	}
	return viewOf(t, m), nil
}

func viewOf(t store.Tenant, m store.Membership) Tenant {
	return Tenant{
		ID: t.ID, Name: t.Name, Role: m.Role, Self: t.ID == auth.SelfTenantID(m.UserID),
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
}

// normalName trims and composes a tenant's name.
func normalName(name string) (string, error) {
	name, problem := auth.NormalName(name, 1, maxName)
	if problem != "" {
		return "", fault.Invalid(fault.Field{Field: "name", Problem: problem})
	}
	return name, nil
}

// List returns a page of the caller's tenants.
func (s *Service) List(ctx context.Context, a auth.Access, q paging.Request) (page paging.Page[Tenant], err error) {
	after, limit, err := q.Parse(tenantPages, a.UserID)
	if err != nil {
		return page, err
	}
	err = s.store.View(ctx, func(r *store.Reader) error {
		if _, err := auth.Authorize(r, a); err != nil {
			return err
		}
		found, err := r.Memberships(a.UserID, after, limit+1)
		if err != nil {
			return fmt.Errorf("listing the tenants: %w", err)
		}
		views, more, err := viewed(r, found, limit, view)
		page = paging.Of(views, more, func(t Tenant) (Tenant, uuid.UUID, bool) { return t, t.ID, true }, tenantPages, a.UserID)
		return err
	})
	return page, err
}

// viewed gives memberships, of which one more than limit were asked for, the
// form that view reads for each, and tells whether more follow.
func viewed[T any](r *store.Reader, found []store.Membership, limit int, view func(*store.Reader, store.Membership) (T, error)) (views []T, more bool, err error) {
	shown := found[:min(len(found), limit)]
	views = make([]T, len(shown))
	for i, m := range shown {
		if views[i], err = view(r, m); err != nil {
			return nil, false, err
		}
	}
	return views, len(found) > limit, nil
}

var errTenants = fault.New(fault.LimitReached, fmt.Sprintf("You are in %d tenants, which is the most; leave one first.", auth.MaxTenants))

// roomFor holds that a user may come into another tenant.
func roomFor(r *store.Reader, userID uuid.UUID) error {
	all, err := r.Memberships(userID, uuid.Nil, auth.MaxTenants+1)
	if err != nil {
		return fmt.Errorf("listing the tenants: %w", err)
	}
	if len(all) >= auth.MaxTenants {
		return errTenants
	}
	return nil
}

// Create makes a tenant whose owner the caller is; repeated with its
// idempotency key, "" for none, it answers with the same one.
func (s *Service) Create(ctx context.Context, a auth.Access, name, onceKey string) (Tenant, error) {
	name, err := normalName(name)
	if err != nil {
		return Tenant{}, err
	}
	once, err := auth.NewOnce(onceKey, name, "tenant", a.UserID.String())
	if err != nil {
		return Tenant{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Tenant{}, fmt.Errorf("making an id: %w", err)
	}
	var made Tenant
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := auth.Authorize(tx.Reader, a); err != nil {
			return err
		}
		if repeated, err := once.Recall(tx.Reader, &made); repeated || err != nil {
			return err
		}
		if m, err := tx.Membership(id, a.UserID); err == nil { // an earlier run made it
			made, err = view(tx.Reader, m)
			return err
		} else if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("reading the membership: %w", err)
		}
		if err := roomFor(tx.Reader, a.UserID); err != nil {
			return err
		}
		now := tx.Now()
		t := store.Tenant{ID: id, Name: name, CreatedAt: now, UpdatedAt: now}
		m := store.Membership{TenantID: id, UserID: a.UserID, Role: store.RoleOwner, CreatedAt: now}
		tx.PutTenant(t)
		tx.PutMembership(m)
		auth.Record(tx, id, a.UserID, actCreated, id)
		made = viewOf(t, m)
		return once.Keep(tx, a.UserID, made)
	})
	return made, err
}

// Get returns a tenant of the caller.
func (s *Service) Get(ctx context.Context, a auth.Access, id uuid.UUID) (found Tenant, err error) {
	err = s.store.View(ctx, func(r *store.Reader) error {
		m, err := member(r, a, id, store.RoleMember)
		if err != nil {
			return err
		}
		found, err = view(r, m)
		return err
	})
	return found, err
}

// Rename gives a tenant, of which the caller is an owner, another name.
func (s *Service) Rename(ctx context.Context, a auth.Access, id uuid.UUID, name string) (renamed Tenant, err error) {
	if name, err = normalName(name); err != nil {
		return Tenant{}, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		m, err := member(tx.Reader, a, id, store.RoleOwner)
		if err != nil {
			return err
		}
		t, err := tx.Tenant(id)
		if err != nil {
			return fmt.Errorf("reading the tenant: %w", err)
		}
		if t.Name != name { // else an earlier run may have changed it
			t.Name, t.UpdatedAt = name, tx.Now()
			tx.PutTenant(t)
			auth.Record(tx, id, a.UserID, actRenamed, id)
		}
		renamed = viewOf(t, m)
		return nil
	})
	return renamed, err
}

var errSelf = fault.New(fault.SelfTenant, "Your own tenant stays as long as you do, and stays yours.")

// Delete removes a tenant, of which the caller is an owner and has lately proven
// who they are, for all its members. What was in it nobody can reach from then on; the sweeper removes it.
func (s *Service) Delete(ctx context.Context, a auth.Access, id uuid.UUID) error {
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		_, err := member(tx.Reader, a, id, store.RoleOwner)
		// A token of the very tenant is good for nothing once it is gone.
		if code := fault.CodeOf(err); seen && (code == fault.NotFound || code == fault.InvalidToken) {
			return nil
		}
		if err != nil {
			return err
		}
		t, err := tx.Tenant(id)
		if err != nil {
			return fmt.Errorf("reading the tenant: %w", err)
		}
		if isSelf(id) {
			return errSelf
		}
		if _, err := auth.RequireRecent(tx.Reader, a); err != nil {
			return err
		}
		seen = true
		auth.Record(tx, auth.SelfTenantID(a.UserID), a.UserID, actDeleted, t.ID)
		return auth.EndTenant(tx, id)
	})
}

// isSelf reports whether a tenant is somebody's self-tenant: its id follows
// from theirs by hashing, where other tenants' are made by time.
func isSelf(id uuid.UUID) bool { return id.Version() == 5 }

// Event is one line of a tenant's audit trail.
type Event struct {
	ID        uuid.UUID
	At        time.Time
	ActorID   uuid.UUID
	Action    string
	SubjectID uuid.UUID
	Detail    map[string]string
}

// Audit returns a page of the tenant's audit trail, newest first, to an admin.
func (s *Service) Audit(ctx context.Context, a auth.Access, id uuid.UUID, q paging.Request) (page paging.Page[Event], err error) {
	before, limit, err := q.Parse(auditPages, id)
	if err != nil {
		return page, err
	}
	err = s.store.View(ctx, func(r *store.Reader) error {
		if _, err := member(r, a, id, store.RoleAdmin); err != nil {
			return err
		}
		found, more, err := r.Events(id, before, limit)
		if err != nil {
			return fmt.Errorf("listing the events: %w", err)
		}
		page = paging.Of(found, more, func(e store.Event) (Event, uuid.UUID, bool) {
			return Event{ID: e.ID, At: e.At, ActorID: e.ActorID, Action: e.Action, SubjectID: e.SubjectID, Detail: e.Detail}, e.ID, e.ExpiresAt.After(r.Now())
		}, auditPages, id)
		return nil
	})
	return page, err
}
