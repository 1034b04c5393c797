package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coditect.ai/platform/app/internal/config"
)

func TestMailNeedsAllOfItsSettings(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(secret, []byte("hidden\n"), 0o600))
	smtp := []string{"CODITECT_MAIL=smtp", "CODITECT_MAIL_SERVER=mail.example:587", "CODITECT_MAIL_FROM=Coditect <no-reply@coditect.example>"}
	for name, tt := range map[string]struct {
		environ []string
		fault   string // "" for none
	}{
		"off":              {nil, ""},
		"whole":            {append(smtp, "CODITECT_MAIL_USER=u", "CODITECT_MAIL_PASSWORD_FILE="+secret), ""},
		"no server":        {[]string{"CODITECT_MAIL=smtp", "CODITECT_MAIL_FROM=a@b.example"}, "CODITECT_MAIL_SERVER"},
		"no sender":        {[]string{"CODITECT_MAIL=smtp", "CODITECT_MAIL_SERVER=h:25"}, "CODITECT_MAIL_FROM"},
		"odd sender":       {append(smtp, "CODITECT_MAIL_FROM=nobody"), "sender's address"},
		"user alone":       {append(smtp, "CODITECT_MAIL_USER=u"), "CODITECT_MAIL_PASSWORD_FILE"},
		"no such password": {append(smtp, "CODITECT_MAIL_USER=u", "CODITECT_MAIL_PASSWORD_FILE="+secret+"x"), "password"},
		"no TLS":           {append(smtp, "CODITECT_MAIL_SECURITY=none", "CODITECT_MAIL_USER=u", "CODITECT_MAIL_PASSWORD_FILE="+secret), "without TLS"},
		"odd links":        {[]string{"CODITECT_MAIL_LINKS=coditect.ai"}, "CODITECT_MAIL_LINKS"},
		"odd way":          {[]string{"CODITECT_MAIL=pigeon"}, "CODITECT_MAIL"},
	} {
		cfg, _, err := config.Load(tt.environ)
		if err == nil {
			_, err = loadSMTP(cfg)
		}
		if (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the fault tells the password", name)
		}
	}
}

func TestKeygenMakesKeyPairs(t *testing.T) {
	t.Parallel()
	for algorithm, want := range map[string]int{"HS256": exitOK, "EdDSA": exitOK, "ES256": exitOK, "RS256": exitUsage} {
		file := filepath.Join(t.TempDir(), "key")
		if code, _, errs := invoke(t, nil, "keygen", "--algorithm", algorithm, file); code != want {
			t.Errorf("%s: %d %s", algorithm, code, errs)
		}
		text, _ := os.ReadFile(file)
		if pair := strings.HasPrefix(string(text), "-----BEGIN PRIVATE KEY-----"); pair != (want == exitOK && algorithm != "HS256") {
			t.Errorf("%s: wrote another kind of key", algorithm)
		}
	}
}
