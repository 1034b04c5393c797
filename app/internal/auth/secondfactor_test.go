package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/factor/factortest"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

const localOrigin = "http://localhost:8080"

// person is a user with second factors, seen from their side.
type person struct {
	*env
	email    string
	in       SignedIn
	access   Access
	secret   []byte // of the authenticator app
	recovery []string
	device   *factortest.Authenticator
}

// newPerson registers a user without second factors.
func (e *env) newPerson(tb testing.TB, email string) *person {
	tb.Helper()
	in := e.mustRegister(tb, email)
	return &person{env: e, email: email, in: in, access: e.mustVerify(tb, in.Tokens), device: factortest.New(localOrigin)}
}

func ok[T any](tb testing.TB, v T, err error) T {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// addTOTP enrols an authenticator app.
func (p *person) addTOTP(tb testing.TB) *person {
	tb.Helper()
	begun, err := p.BeginTOTP(tb.Context(), p.access)
	ok(tb, begun, err)
	p.secret = secretOf(tb, begun)
	shown, err := p.FinishTOTP(tb.Context(), p.access, begun.Challenge, p.code())
	if codes := ok(tb, shown, err).Codes; codes != nil {
		p.recovery = codes
	}
	p.Clock.Advance(time.Minute) // past the code that the enrolment used up
	return p
}

// addPasskey registers a passkey on the person's device.
func (p *person) addPasskey(tb testing.TB) Passkey {
	tb.Helper()
	begun, err := p.BeginPasskey(tb.Context(), p.access)
	ok(tb, begun, err)
	made, shown, err := p.FinishPasskey(tb.Context(), p.access, NewPasskey{Challenge: begun.Challenge, Name: "key", Response: p.device.Create(tb, begun.Options)})
	ok(tb, made, err)
	if shown.Codes != nil {
		p.recovery = shown.Codes
	}
	return made
}

func secretOf(tb testing.TB, n NewTOTP) []byte {
	tb.Helper()
	secret, err := base32Text.DecodeString(n.Secret)
	return ok(tb, secret, err)
}

func (p *person) code() string { return factor.TOTPCode(p.secret, p.Clock.Now()) }

// ask signs in with the password and returns what is asked for.
func (p *person) ask(tb testing.TB) *SecondFactor {
	tb.Helper()
	in := p.mustLogin(tb, credentials(p.email))
	if in.SecondFactor == nil || in.Tokens != (TokenPair{}) || in.User != (User{}) || in.Tenants != nil {
		tb.Fatalf("a login without the second factor answers %+v", in)
	}
	return in.SecondFactor
}

func (p *person) finish(tb testing.TB, challenge string, proof FactorProof) (SignedIn, error) {
	tb.Helper()
	return p.FinishLogin(tb.Context(), SecondFactorForm{Challenge: challenge, Proof: proof, Address: "192.0.2.7"})
}

func (p *person) recent(tb testing.TB) error {
	tb.Helper()
	return p.Store.View(tb.Context(), func(r *store.Reader) error { _, err := RequireRecent(r, p.access); return err })
}

func (p *person) factors(tb testing.TB) store.Factors {
	tb.Helper()
	var f store.Factors
	err := p.Store.View(tb.Context(), func(r *store.Reader) (err error) { f, err = r.Factors(p.access.UserID); return err })
	return ok(tb, f, err)
}

func TestLoginWithAnAuthenticatorApp(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com").addTOTP(t)
	ask := p.ask(t)
	if !slices.Equal(ask.Methods, []string{methodTOTP, methodRecovery}) || ask.Options != nil {
		t.Errorf("asks for %+v", ask)
	}
	code := p.code()
	var in SignedIn
	var err error
	if cost := p.spent(func() { in, err = p.finish(t, ask.Challenge, FactorProof{TOTP: code}) }); cost.Transactions != 1 {
		t.Errorf("took %+v", cost)
	}
	a := p.mustVerify(t, ok(t, in, err).Tokens)
	if err := p.authorize(t, a); err != nil || in.User.Email != p.email || len(in.Tenants) != 1 {
		t.Errorf("signed in %+v: %v", in, err)
	}
	_, err = p.finish(t, ask.Challenge, FactorProof{RecoveryCode: p.recovery[0]})
	wantCode(t, err, fault.InvalidChallenge) // done already

	again := p.ask(t)
	_, err = p.finish(t, again.Challenge, FactorProof{TOTP: code})
	wantCode(t, err, fault.InvalidFactor) // the code was used
	p.Clock.Advance(30 * time.Second)
	if _, err = p.finish(t, again.Challenge, FactorProof{TOTP: p.code()}); err != nil {
		t.Errorf("a wrong code must not use up the challenge: %v", err)
	}

	late := p.ask(t)
	p.Clock.Advance(challengeTTL)
	_, err = p.finish(t, late.Challenge, FactorProof{TOTP: p.code()})
	wantCode(t, err, fault.InvalidChallenge)
}

func TestSecondFactorFormsThatAreNone(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com").addTOTP(t)
	ask := p.ask(t)
	passkey := json.RawMessage(`{"id":"AA"}`)
	for _, proof := range []FactorProof{{}, {TOTP: "1", RecoveryCode: "2"}, {RecoveryCode: "2", Passkey: passkey}, {TOTP: "1", RecoveryCode: "2", Passkey: passkey}} {
		_, err := p.finish(t, ask.Challenge, proof)
		wantCode(t, err, fault.ValidationFailed)
	}
	for _, proof := range []FactorProof{{TOTP: "000000 1"}, {RecoveryCode: "zzzz"}, {Passkey: passkey}, {Passkey: json.RawMessage(`{`)}} {
		_, err := p.finish(t, ask.Challenge, proof)
		wantCode(t, err, fault.InvalidFactor)
	}
	for _, challenge := range []string{"", challengePrefix, ask.Challenge[1:], ask.Challenge + "A", ask.Challenge[:20] + "\n" + ask.Challenge[20:], newToken().text()} {
		_, err := p.finish(t, challenge, FactorProof{TOTP: p.code()})
		wantCode(t, err, fault.InvalidChallenge)
	}
}

func newToken() challengeToken { return challengeToken(random(32)) }

func TestWhatWasBegunEndsWithThePassword(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com").addTOTP(t)
	for name, end := range map[string]func(*store.User){
		"another password":    func(u *store.User) { u.PasswordHash = cheap.hash("another password").String() },
		"sign-out everywhere": func(u *store.User) { u.LoginEpoch++ },
	} {
		ask := p.ask(t)
		before := p.access.UserID
		var was store.User
		change := func(end func(*store.User)) {
			err := p.Store.Update(t.Context(), func(tx *store.Tx) error {
				u, err := tx.User(before)
				if err != nil {
					return err
				}
				was = u
				end(&u)
				tx.UpdateUser(u)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		change(end)
		_, err := p.finish(t, ask.Challenge, FactorProof{RecoveryCode: p.recovery[0]})
		wantCode(t, err, fault.InvalidChallenge)
		old := was
		change(func(u *store.User) { *u = old })
		if len(p.factors(t).Recovery) != factor.RecoveryCodes {
			t.Errorf("%s: a recovery code was used up", name)
		}
	}
}

func TestGuessesOfCodesAreSlowedDown(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com").addTOTP(t)
	p.addPasskey(t)
	ask := p.ask(t)
	guess := func() error { _, err := p.finish(t, ask.Challenge, FactorProof{TOTP: "000000"}); return err }
	for range freeFailures {
		wantCode(t, guess(), fault.InvalidFactor)
	}
	var total time.Duration
	for i := range 12 {
		wantCode(t, guess(), fault.InvalidFactor)
		f, _ := errors.AsType[*fault.Error](guess())
		if f == nil || f.Code != fault.TooManyAttempts || f.RetryAfter <= 0 {
			t.Fatalf("guess %d: %v", i, f)
		}
		_, err := p.finish(t, p.ask(t).Challenge, FactorProof{TOTP: p.code()})
		wantCode(t, err, fault.TooManyAttempts) // the right one too, whatever the challenge
		total += f.RetryAfter
		p.Clock.Advance(f.RetryAfter)
		ask = p.ask(t)
	}
	if total < time.Hour {
		t.Errorf("16 guesses took %v", total)
	}
	wantCode(t, guess(), fault.InvalidFactor)

	// What cannot be guessed is not slowed down.
	if _, err := p.finish(t, ask.Challenge, FactorProof{RecoveryCode: p.recovery[0]}); err != nil {
		t.Error(err)
	}
	ask = p.ask(t)
	if _, err := p.finish(t, ask.Challenge, FactorProof{Passkey: p.device.Get(t, ask.Options, p.device.Passkeys[0])}); err != nil {
		t.Error(err)
	}
	p.Clock.Advance(longestPause)
	if _, err := p.finish(t, p.ask(t).Challenge, FactorProof{TOTP: p.code()}); err != nil {
		t.Error(err)
	}
	if failed := p.factors(t).Failed; failed.Count != 0 || !failed.Until.IsZero() {
		t.Errorf("after a right code: %+v", failed)
	}
}

func TestEachRecoveryCodeWorksOnce(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com").addTOTP(t)
	for i, code := range p.recovery {
		if _, err := p.finish(t, p.ask(t).Challenge, FactorProof{RecoveryCode: code}); err != nil {
			t.Fatal(err)
		}
		_, err := p.finish(t, p.ask(t).Challenge, FactorProof{RecoveryCode: code})
		wantCode(t, err, fault.InvalidFactor)
		if left := len(p.factors(t).Recovery); left != factor.RecoveryCodes-i-1 {
			t.Errorf("%d codes left", left)
		}
	}
	if methods := p.ask(t).Methods; !slices.Equal(methods, []string{methodTOTP}) {
		t.Errorf("asks for %v", methods)
	}
	in, err := p.finish(t, p.ask(t).Challenge, FactorProof{TOTP: p.code()})
	p.access = p.mustVerify(t, ok(t, in, err).Tokens)
	fresh, err := p.NewRecoveryCodes(t.Context(), p.access)
	if codes := ok(t, fresh, err).Codes; len(codes) != factor.RecoveryCodes || slices.Contains(codes, p.recovery[0]) {
		t.Errorf("new codes %v", codes)
	}
	if _, err := p.finish(t, p.ask(t).Challenge, FactorProof{RecoveryCode: fresh.Codes[9]}); err != nil {
		t.Error(err)
	}
}

// Of a hundred who use one code at the same moment, through a hundred
// challenges, one gets in.
func TestOneOfAHundredWinsARecoveryCode(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{methodRecovery, methodTOTP} {
		p := newEnv(t, Config{HashSlots: 2}).newPerson(t, "ada@example.com").addTOTP(t)
		proof := FactorProof{RecoveryCode: p.recovery[3]}
		if kind == methodTOTP {
			proof = FactorProof{TOTP: p.code()}
		}
		var challenges []string
		for range 100 {
			challenges = append(challenges, p.ask(t).Challenge)
		}
		var wg sync.WaitGroup
		var won, lost atomic.Int32
		for _, c := range challenges {
			wg.Go(func() {
				switch _, err := p.finish(t, c, proof); fault.CodeOf(err) {
				case fault.InvalidFactor, fault.TooManyAttempts, fault.Busy:
					lost.Add(1)
				default:
					if err != nil {
						t.Error(err)
						return
					}
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 99 || p.counts(t)["logins"] != 2 {
			t.Errorf("%s: %d got in, %d did not; in the store: %v", kind, won.Load(), lost.Load(), p.counts(t))
		}
	}
}

func TestLoginWithAPasskey(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com")
	made := p.addPasskey(t)
	if len(p.recovery) != factor.RecoveryCodes || made.Name != "key" {
		t.Errorf("added %+v with %d recovery codes", made, len(p.recovery))
	}
	key := p.device.Passkeys[0]
	begin := func() Ceremony { c, err := p.PasswordlessOptions(t.Context()); return ok(t, c, err) }
	login := func(c Ceremony, answer []byte) (SignedIn, error) {
		return p.PasskeyLogin(t.Context(), PasskeyForm{Challenge: c.Challenge, Passkey: answer, Device: "phone"})
	}

	c := begin()
	answer := p.device.Get(t, c.Options, key)
	in, err := login(c, answer)
	a := p.mustVerify(t, ok(t, in, err).Tokens)
	if in.User.Email != p.email || p.authorize(t, a) != nil {
		t.Errorf("signed in %+v", in)
	}
	_, err = login(c, answer) // replayed
	wantCode(t, err, fault.InvalidChallenge)
	_, err = login(begin(), answer) // replayed on another challenge
	wantCode(t, err, fault.InvalidFactor)

	// Without its user's verification a passkey is one factor and no more.
	p.device.Verifies = false
	c = begin()
	_, err = login(c, p.device.Get(t, c.Options, key))
	wantCode(t, err, fault.InvalidFactor)
	ask := p.ask(t)
	if !slices.Equal(ask.Methods, []string{methodPasskey, methodRecovery}) {
		t.Errorf("asks for %v", ask.Methods)
	}
	if _, err := p.finish(t, ask.Challenge, FactorProof{Passkey: p.device.Get(t, ask.Options, key)}); err != nil {
		t.Errorf("beside the password its presence is enough: %v", err)
	}
	ask = p.ask(t) // nor does the challenge of one way serve the other
	p.device.Verifies = true
	_, err = p.PasskeyLogin(t.Context(), PasskeyForm{Challenge: ask.Challenge, Passkey: p.device.Get(t, ask.Options, key)})
	wantCode(t, err, fault.InvalidChallenge)

	p.device.Origin = "https://localhost.evil.net"
	c = begin()
	_, err = login(c, p.device.Get(t, c.Options, key))
	wantCode(t, err, fault.InvalidFactor)
}

func TestAClonedPasskeyIsTrustedNoMore(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com")
	p.addPasskey(t)
	key := p.device.Passkeys[0]
	login := func() error {
		c, err := p.PasswordlessOptions(t.Context())
		ok(t, c, err)
		_, err = p.PasskeyLogin(t.Context(), PasskeyForm{Challenge: c.Challenge, Passkey: p.device.Get(t, c.Options, key)})
		return err
	}
	for range 3 {
		if err := login(); err != nil {
			t.Fatal(err)
		}
	}
	key.Count = 1 // the clone's counter is behind
	p.DB.Unknown(storetest.Committed)
	wantCode(t, login(), fault.InvalidFactor)
	key.Count = 50
	wantCode(t, login(), fault.InvalidFactor) // nor is the other one of the two trusted
	seen, err := p.Factors(t.Context(), p.access)
	if ok(t, seen, err).Passkeys[0].SuspectedAt.IsZero() {
		t.Error("its user is not told")
	}
	if methods := p.ask(t).Methods; !slices.Equal(methods, []string{methodRecovery}) {
		t.Errorf("asks for %v", methods)
	}
	if _, err := p.finish(t, p.ask(t).Challenge, FactorProof{RecoveryCode: p.recovery[0]}); err != nil {
		t.Error(err)
	}
}

// Nothing of one user proves another, whatever they put together.
func TestFactorsOfOthers(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	ada, eve := e.newPerson(t, "ada@example.com").addTOTP(t), e.newPerson(t, "eve@example.com").addTOTP(t)
	ada.addPasskey(t)
	own := eve.addPasskey(t)
	hers := ada.device.Passkeys[0]
	for name, proof := range map[string]func(ask *SecondFactor) FactorProof{
		"code":          func(*SecondFactor) FactorProof { return FactorProof{TOTP: eve.code()} },
		"recovery code": func(*SecondFactor) FactorProof { return FactorProof{RecoveryCode: eve.recovery[0]} },
		"passkey": func(ask *SecondFactor) FactorProof {
			return FactorProof{Passkey: eve.device.Get(t, ask.Options, eve.device.Passkeys[0])}
		},
		"passkey without a handle": func(ask *SecondFactor) FactorProof {
			key := *eve.device.Passkeys[0]
			key.User = nil
			return FactorProof{Passkey: eve.device.Get(t, ask.Options, &key)}
		},
		"passkey under her name": func(ask *SecondFactor) FactorProof {
			key := *eve.device.Passkeys[0]
			key.User, key.ID = hers.User, hers.ID
			return FactorProof{Passkey: eve.device.Get(t, ask.Options, &key)}
		},
	} {
		ask := ada.ask(t)
		if _, err := ada.finish(t, ask.Challenge, proof(ask)); fault.CodeOf(err) != fault.InvalidFactor {
			t.Errorf("eve's %s for ada: %v", name, err)
		}
	}
	c, err := e.PasswordlessOptions(t.Context())
	ok(t, c, err)
	forged := *eve.device.Passkeys[0]
	forged.User = hers.User
	for _, key := range []*factortest.Passkey{&forged, {ID: hers.ID, Domain: "localhost"}} {
		if key.User == nil {
			nobody := uuid.New()
			*key = forged
			key.User = nobody[:]
		}
		_, err = e.PasskeyLogin(t.Context(), PasskeyForm{Challenge: c.Challenge, Passkey: eve.device.Get(t, c.Options, key)})
		wantCode(t, err, fault.InvalidFactor)
	}

	// Another's credential is not registered a second time, nor managed.
	begun, err := eve.BeginPasskey(t.Context(), eve.access)
	ok(t, begun, err)
	var options struct {
		Challenge string `json:"challenge"`
	}
	ok(t, 0, json.Unmarshal(begun.Options, &options))
	_, _, err = eve.FinishPasskey(t.Context(), eve.access, NewPasskey{Challenge: begun.Challenge, Name: "stolen", Response: ada.device.Attest(t, hers, options.Challenge)})
	wantCode(t, err, fault.FactorExists)
	wantCode(t, ada.RemovePasskey(t.Context(), ada.access, own.ID), fault.NotFound)
	_, err = ada.RenamePasskey(t.Context(), ada.access, own.ID, "mine")
	wantCode(t, err, fault.NotFound)
}

// A second factor opens no tenant that its user does not belong to, and is not
// used up by the try.
func TestFactorsOpenNoForeignTenant(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	ada, eve := e.newPerson(t, "ada@example.com"), e.newPerson(t, "eve@example.com").addTOTP(t)
	eve.addPasskey(t)
	foreign := credentials(eve.email)
	foreign.TenantID = ada.in.TenantID.String()
	in, err := e.Login(t.Context(), foreign)
	ask := ok(t, in, err).SecondFactor
	for _, proof := range []FactorProof{{TOTP: eve.code()}, {RecoveryCode: eve.recovery[0]}, {Passkey: eve.device.Get(t, ask.Options, eve.device.Passkeys[0])}} {
		_, err := eve.finish(t, ask.Challenge, proof)
		wantCode(t, err, fault.ValidationFailed)
	}
	c, err := e.PasswordlessOptions(t.Context())
	answer := eve.device.Get(t, ok(t, c, err).Options, eve.device.Passkeys[0])
	_, err = e.PasskeyLogin(t.Context(), PasskeyForm{Challenge: c.Challenge, Passkey: answer, TenantID: foreign.TenantID})
	wantCode(t, err, fault.ValidationFailed)
	for _, own := range []string{"", eve.in.TenantID.String()} {
		c, err := e.PasswordlessOptions(t.Context())
		answer := eve.device.Get(t, ok(t, c, err).Options, eve.device.Passkeys[0])
		in, err := e.PasskeyLogin(t.Context(), PasskeyForm{Challenge: c.Challenge, Passkey: answer, TenantID: own})
		if ok(t, in, err).TenantID != eve.in.TenantID {
			t.Errorf("signed in to %v", in.TenantID)
		}
	}
	if f := eve.factors(t); len(f.Recovery) != factor.RecoveryCodes {
		t.Errorf("%d recovery codes are left", len(f.Recovery))
	}
}

func FuzzParseChallengeToken(f *testing.F) {
	f.Add(newToken().text())
	f.Add(challengePrefix)
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := parseChallengeToken(s); err == nil && token.text() != s {
			t.Fatalf("%q comes back as %q", s, token.text())
		}
	})
}
