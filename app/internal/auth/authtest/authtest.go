// Package authtest owns what tests of the rules above auth need: people who
// are signed in, on an empty store.
package authtest

import (
	"testing"
	"time"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store/storetest"
)

// Password is everybody's.
const Password = "correct horse battery staple"

// Env is a store with accounts.
type Env struct {
	*storetest.Env
	Auth *auth.Service
}

// New opens an empty store. Passwords cost nothing there.
func New(tb testing.TB) *Env {
	tb.Helper()
	base := storetest.New(tb)
	keys, err := auth.ParseKeyring([]byte(auth.GenerateKey()))
	if err != nil {
		tb.Fatal(err)
	}
	cheap := auth.PasswordParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1}
	service, err := auth.New(auth.Config{Password: cheap, HashQueue: 1000, HashWait: time.Minute}, base.Store, keys, base.Clock.Now)
	if err != nil {
		tb.Fatal(err)
	}
	return &Env{Env: base, Auth: service}
}

// User registers somebody and returns what their token says.
func (e *Env) User(tb testing.TB, email string) auth.Access {
	tb.Helper()
	in, err := e.Auth.Register(tb.Context(), auth.Registration{Email: email, Password: Password, FirstName: "A", LastName: "B"})
	if err != nil {
		tb.Fatal(err)
	}
	return e.verified(tb, in)
}

// Login signs somebody in again.
func (e *Env) Login(tb testing.TB, email string) auth.Access {
	tb.Helper()
	in, err := e.Auth.Login(tb.Context(), auth.Credentials{Email: email, Password: Password})
	if err != nil {
		tb.Fatal(err)
	}
	return e.verified(tb, in)
}

func (e *Env) verified(tb testing.TB, in auth.SignedIn) auth.Access {
	tb.Helper()
	a, err := e.Auth.Verify(in.Tokens.AccessToken)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// WantCode fails the test unless err has the code.
func WantCode(tb testing.TB, err error, code fault.Code) {
	tb.Helper()
	if err == nil || fault.CodeOf(err) != code {
		tb.Errorf("error is %v, want %s", err, code)
	}
}
