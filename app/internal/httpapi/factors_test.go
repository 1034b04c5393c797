package httpapi_test

import (
	"encoding/base32"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/factor/factortest"
	"coditect.ai/platform/app/internal/httpapi"
)

const (
	factorsPath  = "/users/me/factors"
	passkeysPath = factorsPath + "/passkeys"
)

// guarded is a user with second factors, as a client sees them.
type guarded struct {
	*service
	email, token string
	secret       []byte
	recovery     []string
	device       *factortest.Authenticator
}

func (s *service) guarded(email string) *guarded {
	s.t.Helper()
	return &guarded{service: s, email: email, token: s.register(email).Tokens.AccessToken, device: factortest.New("http://localhost:8080")}
}

func (g *guarded) post(status int, path string, pairs ...any) reply {
	g.t.Helper()
	q := request{method: "POST", path: api(path), token: g.token}
	if pairs != nil {
		q.body = object(pairs...)
	}
	return g.want(status, q)
}

func (g *guarded) refused(status int, code, path string, pairs ...any) {
	g.t.Helper()
	if r := g.post(status, path, pairs...); string(r.Error.Code) != code {
		g.t.Fatalf("POST %s: %s, want %s", path, r.raw, code)
	}
}

// code waits for no clock: the app's of the step after now is good, too.
func (g *guarded) code() string { return factor.TOTPCode(g.secret, time.Now().Add(30*time.Second)) }

func (g *guarded) beginTOTP() httpapi.NewTOTP {
	g.t.Helper()
	begun := dataOf[httpapi.NewTOTP](g.t, g.post(http.StatusOK, factorsPath+"/totp"))
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(begun.Secret)
	must(g.t, err)
	g.secret = secret
	return begun
}

func (g *guarded) addTOTP() {
	g.t.Helper()
	begun := g.beginTOTP()
	if codes := dataOf[httpapi.RecoveryCodes](g.t, g.post(http.StatusCreated, factorsPath+"/totp/verify", "challenge", begun.Challenge,
		"code", factor.TOTPCode(g.secret, time.Now()))).RecoveryCodes; len(codes) > 0 {
		g.recovery = codes
	}
}

func (g *guarded) beginPasskey() httpapi.Ceremony {
	g.t.Helper()
	return dataOf[httpapi.Ceremony](g.t, g.post(http.StatusOK, factorsPath+"/passkey-options"))
}

func (g *guarded) addPasskey(c httpapi.Ceremony) httpapi.NewPasskey {
	g.t.Helper()
	made := dataOf[httpapi.NewPasskey](g.t, g.post(http.StatusCreated, passkeysPath, "challenge", c.Challenge, "name", "key",
		"passkey", json.RawMessage(g.device.Create(g.t, c.Options))))
	if len(made.RecoveryCodes) > 0 {
		g.recovery = made.RecoveryCodes
	}
	return made
}

// get lets the device answer options with its first passkey.
func (g *guarded) get(options []byte) json.RawMessage {
	return g.device.Get(g.t, options, g.device.Passkeys[0])
}

// ask signs in with the password, and returns what is asked for.
func (g *guarded) ask() httpapi.SecondFactor {
	g.t.Helper()
	in := dataOf[httpapi.LoggedIn](g.t, g.post(http.StatusOK, "/auth/login", "email", g.email, "password", password, "device", "tablet"))
	if in.SecondFactor == nil || in.Tokens != nil || in.User != nil || in.TenantID != nil || in.Tenants != nil {
		g.t.Fatalf("answered %+v", in)
	}
	return *in.SecondFactor
}

func TestSecondFactorsOverHTTP(t *testing.T) {
	t.Parallel()
	g := newService(t).guarded("factors@example.org")
	if before := dataOf[httpapi.Factors](t, g.want(http.StatusOK, request{method: "GET", path: api(factorsPath), token: g.token})); before.TOTPSince != nil || len(before.Passkeys) != 0 {
		t.Errorf("before: %+v", before)
	}
	g.refused(http.StatusNotFound, "not_found", factorsPath+"/recovery-codes")
	g.refused(http.StatusNotFound, "not_found", "/auth/step-up/options")
	g.wantCode(http.StatusNotFound, "not_found", request{method: "DELETE", path: api(factorsPath + "/totp"), token: g.token})

	// The app.
	first, second := g.beginTOTP(), g.beginTOTP()
	g.refused(http.StatusBadRequest, "validation_failed", factorsPath+"/totp/verify", "challenge", second.Challenge, "code", "none")
	code := factor.TOTPCode(g.secret, time.Now())
	g.recovery = dataOf[httpapi.RecoveryCodes](t, g.post(http.StatusCreated, factorsPath+"/totp/verify", "challenge", second.Challenge, "code", code)).RecoveryCodes
	g.refused(http.StatusBadRequest, "invalid_challenge", factorsPath+"/totp/verify", "challenge", second.Challenge, "code", code)
	g.refused(http.StatusConflict, "factor_exists", factorsPath+"/totp/verify", "challenge", first.Challenge, "code", code)
	g.refused(http.StatusConflict, "factor_exists", factorsPath+"/totp")
	if len(g.recovery) != factor.RecoveryCodes || !strings.HasPrefix(second.URI, "otpauth://totp/Coditect:") {
		t.Errorf("%d codes, %s", len(g.recovery), second.URI)
	}

	// Signing in with it.
	ask, finish := g.ask(), "/auth/login/second-factor"
	g.refused(http.StatusBadRequest, "validation_failed", finish, "challenge", ask.Challenge, "totp", "1", "recovery_code", "2")
	g.refused(http.StatusUnauthorized, "invalid_factor", finish, "challenge", ask.Challenge, "totp", code)
	g.refused(http.StatusBadRequest, "invalid_challenge", finish, "challenge", "cdc_", "totp", g.code())
	in := dataOf[httpapi.SignedIn](t, g.post(http.StatusOK, finish, "challenge", ask.Challenge, "recovery_code", g.recovery[0]))
	if in.User.Email != g.email || in.Tokens.AccessToken == "" || ask.Options != nil && string(ask.Options) != "null" {
		t.Errorf("signed in %+v after %+v", in, ask)
	}

	// The passkey.
	c := g.beginPasskey()
	g.refused(http.StatusBadRequest, "validation_failed", passkeysPath, "challenge", c.Challenge, "name", "", "passkey", json.RawMessage(`{}`))
	g.refused(http.StatusBadRequest, "invalid_challenge", passkeysPath, "challenge", "cdc_", "name", "key", "passkey", json.RawMessage(`{}`))
	made := g.addPasskey(c)
	if len(made.RecoveryCodes) != 0 || made.Passkey.Name != "key" || made.Passkey.LastUsedAt != nil {
		t.Errorf("added %+v", made)
	}
	var options struct {
		Challenge string `json:"challenge"`
	}
	c = g.beginPasskey()
	must(t, json.Unmarshal(c.Options, &options))
	g.refused(http.StatusConflict, "factor_exists", passkeysPath, "challenge", c.Challenge, "name", "again",
		"passkey", json.RawMessage(g.device.Attest(t, g.device.Passkeys[0], options.Challenge)))
	one := passkeysPath + "/" + made.Passkey.ID.String()
	g.want(http.StatusOK, request{method: "PATCH", path: api(one), token: g.token, body: object("name", "blue")})
	g.wantCode(http.StatusBadRequest, "validation_failed", request{method: "PATCH", path: api(one), token: g.token, body: object("name", " ")})

	// Signing in with it, beside the password and alone.
	ask = g.ask()
	g.post(http.StatusOK, finish, "challenge", ask.Challenge, "passkey", g.get(ask.Options))
	alone := "/auth/login/passkey"
	begin := func() httpapi.Ceremony {
		return dataOf[httpapi.Ceremony](t, g.post(http.StatusOK, alone+"/options"))
	}
	c = begin()
	answer := g.get(c.Options)
	g.refused(http.StatusBadRequest, "validation_failed", alone, "challenge", c.Challenge, "passkey", answer, "tenant_id", "none")
	in = dataOf[httpapi.SignedIn](t, g.post(http.StatusOK, alone, "challenge", c.Challenge, "passkey", answer, "device", "phone"))
	g.refused(http.StatusBadRequest, "invalid_challenge", alone, "challenge", c.Challenge, "passkey", answer)
	g.refused(http.StatusUnauthorized, "invalid_factor", alone, "challenge", begin().Challenge, "passkey", answer)
	g.want(http.StatusOK, request{method: "GET", path: api("/sessions"), token: in.Tokens.AccessToken})

	// A hundred guesses are not to be had.
	ask = g.ask()
	for i := range 10 {
		r := g.do(request{method: "POST", path: api(finish), body: object("challenge", ask.Challenge, "totp", "000000")})
		if r.status == http.StatusTooManyRequests {
			if i < 3 || r.header.Get("Retry-After") == "" {
				t.Errorf("guess %d: %v", i, r.header)
			}
			break
		}
		if i == 9 {
			t.Error("guesses are not slowed down")
		}
	}

	seen := dataOf[httpapi.Factors](t, g.want(http.StatusOK, request{method: "GET", path: api(factorsPath), token: g.token}))
	if seen.TOTPSince == nil || len(seen.Passkeys) != 1 || seen.Passkeys[0].Name != "blue" || seen.Passkeys[0].LastUsedAt == nil || seen.RecoveryCodesLeft != factor.RecoveryCodes-1 {
		t.Errorf("after: %+v", seen)
	}
	g.post(http.StatusCreated, factorsPath+"/recovery-codes")
	g.want(http.StatusOK, request{method: "DELETE", path: api(factorsPath + "/totp"), token: g.token})
	g.want(http.StatusOK, request{method: "DELETE", path: api(one), token: g.token})
	g.wantCode(http.StatusNotFound, "not_found", request{method: "DELETE", path: api(one), token: g.token})
	if in := dataOf[httpapi.LoggedIn](t, g.post(http.StatusOK, "/auth/login", "email", g.email, "password", password)); in.Tokens == nil || in.SecondFactor != nil {
		t.Errorf("without a second factor: %+v", in)
	}
}

// A login that knows the password alone changes nothing of the second factors
// that another login has added, until it steps up.
func TestStepUpOverHTTP(t *testing.T) {
	t.Parallel()
	g := newService(t).guarded("stepup@example.org")
	weak := *g
	weak.token = dataOf[httpapi.SignedIn](t, g.post(http.StatusOK, "/auth/login", "email", g.email, "password", password)).Tokens.AccessToken
	g.addTOTP()
	made := g.addPasskey(g.beginPasskey())
	for _, path := range []string{factorsPath + "/totp", factorsPath + "/recovery-codes", factorsPath + "/passkey-options"} {
		r := weak.wantCode(http.StatusUnauthorized, "step_up_required", request{method: "POST", path: api(path), token: weak.token})
		if want := `error="insufficient_user_authentication", max_age=600`; !strings.Contains(r.header.Get("WWW-Authenticate"), want) {
			t.Errorf("challenge %q", r.header.Get("WWW-Authenticate"))
		}
	}
	for _, path := range []string{factorsPath + "/totp", passkeysPath + "/" + made.Passkey.ID.String()} {
		weak.wantCode(http.StatusUnauthorized, "step_up_required", request{method: "DELETE", path: api(path), token: weak.token})
	}
	const path = "/auth/step-up"
	weak.refused(http.StatusBadRequest, "validation_failed", path, "password", password)
	weak.refused(http.StatusBadRequest, "validation_failed", path, "password", password, "totp", "000000")
	c := dataOf[httpapi.Ceremony](t, weak.post(http.StatusOK, path+"/options"))
	g.refused(http.StatusBadRequest, "invalid_challenge", path, "challenge", c.Challenge, "passkey", g.get(c.Options)) // another login's
	proven := dataOf[httpapi.Proven](t, weak.post(http.StatusOK, path, "challenge", c.Challenge, "passkey", weak.get(c.Options)))
	if proven.Until.Sub(proven.ProvenAt) != 10*time.Minute || len(proven.Methods) != 1 || proven.Methods[0] != "passkey" {
		t.Errorf("%+v", proven)
	}
	weak.want(http.StatusOK, request{method: "DELETE", path: api(factorsPath + "/totp"), token: weak.token})
	for range 30 {
		r := weak.do(request{method: "POST", path: api(path), token: weak.token, body: object("password", "wrong", "recovery_code", g.recovery[0])})
		if r.status == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("guesses of the password are not slowed down")
}

func TestPasskeysAreBoundedOverHTTP(t *testing.T) {
	t.Parallel()
	g := newService(t).guarded("many@example.org")
	for range 19 {
		g.addPasskey(g.beginPasskey())
	}
	one, two := g.beginPasskey(), g.beginPasskey()
	g.addPasskey(one)
	g.refused(http.StatusConflict, "limit_reached", passkeysPath, "challenge", two.Challenge, "name", "key", "passkey", json.RawMessage(g.device.Create(t, two.Options)))
	g.refused(http.StatusConflict, "limit_reached", factorsPath+"/passkey-options")
}

// What one user has, no other sees or changes, and cannot tell from none.
func TestNobodySeesAnothersFactors(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ada, eve := s.guarded("ada@example.org"), s.guarded("eve@example.org")
	made := ada.addPasskey(ada.beginPasskey())
	eve.addPasskey(eve.beginPasskey())
	for _, id := range []string{made.Passkey.ID.String(), uuid.NewString()} {
		s.wantCode(http.StatusNotFound, "not_found", request{method: "PATCH", path: api(passkeysPath + "/" + id), token: eve.token, body: object("name", "mine")})
		s.wantCode(http.StatusNotFound, "not_found", request{method: "DELETE", path: api(passkeysPath + "/" + id), token: eve.token})
	}
	ask := ada.ask()
	s.wantCode(http.StatusUnauthorized, "invalid_factor", request{method: "POST", path: api("/auth/login/second-factor"), body: object(
		"challenge", ask.Challenge, "passkey", eve.get(ask.Options))})
	s.wantCode(http.StatusUnauthorized, "invalid_factor", request{method: "POST", path: api("/auth/login/second-factor"), body: object(
		"challenge", ask.Challenge, "recovery_code", eve.recovery[0])})
	list := dataOf[httpapi.Factors](t, s.want(http.StatusOK, request{method: "GET", path: api(factorsPath), token: eve.token}))
	if len(list.Passkeys) != 1 || list.Passkeys[0].ID == made.Passkey.ID {
		t.Errorf("eve sees %+v", list)
	}
}
