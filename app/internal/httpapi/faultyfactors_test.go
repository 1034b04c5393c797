package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/httpapi"
)

// careful registers somebody new who has an authenticator app, and, where asked, a passkey.
func (f *faulty) careful(passkey bool) *guarded {
	f.t.Helper()
	f.n++
	g := f.guarded(fmt.Sprintf("careful%d@example.org", f.n))
	g.addTOTP()
	if passkey {
		g.addPasskey(g.beginPasskey())
	}
	return g
}

// ownPasskey is the path of somebody's passkey.
func (g *guarded) ownPasskey() string {
	g.t.Helper()
	seen := dataOf[httpapi.Factors](g.t, g.want(http.StatusOK, request{method: "GET", path: api(factorsPath), token: g.token}))
	return api(passkeysPath + "/" + seen.Passkeys[0].ID.String())
}

// factorChanges are the changes of second factors, and those that they make possible.
func factorChanges() []change {
	of := func(g *guarded, method, path string, pairs ...any) request {
		q := request{method: method, path: path, token: g.token}
		if pairs != nil {
			q.body = object(pairs...)
		}
		return q
	}
	return []change{
		{"finish login", func(f *faulty) request {
			g := f.careful(false)
			ask := g.ask()
			return request{method: "POST", path: api("/auth/login/second-factor"), body: object("challenge", ask.Challenge, "totp", g.code())}
		}},
		{"finish login by recovery code", func(f *faulty) request {
			g := f.careful(false)
			ask := g.ask()
			return request{method: "POST", path: api("/auth/login/second-factor"), body: object("challenge", ask.Challenge, "recovery_code", g.recovery[0])}
		}},
		{"passkey login's options", func(f *faulty) request {
			f.n++
			return request{method: "POST", path: api("/auth/login/passkey/options"), header: f.elsewhere()}
		}},
		{"passkey login", func(f *faulty) request {
			g := f.careful(true)
			c := dataOf[httpapi.Ceremony](f.t, f.want(http.StatusOK, request{method: "POST", path: api("/auth/login/passkey/options"), header: f.elsewhere()}))
			return request{method: "POST", path: api("/auth/login/passkey"), body: object("challenge", c.Challenge, "passkey", g.get(c.Options))}
		}},
		{"step-up's options", func(f *faulty) request { return of(f.careful(true), "POST", api("/auth/step-up/options")) }},
		{"step up", func(f *faulty) request {
			g := f.careful(true)
			c := dataOf[httpapi.Ceremony](f.t, g.post(http.StatusOK, "/auth/step-up/options"))
			return of(g, "POST", api("/auth/step-up"), "challenge", c.Challenge, "passkey", g.get(c.Options))
		}},
		{"new recovery codes", func(f *faulty) request { return of(f.careful(false), "POST", api(factorsPath+"/recovery-codes")) }},
		{"begin an app", func(f *faulty) request {
			f.n++
			return of(f.guarded(fmt.Sprintf("careful%d@example.org", f.n)), "POST", api(factorsPath+"/totp"))
		}},
		{"add an app", func(f *faulty) request {
			f.n++
			g := f.guarded(fmt.Sprintf("careful%d@example.org", f.n))
			begun := g.beginTOTP()
			return of(g, "POST", api(factorsPath+"/totp/verify"), "challenge", begun.Challenge, "code", factor.TOTPCode(g.secret, time.Now()))
		}},
		{"remove the app", func(f *faulty) request { return of(f.careful(true), "DELETE", api(factorsPath+"/totp")) }},
		{"passkey's options", func(f *faulty) request { return of(f.careful(false), "POST", api(factorsPath+"/passkey-options")) }},
		{"add a passkey", func(f *faulty) request {
			g := f.careful(false)
			c := g.beginPasskey()
			return of(g, "POST", api(passkeysPath), "challenge", c.Challenge, "name", "key", "passkey", json.RawMessage(g.device.Create(f.t, c.Options)))
		}},
		{"rename a passkey", func(f *faulty) request {
			g := f.careful(true)
			return of(g, "PATCH", g.ownPasskey(), "name", "blue")
		}},
		{"remove a passkey", func(f *faulty) request {
			g := f.careful(true)
			return of(g, "DELETE", g.ownPasskey())
		}},
	}
}

// reads are requests that change nothing.
func (f *faulty) reads() []request {
	f.t.Helper()
	owner, _, tenant := f.team()
	session := f.createSession(owner.Tokens.AccessToken, "x").ID.String()
	f.want(http.StatusCreated, signed("POST", tenant+"/invitations", owner, `{"email":"eve@example.com","role":"admin"}`))
	var all []request
	for _, path := range []string{
		api("/sessions"), api("/sessions/" + session), api("/users/me"), api("/users/me/export"), api("/auth/logins"), api(factorsPath),
		api("/tenants"), tenant, tenant + "/members", tenant + "/invitations", tenant + "/audit",
	} {
		all = append(all, signed("GET", path, owner, ""))
	}
	return all
}
