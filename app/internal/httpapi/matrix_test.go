package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/store"
)

// Words of the matrix's tenants that nobody else may read.
const (
	secretName    = "Unspeakable Engines"
	secretEmail   = "hidden-invitee@example.org"
	secretSession = "clandestine workspace"
)

// world is a service with a user for each way to stand to a tenant.
type world struct {
	*service
	tokens map[string]string // of the self-tenants, by who it is
	ids    map[string]uuid.UUID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{service: newService(t), tokens: map[string]string{}, ids: map[string]uuid.UUID{}}
	for _, who := range []string{"owner", "admin", "member", "victim", "outsider", "removed"} {
		in := w.register(who + "@example.org")
		w.tokens[who], w.ids[who] = in.Tokens.AccessToken, in.User.ID
	}
	return w
}

// tenant makes a tenant with members, an invitation and a session of the
// owner's, and returns what the parameters of paths stand for.
func (w *world) tenant() map[string]uuid.UUID {
	w.t.Helper()
	id, invitation, session := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	must(w.t, w.store.Update(w.t.Context(), func(tx *store.Tx) error {
		now := tx.Now()
		tx.PutTenant(store.Tenant{ID: id, Name: secretName, CreatedAt: now, UpdatedAt: now})
		for who, role := range map[string]store.Role{"owner": store.RoleOwner, "admin": store.RoleAdmin, "member": store.RoleMember, "victim": store.RoleMember} {
			tx.PutMembership(store.Membership{TenantID: id, UserID: w.ids[who], Role: role, CreatedAt: now})
		}
		tx.PutInvitation(store.Invitation{
			ID: invitation, TenantID: id, Email: secretEmail, Role: store.RoleMember, InvitedBy: w.ids["owner"],
			Token: store.HashOf(invitation[:]), CreatedAt: now, ExpiresAt: now.Add(time.Hour),
		})
		tx.PutSession(store.Session{ID: session, TenantID: id, UserID: w.ids["owner"], Name: secretSession, Metadata: []byte(`{}`)})
		auth.Record(tx, id, w.ids["owner"], "tenant.created", id)
		return nil
	}))
	return map[string]uuid.UUID{"tenants": id, "members": w.ids["victim"], "invitations": invitation, "sessions": session}
}

// fill puts ids into a route's path: each after the name of what it is an id of.
// What is not the tenant's gets an id of nothing.
func fill(path string, ids map[string]uuid.UUID) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, "{") {
			id, ok := ids[parts[i-1]]
			if !ok {
				id = uuid.Must(uuid.NewV7())
			}
			parts[i] = id.String()
		}
	}
	return strings.Join(parts, "/")
}

func (w *world) ask(route httpapi.Route, token string, ids map[string]uuid.UUID) reply {
	w.t.Helper()
	return w.do(request{method: route.Method, path: fill(route.Path, ids), token: token, body: watcher.example(route)})
}

// leaks fails if an answer has anything of the tenant.
func (w *world) leaks(route httpapi.Route, who string, r reply) {
	w.t.Helper()
	for _, secret := range []string{secretName, secretEmail, secretSession, "victim@example.org"} {
		if strings.Contains(r.raw, secret) {
			w.t.Errorf("%s %s tells %s %q: %s", route.Method, route.Path, who, secret, r.raw)
		}
	}
}

// Every route that is in the table × everybody: whoever is outside is answered
// as if there were nothing, and inside the role decides, as the table says.
func TestTenantMatrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rank := []string{"member", "admin", "owner"}
	for _, route := range httpapi.Routes() {
		if !route.SignedIn || !strings.Contains(route.Path, "{") {
			continue
		}
		for _, who := range []string{"outsider", "removed"} {
			r, nothing := w.ask(route, w.tokens[who], w.tenant()), w.ask(route, w.tokens[who], nil)
			if r.status != http.StatusNotFound || strings.ReplaceAll(r.raw, r.RequestID, "") != strings.ReplaceAll(nothing.raw, nothing.RequestID, "") {
				t.Errorf("%s %s by %s: %d %s\nnothing: %s", route.Method, route.Path, who, r.status, r.raw, nothing.raw)
			}
			w.leaks(route, who, r)
		}
		for _, who := range rank {
			r := w.ask(route, w.tokens[who], w.tenant())
			want := http.StatusNotFound // what is no tenant's is somebody else's
			if route.Role != "" {
				if want = route.Status; slices.Index(rank, who) < slices.Index(rank, route.Role) {
					want = http.StatusForbidden
				}
			}
			if r.status != want {
				t.Errorf("%s %s by %s: %d, want %d: %s", route.Method, route.Path, who, r.status, want, r.raw)
			}
			if want >= 400 {
				w.leaks(route, who, r)
			}
		}
	}
}

// A token for a tenant is good for nothing from the moment when its user is no
// member any more, and a lowered role counts at the next request.
func TestRemovedMembersAreOutAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := w.tenant()
	path := fill(api("/tenants/{id}"), ids)
	token := dataOf[httpapi.SignedIn](t, w.want(http.StatusOK, request{
		method: "POST", path: api("/auth/token"), token: w.tokens["victim"], body: object("tenant_id", ids["tenants"]),
	})).Tokens.AccessToken
	w.want(http.StatusOK, request{method: "GET", path: path, token: token})
	w.want(http.StatusOK, request{method: "DELETE", path: path + "/members/" + w.ids["victim"].String(), token: w.tokens["admin"]})
	for _, route := range httpapi.Routes() {
		if !route.SignedIn || route.Path == api("/auth/logout") { // whoever has a login may end it
			continue
		}
		r := w.ask(route, token, ids)
		if r.status != http.StatusUnauthorized || r.Error.Code != "invalid_token" {
			t.Errorf("%s %s: %d %s", route.Method, route.Path, r.status, r.raw)
		}
		w.leaks(route, "a former member", r)
	}
	w.wantCode(http.StatusNotFound, "not_found", request{method: "GET", path: path, token: w.tokens["victim"]})

	w.want(http.StatusOK, request{method: "GET", path: path + "/audit", token: w.tokens["admin"]})
	w.want(http.StatusOK, request{
		method: "PATCH", path: path + "/members/" + w.ids["admin"].String(), token: w.tokens["owner"], body: object("role", "member"),
	})
	w.wantCode(http.StatusForbidden, "forbidden", request{method: "GET", path: path + "/audit", token: w.tokens["admin"]})
}
