package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

// cheap are parameters for tests that are not about hashing.
var cheap = PasswordParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1}

const password = "correct horse battery staple"

type env struct {
	*storetest.Env
	*Service
	keys *Keyring
}

func newEnv(tb testing.TB, cfg Config) *env {
	tb.Helper()
	if cfg.Password == (PasswordParams{}) {
		cfg.Password = cheap
	}
	keys, err := ParseKeyring([]byte(GenerateKey()))
	if err != nil {
		tb.Fatal(err)
	}
	base := storetest.New(tb)
	s, err := New(cfg, base.Store, keys, base.Clock.Now)
	if err != nil {
		tb.Fatal(err)
	}
	return &env{Env: base, Service: s, keys: keys}
}

func registration(email string) Registration {
	return Registration{Email: email, Password: password, FirstName: "Ada", LastName: "Lovelace", Device: "laptop", Address: "192.0.2.1"}
}

func (e *env) mustRegister(tb testing.TB, email string) SignedIn {
	tb.Helper()
	in, err := e.Register(tb.Context(), registration(email))
	if err != nil {
		tb.Fatalf("registering %s: %v", email, err)
	}
	return in
}

func (e *env) mustVerify(tb testing.TB, pair TokenPair) Access {
	tb.Helper()
	a, err := e.Verify(pair.AccessToken)
	if err != nil {
		tb.Fatalf("verifying: %v", err)
	}
	return a
}

func (e *env) authorize(tb testing.TB, a Access) error {
	tb.Helper()
	return e.Store.View(tb.Context(), func(r *store.Reader) error { _, err := Authorize(r, a); return err })
}

func (e *env) counts(tb testing.TB) map[string]int {
	tb.Helper()
	report, err := e.Store.Check(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return report.Counts
}

func wantCode(tb testing.TB, err error, code fault.Code) {
	tb.Helper()
	if err == nil || fault.CodeOf(err) != code {
		tb.Errorf("error is %v, want %s", err, code)
	}
}

func fieldsOf(err error) string {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return ""
	}
	var names []string
	for _, field := range f.Fields {
		names = append(names, field.Field)
	}
	return strings.Join(names, " ")
}

func TestNewReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := New(Config{AccessTTL: time.Millisecond, RefreshGrace: -1, HashSlots: -1, Password: PasswordParams{MemoryKiB: 1}}, nil, nil, nil)
	for _, want := range []string{"AccessTTL", "RefreshGrace", "HashSlots", "argon2id"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
}
