// Package session owns IDE sessions: the workspaces that a user has open in a
// tenant, as many as browser tabs. A session is its user's alone; to everyone
// else, in the same tenant too, it does not exist.
//
// It knows store, fault, and auth for Authorize.
package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/store"
)

// Bounds of a session and of a page.
const (
	maxName     = 200      // characters
	maxPath     = 1024     // bytes
	maxMetadata = 16 << 10 // bytes
)

// pages names the lists of sessions in cursors.
const pages = "sessions"

// New is the form of Create. Every member is optional.
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
	Metadata      json.RawMessage // a JSON object: {} where nothing was given
	CreatedAt     time.Time
	UpdatedAt     time.Time
	LastActiveAt  time.Time
}

// Of is the session that a record is of.
func Of(s store.Session) Session {
	return Session{
		ID: s.ID, TenantID: s.TenantID, UserID: s.UserID, Name: s.Name, WorkspacePath: s.WorkspacePath, Metadata: s.Metadata,
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, LastActiveAt: s.LastActiveAt,
	}
}

// record is what Of made s of, as it was when it was created.
func (s Session) record() store.Session {
	return store.Session{
		ID: s.ID, TenantID: s.TenantID, UserID: s.UserID, Name: s.Name, WorkspacePath: s.WorkspacePath, Metadata: s.Metadata,
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, LastActiveAt: s.LastActiveAt,
	}
}

// Service keeps sessions. It is safe for concurrent use.
type Service struct{ store *store.Store }

// NewService returns a Service on st.
func NewService(st *store.Store) *Service { return &Service{store: st} }

// Create opens a session of the caller in the token's tenant; repeated with
// its idempotency key, "" for none, it answers with the same one.
func (s *Service) Create(ctx context.Context, a auth.Access, n New, onceKey string) (Session, error) {
	n, faults := n.normal()
	if len(faults) > 0 {
		return Session{}, fault.Invalid(faults...)
	}
	once, err := auth.NewOnce(onceKey, n, "session", a.UserID.String(), a.TenantID.String())
	if err != nil {
		return Session{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Session{}, fmt.Errorf("making an id: %w", err)
	}
	var made store.Session
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := auth.Authorize(tx.Reader, a); err != nil {
			return err
		}
		var kept Session
		if repeated, err := once.Recall(tx.Reader, &kept); repeated || err != nil {
			made = kept.record()
			return err
		}
		if tx.Again() {
			found, err := tx.Session(a.TenantID, id)
			if err == nil {
				made = found // by an earlier run
			}
			if !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		now := tx.Now()
		made = store.Session{
			ID: id, TenantID: a.TenantID, UserID: a.UserID,
			Name: n.Name, WorkspacePath: n.WorkspacePath, Metadata: n.Metadata,
			CreatedAt: now, UpdatedAt: now, LastActiveAt: now,
		}
		tx.PutSession(made)
		return once.Keep(tx, a.UserID, Of(made))
	})
	if err != nil {
		return Session{}, err
	}
	return Of(made), nil
}

// Change is what changes of a session; nil leaves a member as it is.
type Change struct {
	Name          *string
	WorkspacePath *string
	Metadata      json.RawMessage
}

// Update changes and touches a session of the caller in the token's tenant; any
// other is fault.NotFound. Without a change it only touches it.
func (s *Service) Update(ctx context.Context, a auth.Access, id uuid.UUID, c Change) (Session, error) {
	form := New{Metadata: c.Metadata}
	if c.Name != nil {
		form.Name = *c.Name
	}
	if c.WorkspacePath != nil {
		form.WorkspacePath = *c.WorkspacePath
	}
	form, faults := form.normal()
	if len(faults) > 0 {
		return Session{}, fault.Invalid(faults...)
	}
	var changed store.Session
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if changed, err = own(tx.Reader, a, id); err != nil {
			return err
		}
		before := changed
		if c.Name != nil {
			changed.Name = form.Name
		}
		if c.WorkspacePath != nil {
			changed.WorkspacePath = form.WorkspacePath
		}
		if c.Metadata != nil {
			changed.Metadata = form.Metadata
		}
		changed.LastActiveAt = tx.Now()
		if changed.Name != before.Name || changed.WorkspacePath != before.WorkspacePath || !bytes.Equal(changed.Metadata, before.Metadata) {
			changed.UpdatedAt = tx.Now()
		}
		tx.PutSession(changed)
		return nil
	})
	if err != nil {
		return Session{}, err
	}
	return Of(changed), nil
}

// Get returns a session of the caller in the token's tenant; any other is fault.NotFound.
func (s *Service) Get(ctx context.Context, a auth.Access, id uuid.UUID) (Session, error) {
	var found store.Session
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		found, err = own(r, a, id)
		return err
	})
	if err != nil {
		return Session{}, err
	}
	return Of(found), nil
}

// Delete removes a session of the caller in the token's tenant; any other is fault.NotFound.
func (s *Service) Delete(ctx context.Context, a auth.Access, id uuid.UUID) error {
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		found, err := own(tx.Reader, a, id)
		if seen && fault.CodeOf(err) == fault.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		seen = true
		tx.DeleteSession(found)
		return nil
	})
}

// List returns the caller's sessions in the token's tenant, newest first.
func (s *Service) List(ctx context.Context, a auth.Access, q paging.Request) (paging.Page[Session], error) {
	before, limit, err := q.Parse(pages, a.TenantID, a.UserID)
	if err != nil {
		return paging.Page[Session]{}, err
	}
	var (
		found []store.Session
		more  bool
	)
	err = s.store.View(ctx, func(r *store.Reader) error {
		if _, err := auth.Authorize(r, a); err != nil {
			return err
		}
		var err error
		found, more, err = r.Sessions(a.TenantID, a.UserID, before, limit)
		return err
	})
	if err != nil {
		return paging.Page[Session]{}, err
	}
	return paging.Of(found, more, func(f store.Session) (Session, uuid.UUID, bool) {
		return Of(f), f.ID, true
	}, pages, a.TenantID, a.UserID), nil
}

var errNotFound = fault.New(fault.NotFound, "You have no such session in this tenant.")

// own returns the caller's session, once the caller is who they were.
func own(r *store.Reader, a auth.Access, id uuid.UUID) (store.Session, error) {
	if _, err := auth.Authorize(r, a); err != nil {
		return store.Session{}, err
	}
	found, err := r.Session(a.TenantID, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && found.UserID != a.UserID {
		return store.Session{}, errNotFound
	}
	return found, err
}

// normal returns the form as it is kept, and every field that breaks a rule.
func (n New) normal() (New, []fault.Field) {
	var faults []fault.Field
	refuse := func(field, problem string) { faults = append(faults, fault.Field{Field: field, Problem: problem}) }
	n.Name = strings.TrimSpace(n.Name)
	if !plain(n.Name) || utf8.RuneCountInString(n.Name) > maxName {
		refuse("name", "must be at most 200 characters, without control characters, line breaks or changes of direction")
	}
	if !plain(n.WorkspacePath) || len(n.WorkspacePath) > maxPath {
		refuse("workspace_path", "must be at most 1024 bytes, without control characters, line breaks or changes of direction")
	}
	switch metadata, ok := object(n.Metadata); {
	case !ok:
		refuse("metadata", "must be a JSON object")
	case len(metadata) > maxMetadata:
		refuse("metadata", "must be at most 16 KiB")
	default:
		n.Metadata = metadata
	}
	return n, faults
}

// plain tells whether text shows as what it is: no control characters, line breaks or changes of direction.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	})
}

// object returns a JSON object without white space; nothing and null are an empty one.
func object(raw json.RawMessage) (json.RawMessage, bool) {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || string(trimmed) == "null" {
		return json.RawMessage("{}"), true
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil || compact.Bytes()[0] != '{' {
		return nil, false
	}
	return compact.Bytes(), true
}
