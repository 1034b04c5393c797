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
	r.FirstName, problem = NormalName(r.FirstName, 1, maxName)
	refuse("first_name", problem)
	r.LastName, problem = NormalName(r.LastName, 1, maxName)
	refuse("last_name", problem)
	r.Company, problem = NormalName(r.Company, 0, maxCompany)
	refuse("company", problem)
	return r, faults
}

// misleading are characters that make a name look like what it is not, or part
// of the text around it: control characters, line breaks, changes of direction.
func misleading(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// NormalName trims and composes a name of least to most characters, and says
// what is wrong with it, or "".
func NormalName(s string, least, most int) (name, problem string) {
	name = norm.NFC.String(strings.TrimSpace(s))
	switch n := utf8.RuneCountInString(name); {
	case n < least && least == 1:
		return "", "is required"
	case n < least || n > most:
		return "", fmt.Sprintf("must be %d to %d characters", least, most)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, misleading):
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
	if answer, found, err := s.registered(ctx, once, r); found || err != nil {
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

	o := opening{in: n.in, user: n.user, member: n.member, tenants: []Membership{
		{TenantID: n.tenant.ID, Name: n.tenant.Name, Role: n.member.Role, Self: true},
	}}
	asks := registerLimit.hash(addressSubject(r.Address))
	var taken, meanwhile bool // by somebody, or by another request with the same key
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		taken, meanwhile = false, false
		owner, err := tx.UserIDByEmail(r.Email)
		if err == nil && owner == n.user.ID { // an earlier run took it
			login, _, err := liveLogin(tx.Reader, n.user.ID, n.in.id)
			o.expires = login.ExpiresAt
			return err
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("looking up the address: %w", err)
		}
		known := err == nil
		if meanwhile, err = once.Recall(tx.Reader, &keptRegistration{}); meanwhile || err != nil {
			return err
		}
		asked, err := tx.Throttle(asks)
		if err != nil {
			return fmt.Errorf("reading the address's throttle: %w", err)
		}
		if wait := registerLimit.wait(asked, tx.Now()); wait > 0 && asked.Last != n.user.ID {
			return errTooMany(wait)
		}
		if known {
			taken = true
			registerLimit.count(tx, asked, n.user.ID)
			return nil
		}
		o.expires = n.enter(tx, s.cfg)
		return once.Keep(tx, n.user.ID, keptRegistration{LoginID: n.in.id, Seed: n.seed, KeyID: s.onceSecrets[0].ID, ExpiresAt: o.expires})
	})
	switch {
	case err != nil:
		return SignedIn{}, err
	case taken:
		return SignedIn{}, errEmailTaken
	case meanwhile:
		answer, _, err := s.registered(ctx, once, r)
		return answer, err
	}
	return s.signedIn(o)
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
// the password that it was made with, or gets the answer of another form: they
// are slowed down as at a login. Since then the account may have got a second
// factor, which no answer goes around.
func (s *Service) registered(ctx context.Context, once Once, form Registration) (answer SignedIn, found bool, err error) {
	if !once.asked {
		return SignedIn{}, false, nil
	}
	var (
		kept    keptRegistration
		tenant  store.Tenant
		factors store.Factors
		o       opening
		try     *attempt
	)
	release, err := s.turns.take(ctx, accountLimit.hash(form.Email))
	if err != nil {
		return SignedIn{}, false, err
	}
	defer release()
	err = s.store.View(ctx, func(r *store.Reader) error {
		var userID uuid.UUID
		if userID, found, err = once.recallOf(r, &kept); err != nil || !found {
			return err
		}
		if o.user, err = r.User(userID); err != nil {
			return fmt.Errorf("reading the user: %w", err)
		}
		if factors, err = r.Factors(userID); err != nil {
			return fmt.Errorf("reading the second factors: %w", err)
		}
		if tenant, err = r.Tenant(SelfTenantID(userID)); err != nil {
			return fmt.Errorf("reading the tenant: %w", err)
		}
		try = newAttempt(o.user.Email, form.Address)
		return try.meet(r, userID)
	})
	if err != nil || !found {
		return SignedIn{}, false, err
	}
	if err := s.admit(ctx, try); err != nil {
		return SignedIn{}, false, err
	}
	if _, err := s.check(ctx, o.user, true, form.Password); err != nil {
		if err = s.failed(ctx, try, err); fault.CodeOf(err) == fault.InvalidCredentials {
			err = errOtherForm.Because(err)
		}
		return SignedIn{}, false, err
	}
	if err := s.passed(ctx, try); err != nil {
		return SignedIn{}, false, err
	}
	for _, secret := range s.onceSecrets {
		if secret.ID == kept.KeyID && !factors.Any() {
			o.in, o.expires = signIn{id: kept.LoginID, token: firstToken(secret, kept.Seed)}, kept.ExpiresAt
			o.member = store.Membership{TenantID: tenant.ID, UserID: o.user.ID, Role: store.RoleOwner}
			o.tenants = []Membership{{TenantID: tenant.ID, Name: tenant.Name, Role: store.RoleOwner, Self: true}}
			answer, err = s.signedIn(o)
			return answer, true, err
		}
	}
	return SignedIn{}, true, errEmailTaken // its key was taken out of use, or there is a second factor: who it is signs in
}

func (r Registration) tenantName() string {
	if r.Company != "" {
		return r.Company
	}
	return r.FirstName + " " + r.LastName
}

// signedIn is the answer once the login is in the store.
func (s *Service) signedIn(o opening) (SignedIn, error) {
	access := Access{UserID: o.user.ID, TenantID: o.member.TenantID, LoginID: o.in.id, Role: o.member.Role}
	tokens, err := s.pair(access, o.in.token, o.expires)
	if err != nil {
		return SignedIn{}, err
	}
	return SignedIn{User: userOf(o.user), TenantID: o.member.TenantID, Tenants: o.tenants, Tokens: tokens}, nil
}
