package httpapi

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/session"
)

// UpdateUserRequest is the body of PATCH /users/me; absent members stay as they are.
type UpdateUserRequest struct {
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
	Company   *string `json:"company"`
}

// DeleteUserRequest is the body of DELETE /users/me.
type DeleteUserRequest struct {
	Password string `json:"password"`
}

// ChangePasswordRequest is the body of POST /users/me/password.
type ChangePasswordRequest struct {
	CurrentPassword string `json:"current_password"`
	NewPassword     string `json:"new_password"`
}

// ForgotPasswordRequest is the body of POST /auth/password/forgot.
type ForgotPasswordRequest struct {
	Email string `json:"email"`
}

// ResetPasswordRequest is the body of POST /auth/password/reset.
type ResetPasswordRequest struct {
	Token    string `json:"token"`
	Password string `json:"password"`
}

// MailedTokenRequest is the body of requests that need nothing but a mailed token.
type MailedTokenRequest struct {
	Token string `json:"token"`
}

// SwitchTenantRequest is the body of POST /auth/token.
type SwitchTenantRequest struct {
	TenantID uuid.UUID `json:"tenant_id"`
}

// Done answers an act that has nothing else to tell.
type Done struct {
	Done bool `json:"done"`
}

// Login is one signed-in device.
type Login struct {
	ID         uuid.UUID `json:"id"`
	TenantID   uuid.UUID `json:"tenant_id"`
	Device     string    `json:"device"`
	Address    string    `json:"address"`
	Current    bool      `json:"current"` // the one that asks
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// Export is a page of all that is kept of a user.
type Export struct {
	User       *User     `json:"user"`    // of the first page
	Tenants    []Tenant  `json:"tenants"` // likewise
	Factors    *Factors  `json:"factors"` // likewise; what is secret of them is not shown again
	Logins     []Login   `json:"logins"`
	Sessions   []Session `json:"sessions"`
	NextCursor *string   `json:"next_cursor"` // null after the last page
}

// KeySet answers GET /.well-known/jwks.json (RFC 7517).
type KeySet struct {
	Keys []auth.JWK `json:"keys"`
}

func getMe(ctx context.Context, c *call) (User, error) {
	me, err := c.backend.Auth.Me(ctx, c.access)
	return User(me), err
}

func updateMe(ctx context.Context, c *call, in UpdateUserRequest) (User, error) {
	me, err := c.backend.Auth.UpdateMe(ctx, c.access, auth.Profile(in))
	return User(me), err
}

func deleteMe(ctx context.Context, c *call, in DeleteUserRequest) (Deleted, error) {
	err := c.backend.Auth.DeleteMe(ctx, c.access, in.Password, c.address())
	return Deleted{ID: c.access.UserID, Deleted: true}, err
}

func exportMe(ctx context.Context, c *call) (Export, error) {
	e, err := c.backend.Auth.Export(ctx, c.access, c.query["cursor"])
	if err != nil {
		return Export{}, err
	}
	out := Export{
		User: (*User)(e.User), Tenants: tenantsView(e.Tenants),
		Logins: make([]Login, 0, len(e.Logins)), Sessions: make([]Session, 0, len(e.Sessions)),
	}
	for _, l := range e.Logins {
		out.Logins = append(out.Logins, Login(l))
	}
	for _, s := range e.Sessions {
		out.Sessions = append(out.Sessions, sessionView(session.Of(s)))
	}
	if e.Factors != nil {
		view := factorsView(*e.Factors)
		out.Factors = &view
	}
	if e.Next != "" {
		out.NextCursor = &e.Next
	}
	return out, nil
}

func changePassword(ctx context.Context, c *call, in ChangePasswordRequest) (Done, error) {
	return Done{true}, c.backend.Auth.ChangePassword(ctx, c.access, in.CurrentPassword, in.NewPassword, c.address())
}

func forgotPassword(ctx context.Context, c *call, in ForgotPasswordRequest) (Done, error) {
	return Done{true}, c.backend.Auth.ForgotPassword(ctx, in.Email, c.address())
}

func resetPassword(ctx context.Context, c *call, in ResetPasswordRequest) (Done, error) {
	return Done{true}, c.backend.Auth.ResetPassword(ctx, in.Token, in.Password)
}

func verifyEmail(ctx context.Context, c *call, in MailedTokenRequest) (Done, error) {
	return Done{true}, c.backend.Auth.VerifyEmail(ctx, in.Token)
}

func switchTenant(ctx context.Context, c *call, in SwitchTenantRequest) (SignedIn, error) {
	done, err := c.backend.Auth.SwitchTenant(ctx, c.access, in.TenantID, c.address())
	return signedIn(done), err
}

func listLogins(ctx context.Context, c *call) ([]Login, string, error) {
	return listed(c, func(q paging.Request) (paging.Page[auth.Login], error) {
		return c.backend.Auth.Logins(ctx, c.access, q)
	}, func(l auth.Login) Login { return Login(l) })
}

func revokeLogin(ctx context.Context, c *call) (Deleted, error) {
	return Deleted{ID: c.pathID, Deleted: true}, c.backend.Auth.RevokeLogin(ctx, c.access, c.pathID)
}

func keySet(_ context.Context, c *call) (KeySet, error) {
	keys, err := c.backend.Auth.PublicKeys()
	return KeySet{Keys: keys}, err
}

// listed asks for the page that the query names, and gives each item the form of the API.
func listed[R, T any](c *call, list func(paging.Request) (paging.Page[R], error), view func(R) T) ([]T, string, error) {
	var q paging.Request
	if text, ok := c.query["limit"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > paging.MaxLimit {
			return nil, "", malformed("limit", "must be a whole number from 1 to 200")
		}
		q.Limit = n
	}
	q.Cursor = c.query["cursor"]
	page, err := list(q)
	if err != nil {
		return nil, "", err
	}
	views := make([]T, 0, len(page.Items))
	for _, item := range page.Items {
		views = append(views, view(item))
	}
	return views, page.Next, nil
}
