package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// Credentials is the form of Login.
type Credentials struct {
	Email    string
	Password string
	TenantID string // optional: the self-tenant
	Device   string // a label of the login
	Address  string // where the request came from
}

const (
	maxListed   = MaxTenants + 1 // tenants in an answer: the self-tenant comes on top
	loginTrials = 3              // of a password whose hash changes meanwhile
)

// errCredentials is the one answer to an unknown address and a wrong password.
var errCredentials = fault.New(fault.InvalidCredentials, "The email address or the password is wrong.")

// Login opens a login for who knows the password. An unknown address costs the
// same as a wrong password: a read of the same keys and one hash.
func (s *Service) Login(ctx context.Context, c Credentials) (SignedIn, error) {
	tenantID, err := tenantOf(c.TenantID)
	if err != nil {
		return SignedIn{}, err
	}
	email, problem := normalEmail(c.Email)
	if problem != nil {
		email = "" // which nobody has
	}
	release, err := s.turns.take(ctx, accountLimit.hash(email))
	if err != nil {
		return SignedIn{}, err
	}
	defer release()
	user, known, try, err := s.find(ctx, email, c.Address)
	if err != nil {
		return SignedIn{}, err
	}
	if err := s.admit(ctx, try); err != nil {
		return SignedIn{}, err
	}
	in, err := newSignIn(c.Device, c.Address)
	if err != nil {
		return SignedIn{}, err
	}
	var wait pending
	wait.token, wait.record = s.newChallenge(forLogin)
	for range loginTrials {
		renewed, err := s.check(ctx, user, known, c.Password)
		if err != nil {
			return SignedIn{}, s.failed(ctx, try, err)
		}
		if err := s.passed(ctx, try); err != nil {
			return SignedIn{}, err
		}
		answer, current, err := s.enter(ctx, user, renewed, in, wait, tenantID)
		if err != nil {
			return SignedIn{}, err
		}
		if current.PasswordHash == user.PasswordHash {
			return answer, nil
		}
		user = current
	}
	return SignedIn{}, &fault.Error{Code: fault.Busy, Message: "The password is being changed; try again.", RetryAfter: time.Second}
}

// find returns the user with an address in its normal form, and what earlier
// tries there and from have left; where there is no user it reads as much.
func (s *Service) find(ctx context.Context, email, from string) (user store.User, known bool, try *attempt, err error) {
	try = newAttempt(email, from)
	err = s.store.View(ctx, func(r *store.Reader) error {
		var err error
		if user, known, err = lookUp(r, email); err != nil {
			return err
		}
		return try.meet(r, user.ID)
	})
	return user, known, try, err
}

// check holds the password against the user's hash, or against one that no
// password has. It returns a new hash where the parameters have risen.
func (s *Service) check(ctx context.Context, user store.User, known bool, password string) (renewed string, err error) {
	hash := s.dummy
	if known {
		if hash, err = parsePHC(user.PasswordHash); err != nil {
			return "", fmt.Errorf("user %s: %w", user.ID, err)
		}
	}
	matches := false
	err = s.gate.run(ctx, func() {
		matches = hash.matches(password) && known
		if matches && s.cfg.Password.risenFrom(hash.params) {
			renewed = s.cfg.Password.hash(password).String()
		}
	})
	if err == nil && !matches {
		err = errCredentials
	}
	return renewed, err
}

// enter opens the login if the user's hash is still the one that was checked,
// or asks for their second factor; current is the user as the transaction found them.
func (s *Service) enter(
	ctx context.Context, checked store.User, renewed string, in signIn, wait pending, tenantID uuid.UUID,
) (answer SignedIn, current store.User, err error) {
	o := opening{in: in}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if current, err = tx.User(checked.ID); errors.Is(err, store.ErrNotFound) {
			return errCredentials.Because(err)
		} else if err != nil {
			return fmt.Errorf("reading the user: %w", err)
		}
		o.user = current
		if done, err := o.opened(tx); done || err != nil {
			current.PasswordHash = checked.PasswordHash // which that run may have renewed
			return err
		}
		if current.PasswordHash != checked.PasswordHash {
			return nil
		}
		if wait.factors, err = tx.Factors(current.ID); err != nil {
			return fmt.Errorf("reading the second factors: %w", err)
		}
		next := current
		if renewed != "" {
			next.PasswordHash, next.UpdatedAt = renewed, tx.Now()
			tx.UpdateUser(next)
		}
		if wait.factors.Any() {
			wait.begin(tx, next, tenantID, in.device)
			return nil
		}
		return o.open(tx, s.cfg, tenantID)
	})
	if err != nil || current.PasswordHash != checked.PasswordHash {
		return SignedIn{}, current, err
	}
	if wait.factors.Any() {
		answer, err = s.asks(current, wait)
		return answer, current, err
	}
	answer, err = s.signedIn(o)
	return answer, current, err
}

// choose returns the membership to sign in with, of the self-tenant for
// uuid.Nil, and the user's tenants with their names.
func choose(tx *store.Tx, userID, tenantID uuid.UUID) (store.Membership, []Membership, error) {
	self := SelfTenantID(userID)
	wanted := or(tenantID, self)
	all, err := tx.Memberships(userID, uuid.Nil, maxListed)
	if err != nil {
		return store.Membership{}, nil, fmt.Errorf("listing the tenants: %w", err)
	}
	var chosen store.Membership
	if i := slices.IndexFunc(all, func(m store.Membership) bool { return m.TenantID == wanted }); i >= 0 {
		chosen = all[i]
	} else if chosen, err = tx.Membership(wanted, userID); errors.Is(err, store.ErrNotFound) {
		return store.Membership{}, nil, fault.Invalid(fault.Field{Field: "tenant_id", Problem: "is not one of your tenants"})
	} else if err != nil {
		return store.Membership{}, nil, fmt.Errorf("reading the membership: %w", err)
	}
	listed := make([]Membership, 0, len(all))
	for _, m := range all {
		tenant, err := tx.Tenant(m.TenantID)
		if err != nil {
			return store.Membership{}, nil, fmt.Errorf("reading tenant %s: %w", m.TenantID, err)
		}
		listed = append(listed, Membership{TenantID: m.TenantID, Name: tenant.Name, Role: m.Role, Self: m.TenantID == self})
	}
	return chosen, listed, nil
}
