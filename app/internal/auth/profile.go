package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/store"
)

// MaxTenants bounds the tenants of one user, and MaxMembers the members of one
// tenant: what either may have is dealt with in one transaction.
const (
	MaxTenants = 100
	MaxMembers = 1000
)

// Me returns the caller's own record.
func (s *Service) Me(ctx context.Context, a Access) (User, error) {
	var user store.User
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		user, err = authorizedUser(r, a)
		return err
	})
	if err != nil {
		return User{}, err
	}
	return userOf(user), nil
}

func authorizedUser(r *store.Reader, a Access) (store.User, error) {
	if _, err := Authorize(r, a); err != nil {
		return store.User{}, err
	}
	user, err := r.User(a.UserID)
	if err != nil {
		return store.User{}, orSignedOut(err, "the user")
	}
	return user, nil
}

// Profile is what users change of their record; nil leaves a member as it is.
type Profile struct {
	FirstName, LastName, Company *string
}

// UpdateMe changes the caller's own record.
func (s *Service) UpdateMe(ctx context.Context, a Access, p Profile) (User, error) {
	var faults []fault.Field
	set := func(field string, text *string, least, most int) {
		if text == nil {
			return
		}
		name, problem := NormalName(*text, least, most)
		if *text = name; problem != "" {
			faults = append(faults, fault.Field{Field: field, Problem: problem})
		}
	}
	set("first_name", p.FirstName, 1, maxName)
	set("last_name", p.LastName, 1, maxName)
	set("company", p.Company, 0, maxCompany)
	if len(faults) > 0 {
		return User{}, fault.Invalid(faults...)
	}
	var user store.User
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if user, err = authorizedUser(tx.Reader, a); err != nil {
			return err
		}
		changed := false
		for _, change := range []struct {
			to   *string
			from *string
		}{{p.FirstName, &user.FirstName}, {p.LastName, &user.LastName}, {p.Company, &user.Company}} {
			if change.to != nil && *change.from != *change.to {
				*change.from, changed = *change.to, true
			}
		}
		if !changed {
			return nil // nothing to change, or an earlier run did
		}
		user.UpdatedAt = tx.Now()
		tx.UpdateUser(user)
		Record(tx, SelfTenantID(user.ID), user.ID, actUpdated, user.ID)
		return nil
	})
	if err != nil {
		return User{}, err
	}
	return userOf(user), nil
}

// proven holds the caller's password against the one given, and slows guessing
// down as a login does: who has found a token must not find the password with it.
func (s *Service) proven(ctx context.Context, a Access, password, address, field string) (store.User, error) {
	var (
		user store.User
		try  *attempt
	)
	release, err := s.turns.take(ctx, accountLimit.hash(a.UserID.String()))
	if err != nil {
		return store.User{}, err
	}
	defer release()
	err = s.store.View(ctx, func(r *store.Reader) (err error) {
		if user, err = authorizedUser(r, a); err != nil {
			return err
		}
		try = newAttempt(user.Email, address)
		return try.meet(r, user.ID)
	})
	if err != nil {
		return store.User{}, err
	}
	if err := s.admit(ctx, try); err != nil {
		return store.User{}, err
	}
	if _, err := s.check(ctx, user, true, password); err != nil {
		if err = s.failed(ctx, try, err); fault.CodeOf(err) == fault.InvalidCredentials {
			// 401 would tell a client that its token is at fault.
			return store.User{}, fault.Invalid(fault.Field{Field: field, Problem: "is not your password"}).Because(err)
		}
		return store.User{}, err
	}
	return user, s.passed(ctx, try)
}

var errChanging = &fault.Error{Code: fault.Busy, Message: "The password is being changed; try again.", RetryAfter: time.Second}

// ChangePassword replaces the caller's password and revokes every other login
// of theirs.
func (s *Service) ChangePassword(ctx context.Context, a Access, current, next, address string) error {
	if problem := passwordProblem(next); problem != "" {
		return fault.Invalid(fault.Field{Field: "new_password", Problem: problem})
	}
	checked, err := s.proven(ctx, a, current, address, "current_password")
	if err != nil {
		return err
	}
	notice, err := s.notice(letterPassword)
	if err != nil {
		return err
	}
	var made phc
	if err := s.gate.run(ctx, func() { made = s.cfg.Password.hash(next) }); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		user, err := authorizedUser(tx.Reader, a)
		switch {
		case err != nil:
			return err
		case user.PasswordHash == made.String(): // an earlier run
			return nil
		case user.PasswordHash != checked.PasswordHash:
			return errChanging
		}
		login, err := tx.Login(a.UserID, a.LoginID)
		if err != nil {
			return orSignedOut(err, "the login")
		}
		user.PasswordHash = made.String()
		Record(tx, SelfTenantID(user.ID), user.ID, actPasswordChanged, user.ID)
		tell(tx, notice, user)
		if err := revokeAll(tx, user, login.ID); err != nil {
			return err
		}
		login.Epoch = user.LoginEpoch + 1 // to which revokeAll raised it
		tx.PutLogin(login)
		return nil
	})
}

// Login is one signed-in device, as its user sees it.
type Login struct {
	ID         uuid.UUID
	TenantID   uuid.UUID
	Device     string
	Address    string
	Current    bool // the one that asks
	CreatedAt  time.Time
	LastUsedAt time.Time
	ExpiresAt  time.Time
}

// Logins returns a page of the caller's logins that live, newest first. Pages
// may be short; the cursor alone says whether there are more.
func (s *Service) Logins(ctx context.Context, a Access, p paging.Request) (paging.Page[Login], error) {
	before, limit, err := p.Parse(loginPages, a.UserID)
	if err != nil {
		return paging.Page[Login]{}, err
	}
	var page paging.Page[Login]
	err = s.store.View(ctx, func(r *store.Reader) error {
		user, err := authorizedUser(r, a)
		if err != nil {
			return err
		}
		found, more, err := r.Logins(a.UserID, before, limit)
		if err != nil {
			return fmt.Errorf("listing the logins: %w", err)
		}
		page = paging.Of(found, more, func(l store.Login) (Login, uuid.UUID, bool) {
			return loginOf(l, a), l.ID, l.Epoch == user.LoginEpoch && l.ExpiresAt.After(r.Now())
		}, loginPages, a.UserID)
		return nil
	})
	return page, err
}

func loginOf(l store.Login, a Access) Login {
	return Login{
		ID: l.ID, TenantID: l.TenantID, Device: l.Device, Address: l.Address, Current: l.ID == a.LoginID,
		CreatedAt: l.CreatedAt, LastUsedAt: l.LastUsedAt, ExpiresAt: l.ExpiresAt,
	}
}

const loginPages = "logins"

var errNoLogin = fault.New(fault.NotFound, "You have no such login.")

// RevokeLogin signs one of the caller's devices out.
func (s *Service) RevokeLogin(ctx context.Context, a Access, id uuid.UUID) error {
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		_, err := Authorize(tx.Reader, a)
		if seen && id == a.LoginID && fault.CodeOf(err) == fault.InvalidToken {
			return nil
		}
		if err != nil {
			return err
		}
		login, _, err := liveLogin(tx.Reader, a.UserID, id)
		if fault.CodeOf(err) == fault.InvalidToken {
			if seen {
				return nil
			}
			return errNoLogin.Because(err)
		}
		if err != nil {
			return err
		}
		seen = true
		Record(tx, login.TenantID, a.UserID, actLoginRevoked, id)
		tx.DeleteLogin(login)
		return nil
	})
}

// ErrNoTenant answers whoever is no member: to them the tenant does not exist.
var ErrNoTenant = fault.New(fault.NotFound, "You are not a member of such a tenant.")

// SwitchTenant opens another login of the caller on the same device, for
// another tenant of theirs. It proves no more than the present one does and
// ends no later.
func (s *Service) SwitchTenant(ctx context.Context, a Access, tenantID uuid.UUID, address string) (SignedIn, error) {
	in, err := newSignIn("", address)
	if err != nil {
		return SignedIn{}, err
	}
	o := opening{in: in}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if o.user, err = authorizedUser(tx.Reader, a); err != nil {
			return err
		}
		if done, err := o.opened(tx); done || err != nil {
			return err
		}
		login, err := tx.Login(a.UserID, a.LoginID)
		if err != nil {
			return orSignedOut(err, "the login")
		}
		o.in.parent, o.in.device = &login, login.Device
		if err = o.open(tx, s.cfg, tenantID); fault.CodeOf(err) == fault.ValidationFailed {
			err = ErrNoTenant.Because(err)
		}
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	return s.signedIn(o)
}
