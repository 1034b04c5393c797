package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// Bounds of what people write about themselves, in characters.
const (
	maxName    = 100
	maxCompany = 200
	maxLabel   = 200 // of a device or an address, cut rather than refused
)

// Registration is the form of Register.
type Registration struct {
	Email     string
	Password  string
	FirstName string
	LastName  string
	Company   string // optional
	Device    string // a label of the login that it opens
	Address   string // where the request came from
}

// normal returns the form as it is kept, and every field that breaks a rule.
func (r Registration) normal() (Registration, []fault.Field) {
	var faults []fault.Field
	refuse := func(field, problem string) {
		if problem != "" {
			faults = append(faults, fault.Field{Field: field, Problem: problem})
		}
	}
	email, err := normalEmail(r.Email)
	if err != nil {
		refuse("email", err.Error())
	}
	r.Email = email
	refuse("password", passwordProblem(r.Password))
	var problem string
	r.FirstName, problem = normalName(r.FirstName, 1, maxName)
	refuse("first_name", problem)
	r.LastName, problem = normalName(r.LastName, 1, maxName)
	refuse("last_name", problem)
	r.Company, problem = normalName(r.Company, 0, maxCompany)
	refuse("company", problem)
	return r, faults
}

// normalName trims and composes a name, and says what is wrong with it, or "".
func normalName(s string, least, most int) (name, problem string) {
	name = norm.NFC.String(strings.TrimSpace(s))
	switch n := utf8.RuneCountInString(name); {
	case n < least && least == 1:
		return "", "is required"
	case n < least || n > most:
		return "", fmt.Sprintf("must be %d to %d characters", least, most)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", "must not contain control characters"
	}
	return name, ""
}

// clipped makes a label of what a client says of itself: printable, and no
// longer than most characters.
func clipped(s string, most int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s))
	for i := range s {
		if most--; most < 0 {
			return s[:i]
		}
	}
	return s
}

var errEmailTaken = fault.New(fault.EmailTaken, "There is an account with this email address; sign in, or reset its password.")

// Register makes a user with their self-tenant, of which they are the owner,
// and opens a first login, all in one transaction. Of any number who register
// one address at the same time, one succeeds.
func (s *Service) Register(ctx context.Context, r Registration) (SignedIn, error) {
	r, faults := r.normal()
	if len(faults) > 0 {
		return SignedIn{}, fault.Invalid(faults...)
	}
	userID, err := newID()
	if err != nil {
		return SignedIn{}, err
	}
	in, err := newSignIn(r.Device, r.Address)
	if err != nil {
		return SignedIn{}, err
	}
	var hash phc
	if err := s.gate.run(ctx, func() { hash = s.cfg.Password.hash(r.Password) }); err != nil {
		return SignedIn{}, err
	}

	created := s.now().UTC().Truncate(time.Millisecond)
	user := store.User{
		ID: userID, Email: r.Email, FirstName: r.FirstName, LastName: r.LastName, Company: r.Company,
		PasswordHash: hash.String(), CreatedAt: created, UpdatedAt: created,
	}
	tenant := store.Tenant{ID: SelfTenantID(userID), Name: r.tenantName(), CreatedAt: created, UpdatedAt: created}
	member := store.Membership{TenantID: tenant.ID, UserID: userID, Role: store.RoleOwner, CreatedAt: created}
	var expires time.Time
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		switch owner, err := tx.UserIDByEmail(r.Email); {
		case err == nil && owner == userID: // an earlier run took it
			login, _, err := liveLogin(tx.Reader, userID, in.id)
			expires = login.ExpiresAt
			return err
		case err == nil:
			return errEmailTaken
		case !errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("looking up the address: %w", err)
		}
		tx.CreateUser(user)
		tx.PutTenant(tenant)
		tx.PutMembership(member)
		expires = in.open(tx, s.cfg, user, tenant.ID)
		return nil
	})
	if err != nil {
		return SignedIn{}, err
	}
	return s.signedIn(user, in, member, expires, []Membership{
		{TenantID: tenant.ID, Name: tenant.Name, Role: member.Role, Self: true},
	})
}

func (r Registration) tenantName() string {
	if r.Company != "" {
		return r.Company
	}
	return r.FirstName + " " + r.LastName
}

// signedIn is the answer once the login is in the store.
func (s *Service) signedIn(user store.User, in signIn, m store.Membership, expires time.Time, tenants []Membership) (SignedIn, error) {
	access := Access{UserID: user.ID, TenantID: m.TenantID, LoginID: in.id, Role: m.Role}
	tokens, err := s.pair(access, in.token, expires)
	if err != nil {
		return SignedIn{}, err
	}
	return SignedIn{User: userOf(user), TenantID: m.TenantID, Tenants: tenants, Tokens: tokens}, nil
}
