package auth

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

func TestHashIsArgon2idInPHC(t *testing.T) {
	t.Parallel()
	p := PasswordParams{MemoryKiB: 64, Iterations: 2, Parallelism: 2}
	h := p.hash(password)
	if want := argon2.IDKey([]byte(password), h.salt, 2, 64, 2, 32); string(want) != string(h.hash) {
		t.Error("the hash is not argon2id's with these parameters")
	}
	text := h.String()
	if !strings.HasPrefix(text, "$argon2id$v=19$m=64,t=2,p=2$") {
		t.Errorf("PHC string is %q", text)
	}
	back, err := parsePHC(text)
	if err != nil || back.String() != text {
		t.Fatalf("parsed back: %v, %v", back, err)
	}
	if !back.matches(password) || back.matches(password+" ") || back.matches("") || p.unmatchable().matches(password) {
		t.Error("matches what it should not, or not what it should")
	}
	if p.hash(password).String() == text {
		t.Error("two hashes of one password are the same")
	}
	composed, decomposed := "p\u00e4ssword of mine", "pa\u0308ssword of mine"
	if !p.hash(composed).matches(decomposed) {
		t.Error("the same characters from two keyboards are two passwords")
	}
}

const (
	goodSalt = "c29tZXNhbHRzb21lc2FsdA"
	goodHash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

func TestParsePHCIsStrict(t *testing.T) {
	t.Parallel()
	good := "$argon2id$v=19$m=64,t=2,p=1$" + goodSalt + "$" + goodHash
	if _, err := parsePHC(good); err != nil {
		t.Fatalf("%s: %v", good, err)
	}
	for _, change := range [][2]string{
		{"$argon2id", "argon2id"},
		{"argon2id", "argon2i"},
		{"v=19", "v=16"},
		{"v=19$", ""},
		{"m=64,t=2,p=1", "t=2,m=64,p=1"},
		{"m=64", "m=064"},
		{"m=64", "m=+64"},
		{"m=64", "m=7"},
		{"m=64", "m=4294967295"},
		{"m=64", "m=1048576"},
		{"t=2", "t=0"},
		{"t=2", "t=33"},
		{"p=1", "p=0"},
		{"p=1", "p=257"},
		{"p=1", "p=1,x=1"},
		{goodSalt, "c2FsdA"},
		{goodSalt, goodSalt + "=="},
		{goodSalt, goodSalt[:4] + "\n" + goodSalt[4:]},
		{goodHash, "AAAA"},
		{goodHash, goodHash[:42] + "B"},
		{goodHash, strings.Repeat("A", 100)},
		{goodHash, goodHash + "$"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if _, err := parsePHC(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=64,t=2,p=1$" + goodSalt + "$" + goodHash)
	f.Add(cheap.hash(password).String())
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePHC(s)
		if err != nil {
			return
		}
		if h.String() != s {
			t.Fatalf("%q comes back as %q", s, h)
		}
		if err := h.params.validate(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNewPasswords(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		password, "tr0ub4dor&3xyz", strings.Repeat("ab", 64), "пароль-у-моря", "密码密码密码密码漢字", "        x ", strings.Repeat("e\u0301 ", 64),
		"dragonfly over the pond", "monkey84729183",
	} {
		if problem := passwordProblem(good); problem != "" {
			t.Errorf("%q is refused: %s", good, problem)
		}
	}
	for _, bad := range []string{
		"", "1234567", "pass wd", strings.Repeat("a!", 65), strings.Repeat("e\u0301", 7), "\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"password", "Password1", "PASSWORD!", "p@ssw0rd", "Passw0rd!", "password123", "qwertyuiop", "12345678", "iloveyou", "Dragon2024!",
		"aaaaaaaaaaaa", "éééééééééé",
	} {
		if passwordProblem(bad) == "" {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParametersThatRise(t *testing.T) {
	t.Parallel()
	base := PasswordParams{64, 2, 1}
	for p, want := range map[PasswordParams]bool{
		{64, 2, 1}: false, {65, 2, 1}: true, {64, 3, 1}: true, {64, 2, 2}: true, {32, 1, 1}: false, {32, 3, 1}: true,
	} {
		if got := p.risenFrom(base); got != want {
			t.Errorf("%+v has risen from %+v: %t, want %t", p, base, got, want)
		}
	}
	if err := fmt.Sprint(PasswordParams{MemoryKiB: 15, Iterations: 1, Parallelism: 2}.validate()); !strings.Contains(err, "8 KiB a lane") {
		t.Errorf("error is %s", err)
	}
}
