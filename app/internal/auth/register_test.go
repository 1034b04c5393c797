package auth

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

func TestRegisterMakesUserTenantAndLogin(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	r := registration("  Ada@Example.COM ")
	r.Company = " Analytical Engines "
	before := e.Store.Stats()
	in, err := e.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if n := e.Store.Stats().Transactions - before.Transactions; n != 1 {
		t.Errorf("took %d transactions, want 1", n)
	}
	if in.User.Email != "ada@example.com" || in.User.ID.Version() != 7 || in.User.CreatedAt.IsZero() {
		t.Errorf("user is %+v", in.User)
	}
	self := uuid.NewSHA1(uuid.NameSpaceOID, []byte("self-tenant-"+in.User.ID.String()))
	want := []Membership{{TenantID: self, Name: "Analytical Engines", Role: store.RoleOwner, Self: true}}
	if in.TenantID != self || !reflect.DeepEqual(in.Tenants, want) {
		t.Errorf("tenant %v of %+v, want %+v", in.TenantID, in.Tenants, want)
	}
	a := e.mustVerify(t, in.Tokens)
	if a.UserID != in.User.ID || a.TenantID != self || a.Role != store.RoleOwner {
		t.Errorf("access is %+v", a)
	}
	if err := e.authorize(t, a); err != nil {
		t.Errorf("authorizing: %v", err)
	}
	if in.Tokens.TokenType != "Bearer" || in.Tokens.ExpiresIn != 900 || !strings.HasPrefix(in.Tokens.RefreshToken, refreshPrefix) {
		t.Errorf("tokens are %+v", in.Tokens)
	}
}

func TestRegisterNamesEveryFieldAtFault(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	_, err := e.Register(t.Context(), Registration{Email: "x", Password: "short", FirstName: " ", LastName: "a\x00b", Company: strings.Repeat("c", 201)})
	wantCode(t, err, fault.ValidationFailed)
	if got, want := fieldsOf(err), "email password first_name last_name company"; got != want {
		t.Errorf("fields are %q, want %q", got, want)
	}
}

func TestOneUserOfManyWhoRegisterOneAddress(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{HashSlots: 4, HashQueue: 200, HashWait: time.Minute}) // a busy machine is no failure
	spellings := []string{"ada@example.com", "ADA@example.com", " ada@EXAMPLE.com", "Ada@Example.Com "}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		made   int
		others = map[fault.Code]int{}
	)
	for n := range 100 {
		wg.Go(func() {
			_, err := e.Register(t.Context(), registration(spellings[n%len(spellings)]))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else {
				others[fault.CodeOf(err)]++
			}
		})
	}
	wg.Wait()
	if made != 1 || others[fault.EmailTaken] != registerLimit.free || others[fault.TooManyAttempts] != 99-registerLimit.free {
		t.Errorf("%d made, others %v; want 1, and as many told that the address is taken as are free", made, others)
	}
	if c := e.counts(t); c["users"] != 1 || c["tenants"] != 1 || c["logins"] != 1 {
		t.Errorf("in the store: %v", c)
	}
}

func TestRegisterSettlesUnknownCommits(t *testing.T) {
	t.Parallel()
	for _, fates := range [][]storetest.Fate{
		{storetest.Committed}, {storetest.Lost}, {storetest.Lost, storetest.Committed, storetest.Committed},
	} {
		e := newEnv(t, Config{})
		e.DB.Unknown(fates...)
		in := e.mustRegister(t, "ada@example.com")
		if err := e.authorize(t, e.mustVerify(t, in.Tokens)); err != nil {
			t.Errorf("%v: authorizing: %v", fates, err)
		}
		if _, err := e.Refresh(t.Context(), in.Tokens.RefreshToken); err != nil {
			t.Errorf("%v: refreshing: %v", fates, err)
		}
		if c := e.counts(t); c["users"] != 1 || c["logins"] != 1 {
			t.Errorf("%v: in the store: %v", fates, c)
		}
	}
}

func TestNormalEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		" Ada@Example.COM\n":                     "ada@example.com",
		"ada+tag@example.co.uk":                  "ada+tag@example.co.uk",
		"o'hara@sub.example.com":                 "o'hara@sub.example.com",
		"JOSE\u0301@example.com":                 "jos\u00e9@example.com",
		"ada@B\u00dcCHER.example":                "ada@b\u00fccher.example",
		"ada@xn--bcher-kva.example":              "ada@b\u00fccher.example",
		"用户@例子.广告":                               "用户@例子.广告",
		strings.Repeat("a", 64) + "@example.com": strings.Repeat("a", 64) + "@example.com",
	} {
		got, err := normalEmail(in)
		if err != nil || got != want {
			t.Errorf("normalEmail(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{
		"", " ", "ada", "@example.com", "ada@", "a@b@example.com", "ada@localhost", "ada@example..com", "ada@.example.com",
		"ada@example.com.", "ada@-example.com", "ada@exa mple.com", "a da@example.com", ".ada@example.com", "ada.@example.com",
		"a..da@example.com", `"ada"@example.com`, "ada@[192.0.2.1]", "ada@192.0.2.1", "ada\x00@example.com", "a\u200bda@example.com",
		"Ada <ada@example.com>", "ada@example.com,bob@example.com", "ada(c)@example.com", "ada@exa\u0000mple.com", "ada@\xff.com",
		strings.Repeat("a", 65) + "@example.com", "ada@" + strings.Repeat("a", 64) + ".com", "a@" + strings.Repeat("a.", 130) + "com",
		"ada@under_score.com", "\xff@example.com",
	} {
		if got, err := normalEmail(bad); err == nil {
			t.Errorf("normalEmail(%q) = %q, want an error", bad, got)
		}
	}
}

func FuzzNormalEmail(f *testing.F) {
	f.Add("Ada@Example.com")
	f.Add("İ@b\u00dccher.example")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := normalEmail(s)
		if err != nil {
			return
		}
		if twice, err := normalEmail(once); err != nil || twice != once {
			t.Fatalf("%q is normally %q, and that is normally %q, %v", s, once, twice, err)
		}
		if len(once) > maxEmail || strings.Count(once, "@") != 1 || !utf8.ValidString(once) {
			t.Fatalf("%q is normally %q", s, once)
		}
	})
}

func TestClipped(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{" a\x00b\n ": "ab", "éüñ!": "éüñ", "\xff": "", "abc": "abc"} {
		if got := clipped(in, 3); got != want {
			t.Errorf("clipped(%q) = %q, want %q", in, got, want)
		}
	}
}

func ExampleSelfTenantID() {
	fmt.Println(SelfTenantID(uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")))
	// Output: 04c70bd0-ec7c-54ee-9a6f-3128e62ec508
}
