package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/store"
)

// change is an operation of the API that changes something, with what must be there for it.
type change struct {
	name    string
	prepare func(f *faulty) request
}

// faulty is a service whose store fails on demand.
type faulty struct {
	*service
	n int
}

// someone registers somebody new.
func (f *faulty) someone() httpapi.SignedIn {
	f.t.Helper()
	f.n++
	return f.register(fmt.Sprintf("u%d@example.org", f.n))
}

// elsewhere says that a request comes from where none came from before.
func (f *faulty) elsewhere() http.Header {
	return http.Header{"X-Forwarded-For": {fmt.Sprintf("192.0.2.%d", f.n)}}
}

// team makes a tenant of an owner and a member.
func (f *faulty) team() (owner, member httpapi.SignedIn, path string) {
	f.t.Helper()
	owner, member = f.someone(), f.someone()
	id := uuid.Must(uuid.NewV7())
	must(f.t, f.store.Update(f.t.Context(), func(tx *store.Tx) error {
		tx.PutTenant(store.Tenant{ID: id, Name: "Engines"})
		tx.PutMembership(store.Membership{TenantID: id, UserID: owner.User.ID, Role: store.RoleOwner})
		tx.PutMembership(store.Membership{TenantID: id, UserID: member.User.ID, Role: store.RoleMember})
		return nil
	}))
	return owner, member, api("/tenants/" + id.String())
}

func signed(method, path string, by httpapi.SignedIn, body string) request {
	return request{method: method, path: path, token: by.Tokens.AccessToken, body: body}
}

// mine is a change of the caller's own account.
func mine(method, path, body string) func(*faulty) request {
	return func(f *faulty) request { return signed(method, api(path), f.someone(), body) }
}

func changes() []change {
	open := func(path, body string) func(*faulty) request {
		return func(f *faulty) request {
			f.n++
			return request{method: "POST", path: api(path), body: fmt.Sprintf(body, f.n), header: f.elsewhere()}
		}
	}
	return []change{
		{"register", open("/auth/register", `{"email":"new%d@example.org","password":"`+password+`","first_name":"A","last_name":"L"}`)},
		{"login", func(f *faulty) request {
			return request{method: "POST", path: api("/auth/login"), body: object("email", f.someone().User.Email, "password", password)}
		}},
		{"refresh", func(f *faulty) request {
			return request{method: "POST", path: api("/auth/refresh"), body: object("refresh_token", f.someone().Tokens.RefreshToken)}
		}},
		{"logout", mine("POST", "/auth/logout", "")},
		{"logout everywhere", mine("POST", "/auth/logout", `{"everywhere":true}`)},
		{"forgot", open("/auth/password/forgot", `{"email":"nobody%d@example.org"}`)},
		{"reset", func(f *faulty) request {
			email := f.someone().User.Email
			f.want(http.StatusAccepted, request{method: "POST", path: api("/auth/password/forgot"), body: object("email", email), header: f.elsewhere()})
			return request{method: "POST", path: api("/auth/password/reset"), body: object("token", f.mailed(email), "password", otherPassword)}
		}},
		{"verify", func(f *faulty) request {
			return request{method: "POST", path: api("/auth/email/verify"), body: object("token", f.mailed(f.someone().User.Email))}
		}},
		{"another tenant's token", func(f *faulty) request {
			_, member, path := f.team()
			return signed("POST", api("/auth/token"), member, object("tenant_id", path[len(path)-36:]))
		}},
		{"sign a device out", func(f *faulty) request {
			in := f.someone()
			logins := dataOf[[]httpapi.Login](f.t, f.want(http.StatusOK, signed("GET", api("/auth/logins"), in, "")))
			return signed("DELETE", api("/auth/logins/"+logins[0].ID.String()), in, "")
		}},
		{"profile", mine("PATCH", "/users/me", `{"first_name":"Augusta"}`)},
		{"password", mine("POST", "/users/me/password", object("current_password", password, "new_password", otherPassword))},
		{"delete me", mine("DELETE", "/users/me", object("password", password))},
		{"create session", mine("POST", "/sessions", "")},
		{"delete session", func(f *faulty) request {
			in := f.someone()
			return signed("DELETE", api("/sessions/"+f.createSession(in.Tokens.AccessToken, "x").ID.String()), in, "")
		}},
		{"create tenant", mine("POST", "/tenants", `{"name":"Engines"}`)},
		{"rename tenant", func(f *faulty) request {
			owner, _, path := f.team()
			return signed("PATCH", path, owner, `{"name":"Mills"}`)
		}},
		{"delete tenant", func(f *faulty) request {
			owner, _, path := f.team()
			return signed("DELETE", path, owner, "")
		}},
		{"set role", func(f *faulty) request {
			owner, member, path := f.team()
			return signed("PATCH", path+"/members/"+member.User.ID.String(), owner, `{"role":"owner"}`)
		}},
		{"remove member", func(f *faulty) request {
			owner, member, path := f.team()
			return signed("DELETE", path+"/members/"+member.User.ID.String(), owner, "")
		}},
		{"leave", func(f *faulty) request {
			_, member, path := f.team()
			return signed("DELETE", path+"/members/"+member.User.ID.String(), member, "")
		}},
		{"invite", func(f *faulty) request {
			owner, _, path := f.team()
			return signed("POST", path+"/invitations", owner, `{"email":"eve@example.com","role":"admin"}`)
		}},
		{"revoke invitation", func(f *faulty) request {
			owner, _, path := f.team()
			i := dataOf[httpapi.Invitation](f.t, f.want(http.StatusCreated, signed("POST", path+"/invitations", owner, `{"email":"eve@example.com","role":"admin"}`)))
			return signed("DELETE", path+"/invitations/"+i.ID.String(), owner, "")
		}},
		{"accept", func(f *faulty) request {
			owner, _, path := f.team()
			eve := f.someone()
			f.want(http.StatusCreated, signed("POST", path+"/invitations", owner, object("email", eve.User.Email, "role", "admin")))
			return signed("POST", api("/invitations/accept"), eve, object("token", f.mailed(eve.User.Email)))
		}},
	}
}

func (f *faulty) counts() map[string]int {
	f.t.Helper()
	report, err := f.store.Check(f.t.Context())
	must(f.t, err)
	if !report.OK() {
		f.t.Errorf("the store does not agree with itself: %q", report.Problems)
	}
	return report.Counts
}

// effect is what a request changed in the store.
func (f *faulty) effect(q request, plan faultkv.Plan) (r reply, diff map[string]int) {
	f.t.Helper()
	before := f.counts()
	f.faults.Follow(plan)
	r = f.do(q)
	f.faults.Follow(noFault)
	diff = map[string]int{}
	for kind, n := range f.counts() {
		diff[kind] += n
	}
	for kind, n := range before {
		if diff[kind] -= n; diff[kind] == 0 {
			delete(diff, kind)
		}
	}
	return r, diff
}

// Every change × every fault × every transaction in it: what is answered as
// done is done once, and what is answered as failed is not done, or was lost
// sight of, and then asking again does no harm.
func TestChangesUnderFaults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a second for each change")
	}
	for _, c := range changes() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := &faulty{service: newService(t, func(o *httpapi.Options) { o.TrustedProxies = 1 })}
			q := c.prepare(f)
			var calls int64
			r, want := f.effect(q, func(a faultkv.Attempt) faultkv.Fault { calls = max(calls, a.Call); return faultkv.None })
			if r.status >= 400 {
				t.Fatalf("without a fault: %s", r.raw)
			}
			for call := range calls {
				for _, fault := range faultkv.Faults() {
					q := c.prepare(f)
					r, got := f.effect(q, faultkv.At(call+1, fault))
					unsure := fault == faultkv.GiveUpCommitted || fault == faultkv.TimeoutAfter
					switch {
					case r.status < 400 && !maps.Equal(got, want):
						t.Errorf("%s in transaction %d of %d: answered as done, and changed %v, not %v", fault, call+1, calls, got, want)
					case r.status >= 400 && len(got) > 0 && (!unsure || !maps.Equal(got, want)):
						t.Errorf("%s in transaction %d of %d: answered %s, and changed %v", fault, call+1, calls, r.raw, got)
					case r.status >= 400 && r.status != http.StatusServiceUnavailable:
						t.Errorf("%s in transaction %d of %d: %s", fault, call+1, calls, r.raw)
					}
					if r.status >= 400 {
						if again := f.do(q); again.status >= 500 {
							t.Errorf("%s in transaction %d of %d: asked again: %s", fault, call+1, calls, again.raw)
						}
					}
				}
			}
		})
	}
}
