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

// Member is a member of a tenant as the others see them.
type Member struct {
	UserID    uuid.UUID
	Email     string
	FirstName string
	LastName  string
	Role      store.Role
	CreatedAt time.Time // of the membership
}

func viewMember(r *store.Reader, m store.Membership) (Member, error) {
	u, err := r.User(m.UserID)
	if err != nil {
		return Member{}, fmt.Errorf("reading user %s: %w", m.UserID, err)
	}
	return Member{
		UserID: u.ID, Email: u.Email, FirstName: u.FirstName, LastName: u.LastName,
		Role: m.Role, CreatedAt: m.CreatedAt,
	}, nil
}

// Members returns a page of a tenant's members to one of them.
func (s *Service) Members(ctx context.Context, a auth.Access, id uuid.UUID, q paging.Request) (page paging.Page[Member], err error) {
	after, limit, err := q.Parse(memberPages, id)
	if err != nil {
		return page, err
	}
	err = s.store.View(ctx, func(r *store.Reader) error {
		if _, err := member(r, a, id, store.RoleMember); err != nil {
			return err
		}
		found, err := r.Members(id, after, limit+1)
		if err != nil {
			return fmt.Errorf("listing the members: %w", err)
		}
		views, more, err := viewed(r, found, limit, viewMember)
		page = paging.Of(views, more, func(m Member) (Member, uuid.UUID, bool) { return m, m.UserID, true }, memberPages, id)
		return err
	})
	return page, err
}

// errNoMember answers for who is no member of a tenant that the caller sees.
var errNoMember = fault.New(fault.NotFound, "There is no such member in this tenant.")

// subject returns the member that an act is about.
func subject(r *store.Reader, tenantID, userID uuid.UUID) (store.Membership, error) {
	m, err := r.Membership(tenantID, userID)
	if errors.Is(err, store.ErrNotFound) {
		return store.Membership{}, errNoMember
	}
	if err != nil {
		return store.Membership{}, fmt.Errorf("reading the membership: %w", err)
	}
	return m, nil
}

// stays holds that a tenant keeps an owner when m ceases to be one, and a
// self-tenant its own.
func stays(r *store.Reader, m store.Membership) error {
	if m.Role != store.RoleOwner {
		return nil
	}
	if m.TenantID == auth.SelfTenantID(m.UserID) {
		return errSelf
	}
	owner, _, err := auth.OtherOwner(r, m.TenantID, m.UserID)
	if err == nil && !owner {
		err = auth.ErrLastOwner
	}
	return err
}

// SetRole gives a member another role. An admin manages who is no owner; only
// an owner grants or takes that role.
func (s *Service) SetRole(ctx context.Context, a auth.Access, id, userID uuid.UUID, role store.Role) (changed Member, err error) {
	if rank(role) == 0 {
		return Member{}, errRole
	}
	applied := false // by an earlier run, whose commit may have taken effect
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		caller, err := member(tx.Reader, a, id, store.RoleMember)
		if err != nil {
			return err
		}
		m, err := subject(tx.Reader, id, userID)
		if err != nil {
			return err
		}
		if applied && m.Role == role { // an owner may have given up the very right to do this
			changed, err = viewMember(tx.Reader, m)
			return err
		}
		if least := max(rank(store.RoleAdmin), rank(above(m.Role)), rank(above(role))); rank(caller.Role) < least {
			return errForbidden
		}
		if m.Role != role {
			if err := stays(tx.Reader, m); err != nil {
				return err
			}
			auth.Record(tx, id, a.UserID, actRoleChanged, userID, "from", string(m.Role), "to", string(role))
			m.Role = role
			tx.PutMembership(m)
			applied = true
		}
		changed, err = viewMember(tx.Reader, m)
		return err
	})
	return changed, err
}

// above is the least role that manages role.
func above(role store.Role) store.Role {
	if role == store.RoleOwner {
		return store.RoleOwner
	}
	return store.RoleAdmin
}

var errRole = fault.Invalid(fault.Field{Field: "role", Problem: "must be owner, admin or member"})

// Remove takes a member out of a tenant, or lets the caller leave it. The
// sessions that they had there go with them.
func (s *Service) Remove(ctx context.Context, a auth.Access, id, userID uuid.UUID) error {
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		caller, err := member(tx.Reader, a, id, store.RoleMember)
		if code := fault.CodeOf(err); seen && userID == a.UserID && (code == fault.NotFound || code == fault.InvalidToken) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := subject(tx.Reader, id, userID)
		if seen && errors.Is(err, errNoMember) {
			return nil
		}
		if err != nil {
			return err
		}
		act := actRemoved
		if userID == a.UserID {
			act = actLeft
		} else if rank(caller.Role) < max(rank(store.RoleAdmin), rank(above(m.Role))) {
			return errForbidden
		}
		if err := stays(tx.Reader, m); err != nil {
			return err
		}
		seen = true
		auth.Record(tx, id, a.UserID, act, userID)
		auth.EndMembership(tx, id, userID)
		return nil
	})
}
