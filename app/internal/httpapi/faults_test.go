package httpapi_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/tuple"
	"coditect.ai/platform/app/internal/telemetry"
)

// change is an operation of the API that changes something, with what must be there for it.
type change struct {
	name    string
	prepare func(f *faulty) request
}

// faulty is a service whose store fails on demand.
type faulty struct {
	*service
	hasty *httptest.Server // the same service, with next to no patience for its store
	n     int
}

// newFaulty starts a service on a store without faults.
func newFaulty(t *testing.T) *faulty {
	t.Helper()
	f := &faulty{service: newService(t, func(o *httpapi.Options) { o.TrustedProxies = 1 })}
	hasty := httpapi.New(httpapi.Options{
		Version: "1.2.3-test", Log: telemetry.NewLogger(f.logs, slog.LevelInfo, "blue"), Metrics: telemetry.NewMetrics("test", "none", "blue"),
		Now: time.Now, RequestTimeout: 200 * time.Millisecond, TrustedProxies: 1,
	})
	hasty.Open(f.backend)
	f.hasty = httptest.NewServer(hasty)
	t.Cleanup(f.hasty.Close)
	return f
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
		{"update session", func(f *faulty) request {
			in := f.someone()
			return signed("PATCH", api("/sessions/"+f.createSession(in.Tokens.AccessToken, "x").ID.String()), in, `{"name":"y"}`)
		}},
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

// counts is the number of keys of each kind.
func (f *faulty) counts() map[string]int {
	f.t.Helper()
	counts := map[string]int{}
	must(f.t, f.db.Read(f.t.Context(), func(r kv.Reader) error {
		clear(counts)
		pairs, err := r.Range(kv.Range{Begin: []byte{0}, End: []byte{0xFF}}, kv.RangeOptions{})
		for _, p := range pairs {
			elements, err := tuple.Decode(p.Key)
			if err != nil {
				return err
			}
			var kind []string
			for _, e := range elements {
				if word, ok := e.(string); ok && !strings.Contains(word, "@") { // no address
					kind = append(kind, word)
				}
			}
			counts[strings.Join(kind, "/")]++
		}
		return err
	}))
	return counts
}

// agrees holds the whole store to what its records and indexes promise each other.
func (f *faulty) agrees() {
	f.t.Helper()
	report, err := f.store.Check(f.t.Context())
	must(f.t, err)
	if !report.OK() {
		f.t.Errorf("the store does not agree with itself: %q", report.Problems)
	}
}

// effect is what a request changed in the store.
func (f *faulty) effect(ask func() reply, plan faultkv.Plan) (r reply, diff map[string]int) {
	f.t.Helper()
	before := f.counts()
	f.faults.Follow(plan)
	r = ask()
	f.faults.Follow(noFault)
	return r, f.since(before)
}

// since is what has changed in the store.
func (f *faulty) since(before map[string]int) map[string]int {
	f.t.Helper()
	diff := map[string]int{}
	for kind, n := range f.counts() {
		diff[kind] += n
	}
	for kind, n := range before {
		if diff[kind] -= n; diff[kind] == 0 {
			delete(diff, kind)
		}
	}
	return diff
}

// hurt is what befalls the attempts of one transaction.
type hurt []faultkv.Fault

func (h hurt) String() string { return fmt.Sprint([]faultkv.Fault(h)) }

// unsure reports that a request which fails may have had its effect.
func (h hurt) unsure() bool {
	return slices.ContainsFunc(h, func(f faultkv.Fault) bool {
		return f == faultkv.GiveUpCommitted || f == faultkv.TimeoutAfter || f == faultkv.UnknownCommitted
	})
}

// hurts are each fault alone, and those that meet a second run which may find the effect of the first.
func hurts() (all []hurt) {
	for _, fault := range append(faultkv.Faults(), faultkv.Hung) {
		all = append(all, hurt{fault})
	}
	return append(all,
		hurt{faultkv.UnknownCommitted, faultkv.Conflict},
		hurt{faultkv.UnknownCommitted, faultkv.Unavailable},
		hurt{faultkv.UnknownLost, faultkv.UnknownCommitted},
	)
}

// through returns what sends q: a store that hangs is waited for by who has little patience.
func (f *faulty) through(h hurt, q request) func() reply {
	return func() reply {
		f.t.Helper()
		if h[0] != faultkv.Hung {
			return f.do(q)
		}
		patient := f.server
		f.server = f.hasty
		defer func() { f.server = patient }()
		return f.do(q)
	}
}

// Every change × every fault × every transaction in it: what is answered as
// done is done once, and what is answered as failed is not done, or was lost
// sight of, and then asking again does no harm; with an idempotency key it is
// then done once whatever happened.
func TestChangesUnderFaults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a second for each change")
	}
	t.Run("changes", func(t *testing.T) {
		t.Parallel()
		for _, c := range slices.Concat(changes(), factorChanges()) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.underFaults(t)
			})
		}
	})
}

func (c change) underFaults(t *testing.T) {
	t.Helper()
	f := newFaulty(t)
	prepare := func(f *faulty) (q request, once bool) {
		q = c.prepare(f)
		if once = routeOf(t, q).Once; once {
			q.header = maps.Clone(q.header)
			if q.header == nil {
				q.header = http.Header{}
			}
			q.header.Set("Idempotency-Key", fmt.Sprintf("key-%d", f.n))
		}
		return q, once
	}
	q, _ := prepare(f)
	var calls int64
	r, want := f.effect(func() reply { return f.do(q) }, func(a faultkv.Attempt) faultkv.Fault { calls = max(calls, a.Call); return faultkv.None })
	if r.status >= 400 {
		t.Fatalf("without a fault: %s", r.raw)
	}
	for call := range calls {
		f := newFaulty(t) // what is counted stays little
		for _, h := range hurts() {
			q, once := prepare(f)
			var before map[string]int
			if once {
				before = f.counts()
			}
			r, got := f.effect(f.through(h, q), faultkv.At(call+1, h...))
			where := fmt.Sprintf("%s in transaction %d of %d", h, call+1, calls)
			switch {
			case r.status < 400 && !maps.Equal(got, want):
				t.Errorf("%s: answered as done, and changed %v, not %v", where, got, want)
			case r.status >= 400 && len(got) > 0 && (!h.unsure() || !maps.Equal(got, want)):
				t.Errorf("%s: answered %s, and changed %v", where, r.raw, got)
			case r.status >= 400 && r.status != http.StatusServiceUnavailable:
				t.Errorf("%s: %s", where, r.raw)
			}
			if r.status < 400 {
				continue
			}
			again := f.do(q)
			if again.status >= 500 {
				t.Errorf("%s: asked again: %s", where, again.raw)
			}
			if once {
				if got := f.since(before); again.status >= 400 || !maps.Equal(got, want) {
					t.Errorf("%s: asked again with the same key: %s, and changed %v, not %v", where, again.raw, got, want)
				}
			}
		}
		f.agrees()
	}
}

// routeOf is the row of the route table that a request is for.
func routeOf(t *testing.T, q request) httpapi.Route {
	t.Helper()
	path, _, _ := strings.Cut(q.path, "?")
	have := strings.Split(path, "/")
	for _, route := range httpapi.Routes() {
		want := strings.Split(route.Path, "/")
		if route.Method == q.method && slices.EqualFunc(want, have, func(w, h string) bool { return w == h || strings.HasPrefix(w, "{") }) {
			return route
		}
	}
	t.Fatalf("no route for %s %s", q.method, q.path)
	return httpapi.Route{}
}

// Every read × every fault × every transaction in it: it changes nothing, and
// answers rightly or with 503.
func TestReadsUnderFaults(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	for _, q := range f.reads() {
		var calls int64
		r, _ := f.effect(func() reply { return f.do(q) }, func(a faultkv.Attempt) faultkv.Fault { calls = max(calls, a.Call); return faultkv.None })
		if r.status != http.StatusOK {
			t.Fatalf("%s without a fault: %s", q.path, r.raw)
		}
		for call := range calls {
			for _, fault := range append(faultkv.Faults(), faultkv.Hung) {
				r, got := f.effect(f.through(hurt{fault}, q), faultkv.At(call+1, fault))
				if len(got) > 0 || r.status != http.StatusOK && r.status != http.StatusServiceUnavailable {
					t.Errorf("%s with %s: %s, and changed %v", q.path, fault, r.raw, got)
				}
			}
		}
	}
}

// No route is without its place in the two tables above.
func TestFaultsMeetEveryRoute(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	met := map[string]bool{}
	for _, c := range slices.Concat(changes(), factorChanges()) {
		q := c.prepare(f)
		met[routeOf(t, q).Method+" "+routeOf(t, q).Path] = true
	}
	for _, q := range f.reads() {
		met[routeOf(t, q).Method+" "+routeOf(t, q).Path] = true
	}
	for _, route := range httpapi.Routes() {
		keepsNothing := route.Probe || route.Answer == nil || route.Path == contract.KeySetPath
		if name := route.Method + " " + route.Path; !keepsNothing && !met[name] {
			t.Errorf("%s meets no fault", name)
		}
	}
}
