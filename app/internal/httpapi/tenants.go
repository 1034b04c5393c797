package httpapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/tenant"
)

// TenantRequest is the body of POST /tenants and PATCH /tenants/{id}.
type TenantRequest struct {
	Name string `json:"name"`
}

// RoleRequest is the body of PATCH /tenants/{id}/members/{user_id}.
type RoleRequest struct {
	Role string `json:"role"`
}

// InvitationRequest is the body of POST /tenants/{id}/invitations.
type InvitationRequest struct {
	Email string `json:"email"`
	Role  string `json:"role"`
}

// TenantDetails is a tenant as one of its members sees it.
type TenantDetails struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Self      bool      `json:"self"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Member is a member of a tenant.
type Member struct {
	UserID    uuid.UUID `json:"user_id"`
	Email     string    `json:"email"`
	FirstName string    `json:"first_name"`
	LastName  string    `json:"last_name"`
	Role      string    `json:"role"`
	CreatedAt time.Time `json:"created_at"`
}

// Invitation is an open invitation. Its token is in the mail alone.
type Invitation struct {
	ID        uuid.UUID `json:"id"`
	TenantID  uuid.UUID `json:"tenant_id"`
	Email     string    `json:"email"`
	Role      string    `json:"role"`
	InvitedBy uuid.UUID `json:"invited_by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Event is one line of a tenant's audit trail.
type Event struct {
	ID        uuid.UUID         `json:"id"`
	At        time.Time         `json:"at"`
	ActorID   uuid.UUID         `json:"actor_id"`
	Action    string            `json:"action"`
	SubjectID uuid.UUID         `json:"subject_id"`
	Detail    map[string]string `json:"detail"`
}

func tenantView(t tenant.Tenant) TenantDetails {
	return TenantDetails{ID: t.ID, Name: t.Name, Role: string(t.Role), Self: t.Self, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt}
}

func memberView(m tenant.Member) Member {
	return Member{UserID: m.UserID, Email: m.Email, FirstName: m.FirstName, LastName: m.LastName, Role: string(m.Role), CreatedAt: m.CreatedAt}
}

func invitationView(i tenant.Invitation) Invitation {
	return Invitation{ID: i.ID, TenantID: i.TenantID, Email: i.Email, Role: string(i.Role), InvitedBy: i.InvitedBy, CreatedAt: i.CreatedAt, ExpiresAt: i.ExpiresAt}
}

func eventView(e tenant.Event) Event {
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	return Event(e)
}

func createTenant(ctx context.Context, c *call, in TenantRequest) (TenantDetails, error) {
	t, err := c.backend.Tenants.Create(ctx, c.access, in.Name, c.onceKey)
	return tenantView(t), err
}

func getTenant(ctx context.Context, c *call) (TenantDetails, error) {
	t, err := c.backend.Tenants.Get(ctx, c.access, c.pathID)
	return tenantView(t), err
}

func renameTenant(ctx context.Context, c *call, in TenantRequest) (TenantDetails, error) {
	t, err := c.backend.Tenants.Rename(ctx, c.access, c.pathID, in.Name)
	return tenantView(t), err
}

func deleteTenant(ctx context.Context, c *call) (Deleted, error) {
	return Deleted{ID: c.pathID, Deleted: true}, c.backend.Tenants.Delete(ctx, c.access, c.pathID)
}

func listTenants(ctx context.Context, c *call) ([]TenantDetails, string, error) {
	return listed(c, func(q paging.Request) (paging.Page[tenant.Tenant], error) {
		return c.backend.Tenants.List(ctx, c.access, q)
	}, tenantView)
}

func listMembers(ctx context.Context, c *call) ([]Member, string, error) {
	return listed(c, func(q paging.Request) (paging.Page[tenant.Member], error) {
		return c.backend.Tenants.Members(ctx, c.access, c.pathID, q)
	}, memberView)
}

func setRole(ctx context.Context, c *call, in RoleRequest) (Member, error) {
	m, err := c.backend.Tenants.SetRole(ctx, c.access, c.pathID, c.subID, store.Role(in.Role))
	return memberView(m), err
}

func removeMember(ctx context.Context, c *call) (Deleted, error) {
	return Deleted{ID: c.subID, Deleted: true}, c.backend.Tenants.Remove(ctx, c.access, c.pathID, c.subID)
}

func createInvitation(ctx context.Context, c *call, in InvitationRequest) (Invitation, error) {
	i, err := c.backend.Tenants.Invite(ctx, c.access, c.pathID, in.Email, store.Role(in.Role), c.onceKey)
	return invitationView(i), err
}

func listInvitations(ctx context.Context, c *call) ([]Invitation, string, error) {
	return listed(c, func(q paging.Request) (paging.Page[tenant.Invitation], error) {
		return c.backend.Tenants.Invitations(ctx, c.access, c.pathID, q)
	}, invitationView)
}

func revokeInvitation(ctx context.Context, c *call) (Deleted, error) {
	return Deleted{ID: c.subID, Deleted: true}, c.backend.Tenants.Revoke(ctx, c.access, c.pathID, c.subID)
}

func acceptInvitation(ctx context.Context, c *call, in MailedTokenRequest) (TenantDetails, error) {
	t, err := c.backend.Tenants.Accept(ctx, c.access, in.Token)
	return tenantView(t), err
}

func listAudit(ctx context.Context, c *call) ([]Event, string, error) {
	return listed(c, func(q paging.Request) (paging.Page[tenant.Event], error) {
		return c.backend.Tenants.Audit(ctx, c.access, c.pathID, q)
	}, eventView)
}
