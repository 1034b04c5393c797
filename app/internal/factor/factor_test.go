package factor

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/factor/factortest"
	"coditect.ai/platform/app/internal/store"
)

// RFC 6238, appendix B, for SHA-1; RFC 4226, appendix D, for six digits.
func TestCodesOfTheStandards(t *testing.T) {
	t.Parallel()
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471",
		1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := hotp(secret, stepOf(time.Unix(at, 0)), 8); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
	for counter, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		if got := hotp(secret, int64(counter), totpDigits); got != want {
			t.Errorf("counter %d: %s, want %s", counter, got, want)
		}
	}
}

func TestMatchTOTP(t *testing.T) {
	t.Parallel()
	secret, now := []byte("12345678901234567890"), time.Unix(1111111111, 0)
	current := stepOf(now)
	for _, tt := range []struct {
		name string
		code string
		last int64
		step int64 // 0: refused
	}{
		{"now", hotp(secret, current, 6), 0, current},
		{"in groups", hotp(secret, current, 6)[:3] + " " + hotp(secret, current, 6)[3:], 0, current},
		{"a step behind", hotp(secret, current-1, 6), 0, current - 1},
		{"a step ahead", hotp(secret, current+1, 6), 0, current + 1},
		{"two steps behind", hotp(secret, current-2, 6), 0, 0},
		{"two steps ahead", hotp(secret, current+2, 6), 0, 0},
		{"again", hotp(secret, current, 6), current, 0},
		{"before the last", hotp(secret, current-1, 6), current, 0},
		{"after the last", hotp(secret, current+1, 6), current, current + 1},
		{"empty", "", 0, 0},
		{"short", hotp(secret, current, 6)[1:], 0, 0},
		{"eight digits", hotp(secret, current, 8), 0, 0},
		{"other digits", "١٢٣٤٥٦", 0, 0},
	} {
		if step, ok := MatchTOTP(secret, tt.code, now, tt.last); step != tt.step || ok != (tt.step != 0) {
			t.Errorf("%s: %d %v", tt.name, step, ok)
		}
	}
	if _, ok := MatchTOTP(NewTOTPSecret(), hotp(secret, current, 6), now, 0); ok {
		t.Error("another secret has the same code")
	}
}

func TestTOTPURIIsReadByApps(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(TOTPURI([]byte("12345678901234567890"), "Coditect & Co", "ada+x@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Coditect & Co:ada+x@example.com" || q.Get("issuer") != "Coditect & Co" ||
		q.Get("secret") != "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" || q.Get("period") != "30" || q.Get("digits") != "6" {
		t.Errorf("%v", u)
	}
}

func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	ada, bob := uuid.New(), uuid.New()
	codes, hashes := NewRecoveryCodes(ada)
	seen := map[string]bool{}
	for i, code := range codes {
		if seen[code] || len(code) != 19 {
			t.Errorf("code %q", code)
		}
		seen[code] = true
		sloppy := strings.NewReplacer("-", " ", "0", "O", "1", "l").Replace(strings.ToUpper(code))
		for _, typed := range []string{code, sloppy, strings.ReplaceAll(code, "-", "")} {
			if got, ok := RecoveryHash(ada, typed); !ok || got != hashes[i] {
				t.Errorf("%q is not %q", typed, code)
			}
		}
		if got, _ := RecoveryHash(bob, code); got == hashes[i] {
			t.Error("another user's code has the same hash")
		}
	}
	if len(codes) != RecoveryCodes {
		t.Errorf("%d codes", len(codes))
	}
	for _, none := range []string{"", "-", codes[0][1:], codes[0] + "0", codes[0][:18] + "u", codes[0] + "\n", strings.Repeat("-", 65)} {
		if _, ok := RecoveryHash(ada, none); ok {
			t.Errorf("%q is taken for a code", none)
		}
	}
}

func TestSealer(t *testing.T) {
	t.Parallel()
	old, err := NewSealer([][]byte{bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := NewSealer([][]byte{bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	sealed := old.Seal([]byte("secret"), []byte("ada"))
	if bytes.Contains(sealed, []byte("secret")) || bytes.Equal(sealed, old.Seal([]byte("secret"), []byte("ada"))) {
		t.Error("sealed in the clear, or twice the same")
	}
	if got, err := rotated.Open(sealed, []byte("ada")); err != nil || string(got) != "secret" {
		t.Errorf("%q %v", got, err)
	}
	if !old.Current(sealed) || rotated.Current(sealed) || rotated.Current(nil) {
		t.Error("current is the first key alone")
	}
	anew := rotated.Seal([]byte("secret"), []byte("ada"))
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"elsewhere": func() ([]byte, error) { return old.Open(sealed, []byte("bob")) },
		"no key":    func() ([]byte, error) { return old.Open(anew, []byte("ada")) },
		"damaged":   func() ([]byte, error) { return old.Open(damaged, []byte("ada")) },
		"short":     func() ([]byte, error) { return old.Open(sealed[:9], []byte("ada")) },
		"empty":     func() ([]byte, error) { return old.Open(nil, []byte("ada")) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: opened as %q", name, got)
		}
	}
	if _, err := NewSealer(nil); err == nil {
		t.Error("a sealer without a key")
	}
}

const origin = "https://ide.example.com"

func relyingParty(tb testing.TB) *RelyingParty {
	tb.Helper()
	rp, err := NewRelyingParty("example.com", "Coditect", []string{origin})
	if err != nil {
		tb.Fatal(err)
	}
	return rp
}

func must[T any](tb testing.TB, v T, err error) T {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func registered(t *testing.T, rp *RelyingParty, device *factortest.Authenticator) Account {
	t.Helper()
	a := Account{ID: uuid.New(), Name: "ada@example.com", Display: "Ada"}
	c := ChallengeOf([]byte("registration"))
	options, err := rp.RegistrationOptions(a, c)
	must(t, options, err)
	p, err := rp.Register(a, c, device.Create(t, options))
	a.Passkeys = []store.Passkey{must(t, p, err)}
	return a
}

func TestPasskeyCeremonies(t *testing.T) {
	t.Parallel()
	rp := relyingParty(t)
	for _, backed := range []bool{false, true} {
		device := factortest.New(origin)
		device.Backed, device.Counts = backed, !backed
		a := registered(t, rp, device)
		if p := a.Passkeys[0]; !bytes.Equal(p.CredentialID, device.Passkeys[0].ID) || p.BackupEligible != backed || p.Transports[0] != "internal" {
			t.Errorf("registered %+v", p)
		}
		c := ChallengeOf([]byte("login"))
		options, err := rp.PasswordlessOptions(c)
		must(t, options, err)
		assertion, err := ParseAssertion(device.Get(t, options, device.Passkeys[0]))
		must(t, assertion, err)
		used, err := rp.Check(a, c, assertion, true)
		must(t, used, err)
		if assertion.UserID != a.ID || used.Passkey != 0 || used.Cloned || used.BackedUp != backed || used.SignCount != device.Passkeys[0].Count {
			t.Errorf("used %+v", used)
		}
	}
}

// Each attack changes one thing of a ceremony that succeeds without it.
func TestPasskeyAttacks(t *testing.T) {
	t.Parallel()
	rp := relyingParty(t)
	other := Account{ID: uuid.New(), Name: "bob@example.com", Display: "Bob"}
	for name, attack := range map[string]func(a *Account, d *factortest.Authenticator, p *factortest.Passkey){
		"none": func(*Account, *factortest.Authenticator, *factortest.Passkey) {},
		"phishing origin": func(_ *Account, d *factortest.Authenticator, _ *factortest.Passkey) {
			d.Origin = "https://ide.example.com.evil.net"
		},
		"other scheme": func(_ *Account, d *factortest.Authenticator, _ *factortest.Passkey) {
			d.Origin = "http://ide.example.com"
		},
		"other subdomain": func(_ *Account, d *factortest.Authenticator, _ *factortest.Passkey) {
			d.Origin = "https://evil.example.com"
		},
		"other domain": func(_ *Account, _ *factortest.Authenticator, p *factortest.Passkey) { p.Domain = "evil.net" },
		"other challenge": func(_ *Account, d *factortest.Authenticator, _ *factortest.Passkey) {
			d.Challenge = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		},
		"user not verified": func(_ *Account, d *factortest.Authenticator, _ *factortest.Passkey) { d.Verifies = false },
		"another's handle":  func(_ *Account, _ *factortest.Authenticator, p *factortest.Passkey) { p.User = other.ID[:] },
		"another user":      func(a *Account, _ *factortest.Authenticator, p *factortest.Passkey) { *a = other; p.User = other.ID[:] },
		"another id": func(_ *Account, _ *factortest.Authenticator, p *factortest.Passkey) {
			p.ID = []byte("0123456789abcdef")
		},
		"another's key": func(a *Account, _ *factortest.Authenticator, _ *factortest.Passkey) {
			mallory := registered(t, rp, factortest.New(origin))
			a.Passkeys[0].PublicKey = mallory.Passkeys[0].PublicKey
		},
		"became backed up": func(_ *Account, d *factortest.Authenticator, _ *factortest.Passkey) { d.Backed = true },
	} {
		device := factortest.New(origin)
		a := registered(t, rp, device)
		c := ChallengeOf([]byte("login"))
		options, err := rp.PasswordlessOptions(c)
		must(t, options, err)
		attack(&a, device, device.Passkeys[0])
		assertion, err := ParseAssertion(device.Get(t, options, device.Passkeys[0]))
		must(t, assertion, err)
		_, err = rp.Check(a, c, assertion, true)
		if (err == nil) != (name == "none") || err != nil && !errors.Is(err, ErrResponse) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClonesCounterIsSeen(t *testing.T) {
	t.Parallel()
	rp, device := relyingParty(t), factortest.New(origin)
	a := registered(t, rp, device)
	a.Passkeys[0].SignCount = 5
	c := ChallengeOf([]byte("login"))
	options, err := rp.LoginOptions(a, c)
	must(t, options, err)
	for _, count := range []uint32{3, 4, 5} { // the next is one more
		device.Passkeys[0].Count = count
		assertion, err := ParseAssertion(device.Get(t, options, device.Passkeys[0]))
		must(t, assertion, err)
		used, err := rp.Check(a, c, assertion, false)
		if must(t, used, err).Cloned != (count < 5) {
			t.Errorf("counter %d after 5: cloned is %v", count+1, used.Cloned)
		}
	}
}

func FuzzRegister(f *testing.F) {
	rp, a, c := relyingParty(f), Account{ID: uuid.New(), Name: "a", Display: "a"}, ChallengeOf([]byte("fuzz"))
	options, err := rp.RegistrationOptions(a, c)
	must(f, options, err)
	f.Add(factortest.New("https://other.example.com").Create(f, options))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, response []byte) {
		if p, err := rp.Register(a, c, response); err == nil {
			t.Errorf("registered %+v", p) // nobody knows the challenge
		}
	})
}

func FuzzAssertion(f *testing.F) {
	rp, device := relyingParty(f), factortest.New(origin)
	a, c := Account{ID: uuid.New(), Name: "a", Display: "a"}, ChallengeOf([]byte("fuzz"))
	options, err := rp.RegistrationOptions(a, c)
	must(f, options, err)
	p, err := rp.Register(a, c, device.Create(f, options))
	a.Passkeys = append(a.Passkeys, must(f, p, err))
	device.Verifies = false
	options, err = rp.LoginOptions(a, c)
	must(f, options, err)
	f.Add(device.Get(f, options, device.Passkeys[0]))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, response []byte) {
		assertion, err := ParseAssertion(response)
		if err != nil {
			return
		}
		if _, err := rp.Check(a, c, assertion, true); err == nil {
			t.Error("an assertion without its user's verification holds")
		}
	})
}

func FuzzTypedCodes(f *testing.F) {
	f.Add("123 456")
	f.Add("0000-0000-0000-0000")
	f.Fuzz(func(t *testing.T, code string) {
		secret, now := []byte("12345678901234567890"), time.Unix(1111111111, 0)
		if step, ok := MatchTOTP(secret, code, now, 0); ok && hotp(secret, step, totpDigits) != strings.ReplaceAll(code, " ", "") {
			t.Errorf("%q matches step %d", code, step)
		}
		if hash, ok := RecoveryHash(uuid.Nil, code); ok {
			if again, ok := RecoveryHash(uuid.Nil, strings.ToUpper(code)); !ok || again != hash {
				t.Errorf("%q is another code in capitals", code)
			}
		}
	})
}
