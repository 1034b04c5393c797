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

// Bounds of invitations.
const (
	invitationTTL  = 7 * 24 * time.Hour
	maxInvitations = 200 // of one tenant at the same time
)

// Invitation is an invitation as the tenant's admins see it. Its token is in
// the mail to the invitee and nowhere else.
type Invitation struct {
	ID        uuid.UUID
	TenantID  uuid.UUID
	Email     string
	Role      store.Role
	InvitedBy uuid.UUID
	CreatedAt time.Time
	ExpiresAt time.Time
}

func viewInvitation(i store.Invitation) Invitation {
	return Invitation{
		ID: i.ID, TenantID: i.TenantID, Email: i.Email, Role: i.Role, InvitedBy: i.InvitedBy,
		CreatedAt: i.CreatedAt, ExpiresAt: i.ExpiresAt,
	}
}

var (
	errInvitations = fault.New(fault.LimitReached, fmt.Sprintf("There are %d open invitations, which is the most; revoke one first.", maxInvitations))
	errMembers     = fault.New(fault.LimitReached, fmt.Sprintf("There are %d members, which is the most.", auth.MaxMembers))
	errMember      = fault.New(fault.AlreadyMember, "The owner of this address is a member already.")
)

// invite is the form of Invite as it is kept.
type invite struct {
	Email string
	Role  store.Role
}

// Invite mails an invitation to an address. Only an owner invites owners;
// repeated with its idempotency key, "" for none, it answers with the same one
// and mails nothing.
func (s *Service) Invite(ctx context.Context, a auth.Access, id uuid.UUID, email string, role store.Role, onceKey string) (Invitation, error) {
	email, err := auth.NormalEmail(email)
	var faults []fault.Field
	if err != nil {
		faults = append(faults, fault.Field{Field: "email", Problem: err.Error()})
	}
	if rank(role) == 0 {
		faults = append(faults, errRole.Fields...)
	}
	if len(faults) > 0 {
		return Invitation{}, fault.Invalid(faults...)
	}
	once, err := auth.NewOnce(onceKey, invite{email, role}, "invitation", a.UserID.String(), id.String())
	if err != nil {
		return Invitation{}, err
	}
	letter, token, err := s.auth.NewLetter(auth.LetterInvite, a.UserID, email, invitationTTL)
	if err != nil {
		return Invitation{}, err
	}
	made := store.Invitation{
		ID: letter.ID, TenantID: id, Email: email, Role: role, InvitedBy: a.UserID, Token: token,
		CreatedAt: letter.ExpiresAt.Add(-invitationTTL), ExpiresAt: letter.ExpiresAt,
	}
	answer := viewInvitation(made)
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := member(tx.Reader, a, id, above(role)); err != nil {
			return err
		}
		if repeated, err := once.Recall(tx.Reader, &answer); repeated || err != nil {
			return err
		}
		if tx.Again() {
			if _, err := tx.Invitation(id, made.ID); !errors.Is(err, store.ErrNotFound) {
				return err // nil: an earlier run made it
			}
		}
		if err := invitable(tx.Reader, id, email); err != nil {
			return err
		}
		t, err := tx.Tenant(id)
		if err != nil {
			return fmt.Errorf("reading the tenant: %w", err)
		}
		if err := auth.CountInvitation(tx, a.UserID, made.ID); err != nil {
			return err
		}
		letter.TenantName = t.Name
		tx.PutInvitation(made)
		tx.PutLetter(letter)
		auth.Record(tx, id, a.UserID, actInvited, made.ID, "role", string(role))
		return once.Keep(tx, a.UserID, answer)
	})
	if err != nil {
		return Invitation{}, err
	}
	return answer, nil
}

// invitable holds that there is room for an invitation, and use for it.
func invitable(r *store.Reader, id uuid.UUID, email string) error {
	open, more, err := r.Invitations(id, uuid.Nil, maxInvitations)
	if err != nil {
		return fmt.Errorf("listing the invitations: %w", err)
	}
	if more || len(open) >= maxInvitations {
		return errInvitations
	}
	userID, err := r.UserIDByEmail(email)
	if err == nil {
		_, err = r.Membership(id, userID)
		if err == nil {
			return errMember
		}
	}
	if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("looking for the invitee: %w", err)
	}
	return nil
}

// Invitations returns a page of a tenant's open invitations, newest first, to an admin.
func (s *Service) Invitations(ctx context.Context, a auth.Access, id uuid.UUID, q paging.Request) (page paging.Page[Invitation], err error) {
	before, limit, err := q.Parse(invitationPages, id)
	if err != nil {
		return page, err
	}
	err = s.store.View(ctx, func(r *store.Reader) error {
		if _, err := member(r, a, id, store.RoleAdmin); err != nil {
			return err
		}
		found, more, err := r.Invitations(id, before, limit)
		if err != nil {
			return fmt.Errorf("listing the invitations: %w", err)
		}
		page = paging.Of(found, more, func(i store.Invitation) (Invitation, uuid.UUID, bool) {
			return viewInvitation(i), i.ID, i.ExpiresAt.After(r.Now())
		}, invitationPages, id)
		return nil
	})
	return page, err
}

var errNoInvitation = fault.New(fault.NotFound, "There is no such invitation in this tenant.")

// Revoke takes an invitation back. Only an owner takes back one to become an owner.
func (s *Service) Revoke(ctx context.Context, a auth.Access, id, invitationID uuid.UUID) error {
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		caller, err := member(tx.Reader, a, id, store.RoleAdmin)
		if err != nil {
			return err
		}
		i, err := tx.Invitation(id, invitationID)
		switch {
		case errors.Is(err, store.ErrNotFound) && seen:
			return nil
		case errors.Is(err, store.ErrNotFound):
			return errNoInvitation
		case err != nil:
			return fmt.Errorf("reading the invitation: %w", err)
		case rank(caller.Role) < rank(above(i.Role)):
			return errForbidden
		}
		seen = true
		tx.DeleteInvitation(i)
		auth.Record(tx, id, a.UserID, actRevoked, i.ID)
		return nil
	})
}

// Accept makes the caller a member of the tenant that a mailed token is for.
// It is good once, for the address that it was mailed to alone, and only while
// who sent it may still do so. Who has it has read the mail: the address is
// verified. A member whom it would raise is raised, and never lowered.
func (s *Service) Accept(ctx context.Context, a auth.Access, token string) (joined Tenant, err error) {
	hash, err := auth.MailedTokenHash(token)
	if err != nil {
		return Tenant{}, err
	}
	done := uuid.Nil // the tenant of an earlier run, whose commit may have taken effect
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := auth.Authorize(tx.Reader, a); err != nil {
			return err
		}
		i, err := tx.InvitationByToken(hash)
		if errors.Is(err, store.ErrNotFound) && done != uuid.Nil {
			if m, err := tx.Membership(done, a.UserID); err == nil {
				joined, err = view(tx.Reader, m)
				return err
			}
		}
		if errors.Is(err, store.ErrNotFound) {
			return auth.ErrMailedToken.Because(err)
		}
		if err != nil {
			return fmt.Errorf("reading the invitation: %w", err)
		}
		user, err := tx.User(a.UserID)
		if err != nil {
			return fmt.Errorf("reading the user: %w", err)
		}
		if user.Email != i.Email {
			return auth.ErrMailedToken.Because(errors.New("it is for another address"))
		}
		if err := stillMay(tx.Reader, i); err != nil {
			return err
		}
		m, err := joins(tx, i, a.UserID)
		if err != nil {
			return err
		}
		if !user.EmailVerified {
			user.EmailVerified, user.UpdatedAt = true, tx.Now()
			tx.UpdateUser(user)
		}
		done = i.TenantID
		tx.PutMembership(m)
		tx.DeleteInvitation(i)
		auth.Record(tx, i.TenantID, a.UserID, actAccepted, i.ID, "role", string(m.Role))
		joined, err = view(tx.Reader, m)
		return err
	})
	return joined, err
}

// stillMay holds that whoever sent an invitation could send it now.
func stillMay(r *store.Reader, i store.Invitation) error {
	m, err := r.Membership(i.TenantID, i.InvitedBy)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading the inviter's membership: %w", err)
	}
	if rank(m.Role) < rank(above(i.Role)) {
		return auth.ErrMailedToken.Because(errors.New("who sent it may no longer do so"))
	}
	return nil
}

// joins returns the membership that an invitation leads to, if there is room.
func joins(tx *store.Tx, i store.Invitation, userID uuid.UUID) (store.Membership, error) {
	m, err := tx.Membership(i.TenantID, userID)
	if err == nil {
		if rank(i.Role) > rank(m.Role) {
			m.Role = i.Role
		}
		return m, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return store.Membership{}, fmt.Errorf("reading the membership: %w", err)
	}
	if err := roomFor(tx.Reader, userID); err != nil {
		return store.Membership{}, err
	}
	members, err := tx.Members(i.TenantID, uuid.Nil, auth.MaxMembers)
	if err != nil {
		return store.Membership{}, fmt.Errorf("listing the members: %w", err)
	}
	if len(members) >= auth.MaxMembers {
		return store.Membership{}, errMembers
	}
	return store.Membership{TenantID: i.TenantID, UserID: userID, Role: i.Role, CreatedAt: tx.Now()}, nil
}
