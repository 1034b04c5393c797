package auth

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/store"
)

// Export is a page of all that the service keeps of a user. The first page has
// everything but the sessions, which every page has some of.
type Export struct {
	User     *User // nil after the first page
	Tenants  []Membership
	Logins   []Login
	Factors  *Factors // nil after the first page
	Sessions []store.Session
	Next     string // the cursor of the next page; "" after the last
}

// Bounds of an export's page.
const (
	exportLogins   = 1000
	exportSessions = 200
)

// Export returns the page of the export that cursor leads to, "" for the first.
func (s *Service) Export(ctx context.Context, a Access, cursor string) (Export, error) {
	tenantID, before, err := parseExportCursor(cursor, a)
	if err != nil {
		return Export{}, err
	}
	var out Export
	err = s.store.View(ctx, func(r *store.Reader) error {
		out = Export{}
		user, err := authorizedUser(r, a)
		if err != nil {
			return err
		}
		tenants, err := r.Memberships(a.UserID, uuid.Nil, MaxTenants+1)
		if err != nil {
			return fmt.Errorf("listing the tenants: %w", err)
		}
		if cursor == "" {
			view := userOf(user)
			out.User = &view
			if err := out.first(r, a, tenants, user.LoginEpoch); err != nil {
				return err
			}
		}
		return out.sessions(r, a, tenants, tenantID, before)
	})
	return out, err
}

// first takes up what only the first page has.
func (e *Export) first(r *store.Reader, a Access, tenants []store.Membership, epoch int64) error {
	for _, m := range tenants {
		tenant, err := r.Tenant(m.TenantID)
		if err != nil {
			return fmt.Errorf("reading tenant %s: %w", m.TenantID, err)
		}
		e.Tenants = append(e.Tenants, Membership{
			TenantID: m.TenantID, Name: tenant.Name, Role: m.Role, Self: m.TenantID == SelfTenantID(a.UserID),
		})
	}
	factors, err := r.Factors(a.UserID)
	if err != nil {
		return fmt.Errorf("reading the second factors: %w", err)
	}
	view := factorsOf(factors)
	e.Factors = &view
	logins, err := r.Logins(a.UserID, uuid.Nil, exportLogins)
	if err != nil {
		return fmt.Errorf("listing the logins: %w", err)
	}
	for _, l := range logins {
		if l.Epoch == epoch && l.ExpiresAt.After(r.Now()) {
			e.Logins = append(e.Logins, loginOf(l, a))
		}
	}
	return nil
}

// sessions takes up the sessions that follow one of a tenant, tenant by tenant.
func (e *Export) sessions(r *store.Reader, a Access, tenants []store.Membership, tenantID, before uuid.UUID) error {
	for _, m := range tenants {
		switch bytes.Compare(m.TenantID[:], tenantID[:]) {
		case -1:
			continue
		case 1:
			before = uuid.Nil
		}
		found, err := r.Sessions(m.TenantID, a.UserID, before, exportSessions-len(e.Sessions)+1)
		if err != nil {
			return fmt.Errorf("listing the sessions: %w", err)
		}
		room := exportSessions - len(e.Sessions)
		e.Sessions = append(e.Sessions, found[:min(room, len(found))]...)
		if len(found) > room {
			last := e.Sessions[len(e.Sessions)-1]
			e.Next = exportCursor(last.TenantID, last.ID, a)
			return nil
		}
	}
	return nil
}

// The cursor of an export is two cursors: of the tenant, and of the session in it.
const (
	exportTenants = "export, tenants"
	exportItems   = "export, sessions"
)

func exportCursor(tenantID, sessionID uuid.UUID, a Access) string {
	return paging.Cursor(tenantID, exportTenants, a.UserID) + "." + paging.Cursor(sessionID, exportItems, a.UserID, tenantID)
}

func parseExportCursor(text string, a Access) (tenantID, sessionID uuid.UUID, err error) {
	if text == "" {
		return uuid.Nil, uuid.Nil, nil
	}
	first, second, _ := strings.Cut(text, ".")
	tenantID, ok := paging.ParseCursor(first, exportTenants, a.UserID)
	if ok {
		sessionID, ok = paging.ParseCursor(second, exportItems, a.UserID, tenantID)
	}
	if !ok {
		return uuid.Nil, uuid.Nil, paging.ErrCursor
	}
	return tenantID, sessionID, nil
}
