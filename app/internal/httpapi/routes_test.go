package httpapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/httpapi"
)

func TestHealthSaysExactlyWhatProbesExpect(t *testing.T) {
	t.Parallel()
	s := newClosedService(t)
	for _, path := range []string{contract.HealthPath, contract.HealthPath + "?from=balancer"} {
		r := s.want(http.StatusOK, request{method: "GET", path: path})
		if r.raw != `{"success":true,"data":{"service":"coditect-v5-api","status":"healthy"}}` {
			t.Fatal(r.raw)
		}
	}
}

func TestAccountFromRegistrationToLogout(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register(" Ada@Example.org ")
	self := uuid.NewSHA1(uuid.NameSpaceOID, []byte("self-tenant-"+in.User.ID.String()))
	if in.User.Email != "ada@example.org" || in.User.FirstName != "Ada" || in.User.Company != "Engines" || in.TenantID != self {
		t.Fatalf("registered %+v", in)
	}
	if len(in.Tenants) != 1 || in.Tenants[0].ID != self || in.Tenants[0].Role != "owner" || !in.Tenants[0].Self {
		t.Fatalf("tenants %+v", in.Tenants)
	}
	if in.Tokens.TokenType != "Bearer" || in.Tokens.ExpiresIn != 900 || !in.Tokens.RefreshExpiresAt.After(time.Now()) {
		t.Fatalf("tokens %+v", in.Tokens)
	}
	s.wantCode(http.StatusConflict, "email_taken", request{method: "POST", path: api("/auth/register"), body: object(
		"email", "ADA@example.org", "password", password, "first_name", "A", "last_name", "L", "company", "")})

	out := dataOf[httpapi.SignedIn](t, s.want(http.StatusOK, request{method: "POST", path: api("/auth/login"), body: object(
		"email", "ada@EXAMPLE.org", "password", password, "tenant_id", self.String(), "device", "laptop")}))
	if out.User.ID != in.User.ID || out.TenantID != self {
		t.Fatalf("signed in %+v", out)
	}

	pair := dataOf[httpapi.Refreshed](t, s.want(http.StatusOK, request{method: "POST", path: api("/auth/refresh"), body: object(
		"refresh_token", out.Tokens.RefreshToken)})).Tokens
	if pair.RefreshToken == out.Tokens.RefreshToken {
		t.Fatal("the refresh token was not rotated")
	}

	// A logout ends this login at once, and leaves the other one.
	s.want(http.StatusOK, request{method: "POST", path: api("/auth/logout"), token: pair.AccessToken})
	for _, token := range []string{pair.AccessToken, out.Tokens.AccessToken} {
		s.wantCode(http.StatusUnauthorized, "invalid_token", request{method: "GET", path: api("/sessions"), token: token})
	}
	s.wantCode(http.StatusUnauthorized, "invalid_token", request{method: "POST", path: api("/auth/refresh"), body: object("refresh_token", pair.RefreshToken)})
	s.want(http.StatusOK, request{method: "GET", path: api("/sessions"), token: in.Tokens.AccessToken})

	// Everywhere ends the rest.
	third := dataOf[httpapi.SignedIn](t, s.want(http.StatusOK, request{method: "POST", path: api("/auth/login"), body: object("email", "ada@example.org", "password", password)}))
	r := s.want(http.StatusOK, request{method: "POST", path: api("/auth/logout"), token: third.Tokens.AccessToken, body: `{"everywhere": true}`})
	if got := dataOf[httpapi.SignedOut](t, r); !got.Everywhere || !got.SignedOut {
		t.Fatalf("%+v", got)
	}
	s.wantCode(http.StatusUnauthorized, "invalid_token", request{method: "GET", path: api("/sessions"), token: in.Tokens.AccessToken})
}

func TestWrongCredentialsNeverTellWhich(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.register("known@example.org")
	wrong := func(email string) string {
		r := s.wantCode(http.StatusUnauthorized, "invalid_credentials", request{method: "POST", path: api("/auth/login"), body: object("email", email, "password", "not the password")})
		return strings.ReplaceAll(r.raw, r.RequestID, "")
	}
	if a, b := wrong("known@example.org"), wrong("nobody@example.org"); a != b {
		t.Fatalf("%s\n%s", a, b)
	}
}

func TestSessionsOfAUser(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("ide@example.org")
	token := in.Tokens.AccessToken
	made := dataOf[httpapi.Session](t, s.want(http.StatusCreated, request{
		method: "POST", path: api("/sessions"), token: token,
		body: `{"name":"one","workspace_path":"/home/ada","metadata":{"tabs":[1,2,{"x":null}]}}`,
	}))
	if made.UserID != in.User.ID || made.TenantID != in.TenantID || made.WorkspacePath != "/home/ada" || string(made.Metadata) != `{"tabs":[1,2,{"x":null}]}` || made.ID.Version() != 7 {
		t.Fatalf("%+v", made)
	}
	bare := dataOf[httpapi.Session](t, s.want(http.StatusCreated, request{method: "POST", path: api("/sessions"), token: token}))
	if string(bare.Metadata) != "{}" {
		t.Fatalf("metadata %s", bare.Metadata)
	}
	got := dataOf[httpapi.Session](t, s.want(http.StatusOK, request{method: "GET", path: api("/sessions/" + made.ID.String()), token: token}))
	if fmt.Sprint(got) != fmt.Sprint(made) {
		t.Fatalf("got %+v, made %+v", got, made)
	}
	if r := s.want(http.StatusOK, request{method: "HEAD", path: api("/sessions/" + made.ID.String()), token: token}); r.header.Get("Content-Length") == "" {
		t.Fatal("HEAD without the length of GET")
	}

	// Pages, newest first.
	want := []string{bare.ID.String(), made.ID.String()}
	for i := range 3 {
		want = append([]string{s.createSession(token, strconv.Itoa(i)).ID.String()}, want...)
	}
	var ids []string
	cursor := ""
	for pages := 1; ; pages++ {
		r := s.want(http.StatusOK, request{method: "GET", path: api("/sessions?limit=2" + cursor), token: token})
		for _, one := range dataOf[[]httpapi.Session](t, r) {
			ids = append(ids, one.ID.String())
		}
		if r.Page.NextCursor == nil {
			if pages != 3 {
				t.Fatalf("%d pages", pages)
			}
			break
		}
		cursor = "&cursor=" + *r.Page.NextCursor
	}
	if fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Fatalf("listed %v, want %v", ids, want)
	}

	s.want(http.StatusOK, request{method: "DELETE", path: api("/sessions/" + made.ID.String()), token: token})
	for _, method := range []string{"GET", "DELETE"} {
		s.wantCode(http.StatusNotFound, "not_found", request{method: method, path: api("/sessions/" + made.ID.String()), token: token})
	}
	empty := s.register("empty@example.org").Tokens.AccessToken
	if r := s.want(http.StatusOK, request{method: "GET", path: api("/sessions"), token: empty}); r.raw != `{"success":true,"data":[],"page":{"next_cursor":null}}` {
		t.Fatal(r.raw)
	}
}

// Whoever asks, with whatever token and id, sees their own sessions and
// cannot tell others' from none.
func TestNobodySeesAnothersSessions(t *testing.T) {
	t.Parallel()
	s := newService(t)
	type person struct {
		in  httpapi.SignedIn
		own httpapi.Session
	}
	people := make([]person, 3)
	for i := range people {
		in := s.register(fmt.Sprintf("p%d@example.org", i))
		people[i] = person{in, s.createSession(in.Tokens.AccessToken, fmt.Sprintf("of %d", i))}
	}
	for i, asks := range people {
		token := asks.in.Tokens.AccessToken
		for j, owner := range people {
			path := api("/sessions/" + owner.own.ID.String())
			if i == j {
				s.want(http.StatusOK, request{method: "GET", path: path, token: token})
				continue
			}
			nobodys := s.wantCode(http.StatusNotFound, "not_found", request{method: "GET", path: api("/sessions/" + uuid.Must(uuid.NewV7()).String()), token: token})
			for _, method := range []string{"GET", "DELETE"} {
				r := s.wantCode(http.StatusNotFound, "not_found", request{method: method, path: path, token: token})
				if r.Error.Message != nobodys.Error.Message {
					t.Fatalf("%q tells more than %q", r.Error.Message, nobodys.Error.Message)
				}
			}
			// Another's tenant is no way in either.
			s.want(http.StatusUnauthorized, request{method: "POST", path: api("/auth/login"), body: object(
				"email", asks.in.User.Email, "password", "wrong "+password, "tenant_id", owner.in.TenantID.String())})
			if r := s.do(request{method: "POST", path: api("/auth/login"), body: object(
				"email", asks.in.User.Email, "password", password, "tenant_id", owner.in.TenantID.String())}); r.Success {
				t.Fatalf("signed in to another's tenant: %s", r.raw)
			}
		}
		list := dataOf[[]httpapi.Session](t, s.want(http.StatusOK, request{method: "GET", path: api("/sessions"), token: token}))
		if len(list) != 1 || list[0].ID != asks.own.ID {
			t.Fatalf("%d sees %+v", i, list)
		}
	}
	for _, p := range people { // the deletions by others have deleted nothing
		s.want(http.StatusOK, request{method: "GET", path: api("/sessions/" + p.own.ID.String()), token: p.in.Tokens.AccessToken})
	}
}

// Every row of the table is served: the right method is never 404 or 405, all
// others are 405 with an Allow that names the right ones.
func TestRouteTableIsServed(t *testing.T) {
	t.Parallel()
	s := newService(t)
	methods := map[string][]string{}
	for _, route := range httpapi.Routes() {
		methods[route.Path] = append(methods[route.Path], route.Method)
		if route.Method == http.MethodGet {
			methods[route.Path] = append(methods[route.Path], "HEAD")
		}
		if !strings.HasPrefix(route.Path, contract.BasePath+"/") || route.Answer == nil || route.Status == 0 {
			t.Errorf("%+v", route)
		}
	}
	for template, allowed := range methods {
		path := strings.ReplaceAll(template, "{id}", uuid.NewString())
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} {
			r := s.do(request{method: method, path: path})
			listed := strings.Contains(" "+strings.Join(allowed, " ")+" ", " "+method+" ")
			if listed == (r.status == http.StatusMethodNotAllowed) || (listed && r.status == http.StatusNotFound) {
				t.Errorf("%s %s: %d", method, path, r.status)
			}
			if !listed && r.header.Get("Allow") != strings.Join(append(append([]string{}, allowed...), "OPTIONS"), ", ") {
				t.Errorf("%s %s: Allow %q", method, path, r.header.Get("Allow"))
			}
		}
		if r := s.want(http.StatusNoContent, request{method: "OPTIONS", path: path}); r.header.Get("Allow") == "" {
			t.Errorf("OPTIONS %s without Allow", path)
		}
	}
}
