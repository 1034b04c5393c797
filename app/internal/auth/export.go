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

// Export is a page of all that the service keeps of a user: first the account
// with its tenants and factors, then its logins, then its sessions.
type Export struct {
	User     *User // nil after the first page, and so the two that follow
	Tenants  []Membership
	Factors  *Factors
	Logins   []Login
	Sessions []store.Session
	Next     string // the cursor of the next page; "" after the last

	size int // bytes, roughly
}

// exportItems bounds the logins, and the sessions, of an export's page.
const exportItems = 200

// Export returns the page of the export that cursor leads to, "" for the first.
func (s *Service) Export(ctx context.Context, a Access, cursor string) (Export, error) {
	from, err := parseExportCursor(cursor, a)
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
			if err := out.account(r, user, tenants); err != nil {
				return err
			}
		}
		if from.tenant == uuid.Nil {
			if err := out.logins(r, a, user.LoginEpoch, from.login); err != nil || out.Next != "" {
				return err
			}
		}
		return out.sessions(r, a, tenants, from)
	})
	return out, err
}

// account takes up what only the first page has.
func (e *Export) account(r *store.Reader, user store.User, tenants []store.Membership) error {
	view := userOf(user)
	e.User = &view
	for _, m := range tenants {
		tenant, err := r.Tenant(m.TenantID)
		if err != nil {
			return fmt.Errorf("reading tenant %s: %w", m.TenantID, err)
		}
		e.Tenants = append(e.Tenants, Membership{
			TenantID: m.TenantID, Name: tenant.Name, Role: m.Role, Self: m.TenantID == SelfTenantID(user.ID),
		})
		e.takes(len(tenant.Name), false)
	}
	found, err := r.Factors(user.ID)
	if err != nil {
		return fmt.Errorf("reading the second factors: %w", err)
	}
	factors := factorsOf(found)
	e.Factors = &factors
	return nil
}

// logins takes up the logins that are older than before.
func (e *Export) logins(r *store.Reader, a Access, epoch int64, before uuid.UUID) error {
	found, more, err := r.Logins(a.UserID, before, exportItems)
	if err != nil {
		return fmt.Errorf("listing the logins: %w", err)
	}
	for _, l := range found {
		if !e.takes(len(l.Device)+len(l.Address), len(e.Logins) > 0) {
			more = true
			break
		}
		if before = l.ID; l.Epoch == epoch && l.ExpiresAt.After(r.Now()) {
			e.Logins = append(e.Logins, loginOf(l, a))
		}
	}
	if more {
		e.Next = paging.Cursor(before, exportedLogins, a.UserID)
	}
	return nil
}

// sessions takes up the sessions that follow one of a tenant, tenant by tenant.
func (e *Export) sessions(r *store.Reader, a Access, tenants []store.Membership, from exportCursor) error {
	last := from
	for _, m := range tenants {
		before := from.session
		switch bytes.Compare(m.TenantID[:], from.tenant[:]) {
		case -1:
			continue
		case 1:
			before = uuid.Nil
		}
		found, more, err := r.Sessions(m.TenantID, a.UserID, before, exportItems-len(e.Sessions))
		if err != nil {
			return fmt.Errorf("listing the sessions: %w", err)
		}
		for _, s := range found {
			if !e.takes(len(s.Name)+len(s.WorkspacePath)+len(s.Metadata), len(e.Sessions) > 0) {
				more = true
				break
			}
			e.Sessions = append(e.Sessions, s)
			last = exportCursor{tenant: s.TenantID, session: s.ID}
		}
		if more {
			e.Next = last.text(a)
			return nil
		}
	}
	return nil
}

// takes reports whether the page has room for an item whose texts have so many
// bytes, and counts it; the first item of its kind has room in any case.
func (e *Export) takes(texts int, others bool) bool {
	const beside = 400 // ids, times and names of members
	if others && e.size+beside+texts > store.MaxPageBytes {
		return false
	}
	e.size += beside + texts
	return true
}

// Names of the lists of an export in cursors.
const (
	exportedLogins   = "export, logins"
	exportedTenants  = "export, tenants"
	exportedSessions = "export, sessions"
)

// exportCursor is where a page begins: after a login, or after a session of a tenant.
type exportCursor struct{ login, tenant, session uuid.UUID }

// text writes the cursor of a session, which is two: of the tenant, and in it.
func (c exportCursor) text(a Access) string {
	return paging.Cursor(c.tenant, exportedTenants, a.UserID) + "." + paging.Cursor(c.session, exportedSessions, a.UserID, c.tenant)
}

func parseExportCursor(text string, a Access) (c exportCursor, err error) {
	if text == "" {
		return exportCursor{}, nil
	}
	first, second, ofSession := strings.Cut(text, ".")
	var ok bool
	if ofSession {
		if c.tenant, ok = paging.ParseCursor(first, exportedTenants, a.UserID); ok {
			c.session, ok = paging.ParseCursor(second, exportedSessions, a.UserID, c.tenant)
		}
	} else {
		c.login, ok = paging.ParseCursor(first, exportedLogins, a.UserID)
	}
	if !ok {
		return exportCursor{}, paging.ErrCursor
	}
	return c, nil
}
