package httpapi

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

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
	})
	return sessionView(made), err
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
	const most = 200
	limit := 0
	if text, ok := c.query["limit"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return nil, "", malformed("limit", "must be a whole number from 1 to 200")
		}
		limit = n
	}
	page, err := c.backend.Sessions.List(ctx, c.access, limit, c.query["cursor"])
	if err != nil {
		return nil, "", err
	}
	views := make([]Session, 0, len(page.Sessions))
	for _, s := range page.Sessions {
		views = append(views, sessionView(s))
	}
	return views, page.Next, nil
}

func sessionView(s session.Session) Session {
	return Session{
		ID: s.ID, TenantID: s.TenantID, UserID: s.UserID,
		Name: s.Name, WorkspacePath: s.WorkspacePath, Metadata: jsontext.Value(s.Metadata),
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, LastActiveAt: s.LastActiveAt,
	}
}
