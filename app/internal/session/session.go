// Package session owns IDE sessions: workspaces that a user has open in a tenant.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/store"
)

// New is the form of Create; every member is optional.
type New struct {
	Name          string
	WorkspacePath string
	Metadata      json.RawMessage // a JSON object
}

// Session is one IDE session.
type Session struct {
	ID            uuid.UUID
	TenantID      uuid.UUID
	UserID        uuid.UUID
	Name          string
	WorkspacePath string
	Metadata      json.RawMessage // a JSON object, {} where there is none
	CreatedAt     time.Time
	UpdatedAt     time.Time
	LastActiveAt  time.Time
}

// Page is a part of a list.
type Page struct {
	Sessions []Session
	Next     string // the cursor of the next page; "" after the last
}

var errNotYet = errors.New("not yet")

// Service keeps sessions. It is safe for concurrent use.
type Service struct{}

// NewService returns a Service on st.
func NewService(st *store.Store, now func() time.Time) *Service { return &Service{} }

// Create opens a session of the caller in the token's tenant.
func (s *Service) Create(ctx context.Context, a auth.Access, n New) (Session, error) {
	return Session{}, errNotYet
}

// Get returns the caller's session; anyone else's is fault.NotFound.
func (s *Service) Get(ctx context.Context, a auth.Access, id uuid.UUID) (Session, error) {
	return Session{}, errNotYet
}

// Delete removes the caller's session.
func (s *Service) Delete(ctx context.Context, a auth.Access, id uuid.UUID) error { return errNotYet }

// List returns the caller's sessions in the token's tenant, newest first. A limit of 0 is 50; the most is 200.
func (s *Service) List(ctx context.Context, a auth.Access, limit int, cursor string) (Page, error) {
	return Page{}, errNotYet
}
