package auth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/mail"
	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
	"coditect.ai/platform/app/internal/store/tuple"
)

// inbox is a mail server that fails on demand.
type inbox struct {
	messages []mail.Message
	failing  bool
}

var errRefused = errors.New("the server refuses")

func (i *inbox) Send(_ context.Context, m mail.Message) error {
	if i.failing {
		return errRefused
	}
	i.messages = append(i.messages, m)
	return nil
}

// tokens delivers what is due and returns the tokens in it.
func (e *env) tokens(tb testing.TB) []string {
	tb.Helper()
	var in inbox
	for {
		done, err := e.Deliver(tb.Context(), &in)
		if err != nil {
			tb.Fatal(err)
		}
		if done.Sent == 0 {
			break
		}
	}
	var tokens []string
	for _, m := range in.messages {
		if found := regexp.MustCompile(`#token=(\S+)`).FindStringSubmatch(m.Text); found != nil {
			tokens = append(tokens, found[1])
		}
	}
	return tokens
}

func (e *env) user(tb testing.TB, a Access) User {
	tb.Helper()
	u, err := e.Me(tb.Context(), a)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func TestAMailedTokenVerifiesTheAddressOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{LinkBase: "https://coditect.example/"})
	a := e.mustVerify(t, e.mustRegister(t, "ada@example.com").Tokens)
	tokens := e.tokens(t)
	if len(tokens) != 1 || e.user(t, a).EmailVerified {
		t.Fatalf("mailed %q", tokens)
	}
	e.DB.Unknown(storetest.Committed)
	if err := e.VerifyEmail(t.Context(), tokens[0]); err != nil || !e.user(t, a).EmailVerified {
		t.Fatal(err)
	}
	for _, token := range []string{tokens[0], "", "cdm_", tokens[0] + "A", tokens[0][:20] + "\n" + tokens[0][20:], "cdr_" + tokens[0][4:]} {
		wantCode(t, e.VerifyEmail(t.Context(), token), fault.InvalidMailedToken)
	}
	if n := e.counts(t)["outbox"]; n != 0 {
		t.Errorf("%d letters are left", n)
	}
}

func TestAForgottenPasswordIsReset(t *testing.T) {
	t.Parallel()
	for _, fate := range [][]storetest.Fate{nil, {storetest.Committed}, {storetest.Lost}} {
		e := newEnv(t, Config{})
		old := e.mustVerify(t, e.mustRegister(t, "ada@example.com").Tokens)
		e.tokens(t)
		e.DB.Unknown(fate...)
		if err := e.ForgotPassword(t.Context(), " ADA@example.com", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		tokens := e.tokens(t)
		if len(tokens) != 1 {
			t.Fatalf("mailed %q", tokens)
		}
		const next = "another horse, another staple"
		wantCode(t, e.ResetPassword(t.Context(), tokens[0], "short"), fault.ValidationFailed)
		wantCode(t, e.VerifyEmail(t.Context(), tokens[0]), fault.InvalidMailedToken)
		e.DB.Unknown(fate...)
		if err := e.ResetPassword(t.Context(), tokens[0], next); err != nil {
			t.Fatal(err)
		}
		wantCode(t, e.ResetPassword(t.Context(), tokens[0], next), fault.InvalidMailedToken)
		wantCode(t, e.authorize(t, old), fault.InvalidToken)
		_, err := e.Login(t.Context(), credentials("ada@example.com"))
		wantCode(t, err, fault.InvalidCredentials)
		c := credentials("ada@example.com")
		c.Password = next
		if in := e.mustLogin(t, c); !in.User.EmailVerified {
			t.Error("who reads the mail has verified the address")
		}
	}
}

func TestForgottenPasswordsTellNothingAndMailLittle(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.mustRegister(t, "ada@example.com")
	e.tokens(t)
	var costs [2]store.Stats
	for i, email := range []string{"ada@example.com", "nobody@example.com"} {
		costs[i] = e.spent(func() {
			if err := e.ForgotPassword(t.Context(), email, fmt.Sprintf("192.0.2.%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	if costs[0] != costs[1] {
		t.Errorf("a known address costs %+v, an unknown one %+v", costs[0], costs[1])
	}
	// One mail a minute, and none that was overtaken by a change of the password.
	if err := e.ForgotPassword(t.Context(), "ada@example.com", ""); err != nil || len(e.tokens(t)) != 1 {
		t.Errorf("%v, or not one mail", err)
	}
	e.Clock.Advance(forgotPause)
	if err := e.ForgotPassword(t.Context(), "ada@example.com", ""); err != nil {
		t.Fatal(err)
	}
	tokens := e.tokens(t)
	if err := e.ChangePassword(t.Context(), e.mustVerify(t, e.mustLogin(t, credentials("ada@example.com")).Tokens), password, "another horse, another staple", ""); err != nil || len(tokens) != 1 {
		t.Fatal(err, tokens)
	}
	wantCode(t, e.ResetPassword(t.Context(), tokens[0], password), fault.InvalidMailedToken)

	wantCode(t, e.ForgotPassword(t.Context(), "nonsense", ""), fault.ValidationFailed)
	var err error
	for i := range mailLimit.free + 2 {
		err = e.ForgotPassword(t.Context(), fmt.Sprintf("u%d@example.com", i), "192.0.2.99")
	}
	wantCode(t, err, fault.TooManyAttempts)
	if n := len(e.tokens(t)); n != 0 {
		t.Errorf("%d mails to nobody", n)
	}
}

func TestLettersSurviveAMailServerThatFails(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.mustRegister(t, "ada@example.com")
	server := &inbox{failing: true}
	for range 3 {
		done, err := e.Deliver(t.Context(), server)
		if !errors.Is(err, errRefused) || done.Failed != 1 {
			t.Fatal(done, err)
		}
		if done, err := e.Deliver(t.Context(), server); err != nil || done != (Delivered{}) {
			t.Errorf("tried again at once: %+v, %v", done, err)
		}
		e.Clock.Advance(letterRest)
	}
	server.failing = false
	if done, err := e.Deliver(t.Context(), server); err != nil || done.Sent != 1 || len(server.messages) != 1 {
		t.Errorf("%+v, %v", done, err)
	}

	// After its last try a letter is given up; what is of no use is not sent.
	e.Clock.Advance(forgotPause)
	if err := e.ForgotPassword(t.Context(), "ada@example.com", ""); err != nil {
		t.Fatal(err)
	}
	e.Clock.Advance(2 * resetTTL)
	if done, err := e.Deliver(t.Context(), server); err != nil || done.Dropped != 1 || len(server.messages) != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	e.mustRegister(t, "bob@example.com")
	if err := e.DeleteMe(t.Context(), e.mustVerify(t, e.mustLogin(t, credentials("bob@example.com")).Tokens), password, ""); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		var err error
		if more, err = e.Store.Remove(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := e.Deliver(t.Context(), server); err != nil || done.Sent != 0 {
		t.Errorf("mail to who is gone: %+v, %v", done, err)
	}
}

func TestRepeatedRegistrationsAreOne(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	r := registration("ada@example.com")
	r.OnceKey = "key-1"
	first, err := e.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	same := func(in SignedIn, err error) {
		t.Helper()
		if err != nil || in.User != first.User || in.Tokens.RefreshToken != first.Tokens.RefreshToken || !slices.Equal(in.Tenants, first.Tenants) ||
			!in.Tokens.RefreshExpiresAt.Equal(first.Tokens.RefreshExpiresAt) || e.mustVerify(t, in.Tokens).LoginID != e.mustVerify(t, first.Tokens).LoginID {
			t.Errorf("repeated: %+v, %v\nat first: %+v", in, err, first)
		}
	}
	same(e.Register(t.Context(), r))
	r.Address = "198.51.100.7" // the client may have moved
	same(e.Register(t.Context(), r))
	for name, change := range map[string]func(*Registration){
		"password": func(r *Registration) { r.Password = "another horse, another staple" },
		"email":    func(r *Registration) { r.Email = "bob@example.com" },
		"name":     func(r *Registration) { r.FirstName = "Eve" },
	} {
		other := r
		change(&other)
		if _, err := e.Register(t.Context(), other); fault.CodeOf(err) != fault.IdempotencyConflict {
			t.Errorf("another %s: %v", name, err)
		}
	}
	another := r
	another.OnceKey = "key-2"
	_, err = e.Register(t.Context(), another)
	wantCode(t, err, fault.EmailTaken)

	// Neither the tokens nor the password are in the store in any form that leads back to them.
	e.mustNotHold(t, first.Tokens.RefreshToken[4:], r.OnceKey, password)
	if pair := e.mustRefresh(t, first.Tokens.RefreshToken); pair.RefreshToken == "" {
		t.Error("the repeated token does not refresh")
	}
	e.Clock.Advance(onceTTL)
	_, err = e.Register(t.Context(), r)
	wantCode(t, err, fault.EmailTaken)
}

// A repeated registration is no way around what a login asks for.
func TestRepeatedRegistrationsAreGuardedAsLogins(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	p := e.newPerson(t, "bob@example.com")
	r := registration("ada@example.com")
	r.OnceKey = "key"
	in, err := e.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	guess := r
	guess.Password, guess.Address = "another horse, another staple", "203.0.113.1"
	for range accountLimit.free {
		_, err := e.Register(t.Context(), guess)
		wantCode(t, err, fault.IdempotencyConflict)
	}
	_, err = e.Register(t.Context(), guess)
	wantCode(t, err, fault.TooManyAttempts)
	if _, err := e.Register(t.Context(), r); err != nil { // from where she is signed in
		t.Error(err)
	}
	p.in, p.access = in, e.mustVerify(t, in.Tokens)
	p.addTOTP(t)
	_, err = e.Register(t.Context(), r)
	wantCode(t, err, fault.EmailTaken)
}

// Who asks for a list of addresses is slowed down, and then learns no more from
// those that are taken than from those that are free.
func TestNobodyGoesThroughAListOfAddresses(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.mustRegister(t, "ada@example.com")
	ask := func(email, from string) error {
		r := registration(email)
		r.Address = from
		_, err := e.Register(t.Context(), r)
		return err
	}
	for i := range registerLimit.free {
		if i%4 == 0 {
			e.DB.Unknown(storetest.Committed, storetest.Lost) // which counts once, as any other
		}
		wantCode(t, ask("ada@example.com", "2001:db8::"+strconv.Itoa(i+1)), fault.EmailTaken) // one /64
	}
	for _, email := range []string{"ada@example.com", "free@example.com"} {
		wantCode(t, ask(email, "2001:db8::1"), fault.TooManyAttempts)
	}
	wantCode(t, ask("ada@example.com", "192.0.2.77"), fault.EmailTaken)
	e.Clock.Advance(time.Second)
	if err := ask("free@example.com", "2001:db8::1"); err != nil {
		t.Error(err)
	}
}

// Who registers with somebody else's address leaves no way in for when its
// owner comes, and does not keep them out.
func TestAResetOfAnUnverifiedAccountEndsWhatWasLeftThere(t *testing.T) {
	t.Parallel()
	for _, verified := range []bool{false, true} {
		e := newEnv(t, Config{})
		p := e.newPerson(t, "ada@example.com")
		p.addTOTP(t)
		p.addPasskey(t)
		if mailed := e.tokens(t); verified {
			if err := e.VerifyEmail(t.Context(), mailed[0]); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.ForgotPassword(t.Context(), p.email, ""); err != nil {
			t.Fatal(err)
		}
		token := e.tokens(t)[0]
		e.DB.Unknown(storetest.Lost, storetest.Committed)
		if err := e.ResetPassword(t.Context(), token, "another horse, another staple"); err != nil {
			t.Fatal(err)
		}
		in := e.mustLogin(t, Credentials{Email: p.email, Password: "another horse, another staple"})
		if asked := in.SecondFactor != nil; asked != verified || p.factors(t).Any() != verified {
			t.Errorf("verified before: %t; a second factor is asked for: %t", verified, asked)
		}
	}
}

// What changes how somebody signs in is told to them.
func TestChangesOfSigningInAreToldByMail(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	p := e.newPerson(t, "ada@example.com")
	e.tokens(t)
	told := func(want LetterKind, act func() error) {
		t.Helper()
		e.DB.Unknown(storetest.Committed) // which tells it once, as any other
		if err := act(); err != nil {
			t.Fatal(err)
		}
		var in inbox
		if _, err := e.Deliver(t.Context(), &in); err != nil {
			t.Fatal(err)
		}
		if len(in.messages) != 1 || in.messages[0].To != "ada@example.com" || in.messages[0].Subject != notices[want].subject || strings.Contains(in.messages[0].Text, "#token") {
			t.Errorf("%s: %+v", want, in.messages)
		}
	}
	const other = "another horse, another staple"
	told(letterPassword, func() error { return e.ChangePassword(t.Context(), p.access, password, other, "") })
	told(letterFactors, func() error { p.addTOTP(t); return nil })
	told(letterFactors, func() error { _, err := e.NewRecoveryCodes(t.Context(), p.access); return err })
	told(letterFactors, func() error { p.addPasskey(t); return nil })
	told(letterFactors, func() error { return e.RemoveTOTP(t.Context(), p.access) })
	if err := e.ForgotPassword(t.Context(), "ada@example.com", ""); err != nil {
		t.Fatal(err)
	}
	token := e.tokens(t)[0]
	told(letterPassword, func() error { return e.ResetPassword(t.Context(), token, password) })
}

// mustNotHold looks for texts in everything that is stored.
func (e *env) mustNotHold(tb testing.TB, texts ...string) {
	tb.Helper()
	if err := e.DB.Read(tb.Context(), func(r kv.Reader) error {
		pairs, err := r.Range(kv.PrefixRange(tuple.Key{}.Text("test")), kv.RangeOptions{})
		for _, p := range pairs {
			for _, text := range texts {
				if strings.Contains(string(p.Key)+string(p.Value), text) {
					tb.Errorf("%q is in %q → %s", text, p.Key, p.Value)
				}
			}
		}
		return err
	}); err != nil {
		tb.Fatal(err)
	}
}

func TestRacingRegistrationsWithOneKeyAreOne(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{HashQueue: 1000, HashWait: time.Minute})
	r := registration("ada@example.com")
	r.OnceKey = "key"
	var wg sync.WaitGroup
	tokens := make([]string, 100)
	for i := range tokens {
		wg.Go(func() {
			in, err := e.Register(t.Context(), r)
			if err != nil {
				t.Errorf("registering: %v", err)
			}
			tokens[i] = in.Tokens.RefreshToken
		})
	}
	wg.Wait()
	if all := slices.Compact(slices.Sorted(slices.Values(tokens))); len(all) != 1 {
		t.Errorf("%d refresh tokens, want 1", len(all))
	}
	if c := e.counts(t); c["users"] != 1 || c["logins"] != 1 || c["kept_answers"] != 1 || c["outbox"] != 1 {
		t.Errorf("in the store: %v", c)
	}
}

func TestGuessingSlowsDownAndLocksNobodyOut(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.mustRegister(t, "ada@example.com") // from 192.0.2.1
	guess := func(from string) error {
		c := credentials("ada@example.com")
		c.Password, c.Address = "a wrong guess", from
		_, err := e.Login(t.Context(), c)
		return err
	}
	for i := range accountLimit.free {
		wantCode(t, guess(fmt.Sprintf("203.0.113.%d", i)), fault.InvalidCredentials)
	}
	// From now on the delays double, from whatever address, up to the longest.
	want := time.Second
	for range 9 {
		err := guess("203.0.113.200")
		wantCode(t, err, fault.TooManyAttempts)
		f, _ := errors.AsType[*fault.Error](err)
		if f.RetryAfter.Round(time.Second) != want {
			t.Errorf("wait %v, want %v", f.RetryAfter, want)
		}
		e.Clock.Advance(f.RetryAfter - 10*time.Millisecond)
		wantCode(t, guess("203.0.113.201"), fault.TooManyAttempts)
		e.Clock.Advance(10 * time.Millisecond)
		wantCode(t, guess("203.0.113.202"), fault.InvalidCredentials)
		want = min(2*want, accountLimit.longest)
	}
	// Who has signed in from an address before is not held up there by others' guesses …
	known := credentials("ada@example.com")
	known.Address = "192.0.2.1"
	e.mustLogin(t, known)
	// … and the right password wipes the slate for everybody.
	wantCode(t, guess("203.0.113.203"), fault.InvalidCredentials)

	// An address that fails at many accounts waits, with a right password too; another does not.
	for i := range addressLimit.free + 1 {
		c := credentials(fmt.Sprintf("u%d@example.com", i))
		c.Address = "2001:db8::" + strconv.Itoa(i+1) // one /64
		_, _ = e.Login(t.Context(), c)
	}
	c := credentials("ada@example.com")
	c.Address = "2001:db8::ffff"
	_, err := e.Login(t.Context(), c)
	wantCode(t, err, fault.TooManyAttempts)
	c.Address = "2001:db8:0:1::1"
	e.mustLogin(t, c)

	// Nothing is held against anybody for ever.
	e.Clock.Advance(addressLimit.memory)
	c.Address = "2001:db8::ffff"
	e.mustLogin(t, c)
}

// A burst is not over before its first failures count.
func TestABurstOfGuessesIsSlowedDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{HashSlots: 100, HashQueue: 1000, HashWait: time.Minute})
	e.mustRegister(t, "ada@example.com")
	for _, email := range []string{"ada@example.com", "nobody@example.com"} {
		var guesses, refused atomic.Int64
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				_, err := e.Login(t.Context(), Credentials{Email: email, Password: "a wrong guess", Address: fmt.Sprintf("203.0.113.%d", i)})
				if code := fault.CodeOf(err); code == fault.InvalidCredentials {
					guesses.Add(1)
				} else if code == fault.TooManyAttempts {
					refused.Add(1)
				}
			})
		}
		all.Wait()
		// Those that are free, and as many but one that were under way when the last of them failed.
		if n := guesses.Load(); n < int64(accountLimit.free) || n >= 2*int64(accountLimit.free) || n+refused.Load() != 100 {
			t.Errorf("%s: %d guesses, %d refused", email, n, refused.Load())
		}
	}
	if len(e.turns.by) != 0 {
		t.Errorf("%d turns are left", len(e.turns.by))
	}
	e.mustLogin(t, Credentials{Email: "ada@example.com", Password: password, Address: "192.0.2.1"})
}

func TestOfManyGuessesAtOnceOneIsMadeWhenSlowedDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{HashQueue: 1000, HashWait: time.Minute})
	e.mustRegister(t, "ada@example.com")
	wrong := credentials("ada@example.com")
	wrong.Password, wrong.Address = "a wrong guess", "203.0.113.1"
	for range accountLimit.free {
		_, _ = e.Login(t.Context(), wrong)
	}
	e.Clock.Advance(time.Minute)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen = map[fault.Code]int{}
	)
	for i := range 100 {
		wg.Go(func() {
			c := wrong
			c.Address = fmt.Sprintf("203.0.113.%d", i)
			_, err := e.Login(t.Context(), c)
			mu.Lock()
			defer mu.Unlock()
			seen[fault.CodeOf(err)]++
		})
	}
	wg.Wait()
	if seen[fault.InvalidCredentials] != 1 || seen[fault.TooManyAttempts] != 99 {
		t.Errorf("%v", seen)
	}
}

func TestAChangedPasswordSignsOthersOut(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	a := e.mustVerify(t, e.mustRegister(t, "ada@example.com").Tokens)
	other := e.mustLogin(t, credentials("ada@example.com"))
	const next = "another horse, another staple"
	err := e.ChangePassword(t.Context(), a, "wrong", next, "")
	wantCode(t, err, fault.ValidationFailed)
	wantCode(t, e.ChangePassword(t.Context(), a, password, "short", ""), fault.ValidationFailed)
	e.DB.Unknown(storetest.Lost, storetest.Committed)
	if err := e.ChangePassword(t.Context(), a, password, next, ""); err != nil {
		t.Fatal(err)
	}
	if err := e.authorize(t, a); err != nil {
		t.Errorf("who changed it: %v", err)
	}
	wantCode(t, e.authorize(t, e.mustVerify(t, other.Tokens)), fault.InvalidToken)
	_, err = e.Refresh(t.Context(), other.Tokens.RefreshToken)
	wantCode(t, err, fault.InvalidToken)
	page, err := e.Logins(t.Context(), a, paging.Request{})
	if err != nil || len(page.Items) != 1 || !page.Items[0].Current || page.Items[0].Device != "laptop" {
		t.Errorf("%+v, %v", page, err)
	}
	for range accountLimit.free {
		_ = e.ChangePassword(t.Context(), a, "wrong", password, "203.0.113.1")
	}
	wantCode(t, e.ChangePassword(t.Context(), a, "wrong", password, "203.0.113.1"), fault.TooManyAttempts)
}

func TestDevicesAreListedAndSignedOut(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	a := e.mustVerify(t, e.mustRegister(t, "ada@example.com").Tokens)
	b := e.mustVerify(t, e.mustLogin(t, credentials("ada@example.com")).Tokens)
	bob := e.mustVerify(t, e.mustRegister(t, "bob@example.com").Tokens)
	wantCode(t, e.RevokeLogin(t.Context(), bob, b.LoginID), fault.NotFound)
	e.DB.Unknown(storetest.Committed)
	if err := e.RevokeLogin(t.Context(), a, b.LoginID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, e.RevokeLogin(t.Context(), a, b.LoginID), fault.NotFound)
	wantCode(t, e.authorize(t, b), fault.InvalidToken)
	e.DB.Unknown(storetest.Committed)
	if err := e.RevokeLogin(t.Context(), a, a.LoginID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, e.RevokeLogin(t.Context(), a, a.LoginID), fault.InvalidToken)
}

func TestProfileChanges(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	a := e.mustVerify(t, e.mustRegister(t, "ada@example.com").Tokens)
	e.Clock.Advance(time.Minute)
	name, company := " Augusta ", ""
	got, err := e.UpdateMe(t.Context(), a, Profile{FirstName: &name, Company: &company})
	if err != nil || got.FirstName != "Augusta" || got.LastName != "Lovelace" || !got.UpdatedAt.After(got.CreatedAt) || e.user(t, a) != got {
		t.Errorf("%+v, %v", got, err)
	}
	bad := "a\nb"
	_, err = e.UpdateMe(t.Context(), a, Profile{FirstName: &company, LastName: &bad})
	if wantCode(t, err, fault.ValidationFailed); fieldsOf(err) != "first_name last_name" {
		t.Errorf("fields %s", fieldsOf(err))
	}
}

func TestASwitchedTenantProvesNoMoreAndEndsNoLater(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	in := e.mustRegister(t, "ada@example.com")
	a := e.mustVerify(t, in.Tokens)
	bob := e.mustRegister(t, "bob@example.com")
	if err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		tx.PutMembership(store.Membership{TenantID: bob.TenantID, UserID: a.UserID, Role: store.RoleMember})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	e.Clock.Advance(20 * time.Minute) // past what RequireRecent takes for recent
	a = e.mustVerify(t, e.mustRefresh(t, in.Tokens.RefreshToken))
	e.DB.Unknown(storetest.Committed)
	out, err := e.SwitchTenant(t.Context(), a, bob.TenantID, "192.0.2.9")
	if err != nil || out.TenantID != bob.TenantID {
		t.Fatal(out, err)
	}
	b := e.mustVerify(t, out.Tokens)
	if b.Role != store.RoleMember || b.LoginID == a.LoginID {
		t.Errorf("%+v", b)
	}
	if err := e.Store.View(t.Context(), func(r *store.Reader) error {
		old, err1 := r.Login(a.UserID, a.LoginID)
		now, err2 := r.Login(a.UserID, b.LoginID)
		if !now.EndsAt.Equal(old.EndsAt) || !now.Proof.At.Equal(old.Proof.At) || now.Device != old.Device {
			t.Errorf("%+v\nopened from %+v", now, old)
		}
		return errors.Join(err1, err2)
	}); err != nil {
		t.Error(err)
	}
	_, err = e.SwitchTenant(t.Context(), a, uuid.New(), "")
	wantCode(t, err, fault.NotFound)
	own, err := e.SwitchTenant(t.Context(), a, uuid.Nil, "") // none: their own
	if err != nil || own.TenantID != a.TenantID {
		t.Fatal(own, err)
	}
	if got := e.mustVerify(t, e.mustRefresh(t, own.Tokens.RefreshToken)); got.TenantID != a.TenantID {
		t.Errorf("refreshed for %s", got.TenantID)
	}
	if c := e.counts(t); c["logins"] != 4 {
		t.Errorf("%v", c)
	}
}

// A deleted user is gone at once, and the sweeper leaves nothing of theirs:
// their id is only in the trails of tenants that outlive them.
func TestADeletedUserLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, fates := range [][]storetest.Fate{nil, {storetest.Committed}, {storetest.Lost, storetest.Committed}} {
		e := newEnv(t, Config{})
		a := e.mustVerify(t, e.mustRegister(t, "ada@example.com").Tokens)
		r := registration("eve@example.com")
		r.OnceKey, r.FirstName = "key", "Evangeline"
		in, err := e.Register(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		eve := e.mustVerify(t, in.Tokens)
		token := in.Tokens.RefreshToken
		for range 3 {
			e.Clock.Advance(time.Minute)
			token = e.mustRefresh(t, token).RefreshToken
		}
		if err := e.Logout(t.Context(), e.mustVerify(t, e.mustLogin(t, credentials("eve@example.com")).Tokens), false); err != nil {
			t.Fatal(err)
		}
		if err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
			tx.PutMembership(store.Membership{TenantID: a.TenantID, UserID: eve.UserID, Role: store.RoleMember})
			for i := range 5 {
				tx.PutSession(store.Session{ID: uuid.New(), TenantID: []uuid.UUID{a.TenantID, eve.TenantID}[i%2], UserID: eve.UserID})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		wantCode(t, e.DeleteMe(t.Context(), eve, "wrong", ""), fault.ValidationFailed)
		e.DB.Unknown(fates...)
		if err := e.DeleteMe(t.Context(), eve, password, ""); err != nil {
			t.Fatal(err)
		}
		wantCode(t, e.authorize(t, eve), fault.InvalidToken)
		_, err = e.Refresh(t.Context(), token)
		wantCode(t, err, fault.InvalidToken)
		_, err = e.Login(t.Context(), credentials("eve@example.com"))
		wantCode(t, err, fault.InvalidCredentials)
		for more := true; more; {
			if more, err = e.Store.Remove(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
		}
		e.tokens(t) // the letter to her is dropped, not sent
		e.mustNotHold(t, "eve@", "Evangeline")
		c := e.counts(t)
		if c["users"] != 1 || c["memberships"] != 1 || c["sessions"] != 0 || c["kept_answers"] != 0 || c["refresh_tokens"] != 1 || c["one_time_tokens"] != 1 || c["tenants"] != 1 {
			t.Errorf("left: %v", c)
		}
		again := e.mustRegister(t, "eve@example.com")
		if again.User.ID == eve.UserID {
			t.Error("the same user again")
		}
	}
}

func TestExportHasEverything(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	a := e.mustVerify(t, e.mustRegister(t, "ada@example.com").Tokens)
	bob := e.mustVerify(t, e.mustRegister(t, "bob@example.com").Tokens)
	want := map[uuid.UUID]bool{}
	if err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		tx.PutMembership(store.Membership{TenantID: bob.TenantID, UserID: a.UserID, Role: store.RoleMember})
		for i := range 2*exportItems + 3 {
			s := store.Session{ID: uuid.Must(uuid.NewV7()), TenantID: []uuid.UUID{a.TenantID, bob.TenantID}[i%2], UserID: a.UserID}
			want[s.ID] = true
			tx.PutSession(s)
		}
		tx.PutSession(store.Session{ID: uuid.New(), TenantID: bob.TenantID, UserID: bob.UserID})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	cursor, pages := "", 0
	for {
		page, err := e.Export(t.Context(), a, cursor)
		if err != nil {
			t.Fatal(err)
		}
		if first := cursor == ""; (page.User != nil) != first || (len(page.Tenants) == 2) != first || (len(page.Logins) == 1) != first {
			t.Errorf("page %d: %+v", pages, page)
		}
		for _, s := range page.Sessions {
			if !want[s.ID] {
				t.Errorf("session %s is not hers, or comes twice", s.ID)
			}
			delete(want, s.ID)
		}
		if pages++; page.Next == "" {
			break
		}
		_, err = e.Export(t.Context(), bob, page.Next)
		wantCode(t, err, fault.InvalidRequest)
		cursor = page.Next
	}
	if len(want) != 0 || pages != 3 {
		t.Errorf("%d sessions are missing from %d pages", len(want), pages)
	}
	_, err := e.Export(t.Context(), a, "nonsense")
	wantCode(t, err, fault.InvalidRequest)
}
