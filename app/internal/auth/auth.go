// Package auth owns who somebody is: passwords, access and refresh tokens,
// logins and registration.
package auth

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store"
)

// Config is what a Service needs to know. Zero values take the default in the comment.
type Config struct {
	Issuer       string        // iss of access tokens: contract.ServiceName
	Audience     string        // aud of access tokens: contract.ServiceName
	AccessTTL    time.Duration // of access tokens: 15 m
	RefreshTTL   time.Duration // of refresh tokens, from each use: 30 d
	LoginTTL     time.Duration // of a login, however often it is refreshed: 90 d
	RefreshGrace time.Duration // in which a spent refresh token still leads to the current one: 30 s
	Password     PasswordParams
	HashSlots    int           // passwords hashed at the same time: GOMAXPROCS
	HashQueue    int           // callers waiting for a slot: 64 × HashSlots
	HashWait     time.Duration // the longest wait for a slot: 5 s
}

// PasswordParams are Argon2id's. The zero value is 19456 KiB, 2 iterations, 1 lane.
type PasswordParams struct {
	MemoryKiB   uint32
	Iterations  uint32
	Parallelism uint8
}

// Registration is the form of Register.
type Registration struct {
	Email, Password, FirstName, LastName, Company string
	Device, Address                               string // of the login it opens
}

// Credentials is the form of Login.
type Credentials struct {
	Email, Password string
	TenantID        string // optional: the self-tenant
	Device, Address string
}

// User is what a user may see of their own record.
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

// Membership is one tenant of a user.
type Membership struct {
	TenantID uuid.UUID
	Name     string
	Role     store.Role
	Self     bool // the user's self-tenant
}

// TokenPair is what a client signs requests with.
type TokenPair struct {
	AccessToken      string
	RefreshToken     string
	TokenType        string // "Bearer"
	ExpiresIn        int    // seconds that AccessToken lives
	RefreshExpiresAt time.Time
}

// SignedIn answers Register and Login.
type SignedIn struct {
	User     User
	TenantID uuid.UUID // of the tokens
	Tenants  []Membership
	Tokens   TokenPair
}

// Access is what a verified access token says. It is no authority until
// Authorize has confirmed it in the transaction that uses it.
type Access struct {
	UserID, TenantID, LoginID uuid.UUID
	Role                      store.Role
	TokenID                   string
	ExpiresAt                 time.Time
}

var errNotYet = errors.New("not yet")

// Service signs people in and out. It is safe for concurrent use.
type Service struct{}

// New reports every fault of cfg together.
func New(cfg Config, st *store.Store, keys *Keyring, now func() time.Time) (*Service, error) {
	return nil, errNotYet
}

// Register makes a user, their self-tenant and a login.
func (s *Service) Register(ctx context.Context, r Registration) (SignedIn, error) {
	return SignedIn{}, errNotYet
}

// Login opens a login.
func (s *Service) Login(ctx context.Context, c Credentials) (SignedIn, error) {
	return SignedIn{}, errNotYet
}

// Refresh rotates a refresh token.
func (s *Service) Refresh(ctx context.Context, refreshToken string) (TokenPair, error) {
	return TokenPair{}, errNotYet
}

// Logout revokes the login of a, or every login of its user.
func (s *Service) Logout(ctx context.Context, a Access, everywhere bool) error { return errNotYet }

// Verify checks signature and claims, without the store.
func (s *Service) Verify(token string) (Access, error) { return Access{}, errNotYet }

// GateStats are gauges and counts of the hash gate.
type GateStats struct {
	Slots, Running, Waiting int
	Refused                 uint64 // since the start: queue full or wait over
}

// GateStats tells how busy password hashing is.
func (s *Service) GateStats() GateStats { return GateStats{} }

// Authorize confirms in the caller's own transaction that the login is live,
// the user exists and the membership holds; it returns a with the role of now.
func Authorize(r *store.Reader, a Access) (Access, error) { return a, errNotYet }

// Keyring holds the keys of access tokens: the first signs, all verify.
type Keyring struct{}

// ParseKeyring reads one base64 key a line; it reports every fault together.
func ParseKeyring(data []byte) (*Keyring, error) { return nil, errNotYet }

// LoadKeyring parses the file at path.
func LoadKeyring(path string) (*Keyring, error) { return nil, errNotYet }

// GenerateKey returns a new random line for the file.
func GenerateKey() string { return "" }
