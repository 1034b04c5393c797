// Package auth owns who somebody is: registration, passwords, access and
// refresh tokens, and logins, which are signed-in devices.
//
// An access token is checked in two steps. Verify needs no store and proves
// that the service issued it; Authorize runs inside the transaction of the
// request's own work and proves that it still holds, so that a revoked login
// or a lost membership counts at once and costs no round trip of its own.
//
// It knows store, factor, fault and contract. Other rules call Authorize.
package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// Config is what a Service needs to know. A zero value takes the default in the comment.
type Config struct {
	Issuer       string         // iss of access tokens: contract.ServiceName
	Audience     string         // aud of access tokens: contract.ServiceName
	AccessTTL    time.Duration  // of access tokens: 15 minutes
	RefreshTTL   time.Duration  // of a refresh token, and so of an idle login: 30 days
	LoginTTL     time.Duration  // of a login, however often it is refreshed: 90 days
	RefreshGrace time.Duration  // how long a spent refresh token leads to the current one: 30 seconds
	Password     PasswordParams // of new hashes
	HashSlots    int            // passwords hashed at the same time: GOMAXPROCS
	HashQueue    int            // callers waiting for a slot: 64 for each slot
	HashWait     time.Duration  // the longest wait for a slot: 5 seconds
	LinkBase     string         // what the links in mails begin with: http://localhost:3000
	Passkeys     PasskeyConfig
	FactorKeys   *Keyring // seals the secrets of authenticator apps: the keys of access tokens
}

func (c Config) withDefaults() Config {
	c.Issuer = or(c.Issuer, contract.ServiceName)
	c.Audience = or(c.Audience, contract.ServiceName)
	c.AccessTTL = or(c.AccessTTL, 15*time.Minute)
	c.RefreshTTL = or(c.RefreshTTL, 30*24*time.Hour)
	c.LoginTTL = or(c.LoginTTL, 90*24*time.Hour)
	c.RefreshGrace = or(c.RefreshGrace, 30*time.Second)
	c.Password = or(c.Password, PasswordParams{MemoryKiB: 19456, Iterations: 2, Parallelism: 1})
	c.HashSlots = or(c.HashSlots, runtime.GOMAXPROCS(0))
	c.HashQueue = or(c.HashQueue, 64*c.HashSlots)
	c.HashWait = or(c.HashWait, 5*time.Second)
	c.LinkBase = strings.TrimSuffix(or(c.LinkBase, "http://localhost:3000"), "/")
	c.Passkeys = c.Passkeys.withDefaults()
	return c
}

func or[T comparable](value, byDefault T) T {
	var zero T
	if value == zero {
		return byDefault
	}
	return value
}

func (c Config) validate() error {
	var faults []error
	for name, d := range map[string]time.Duration{
		"AccessTTL": c.AccessTTL, "RefreshTTL": c.RefreshTTL, "LoginTTL": c.LoginTTL,
	} {
		if d < time.Second {
			faults = append(faults, fmt.Errorf("%s is %v; at least a second", name, d))
		}
	}
	if c.RefreshGrace < 0 || c.RefreshGrace > time.Hour {
		faults = append(faults, fmt.Errorf("RefreshGrace is %v; 0 to an hour", c.RefreshGrace))
	}
	if c.HashSlots < 1 || c.HashQueue < 0 || c.HashWait < 0 {
		faults = append(faults, fmt.Errorf("HashSlots is %d, HashQueue %d and HashWait %v; at least 1, 0 and 0", c.HashSlots, c.HashQueue, c.HashWait))
	}
	return errors.Join(append(faults, c.Password.validate())...)
}

// Service signs people in and out. It is safe for concurrent use.
type Service struct {
	cfg      Config
	store    *store.Store
	keys     *Keyring
	now      func() time.Time
	gate     *gate
	turns    *turns
	parser   *jwt.Parser
	verified *verified
	sealer   *factor.Sealer
	passkeys *factor.RelyingParty
	dummy    phc // what the password of an unknown address is held against

	mailSecrets, onceSecrets []Secret // what mailed and repeated tokens are derived with
}

// New reports every fault of cfg together.
func New(cfg Config, st *store.Store, keys *Keyring, now func() time.Time) (*Service, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configuring auth: %w", err)
	}
	sealer, err := factor.NewSealer(or(cfg.FactorKeys, keys).secrets())
	if err != nil {
		return nil, fmt.Errorf("configuring auth: %w", err)
	}
	passkeys, err := factor.NewRelyingParty(cfg.Passkeys.Domain, cfg.Passkeys.Name, cfg.Passkeys.Origins)
	if err != nil {
		return nil, fmt.Errorf("configuring auth: %w", err)
	}
	return &Service{
		cfg: cfg, store: st, keys: keys, now: now, sealer: sealer, passkeys: passkeys,
		gate:     newGate(cfg.HashSlots, cfg.HashQueue, cfg.HashWait),
		turns:    newTurns(cfg.HashQueue, cfg.HashWait),
		parser:   newParser(cfg, keys, now),
		verified: newVerified(),
		dummy:    cfg.Password.unmatchable(),

		mailSecrets: keys.Secrets(mailUse), onceSecrets: keys.Secrets(onceUse),
	}, nil
}

// GateStats tells how busy the hashing of passwords is.
func (s *Service) GateStats() GateStats { return s.gate.stats() }

// User is what users may see of their own record.
type User struct {
	ID            uuid.UUID
	Email         string
	EmailVerified bool
	FirstName     string
	LastName      string
	Company       string
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

func userOf(u store.User) User {
	return User{
		ID: u.ID, Email: u.Email, EmailVerified: u.EmailVerified,
		FirstName: u.FirstName, LastName: u.LastName, Company: u.Company,
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
}

// Membership is one tenant of a user.
type Membership struct {
	TenantID uuid.UUID
	Name     string
	Role     store.Role
	Self     bool // the user's self-tenant
}

// TokenPair is what a client signs its requests with.
type TokenPair struct {
	AccessToken      string
	RefreshToken     string
	TokenType        string // "Bearer"
	ExpiresIn        int    // seconds that AccessToken lives
	RefreshExpiresAt time.Time
}

// SignedIn answers who has signed in. With a SecondFactor nobody has yet, and
// it says nothing else: the password was right and more is asked for.
type SignedIn struct {
	SecondFactor *SecondFactor
	User         User
	TenantID     uuid.UUID // of the tokens
	Tenants      []Membership
	Tokens       TokenPair
}

// SelfTenantID is the id of the tenant that every user has alone.
func SelfTenantID(userID uuid.UUID) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("self-tenant-"+userID.String()))
}

// Access is what a verified access token says. It is no authority until
// Authorize has confirmed it.
type Access struct {
	UserID    uuid.UUID
	TenantID  uuid.UUID
	LoginID   uuid.UUID
	Role      store.Role
	TokenID   string
	ExpiresAt time.Time
}

// errSignedOut answers a token that was good once.
var errSignedOut = fault.New(fault.InvalidToken, "You are signed out; sign in again.")

// Authorize confirms, in the transaction that uses it, that the login of a
// lives, its user exists and the membership holds. It returns a with the role
// of now, or fault.InvalidToken.
func Authorize(r *store.Reader, a Access) (Access, error) {
	if _, _, err := liveLogin(r, a.UserID, a.LoginID); err != nil {
		return Access{}, err
	}
	m, err := r.Membership(a.TenantID, a.UserID)
	if err != nil {
		return Access{}, orSignedOut(err, "the membership")
	}
	a.Role = m.Role
	return a, nil
}

// liveLogin returns a login that has not been revoked, and its user.
func liveLogin(r *store.Reader, userID, loginID uuid.UUID) (store.Login, store.User, error) {
	login, err := r.Login(userID, loginID)
	if err != nil {
		return store.Login{}, store.User{}, orSignedOut(err, "the login")
	}
	user, err := r.User(userID)
	if err != nil {
		return store.Login{}, store.User{}, orSignedOut(err, "the user")
	}
	if login.Epoch != user.LoginEpoch {
		return store.Login{}, store.User{}, errSignedOut.Because(errors.New("every login of the user was revoked"))
	}
	return login, user, nil
}

// orSignedOut turns the absence of what a token stands on into its refusal.
func orSignedOut(err error, what string) error {
	err = fmt.Errorf("reading %s: %w", what, err)
	if errors.Is(err, store.ErrNotFound) {
		return errSignedOut.Because(err)
	}
	return err
}

// newID makes a UUIDv7, which sorts by its time.
func newID() (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, fmt.Errorf("making an id: %w", err)
	}
	return id, nil
}

// signIn is the login that Register and Login open, made outside of their
// transaction so that every run of it writes the same.
type signIn struct {
	id     uuid.UUID
	token  refreshToken
	device string
	from   string
	proof  []string     // the methods that it was opened with
	parent *store.Login // the login that this one is opened from, if any: it lends its proof and its end
}

func newSignIn(device, address string) (signIn, error) {
	id, err := newID()
	return signIn{
		id: id, token: newRefreshToken(),
		device: clipped(device, maxLabel), from: clipped(address, maxLabel),
		proof: []string{methodPassword},
	}, err
}

// open writes the login, and returns when its refresh token expires.
func (in signIn) open(tx *store.Tx, cfg Config, user store.User, tenantID uuid.UUID) time.Time {
	now := tx.Now()
	login := store.Login{
		ID: in.id, UserID: user.ID, TenantID: tenantID, Device: in.device, Address: in.from,
		Epoch: user.LoginEpoch, Current: in.token.hash(), CreatedAt: now, LastUsedAt: now,
		EndsAt: now.Add(cfg.LoginTTL),
		Proof:  store.Proof{ID: in.id, At: now, Methods: in.proof},
	}
	if in.parent != nil {
		login.Proof, login.EndsAt = in.parent.Proof, in.parent.EndsAt
	}
	login.ExpiresAt = earlier(now.Add(cfg.RefreshTTL), login.EndsAt)
	Record(tx, tenantID, user.ID, actLoginOpened, in.id)
	tx.PutLogin(login)
	tx.PutRefreshToken(store.RefreshToken{
		Hash: login.Current, UserID: user.ID, LoginID: in.id, ExpiresAt: login.ExpiresAt,
	})
	return login.ExpiresAt
}

// opening is a login of a user on its way into the store. It is filled in by
// the transaction that opens it.
type opening struct {
	in      signIn
	user    store.User
	member  store.Membership // whose tenant the login is for
	tenants []Membership
	expires time.Time // of the refresh token
}

// opened reports whether an earlier run of the transaction opened the login.
func (o *opening) opened(tx *store.Tx) (bool, error) {
	if !tx.Again() || o.user.ID == uuid.Nil {
		return false, nil
	}
	login, err := tx.Login(o.user.ID, o.in.id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the login: %w", err)
	}
	o.expires = login.ExpiresAt
	return true, nil
}

// open writes the login, for a tenant of the user's or, with uuid.Nil, for their own.
func (o *opening) open(tx *store.Tx, cfg Config, tenantID uuid.UUID) (err error) {
	if o.member, o.tenants, err = choose(tx, o.user.ID, tenantID); err != nil {
		return err
	}
	o.expires = o.in.open(tx, cfg, o.user, o.member.TenantID)
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// pair signs the access token that goes with a refresh token.
func (s *Service) pair(a Access, token refreshToken, expiresAt time.Time) (TokenPair, error) {
	access, err := s.sign(a)
	if err != nil {
		return TokenPair{}, err
	}
	return TokenPair{
		AccessToken: access, RefreshToken: token.text(), TokenType: "Bearer",
		ExpiresIn: int(s.cfg.AccessTTL / time.Second), RefreshExpiresAt: expiresAt,
	}, nil
}

// Logout revokes the login of a at once, or with everywhere every login of its user.
func (s *Service) Logout(ctx context.Context, a Access, everywhere bool) error {
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		login, user, err := liveLogin(tx.Reader, a.UserID, a.LoginID)
		if seen && fault.CodeOf(err) == fault.InvalidToken {
			return nil
		}
		if err != nil {
			return err
		}
		seen = true
		if !everywhere {
			Record(tx, login.TenantID, user.ID, actLoginRevoked, login.ID)
			tx.DeleteLogin(login)
			return nil
		}
		Record(tx, SelfTenantID(user.ID), user.ID, actLoginsRevoked, user.ID)
		return revokeAll(tx, user)
	})
}

// maxTidied bounds the logins removed along with a revocation of all.
const maxTidied = 100

// revokeAll ends every login of user however many there are: raising the epoch
// does it at once. The records of the first of them are removed along with it;
// those of the rest are swept when they expire. The records of kept are left to
// the caller.
func revokeAll(tx *store.Tx, user store.User, kept ...uuid.UUID) error {
	user.LoginEpoch++
	user.UpdatedAt = tx.Now()
	tx.UpdateUser(user)
	logins, _, err := tx.Logins(user.ID, uuid.Nil, maxTidied)
	if err != nil {
		return fmt.Errorf("listing the logins: %w", err)
	}
	for _, l := range logins {
		if !slices.Contains(kept, l.ID) {
			tx.DeleteLogin(l)
		}
	}
	return nil
}
