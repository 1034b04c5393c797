package httpapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/session"
)

// CreateSessionRequest is the optional body of POST /sessions.
type CreateSessionRequest struct {
	Name          string         `json:"name"`
	WorkspacePath string         `json:"workspace_path"`
	Metadata      jsontext.Value `json:"metadata"` // an object
}

// Session is an IDE workspace session.
type Session struct {
	ID            uuid.UUID      `json:"id"`
	TenantID      uuid.UUID      `json:"tenant_id"`
	UserID        uuid.UUID      `json:"user_id"`
	Name          string         `json:"name"`
	WorkspacePath string         `json:"workspace_path"`
	Metadata      jsontext.Value `json:"metadata"`
	CreatedAt     time.Time      `json:"created_at"`
	UpdatedAt     time.Time      `json:"updated_at"`
	LastActiveAt  time.Time      `json:"last_active_at"`
}

// Deleted answers a deletion.
type Deleted struct {
	ID      uuid.UUID `json:"id"`
	Deleted bool      `json:"deleted"`
}

func createSession(ctx context.Context, c *call, in CreateSessionRequest) (Session, error) {
	if in.Metadata.Kind() == 'n' { // null is an absent member
		in.Metadata = nil
	}
	made, err := c.backend.Sessions.Create(ctx, c.access, session.New{
		Name: in.Name, WorkspacePath: in.WorkspacePath, Metadata: json.RawMessage(in.Metadata),
	}, c.onceKey)
	return sessionView(made), err
}

// UpdateSessionRequest is the optional body of PATCH /sessions/{id}; absent
// members stay as they are.
type UpdateSessionRequest struct {
	Name          *string        `json:"name"`
	WorkspacePath *string        `json:"workspace_path"`
	Metadata      jsontext.Value `json:"metadata"` // an object, which replaces the old one
}

func updateSession(ctx context.Context, c *call, in UpdateSessionRequest) (Session, error) {
	if in.Metadata.Kind() == 'n' { // null is an absent member
		in.Metadata = nil
	}
	changed, err := c.backend.Sessions.Update(ctx, c.access, c.pathID, session.Change{
		Name: in.Name, WorkspacePath: in.WorkspacePath, Metadata: json.RawMessage(in.Metadata),
	})
	return sessionView(changed), err
}

func getSession(ctx context.Context, c *call) (Session, error) {
	found, err := c.backend.Sessions.Get(ctx, c.access, c.pathID)
	return sessionView(found), err
}

func deleteSession(ctx context.Context, c *call) (Deleted, error) {
	err := c.backend.Sessions.Delete(ctx, c.access, c.pathID)
	return Deleted{ID: c.pathID, Deleted: true}, err
}

func listSessions(ctx context.Context, c *call) ([]Session, string, error) {
	return listed(c, func(q paging.Request) (paging.Page[session.Session], error) {
		return c.backend.Sessions.List(ctx, c.access, q)
	}, sessionView)
}

func sessionView(s session.Session) Session {
	return Session{
		ID: s.ID, TenantID: s.TenantID, UserID: s.UserID,
		Name: s.Name, WorkspacePath: s.WorkspacePath, Metadata: jsontext.Value(s.Metadata),
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, LastActiveAt: s.LastActiveAt,
	}
}
