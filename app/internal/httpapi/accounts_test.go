package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/mail"
	"coditect.ai/platform/app/internal/store"
)

type sender func(mail.Message)

func (s sender) Send(_ context.Context, m mail.Message) error { s(m); return nil }

// mailed delivers what is due and returns the token of the last letter to an address.
func (s *service) mailed(to string) string {
	s.t.Helper()
	token := ""
	for {
		done, err := s.rules.Deliver(s.t.Context(), sender(func(m mail.Message) {
			if found := regexp.MustCompile(`#token=(\S+)`).FindStringSubmatch(m.Text); m.To == to && found != nil {
				token = found[1]
			}
		}))
		must(s.t, err)
		if done.Sent == 0 {
			return token
		}
	}
}

const otherPassword = "another horse, another staple"

func TestAccountsOverHTTP(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("ada@example.org")
	token := in.Tokens.AccessToken
	verify := func(status int, token string) {
		t.Helper()
		s.want(status, request{method: "POST", path: api("/auth/email/verify"), body: object("token", token)})
	}
	verify(http.StatusBadRequest, "nonsense")
	verify(http.StatusOK, s.mailed("ada@example.org"))
	me := request{method: "GET", path: api("/users/me"), token: token}
	if got := dataOf[httpapi.User](t, s.want(http.StatusOK, me)); !got.EmailVerified || got.ID != in.User.ID {
		t.Errorf("%+v", got)
	}
	change := request{method: "PATCH", path: api("/users/me"), token: token, body: `{"first_name":"Augusta"}`}
	if got := dataOf[httpapi.User](t, s.want(http.StatusOK, change)); got.FirstName != "Augusta" || got.Company != "Engines" {
		t.Errorf("%+v", got)
	}
	change.body = `{"last_name":""}`
	s.wantCode(http.StatusBadRequest, "validation_failed", change)

	// The password is changed, forgotten and reset; other devices are signed out each time.
	second := dataOf[httpapi.SignedIn](t, s.want(http.StatusOK, request{method: "POST", path: api("/auth/login"), body: object("email", "ada@example.org", "password", password)}))
	logins := dataOf[[]httpapi.Login](t, s.want(http.StatusOK, request{method: "GET", path: api("/auth/logins"), token: token}))
	if len(logins) != 2 || logins[0].Current || !logins[1].Current {
		t.Errorf("%+v", logins)
	}
	passwords := request{method: "POST", path: api("/users/me/password"), token: token, body: object("current_password", password, "new_password", otherPassword)}
	s.want(http.StatusOK, passwords)
	s.wantCode(http.StatusBadRequest, "validation_failed", passwords) // it is another one now
	s.wantCode(http.StatusUnauthorized, "invalid_token", request{method: "GET", path: api("/users/me"), token: second.Tokens.AccessToken})
	third := dataOf[httpapi.SignedIn](t, s.want(http.StatusOK, request{method: "POST", path: api("/auth/login"), body: object("email", "ada@example.org", "password", otherPassword)}))
	logins = dataOf[[]httpapi.Login](t, s.want(http.StatusOK, request{method: "GET", path: api("/auth/logins?limit=1"), token: token}))
	s.want(http.StatusOK, request{method: "DELETE", path: api("/auth/logins/" + logins[0].ID.String()), token: token})
	s.wantCode(http.StatusUnauthorized, "invalid_token", request{method: "GET", path: api("/users/me"), token: third.Tokens.AccessToken})

	forgot := func(email string) string {
		t.Helper()
		r := s.want(http.StatusAccepted, request{method: "POST", path: api("/auth/password/forgot"), body: object("email", email)})
		return r.raw
	}
	if forgot("ada@example.org") != forgot("nobody@example.org") {
		t.Error("the answer tells who has an account")
	}
	s.wantCode(http.StatusBadRequest, "validation_failed", request{method: "POST", path: api("/auth/password/forgot"), body: object("email", "nonsense")})
	mailed := s.mailed("ada@example.org")
	reset := request{method: "POST", path: api("/auth/password/reset"), body: object("token", mailed, "password", "short")}
	s.wantCode(http.StatusBadRequest, "validation_failed", reset)
	reset.body = object("token", mailed, "password", password)
	s.db.conflict.Store(true)
	s.wantCode(http.StatusServiceUnavailable, "busy", reset)
	s.db.conflict.Store(false)
	s.want(http.StatusOK, reset)
	s.wantCode(http.StatusBadRequest, "invalid_mailed_token", reset)
	token = dataOf[httpapi.SignedIn](t, s.want(http.StatusOK, request{method: "POST", path: api("/auth/login"), body: object("email", "ada@example.org", "password", password)})).Tokens.AccessToken

	made := s.createSession(token, "one")
	touch := request{method: "PATCH", path: api("/sessions/" + made.ID.String()), token: token}
	if got := dataOf[httpapi.Session](t, s.want(http.StatusOK, touch)); got.Name != "one" || !got.UpdatedAt.Equal(made.UpdatedAt) || got.LastActiveAt.Before(made.LastActiveAt) {
		t.Errorf("touched %+v", got)
	}
	touch.body = `{"name":"two","metadata":{"a":1}}`
	if got := dataOf[httpapi.Session](t, s.want(http.StatusOK, touch)); got.Name != "two" || string(got.Metadata) != `{"a":1}` {
		t.Errorf("changed %+v", got)
	}
	touch.body = `{"metadata":[]}`
	s.wantCode(http.StatusBadRequest, "validation_failed", touch)

	export := dataOf[httpapi.Export](t, s.want(http.StatusOK, request{method: "GET", path: api("/users/me/export"), token: token}))
	if export.User.Email != "ada@example.org" || len(export.Tenants) != 1 || len(export.Logins) != 1 || len(export.Sessions) != 1 || export.NextCursor != nil {
		t.Errorf("%+v", export)
	}
	remove := request{method: "DELETE", path: api("/users/me"), token: token, body: object("password", "wrong")}
	s.wantCode(http.StatusBadRequest, "validation_failed", remove)
	remove.body = object("password", password)
	s.want(http.StatusOK, remove)
	s.wantCode(http.StatusUnauthorized, "invalid_token", request{method: "GET", path: api("/users/me"), token: token})
	s.register("ada@example.org")
}

func TestDeletingAnAccountAsksForTheSecondFactor(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("ada@example.org")
	must(t, s.store.Update(t.Context(), func(tx *store.Tx) error {
		f, err := tx.Factors(in.User.ID)
		f.TOTP = &store.TOTP{ID: uuid.New()}
		tx.PutFactors(f)
		return err
	}))
	s.wantCode(http.StatusUnauthorized, "step_up_required", request{
		method: "DELETE", path: api("/users/me"), token: in.Tokens.AccessToken, body: object("password", password),
	})
}

func TestTenantsOverHTTP(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ada, bob := s.register("ada@example.org"), s.register("bob@example.org")
	token := ada.Tokens.AccessToken
	made := dataOf[httpapi.TenantDetails](t, s.want(http.StatusCreated, request{method: "POST", path: api("/tenants"), token: token, body: object("name", "Engines")}))
	path := api("/tenants/" + made.ID.String())
	s.wantCode(http.StatusBadRequest, "validation_failed", request{method: "POST", path: api("/tenants"), token: token, body: object("name", " ")})
	s.wantCode(http.StatusBadRequest, "validation_failed", request{method: "PATCH", path: path, token: token, body: object("name", " ")})
	if all := dataOf[[]httpapi.TenantDetails](t, s.want(http.StatusOK, request{method: "GET", path: api("/tenants"), token: token})); len(all) != 2 {
		t.Errorf("%+v", all)
	}

	invite := request{method: "POST", path: path + "/invitations", token: token, body: object("email", "bob@example.org", "role", "admin")}
	s.want(http.StatusCreated, invite)
	accept := request{method: "POST", path: api("/invitations/accept"), token: bob.Tokens.AccessToken, body: object("token", s.mailed("bob@example.org"))}
	if joined := dataOf[httpapi.TenantDetails](t, s.want(http.StatusOK, accept)); joined.ID != made.ID || joined.Role != "admin" || joined.Self {
		t.Errorf("%+v", joined)
	}
	s.wantCode(http.StatusBadRequest, "invalid_mailed_token", accept)
	s.wantCode(http.StatusConflict, "already_member", invite)
	invite.body = object("email", "nonsense", "role", "king")
	if r := s.wantCode(http.StatusBadRequest, "validation_failed", invite); len(r.Error.Fields) != 2 {
		t.Errorf("%+v", r.Error)
	}

	// The owner stays one, whatever is asked.
	own := path + "/members/" + ada.User.ID.String()
	self := api("/tenants/" + ada.TenantID.String())
	s.wantCode(http.StatusConflict, "last_owner", request{method: "PATCH", path: own, token: token, body: object("role", "member")})
	s.wantCode(http.StatusConflict, "last_owner", request{method: "DELETE", path: own, token: token})
	s.wantCode(http.StatusConflict, "last_owner", request{method: "DELETE", path: api("/users/me"), token: token, body: object("password", password)})
	s.wantCode(http.StatusBadRequest, "validation_failed", request{method: "PATCH", path: own, token: token, body: object("role", "king")})
	s.wantCode(http.StatusConflict, "self_tenant", request{method: "PATCH", path: self + "/members/" + ada.User.ID.String(), token: token, body: object("role", "member")})
	s.wantCode(http.StatusConflict, "self_tenant", request{method: "DELETE", path: self + "/members/" + ada.User.ID.String(), token: token})
	s.wantCode(http.StatusConflict, "self_tenant", request{method: "DELETE", path: self, token: token})

	trail := dataOf[[]httpapi.Event](t, s.want(http.StatusOK, request{method: "GET", path: path + "/audit", token: bob.Tokens.AccessToken}))
	var acts []string
	for _, e := range trail {
		acts = append(acts, e.Action)
	}
	if got := strings.Join(acts, " "); got != "invitation.accepted invitation.created tenant.created" {
		t.Errorf("audit trail: %s", got)
	}
	s.want(http.StatusOK, request{method: "DELETE", path: path, token: token})
	s.wantCode(http.StatusNotFound, "not_found", request{method: "GET", path: path, token: bob.Tokens.AccessToken})
	s.wantCode(http.StatusNotFound, "not_found", request{method: "POST", path: api("/auth/token"), token: token, body: object("tenant_id", made.ID)})

	// What there may be is bounded.
	var first uuid.UUID
	must(t, s.store.Update(t.Context(), func(tx *store.Tx) error {
		for range 99 {
			first = uuid.Must(uuid.NewV7())
			tx.PutTenant(store.Tenant{ID: first})
			for _, u := range []uuid.UUID{ada.User.ID, bob.User.ID} {
				tx.PutMembership(store.Membership{TenantID: first, UserID: u, Role: store.RoleOwner})
			}
		}
		return nil
	}))
	s.wantCode(http.StatusConflict, "limit_reached", request{method: "POST", path: api("/tenants"), token: token, body: object("name", "Mills")})
	s.want(http.StatusCreated, request{method: "POST", path: self + "/invitations", token: token, body: object("email", "bob@example.org", "role", "member")})
	accept.body = object("token", s.mailed("bob@example.org"))
	s.wantCode(http.StatusConflict, "limit_reached", accept)
	must(t, s.store.Update(t.Context(), func(tx *store.Tx) error {
		for range 200 {
			id := uuid.Must(uuid.NewV7())
			tx.PutInvitation(store.Invitation{ID: id, TenantID: first, Token: store.HashOf(id[:]), ExpiresAt: tx.Now().Add(time.Hour)})
		}
		return nil
	}))
	s.wantCode(http.StatusConflict, "limit_reached", request{
		method: "POST", path: api("/tenants/" + first.String() + "/invitations"), token: token, body: object("email", "eve@example.org", "role", "member"),
	})
}

// Each route that takes an Idempotency-Key does its work once for it.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("ada@example.org")
	other := map[string]string{
		"/auth/register": object("email", "eve@example.com", "password", password, "first_name", "E", "last_name", "V"),
		"/sessions":      `{"name":"other"}`, "/tenants": `{"name":"other"}`, "/tenants/{id}/invitations": object("email", "eve@example.com", "role", "member"),
	}
	routes := 0
	for _, route := range httpapi.Routes() {
		if !route.Once {
			continue
		}
		routes++
		q := request{
			method: route.Method, path: strings.ReplaceAll(route.Path, "{id}", in.TenantID.String()), token: in.Tokens.AccessToken,
			body: watcher.example(route), header: http.Header{"Idempotency-Key": {"0f9a7c52-" + strconv.Itoa(routes)}},
		}
		first, again := s.want(route.Status, q), s.want(route.Status, q)
		if withoutAccessToken(first.raw) != withoutAccessToken(again.raw) {
			t.Errorf("%s: %s\nagain: %s", q.path, first.raw, again.raw)
		}
		q.body = other[strings.TrimPrefix(route.Path, api(""))]
		s.wantCode(http.StatusConflict, "idempotency_conflict", q)
		for _, bad := range [][]string{{""}, {"a b"}, {"a", "b"}, {strings.Repeat("x", 256)}, {"é"}} {
			q.header = http.Header{"Idempotency-Key": bad}
			s.wantCode(http.StatusBadRequest, "invalid_request", q)
		}
	}
	if routes != len(other) {
		t.Errorf("%d routes take a key, want %d", routes, len(other))
	}
}

// withoutAccessToken drops what is signed anew each time: it tells its own time.
func withoutAccessToken(body string) string {
	return regexp.MustCompile(`"access_token":"[^"]*"`).ReplaceAllString(body, "")
}

// Whoever guesses is told to wait, wherever a password can be tried; and so is
// whoever asks for mail without end.
func TestGuessersAreToldToWait(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]request{
		"login":    {method: "POST", path: api("/auth/login"), body: object("email", "nobody@example.org", "password", "a wrong guess")},
		"deletion": {method: "DELETE", path: api("/users/me"), body: object("password", "a wrong guess")},
		"change":   {method: "POST", path: api("/users/me/password"), body: object("current_password", "a wrong guess", "new_password", otherPassword)},
		"register": {method: "POST", path: api("/auth/register"), body: object("email", "ada@example.org", "password", password, "first_name", "A", "last_name", "L")},
		"mail":     {method: "POST", path: api("/auth/password/forgot"), body: object("email", "nobody@example.org")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			q.token = s.register("ada@example.org").Tokens.AccessToken
			for range 100 {
				if r := s.do(q); r.status == http.StatusTooManyRequests {
					if r.Error.Code != "too_many_attempts" || r.header.Get("Retry-After") == "" {
						t.Errorf("%v %s", r.header, r.raw)
					}
					return
				}
			}
			t.Error("a hundred guesses, and no wait")
		})
	}
}

func TestWhoInvitesManyIsToldToWait(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("ada@example.org")
	for n := range 100 {
		r := s.do(request{
			method: "POST", path: api("/tenants/" + in.TenantID.String() + "/invitations"), token: in.Tokens.AccessToken,
			body: object("email", fmt.Sprintf("u%d@example.org", n), "role", "member"),
		})
		if r.status == http.StatusTooManyRequests && r.Error.Code == "too_many_attempts" && r.header.Get("Retry-After") != "" {
			return
		}
	}
	t.Error("a hundred invitations, and no wait")
}

func TestDeletingATenantAsksForAProof(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("ada@example.org")
	made := dataOf[httpapi.TenantDetails](t, s.want(http.StatusCreated, request{method: "POST", path: api("/tenants"), token: in.Tokens.AccessToken, body: object("name", "Engines")}))
	must(t, s.store.Update(t.Context(), func(tx *store.Tx) error {
		logins, _, err := tx.Logins(in.User.ID, uuid.Nil, 1)
		logins[0].Proof.At = tx.Now().Add(-time.Hour)
		tx.PutLogin(logins[0])
		return err
	}))
	remove := request{method: "DELETE", path: api("/tenants/" + made.ID.String()), token: in.Tokens.AccessToken}
	s.wantCode(http.StatusUnauthorized, "step_up_required", remove)
	s.want(http.StatusOK, request{method: "POST", path: api("/auth/step-up"), token: in.Tokens.AccessToken, body: object("password", password)})
	s.want(http.StatusOK, remove)
}

func TestPublicKeysAreServedAsTheStandardSays(t *testing.T) {
	t.Parallel()
	s := newService(t)
	r := s.want(http.StatusOK, request{method: "GET", path: api("/.well-known/jwks.json")})
	if r.raw != `{"keys":[]}` {
		t.Errorf("with a shared secret: %s", r.raw)
	}
}
