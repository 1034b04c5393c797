package main

import (
	"encoding/base32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/store"
)

// The command that stands between a new key and the end of the old one: it says
// whether the old one may go.
func TestResealCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := settings(dir, "CODITECT_PASSWORD_HASH_MEMORY_KIB=8192", "CODITECT_PASSWORD_HASH_PASSES=1")[2:]
	ring := keyFile(dir)
	old, err := os.ReadFile(ring)
	must(t, err)
	reseal := func(wantCode int, want string) {
		t.Helper()
		code, out, errs := invoke(t, environ, contract.ResealCommand)
		if code != wantCode || !strings.Contains(out+errs, want) {
			t.Errorf("%d\n%s%s\nwant %d and %q", code, out, errs, wantCode, want)
		}
	}
	reseal(exitOK, "0 authenticator apps")

	cfg, _, err := config.Load(environ)
	must(t, err)
	keys, err := loadKeys(cfg)
	must(t, err)
	must(t, withStore(t.Context(), cfg, func(st *store.Store) error {
		s, err := auth.New(authConfig(cfg, nil), st, keys.tokens, time.Now)
		must(t, err)
		return enrol(t, s)
	}))

	fresh := auth.GenerateKey() + "\n"
	must(t, os.WriteFile(ring, []byte(fresh), 0o600))
	reseal(exitFault, "put the key back")
	must(t, os.WriteFile(ring, []byte(fresh+string(old)), 0o600))
	reseal(exitOK, "1 sealed anew")
	must(t, os.WriteFile(ring, []byte(fresh), 0o600))
	reseal(exitOK, "0 sealed anew, 1 were sealed")

	must(t, os.Remove(ring))
	reseal(exitUsage, filepath.Base(ring))
}

// enrol registers a user with an authenticator app.
func enrol(t *testing.T, s *auth.Service) error {
	t.Helper()
	in, err := s.Register(t.Context(), auth.Registration{
		Email: "ada@example.com", Password: "correct horse battery staple", FirstName: "Ada", LastName: "Lovelace", Address: "192.0.2.1",
	})
	must(t, err)
	access, err := s.Verify(in.Tokens.AccessToken)
	must(t, err)
	begun, err := s.BeginTOTP(t.Context(), access)
	must(t, err)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(begun.Secret)
	must(t, err)
	_, err = s.FinishTOTP(t.Context(), access, begun.Challenge, factor.TOTPCode(secret, time.Now()))
	return err
}
