package httpapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
)

// RegisterRequest is the body of POST /auth/register.
type RegisterRequest struct {
	Email     string `json:"email"`
	Password  string `json:"password"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Company   string `json:"company"`
	Device    string `json:"device"`
}

// LoginRequest is the body of POST /auth/login.
type LoginRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	TenantID string `json:"tenant_id"`
	Device   string `json:"device"`
}

// RefreshRequest is the body of POST /auth/refresh.
type RefreshRequest struct {
	RefreshToken string `json:"refresh_token"`
}

// LogoutRequest is the optional body of POST /auth/logout.
type LogoutRequest struct {
	Everywhere bool `json:"everywhere"`
}

// User is a user as they see themselves.
type User struct {
	ID            uuid.UUID `json:"id"`
	Email         string    `json:"email"`
	EmailVerified bool      `json:"email_verified"`
	FirstName     string    `json:"first_name"`
	LastName      string    `json:"last_name"`
	Company       string    `json:"company"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

// Tenant is a tenant that the user belongs to.
type Tenant struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
	Role string    `json:"role"`
	Self bool      `json:"self"` // the user's own, that came with the registration
}

// Tokens are what a client signs requests with.
type Tokens struct {
	AccessToken      string    `json:"access_token"`
	RefreshToken     string    `json:"refresh_token"`
	TokenType        string    `json:"token_type"`
	ExpiresIn        int       `json:"expires_in"` // seconds that the access token lives
	RefreshExpiresAt time.Time `json:"refresh_expires_at"`
}

// SignedIn answers whatever signs somebody in.
type SignedIn struct {
	User     User      `json:"user"`
	TenantID uuid.UUID `json:"tenant_id"` // of the tokens
	Tenants  []Tenant  `json:"tenants"`
	Tokens   Tokens    `json:"tokens"`
}

// Refreshed answers a refresh.
type Refreshed struct {
	Tokens Tokens `json:"tokens"`
}

// SignedOut answers a logout.
type SignedOut struct {
	SignedOut  bool `json:"signed_out"`
	Everywhere bool `json:"everywhere"`
}

func register(ctx context.Context, c *call, in RegisterRequest) (SignedIn, error) {
	done, err := c.backend.Auth.Register(ctx, auth.Registration{
		Email: in.Email, Password: in.Password,
		FirstName: in.FirstName, LastName: in.LastName, Company: in.Company,
		Device: in.Device, Address: c.address(), OnceKey: c.onceKey,
	})
	return signedIn(done), err
}

func login(ctx context.Context, c *call, in LoginRequest) (LoggedIn, error) {
	done, err := c.backend.Auth.Login(ctx, auth.Credentials{
		Email: in.Email, Password: in.Password, TenantID: in.TenantID,
		Device: in.Device, Address: c.address(),
	})
	return loggedIn(done), err
}

func refresh(ctx context.Context, c *call, in RefreshRequest) (Refreshed, error) {
	pair, err := c.backend.Auth.Refresh(ctx, in.RefreshToken)
	return Refreshed{Tokens: Tokens(pair)}, err
}

func logout(ctx context.Context, c *call, in LogoutRequest) (SignedOut, error) {
	err := c.backend.Auth.Logout(ctx, c.access, in.Everywhere)
	return SignedOut{SignedOut: true, Everywhere: in.Everywhere}, err
}

func tenantsView(memberships []auth.Membership) []Tenant {
	tenants := make([]Tenant, 0, len(memberships))
	for _, m := range memberships {
		tenants = append(tenants, Tenant{ID: m.TenantID, Name: m.Name, Role: string(m.Role), Self: m.Self})
	}
	return tenants
}

func signedIn(s auth.SignedIn) SignedIn {
	tenants := tenantsView(s.Tenants)
	return SignedIn{User: User(s.User), TenantID: s.TenantID, Tenants: tenants, Tokens: Tokens(s.Tokens)}
}
