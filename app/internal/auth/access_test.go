package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
)

// forge signs any header and claims with HMAC, as an attacker or another service might.
func forge(tb testing.TB, header, claims map[string]any, secret []byte) string {
	tb.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(header) + "." + part(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// with returns m with changes; nil removes.
func with(m map[string]any, changes map[string]any) map[string]any {
	out := maps.Clone(m)
	for name, v := range changes {
		if out[name] = v; v == nil {
			delete(out, name)
		}
	}
	return out
}

func TestVerifyRefusesForgeries(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	now := e.Clock.Now().Unix()
	secret := e.keys.signs.sign.([]byte) //nolint:forcetypeassert // HS256 is all there is
	header := map[string]any{"alg": "HS256", "typ": "at+jwt", "kid": e.keys.signs.id}
	claims := map[string]any{
		"iss": e.cfg.Issuer, "aud": e.cfg.Audience, "sub": uuid.NewString(), "tid": uuid.NewString(), "lid": uuid.NewString(),
		"role": "owner", "jti": "x", "iat": now, "nbf": now, "exp": now + 900,
	}
	good := forge(t, header, claims, secret)
	if _, err := e.Verify(good); err != nil {
		t.Fatalf("the token that the attacks start from: %v", err)
	}
	if _, err := e.Verify(forge(t, with(header, map[string]any{"typ": "JWT"}), claims, secret)); err != nil {
		t.Errorf("typ JWT: %v", err)
	}

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(claims))
	rs.Header["kid"], rs.Header["typ"] = e.keys.signs.id, "at+jwt"
	rs256, err := rs.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	hs384 := jwt.NewWithClaims(jwt.SigningMethodHS384, jwt.MapClaims(claims))
	hs384.Header["kid"], hs384.Header["typ"] = e.keys.signs.id, "at+jwt"
	other384, err := hs384.SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	none := forge(t, with(header, map[string]any{"alg": "none"}), claims, secret)
	attacks := map[string]string{
		"nothing":             "",
		"words":               "Bearer",
		"two parts":           parts[0] + "." + parts[1],
		"four parts":          good + ".x",
		"no signature":        parts[0] + "." + parts[1] + ".",
		"another signature":   parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
		"padded":              good + "=",
		"loose last bits":     good[:len(good)-1] + string(nextBase64(good[len(good)-1])),
		"white space":         good + "\n",
		"alg none, signed":    none,
		"alg none, unsigned":  none[:strings.LastIndexByte(none, '.')+1],
		"RS256 with our kid":  rs256,
		"HS384 with our key":  other384,
		"signed by no key":    forge(t, header, claims, []byte("")),
		"signed by the kid":   forge(t, header, claims, []byte(e.keys.signs.id)),
		"foreign key":         forge(t, header, claims, random(32)),
		"huge":                forge(t, header, with(claims, map[string]any{"x": strings.Repeat("x", maxTokenBytes)}), secret),
		"nested":              forge(t, with(header, map[string]any{"cty": "JWT"}), claims, secret),
		"inner token as text": base64.RawURLEncoding.EncodeToString([]byte(good)) + "." + parts[1] + "." + parts[2],
	}
	for name, change := range map[string]map[string]any{
		"alg of another case": {"alg": "hs256"},
		"no alg":              {"alg": nil},
		"no kid":              {"kid": nil},
		"kid of another":      {"kid": "0000000000000000"},
		"kid that is a path":  {"kid": "../../dev/null"},
		"kid that is a list":  {"kid": []string{e.keys.signs.id}},
		"no typ":              {"typ": nil},
		"typ of another use":  {"typ": "dpop+jwt"},
		"jku":                 {"jku": "https://attacker.example/keys"},
		"x5u":                 {"x5u": "https://attacker.example/cert"},
		"x5c":                 {"x5c": []string{"AA=="}},
		"jwk":                 {"jwk": map[string]any{"kty": "oct", "k": "AAAA"}},
		"crit":                {"crit": []string{"exp"}},
		"b64":                 {"b64": false},
		"zip":                 {"zip": "DEF"},
	} {
		attacks[name] = forge(t, with(header, change), claims, secret)
	}
	for name, change := range map[string]map[string]any{
		"no iss":              {"iss": nil},
		"other iss":           {"iss": "someone"},
		"no aud":              {"aud": nil},
		"other aud":           {"aud": []string{"someone"}},
		"no exp":              {"exp": nil},
		"exp now":             {"exp": now},
		"exp as text":         {"exp": "tomorrow"},
		"no nbf":              {"nbf": nil},
		"nbf in the future":   {"nbf": now + 60},
		"iat in the future":   {"iat": now + 60},
		"no sub":              {"sub": nil},
		"sub that is no id":   {"sub": "admin"},
		"nil sub":             {"sub": uuid.Nil},
		"no tid":              {"tid": nil},
		"no lid":              {"lid": nil},
		"lid that is no id":   {"lid": "x"},
		"no role":             {"role": nil},
		"role that is a list": {"role": []string{"owner"}},
		"no jti":              {"jti": nil},
	} {
		attacks[name] = forge(t, header, with(claims, change), secret)
	}
	for name, token := range attacks {
		if a, err := e.Verify(token); fault.CodeOf(err) != fault.InvalidToken {
			t.Errorf("%s: %+v, %v; want invalid_token", name, a, err)
		}
	}
}

// nextBase64 changes only the bits of a last character that decoding drops.
func nextBase64(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

func TestAccessTokenLivesItsTimeAndNoLonger(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	pair := e.mustRegister(t, "ada@example.com").Tokens
	behind, err := New(Config{Password: cheap}, e.Store, e.keys, func() time.Time { return e.Clock.Now().Add(-3 * time.Second) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := behind.Verify(pair.AccessToken); err != nil {
		t.Errorf("a replica 3 s behind: %v", err)
	}
	a := e.mustVerify(t, pair)
	e.Clock.Advance(a.ExpiresAt.Sub(e.Clock.Now()) - time.Nanosecond)
	e.mustVerify(t, pair)
	e.Clock.Advance(time.Nanosecond)
	_, err = e.Verify(pair.AccessToken)
	wantCode(t, err, fault.InvalidToken)
	if !errors.Is(err, jwt.ErrTokenExpired) {
		t.Errorf("the log says %v", err)
	}
}

func TestKeysRotateWithoutABreak(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	old := GenerateKey()
	service := func(lines ...string) *Service {
		keys, err := ParseKeyring([]byte(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Password: cheap}, e.Store, keys, e.Clock.Now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	next := GenerateKey()
	before, during, after := service(old), service("# the new key signs", next, "", old), service(next)
	in, err := before.Register(t.Context(), registration("ada@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := during.Verify(in.Tokens.AccessToken); err != nil {
		t.Errorf("the old key's token while both verify: %v", err)
	}
	pair, err := during.Refresh(t.Context(), in.Tokens.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := after.Verify(pair.AccessToken); err != nil {
		t.Errorf("the new key's token: %v", err)
	}
	_, err = after.Verify(in.Tokens.AccessToken)
	wantCode(t, err, fault.InvalidToken)
}

func TestKeyringReportsEveryFault(t *testing.T) {
	t.Parallel()
	good := GenerateKey()
	_, err := ParseKeyring([]byte(strings.Join([]string{
		"# a comment", "", good, "short+++", "not base64!", good, strings.Repeat("A", 44), good[:43],
	}, "\r\n")))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"line 4: 6 bytes", "line 5: not base64", "line 6: the same key", "line 7: too few"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), good[:10]) || strings.Contains(err.Error(), "short") {
		t.Errorf("%q tells of a key", err)
	}
	for _, empty := range []string{"", "\n# nothing\n", strings.Repeat("x", 1<<17)} {
		if _, err := ParseKeyring([]byte(empty)); err == nil {
			t.Errorf("accepted %.10q", empty)
		}
	}
	var many []string
	for range maxKeys + 1 {
		many = append(many, GenerateKey())
	}
	if _, err := ParseKeyring([]byte(strings.Join(many, "\n"))); err == nil {
		t.Error("accepted too many keys")
	}
}

func TestKeyringTakesBothAlphabets(t *testing.T) {
	t.Parallel()
	secret := []byte(strings.Repeat("\xfb\xef\xbe\x01\x23\x45\x67\x89\xab", 4))
	var ids []string
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte("\n  "+encoding.EncodeToString(secret)+"\t\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := LoadKeyring(path)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, keys.signs.id)
	}
	for _, id := range ids {
		if id != ids[0] || len(id) != 16 {
			t.Errorf("one key has the ids %q", ids)
		}
	}
	if _, err := LoadKeyring(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	keys, err := ParseKeyring([]byte(GenerateKey()))
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(Config{Password: cheap}, nil, keys, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.sign(Access{UserID: uuid.New(), TenantID: uuid.New(), LoginID: uuid.New(), Role: "owner"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := s.Verify(token); (err == nil) != (token == good) {
			t.Fatalf("Verify(%q): %v", token, err)
		}
	})
}
