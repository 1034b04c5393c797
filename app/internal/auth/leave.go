package auth

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// ErrLastOwner answers what would leave a tenant without an owner.
var ErrLastOwner = fault.New(fault.LastOwner, "A tenant keeps at least one owner: make somebody else an owner first, or delete the tenant.")

// OtherOwner reports whether the tenant has an owner beside the user, and
// whether it has any other member. Members of later pages than the first are
// read only while no owner was found.
func OtherOwner(r *store.Reader, tenantID, userID uuid.UUID) (owner, member bool, err error) {
	const page = 100
	for after := uuid.Nil; ; {
		members, err := r.Members(tenantID, after, page)
		if err != nil {
			return false, false, fmt.Errorf("listing the members: %w", err)
		}
		for _, m := range members {
			if m.UserID != userID {
				member, owner = true, owner || m.Role == store.RoleOwner
			}
		}
		if owner || len(members) < page {
			return owner, member, nil
		}
		after = members[len(members)-1].UserID
	}
}

// EndMembership removes a member from a tenant, and lets the sweeper remove the
// sessions that they had there.
func EndMembership(tx *store.Tx, tenantID, userID uuid.UUID) {
	tx.DeleteMembership(tenantID, userID)
	tx.PutRemoval(store.Removal{Kind: store.RemoveSessions, TenantID: tenantID, UserID: userID})
}

// EndTenant removes a tenant with all its memberships, and lets the sweeper
// remove what else is its own.
func EndTenant(tx *store.Tx, tenantID uuid.UUID) error {
	members, err := tx.Members(tenantID, uuid.Nil, MaxMembers+1)
	if err != nil {
		return fmt.Errorf("listing the members: %w", err)
	}
	for _, m := range members {
		tx.DeleteMembership(tenantID, m.UserID)
	}
	tx.DeleteTenant(tenantID)
	tx.PutRemoval(store.Removal{Kind: store.RemoveTenant, TenantID: tenantID})
	return nil
}

// DeleteMe deletes the caller: who has a second factor has proven it lately,
// and everybody gives the password. In one transaction the user, their
// memberships, their self-tenant and the tenants that have no other member are
// gone; what was theirs there nobody can reach from then on, and the sweeper
// removes it. It is refused where it would leave a tenant without an owner.
func (s *Service) DeleteMe(ctx context.Context, a Access, password, address string) error {
	checked, err := s.proven(ctx, a, password, address, "password")
	if err != nil {
		return err
	}
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		user, err := authorizedUser(tx.Reader, a)
		if seen && fault.CodeOf(err) == fault.InvalidToken {
			return nil
		}
		if err != nil {
			return err
		}
		if user.PasswordHash != checked.PasswordHash {
			return errChanging
		}
		factors, err := tx.Factors(user.ID)
		if err != nil {
			return fmt.Errorf("reading the second factors: %w", err)
		}
		if factors.Any() {
			if _, err := RequireRecent(tx.Reader, a); err != nil {
				return err
			}
		}
		seen = true
		if err := endMemberships(tx, user.ID); err != nil {
			return err
		}
		tx.DeleteFactors(factors)
		tx.DeleteUser(user)
		tx.PutRemoval(store.Removal{Kind: store.RemoveUser, UserID: user.ID})
		return nil
	})
}

// endMemberships takes a user who is being deleted out of every tenant.
func endMemberships(tx *store.Tx, userID uuid.UUID) error {
	memberships, err := tx.Memberships(userID, uuid.Nil, MaxTenants+1)
	if err != nil {
		return fmt.Errorf("listing the tenants: %w", err)
	}
	for _, m := range memberships {
		var owner, member bool
		if m.Role == store.RoleOwner && m.TenantID != SelfTenantID(userID) {
			if owner, member, err = OtherOwner(tx.Reader, m.TenantID, userID); err != nil {
				return err
			}
			if member && !owner {
				return ErrLastOwner.Because(fmt.Errorf("tenant %s", m.TenantID))
			}
		}
		if m.TenantID == SelfTenantID(userID) || m.Role == store.RoleOwner && !member {
			if err := EndTenant(tx, m.TenantID); err != nil {
				return err
			}
			continue
		}
		EndMembership(tx, m.TenantID, userID)
		Record(tx, m.TenantID, userID, actMemberLeft, userID)
	}
	return nil
}
