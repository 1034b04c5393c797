package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"coditect.ai/platform/app/internal/httpapi"
)

// What a request costs the database, in transactions and in keys and ranges
// read, does not grow with what is in the store: it is the same for the first
// user as after many others with many sessions.
func TestRequestsCost(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("ada@example.org")
	token := in.Tokens.AccessToken
	one := s.createSession(token, "x").ID.String()
	logged := func() httpapi.SignedIn {
		return dataOf[httpapi.SignedIn](t, s.want(http.StatusOK, request{method: "POST", path: api("/auth/login"), body: object("email", "ada@example.org", "password", password)}))
	}
	for pass, among := range []string{"alone", "among others"} {
		for _, tt := range []struct {
			name                string
			q                   func() request
			transactions, reads uint64 // at most
		}{
			{"health", func() request { return request{method: "GET", path: api("/health")} }, 0, 0},
			{"login", func() request {
				return request{method: "POST", path: api("/auth/login"), body: object("email", "ada@example.org", "password", password)}
			}, 2, 8},
			{"refresh", func() request {
				return request{method: "POST", path: api("/auth/refresh"), body: object("refresh_token", logged().Tokens.RefreshToken)}
			}, 1, 4},
			{"logout", func() request {
				return request{method: "POST", path: api("/auth/logout"), token: logged().Tokens.AccessToken}
			}, 1, 2},
			{"get a session", func() request { return request{method: "GET", path: api("/sessions/" + one), token: token} }, 1, 4},
			{"list sessions", func() request { return request{method: "GET", path: api("/sessions?limit=200"), token: token} }, 1, 4},
			{"create a session", func() request { return request{method: "POST", path: api("/sessions"), token: token} }, 1, 3},
			{"change a session", func() request {
				return request{method: "PATCH", path: api("/sessions/" + one), token: token, body: object("name", "y")}
			}, 1, 4},
			{"delete a session", func() request {
				return request{method: "DELETE", path: api("/sessions/" + s.createSession(token, "z").ID.String()), token: token}
			}, 1, 4},
			{"me", func() request { return request{method: "GET", path: api("/users/me"), token: token} }, 1, 4},
			{"list tenants", func() request { return request{method: "GET", path: api("/tenants"), token: token} }, 1, 5},
		} {
			q := tt.q()
			before := s.store.Stats()
			if r := s.do(q); r.status >= 400 {
				t.Fatalf("%s: %s", tt.name, r.raw)
			}
			after := s.store.Stats()
			transactions, reads := after.Transactions-before.Transactions, after.Reads-before.Reads
			t.Logf("%s, %s: %d transactions, %d reads", tt.name, among, transactions, reads)
			if transactions > tt.transactions || reads > tt.reads {
				t.Errorf("%s, %s: %d transactions and %d reads, at most %d and %d are wanted", tt.name, among, transactions, reads, tt.transactions, tt.reads)
			}
		}
		for n := range 5 {
			other := s.register(fmt.Sprintf("other%d-%d@example.org", pass, n)).Tokens.AccessToken
			for range 5 {
				s.createSession(other, "x")
				s.createSession(token, "x")
			}
		}
	}
}
