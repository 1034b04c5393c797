package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/store"
)

// mostPage is what the body of a list or an export may have, in bytes: the
// page's records and, for each item, what no record has.
const mostPage = store.MaxPageBytes + 64<<10

// crowded gives a user as much as may be of everything that is listed, each as
// large as may be. It returns their tenant, and how many there are by kind.
func (s *service) crowded(in httpapi.SignedIn) (tenant uuid.UUID, totals map[string]int) {
	s.t.Helper()
	const (
		many  = 210 // more than a page of each
		batch = 30  // of one transaction
	)
	wide := strings.Repeat("\U0001D11E", 200) // of the widest characters
	metadata := []byte(`{"a":"` + strings.Repeat("<", 16<<10-8) + `"}`)
	tenant = uuid.Must(uuid.NewV7())
	user := in.User.ID
	totals = map[string]int{
		"/sessions": many, "/auth/logins": many + 1, "/tenants": auth.MaxTenants + 1,
		"/tenants/{id}/members": many + 1, "/tenants/{id}/invitations": 200, "/tenants/{id}/audit": many,
	}
	for from := 0; from < many; from += batch {
		must(s.t, s.store.Update(s.t.Context(), func(tx *store.Tx) error {
			now := tx.Now()
			for n := from; n < min(many, from+batch); n++ {
				id, other := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
				tx.PutSession(store.Session{
					ID: id, TenantID: in.TenantID, UserID: user, Name: wide, WorkspacePath: strings.Repeat("x", 1024), Metadata: metadata,
					CreatedAt: now, UpdatedAt: now, LastActiveAt: now,
				})
				tx.PutLogin(store.Login{
					ID: id, UserID: user, TenantID: in.TenantID, Device: wide, Address: wide, Current: store.HashOf(id[:]),
					CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(time.Hour), EndsAt: now.Add(time.Hour),
				})
				tx.CreateUser(store.User{
					ID: other, Email: fmt.Sprintf("%s%03d@%s.example.com", strings.Repeat("x", 61), n, strings.Repeat("y", 63)),
					FirstName: wide[:400], LastName: wide[:400], CreatedAt: now, UpdatedAt: now,
				})
				tx.PutMembership(store.Membership{TenantID: tenant, UserID: other, Role: store.RoleMember, CreatedAt: now})
				if n == 0 {
					tx.PutTenant(store.Tenant{ID: tenant, Name: wide, CreatedAt: now, UpdatedAt: now})
					tx.PutMembership(store.Membership{TenantID: tenant, UserID: user, Role: store.RoleOwner, CreatedAt: now})
				} else if n < auth.MaxTenants {
					tx.PutTenant(store.Tenant{ID: id, Name: wide, CreatedAt: now, UpdatedAt: now})
					tx.PutMembership(store.Membership{TenantID: id, UserID: user, Role: store.RoleAdmin, CreatedAt: now})
				}
				if n < totals["/tenants/{id}/invitations"] {
					tx.PutInvitation(store.Invitation{
						ID: id, TenantID: tenant, Email: strings.Repeat("x", 64) + "@" + strings.Repeat("y", 63) + ".example.com", Role: store.RoleMember,
						InvitedBy: user, Token: store.HashOf(id[:]), CreatedAt: now, ExpiresAt: now.Add(time.Hour),
					})
				}
				auth.Record(tx, tenant, user, "member.role_changed", other, "from", "member", "to", "admin")
			}
			return nil
		}))
	}
	return tenant, totals
}

// A page is bounded by its bytes, whatever is in it, and its cursor leads to all the rest.
func TestPagesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("ada@example.org")
	tenant, totals := s.crowded(in)
	walk := func(path string, next func(reply) (ids []string, cursor *string)) (seen map[string]int, pages int) {
		seen = map[string]int{}
		for query := "?"; ; {
			r := s.want(http.StatusOK, request{method: "GET", path: path + query, token: in.Tokens.AccessToken})
			if len(r.raw) > mostPage {
				t.Errorf("a page of %s has %d bytes", path, len(r.raw))
			}
			ids, cursor := next(r)
			for _, id := range ids {
				seen[id]++
			}
			if pages++; cursor == nil {
				return seen, pages
			}
			if pages > 100 {
				t.Fatalf("%s has no end", path)
			}
			query = "?cursor=" + url.QueryEscape(*cursor)
			if !strings.HasSuffix(path, "/export") {
				query += "&limit=200"
			}
		}
	}
	full := newClosedService(t, func(o *httpapi.Options) { o.UnsentBytes = 1 }) // no answer is small enough
	full.api.Open(s.backend)
	for _, route := range httpapi.Routes() {
		if route.Large {
			full.wantCode(http.StatusServiceUnavailable, "busy", request{
				method: "GET", path: strings.ReplaceAll(route.Path, "{id}", tenant.String()), token: in.Tokens.AccessToken,
			})
		}
		if route.Answer.Kind() != reflect.Slice {
			continue
		}
		seen, pages := walk(strings.ReplaceAll(route.Path, "{id}", tenant.String()), func(r reply) (ids []string, cursor *string) {
			for _, item := range dataOf[[]map[string]any](t, r) {
				id := item["id"]
				if id == nil {
					id = item["user_id"]
				}
				ids = append(ids, id.(string))
			}
			return ids, r.Page.NextCursor
		})
		want := totals[strings.TrimPrefix(route.Path, api(""))]
		if len(seen) != want || want == 0 || pages < 2 {
			t.Errorf("%s: %d of %d items on %d pages", route.Path, len(seen), want, pages)
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("%s: %s comes %d times", route.Path, id, times)
			}
		}
	}
	seen, pages := walk(api("/users/me/export"), func(r reply) (ids []string, cursor *string) {
		e := dataOf[httpapi.Export](t, r)
		for _, session := range e.Sessions {
			ids = append(ids, session.ID.String())
		}
		for _, login := range e.Logins {
			ids = append(ids, "login "+login.ID.String())
		}
		return ids, e.NextCursor
	})
	if want := totals["/sessions"] + totals["/auth/logins"]; len(seen) != want || pages < 3 {
		t.Errorf("the export has %d of %d on %d pages", len(seen), want, pages)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("the export has %s %d times", id, times)
		}
	}
}

// stuck is a client that reads nothing before it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	asked chan<- struct{} // told of each answer that stands before it
	letGo <-chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	s.asked <- struct{}{}
	<-s.letGo
	return s.ResponseRecorder.Write(p)
}

// Who reads slowly holds up their own further pages, and nobody else's.
func TestUnreadPagesAreBounded(t *testing.T) {
	t.Parallel()
	const page = 100 << 10
	s := newService(t, func(o *httpapi.Options) { o.UnsentBytes = 8 * 2 * page }) // two pages a user
	slow, other := s.register("slow@example.org").Tokens.AccessToken, s.register("other@example.org").Tokens.AccessToken
	for _, token := range []string{slow, other} {
		for range 6 {
			s.want(http.StatusCreated, request{method: "POST", path: api("/sessions"), token: token, body: `{"metadata":{"a":"` + strings.Repeat("x", 16<<10-8) + `"}}`})
		}
	}
	list := func(token string) request { return request{method: "GET", path: api("/sessions"), token: token} }
	asked, letGo := make(chan struct{}), make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, api("/sessions"), nil)
			r.Header.Set("Authorization", "Bearer "+slow)
			w := stuck{httptest.NewRecorder(), asked, letGo}
			s.api.ServeHTTP(w, r)
			if w.Code != http.StatusOK || w.Body.Len() < page*9/10 {
				t.Errorf("%d with %d bytes", w.Code, w.Body.Len())
			}
		})
	}
	<-asked
	<-asked
	if r := s.wantCode(http.StatusServiceUnavailable, "busy", list(slow)); r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.want(http.StatusOK, list(other))
	close(letGo)
	readers.Wait()
	s.want(http.StatusOK, list(slow))
}
