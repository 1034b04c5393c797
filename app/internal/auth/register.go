package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
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
	OnceKey   string // optional: an idempotency key
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
// opens a first login and mails a token that verifies the address, all in one
// transaction. Of any number who register one address at the same time, one succeeds.
//
// Repeated with its idempotency key and the same password, it answers with the
// same user, login and refresh token.
func (s *Service) Register(ctx context.Context, r Registration) (SignedIn, error) {
	r, faults := r.normal()
	if len(faults) > 0 {
		return SignedIn{}, fault.Invalid(faults...)
	}
	once, err := r.once()
	if err != nil {
		return SignedIn{}, err
	}
	if answer, found, err := s.registered(ctx, once, r.Password); found || err != nil {
		return answer, err
	}
	n, err := s.newcomer(r)
	if err != nil {
		return SignedIn{}, err
	}
	var hash phc
	if err := s.gate.run(ctx, func() { hash = s.cfg.Password.hash(r.Password) }); err != nil {
		return SignedIn{}, err
	}
	n.user.PasswordHash = hash.String()

	var expires time.Time
	meanwhile := false // another request with the same key was first
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		owner, err := tx.UserIDByEmail(r.Email)
		if err == nil && owner == n.user.ID { // an earlier run took it
			login, _, err := liveLogin(tx.Reader, n.user.ID, n.in.id)
			expires = login.ExpiresAt
			return err
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("looking up the address: %w", err)
		}
		taken := err == nil
		if meanwhile, err = once.Recall(tx.Reader, &keptRegistration{}); meanwhile || err != nil {
			return err
		}
		if taken {
			return errEmailTaken
		}
		expires = n.enter(tx, s.cfg)
		return once.Keep(tx, n.user.ID, keptRegistration{LoginID: n.in.id, Seed: n.seed, KeyID: s.onceSecrets[0].ID, ExpiresAt: expires})
	})
	if err != nil {
		return SignedIn{}, err
	}
	if meanwhile {
		answer, _, err := s.registered(ctx, once, r.Password)
		return answer, err
	}
	return s.signedIn(n.user, n.in, n.member, expires, []Membership{
		{TenantID: n.tenant.ID, Name: n.tenant.Name, Role: n.member.Role, Self: true},
	})
}

// newcomer is everything that a registration writes, made outside of its
// transaction so that every run of it writes the same.
type newcomer struct {
	user   store.User
	tenant store.Tenant
	member store.Membership
	in     signIn
	seed   []byte // of the refresh token
	letter store.Letter
	token  store.TokenHash // of the letter
}

func (s *Service) newcomer(r Registration) (n newcomer, err error) {
	userID, err := newID()
	if err != nil {
		return newcomer{}, err
	}
	if n.in, err = newSignIn(r.Device, r.Address); err != nil {
		return newcomer{}, err
	}
	n.seed = random(seedBytes)
	n.in.token = firstToken(s.onceSecrets[0], n.seed)
	created := s.now().UTC().Truncate(time.Millisecond)
	n.user = store.User{
		ID: userID, Email: r.Email, FirstName: r.FirstName, LastName: r.LastName, Company: r.Company,
		CreatedAt: created, UpdatedAt: created,
	}
	n.tenant = store.Tenant{ID: SelfTenantID(userID), Name: r.tenantName(), CreatedAt: created, UpdatedAt: created}
	n.member = store.Membership{TenantID: n.tenant.ID, UserID: userID, Role: store.RoleOwner, CreatedAt: created}
	n.letter, n.token, err = s.NewLetter(LetterVerify, userID, r.Email, verifyTTL)
	return n, err
}

// enter writes the newcomer, and returns when the refresh token expires.
func (n newcomer) enter(tx *store.Tx, cfg Config) time.Time {
	tx.CreateUser(n.user)
	tx.PutTenant(n.tenant)
	tx.PutMembership(n.member)
	tx.PutOneTimeToken(store.OneTimeToken{
		Hash: n.token, UserID: n.user.ID, Purpose: store.PurposeVerify, ExpiresAt: n.letter.ExpiresAt,
	})
	tx.PutLetter(n.letter)
	Record(tx, n.tenant.ID, n.user.ID, actRegistered, n.user.ID)
	return n.in.open(tx, cfg, n.user, n.tenant.ID)
}

// onceUse names the secrets that first refresh tokens are derived with.
const onceUse = "first refresh tokens"

// firstToken derives the refresh token that a registration answers with, so
// that it can be answered again although the store has no token.
func firstToken(secret Secret, seed []byte) refreshToken {
	mac := hmac.New(sha256.New, secret.Value)
	mac.Write(seed)
	return refreshToken(mac.Sum(nil))
}

// keptRegistration is what is kept of the answer to a registration. Its tokens
// are made again.
type keptRegistration struct {
	LoginID   uuid.UUID `json:"login_id"`
	Seed      []byte    `json:"seed"`
	KeyID     string    `json:"key_id"`
	ExpiresAt time.Time `json:"expires_at"` // of the refresh token
}

// once leaves the password out: a fast hash of it must not be in the store.
func (r Registration) once() (Once, error) {
	key := r.OnceKey
	r.Password, r.OnceKey, r.Address = "", "", ""
	return NewOnce(key, r, "register")
}

// registered answers a registration that was made before. Who asks again knows
// the password that it was made with, or gets the answer of another form.
func (s *Service) registered(ctx context.Context, once Once, password string) (answer SignedIn, found bool, err error) {
	var (
		kept   keptRegistration
		user   store.User
		tenant store.Tenant
	)
	if !once.asked {
		return SignedIn{}, false, nil
	}
	err = s.store.View(ctx, func(r *store.Reader) error {
		var userID uuid.UUID
		if userID, found, err = once.recallOf(r, &kept); err != nil || !found {
			return err
		}
		if user, err = r.User(userID); err != nil {
			return fmt.Errorf("reading the user: %w", err)
		}
		tenant, err = r.Tenant(SelfTenantID(userID))
		return err
	})
	if err != nil || !found {
		return SignedIn{}, false, err
	}
	if _, err := s.check(ctx, user, true, password); err != nil {
		if fault.CodeOf(err) == fault.InvalidCredentials {
			err = errOtherForm.Because(err)
		}
		return SignedIn{}, false, err
	}
	for _, secret := range s.onceSecrets {
		if secret.ID == kept.KeyID {
			in := signIn{id: kept.LoginID, token: firstToken(secret, kept.Seed)}
			m := store.Membership{TenantID: tenant.ID, UserID: user.ID, Role: store.RoleOwner}
			answer, err = s.signedIn(user, in, m, kept.ExpiresAt, []Membership{
				{TenantID: tenant.ID, Name: tenant.Name, Role: m.Role, Self: true},
			})
			return answer, true, err
		}
	}
	return SignedIn{}, false, nil // its key was taken out of use: the address is simply taken
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
