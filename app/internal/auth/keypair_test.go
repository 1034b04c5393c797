package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"coditect.ai/platform/app/internal/fault"
)

func mustPair(tb testing.TB, algorithm string) string {
	tb.Helper()
	text, err := GenerateKeyPair(algorithm)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// publicHalf returns the public key of a PEM block, as another PEM block.
func publicHalf(tb testing.TB, private string) string {
	tb.Helper()
	k, err := parsePEM(strings.TrimSpace(private))
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.verifies)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der}))
}

// with puts the service on other keys, as a restart would.
func (e *env) withKeys(tb testing.TB, files ...string) *Service {
	tb.Helper()
	ring, err := ParseKeyring([]byte("# keys\n" + strings.Join(files, "\n")))
	if err != nil {
		tb.Fatal(err)
	}
	s, err := New(Config{Password: cheap, HashWait: e.cfg.HashWait}, e.Store, ring, e.Clock.Now)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Replicas take a new key one by one: first as one that verifies, then as the
// one that signs, then the old one goes. At no moment is a token refused.
func TestKeysRotateWithoutA401(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	hs, ed, es := GenerateKey(), mustPair(t, "EdDSA"), mustPair(t, "ES256")
	stages := [][]string{{hs}, {hs, ed}, {ed, hs}, {ed, es}, {es, publicHalf(t, ed)}, {es}}
	before := e.withKeys(t, stages[0]...)
	in, err := before.Register(t.Context(), registration("ada@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	pair, algorithms := in.Tokens, []string{}
	for i, stage := range stages {
		after := e.withKeys(t, stage...)
		for _, replica := range []*Service{before, after} { // both serve while the change is rolled out
			if i > 0 {
				if pair, err = replica.Refresh(t.Context(), pair.RefreshToken); err != nil {
					t.Fatalf("stage %d: %v", i, err)
				}
				e.Clock.Advance(2 * replica.cfg.RefreshGrace)
			}
			for _, verifier := range []*Service{before, after} {
				if _, err := verifier.Verify(pair.AccessToken); err != nil {
					t.Errorf("stage %d: %v", i, err)
				}
			}
		}
		token, _, err := jwt.NewParser().ParseUnverified(pair.AccessToken, jwt.MapClaims{})
		if err != nil {
			t.Fatal(err)
		}
		algorithms = append(algorithms, token.Method.Alg())
		before = after
	}
	if got := fmt.Sprint(algorithms); got != "[HS256 HS256 EdDSA EdDSA ES256 ES256]" {
		t.Errorf("signed with %s", got)
	}
	_, err = before.Verify(in.Tokens.AccessToken)
	wantCode(t, err, fault.InvalidToken)
}

func TestPublicKeysVerify(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	ed, es := mustPair(t, "EdDSA"), mustPair(t, "ES256")
	keys, err := e.withKeys(t, GenerateKey(), ed, es, publicHalf(t, mustPair(t, "EdDSA"))).PublicKeys()
	if err != nil || len(keys) != 3 {
		t.Fatalf("%+v, %v", keys, err)
	}
	for i, want := range []JWK{{Type: "OKP", Curve: "Ed25519", Algorithm: "EdDSA"}, {Type: "EC", Curve: "P-256", Algorithm: "ES256"}} {
		got := keys[i]
		if got.Type != want.Type || got.Curve != want.Curve || got.Algorithm != want.Algorithm || got.Use != "sig" || len(got.ID) != 43 || len(got.X) != 43 || (len(got.Y) == 43) != (want.Type == "EC") {
			t.Errorf("%+v", got)
		}
	}
	if keys, err := e.withKeys(t, GenerateKey()).PublicKeys(); err != nil || keys == nil || len(keys) != 0 {
		t.Errorf("%+v, %v", keys, err)
	}
}

func TestKeyPairsThatAreNone(t *testing.T) {
	t.Parallel()
	block := func(kind string, private any) string {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	p384, err2 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	good := mustPair(t, "EdDSA")
	for name, text := range map[string]string{
		"RSA":           block(pemPrivate, r),
		"P-384":         block(pemPrivate, p384),
		"other type":    block("RSA PRIVATE KEY", p384),
		"private twice": good + good,
		"public first":  publicHalf(t, good) + good,
		"cut off":       good[:60],
		"no DER":        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"no public DER": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	} {
		if _, err := ParseKeyring([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		} else if strings.Contains(err.Error(), strings.Split(good, "\n")[1]) {
			t.Errorf("%s: the error repeats the key", name)
		}
	}
	if _, err := GenerateKeyPair("RS256"); err == nil {
		t.Error("RS256 has key pairs")
	}
}

// A token that names another key's algorithm is refused, and so is one that is
// signed with a public key as if it were a shared secret (RFC 8725, 2.1).
func TestKeyPairsArePinnedToTheirAlgorithm(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	s := e.withKeys(t, mustPair(t, "EdDSA"), GenerateKey())
	in, err := s.Register(t.Context(), registration("ada@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	var c jwt.MapClaims
	token, _, err := jwt.NewParser().ParseUnverified(in.Tokens.AccessToken, &c)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(s.keys.signs.verifies)
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any(c)
	for name, header := range map[string]map[string]any{
		"the pair's kid": {"alg": "HS256", "typ": "at+jwt", "kid": token.Header["kid"]},
		"the other kid":  {"alg": "HS256", "typ": "at+jwt", "kid": s.keys.all[1].id},
	} {
		if _, err := s.Verify(forge(t, header, claims, public)); fault.CodeOf(err) != fault.InvalidToken {
			t.Errorf("%s: %v", name, err)
		}
	}
}
