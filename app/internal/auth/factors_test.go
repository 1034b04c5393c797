package auth

import (
	"encoding/base32"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

func TestAnAuthenticatorAppCountsOnceItHasShownACode(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com")
	begun, err := p.BeginTOTP(t.Context(), p.access)
	p.secret = secretOf(t, ok(t, begun, err))
	if in := p.mustLogin(t, credentials(p.email)); in.SecondFactor != nil {
		t.Error("an app that was only begun is asked for")
	}
	_, err = p.FinishTOTP(t.Context(), p.access, begun.Challenge, "000000")
	wantCode(t, err, fault.ValidationFailed)
	shown, err := p.FinishTOTP(t.Context(), p.access, begun.Challenge, p.code())
	if len(ok(t, shown, err).Codes) != factor.RecoveryCodes {
		t.Errorf("shown %v", shown)
	}
	_, err = p.FinishTOTP(t.Context(), p.access, begun.Challenge, p.code())
	wantCode(t, err, fault.InvalidChallenge)
	_, err = p.finish(t, p.ask(t).Challenge, FactorProof{TOTP: p.code()})
	wantCode(t, err, fault.InvalidFactor) // used by the enrolment
	_, err = p.BeginTOTP(t.Context(), p.access)
	wantCode(t, err, fault.FactorExists)

	listed, err := p.Factors(t.Context(), p.access)
	if ok(t, listed, err).TOTPSince.IsZero() || listed.RecoveryCodesLeft != factor.RecoveryCodes || len(listed.Passkeys) != 0 {
		t.Errorf("listed %+v", listed)
	}
	if sealed := p.factors(t).TOTP.Sealed; slices.Contains(sealed, p.secret[0]) && string(sealed[len(sealed)-20:]) == string(p.secret) {
		t.Error("the secret is kept in the clear")
	}
	p.addPasskey(t)
	if err := p.RemoveTOTP(t.Context(), p.access); err != nil {
		t.Fatal(err)
	}
	wantCode(t, p.RemoveTOTP(t.Context(), p.access), fault.NotFound)
	if methods := p.ask(t).Methods; !slices.Equal(methods, []string{methodPasskey, methodRecovery}) {
		t.Errorf("asks for %v", methods)
	}
}

func TestPasskeysOfAUser(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com")
	first, second := p.addPasskey(t), p.addPasskey(t)
	renamed, err := p.RenamePasskey(t.Context(), p.access, second.ID, " blue key ")
	if ok(t, renamed, err).Name != "blue key" {
		t.Errorf("renamed %+v", renamed)
	}
	_, err = p.RenamePasskey(t.Context(), p.access, second.ID, " ")
	wantCode(t, err, fault.ValidationFailed)
	if err := p.RemovePasskey(t.Context(), p.access, first.ID); err != nil {
		t.Fatal(err)
	}
	listed, err := p.Factors(t.Context(), p.access)
	if got := ok(t, listed, err).Passkeys; len(got) != 1 || got[0].Name != "blue key" || got[0].ID != second.ID {
		t.Errorf("listed %+v", got)
	}
	if err := p.RemovePasskey(t.Context(), p.access, second.ID); err != nil {
		t.Fatal(err)
	}
	if in := p.mustLogin(t, credentials(p.email)); in.SecondFactor != nil {
		t.Error("the password alone does not sign in, though no second factor is left")
	}
	if c := p.counts(t); c["factors"] != 0 || c["passkeys"] != 0 {
		t.Errorf("left behind: %v", c)
	}
	for range maxPasskeys {
		p.addPasskey(t)
	}
	_, err = p.BeginPasskey(t.Context(), p.access)
	wantCode(t, err, fault.LimitReached)
	for _, id := range []uuid.UUID{first.ID, uuid.New()} {
		wantCode(t, p.RemovePasskey(t.Context(), p.access, id), fault.NotFound)
	}
}

// What was begun for one thing, by one login, serves no other.
func TestChallengesServeOnePurposeAndOneLogin(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	p, eve := e.newPerson(t, "ada@example.com").addTOTP(t), e.newPerson(t, "eve@example.com").addTOTP(t)
	p.addPasskey(t)
	in, err := p.finish(t, p.ask(t).Challenge, FactorProof{RecoveryCode: p.recovery[0]})
	other := *p
	other.access = p.mustVerify(t, ok(t, in, err).Tokens)

	login := p.ask(t).Ceremony
	passwordless, err := p.PasswordlessOptions(t.Context())
	ok(t, passwordless, err)
	stepUp, err := p.StepUpOptions(t.Context(), p.access)
	ok(t, stepUp, err)
	adding, err := p.BeginPasskey(t.Context(), p.access)
	ok(t, adding, err)
	if err := p.RemoveTOTP(t.Context(), p.access); err != nil {
		t.Fatal(err)
	}
	app, err := p.BeginTOTP(t.Context(), p.access)
	p.secret = secretOf(t, ok(t, app, err))
	key := p.device.Passkeys[0]
	for name, c := range map[string]Ceremony{
		forLogin: login, forPasswordless: passwordless, forStepUp: stepUp, forPasskey: adding, forTOTP: {Challenge: app.Challenge, Options: stepUp.Options},
	} {
		for _, who := range []*person{p, &other, eve} {
			answer := p.device.Get(t, c.Options, key)
			if name != forPasskey {
				_, _, err := who.FinishPasskey(t.Context(), who.access, NewPasskey{Challenge: c.Challenge, Name: "x", Response: answer})
				wantCode(t, err, fault.InvalidChallenge)
			}
			if name != forTOTP || who != p {
				_, err := who.FinishTOTP(t.Context(), who.access, c.Challenge, p.code())
				wantCode(t, err, fault.InvalidChallenge)
			}
			if name != forStepUp || who != p {
				_, err := who.StepUp(t.Context(), who.access, StepUpForm{Proof: FactorProof{Passkey: answer}, Challenge: c.Challenge})
				wantCode(t, err, fault.InvalidChallenge)
			}
		}
		answer := p.device.Get(t, c.Options, key)
		if name != forLogin {
			_, err := p.finish(t, c.Challenge, FactorProof{Passkey: answer})
			wantCode(t, err, fault.InvalidChallenge)
		}
		if name != forPasswordless {
			_, err := p.PasskeyLogin(t.Context(), PasskeyForm{Challenge: c.Challenge, Passkey: answer})
			wantCode(t, err, fault.InvalidChallenge)
		}
	}
}

func TestStepUp(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com")
	step := func(form StepUpForm) error { _, err := p.StepUp(t.Context(), p.access, form); return err }
	passkey := func() StepUpForm {
		c, err := p.StepUpOptions(t.Context(), p.access)
		ok(t, c, err)
		return StepUpForm{Challenge: c.Challenge, Proof: FactorProof{Passkey: p.device.Get(t, c.Options, p.device.Passkeys[0])}}
	}
	if err := p.recent(t); err != nil {
		t.Errorf("after the registration: %v", err)
	}
	p.Clock.Advance(RecentFor)
	p.access = p.mustVerify(t, p.mustRefresh(t, p.in.Tokens.RefreshToken)) // which proves nothing
	wantCode(t, p.recent(t), fault.StepUpRequired)
	_, err := p.BeginTOTP(t.Context(), p.access)
	wantCode(t, err, fault.StepUpRequired)
	_, err = p.StepUpOptions(t.Context(), p.access)
	wantCode(t, err, fault.NotFound)
	wantCode(t, step(StepUpForm{}), fault.ValidationFailed)
	wantCode(t, step(StepUpForm{Password: "wrong password"}), fault.ValidationFailed)
	wantCode(t, step(StepUpForm{Password: password, Proof: FactorProof{TOTP: "123456"}}), fault.ValidationFailed)
	wantCode(t, p.recent(t), fault.StepUpRequired)
	proven, err := p.StepUp(t.Context(), p.access, StepUpForm{Password: password})
	if ok(t, proven, err).Until.Sub(proven.At) != RecentFor || p.recent(t) != nil {
		t.Errorf("proven %+v", proven)
	}

	p.addTOTP(t)
	p.addPasskey(t)
	if err := p.recent(t); err != nil {
		t.Errorf("after a factor was added: %v", err)
	}
	p.Clock.Advance(RecentFor)
	wantCode(t, p.RemoveTOTP(t.Context(), p.access), fault.StepUpRequired)
	_, err = p.NewRecoveryCodes(t.Context(), p.access)
	wantCode(t, err, fault.StepUpRequired)
	wantCode(t, step(StepUpForm{Password: password}), fault.ValidationFailed) // there is a second factor now
	wantCode(t, step(StepUpForm{Proof: FactorProof{TOTP: p.code()}}), fault.ValidationFailed)
	wantCode(t, p.recent(t), fault.StepUpRequired)
	used := p.code()
	for _, form := range []StepUpForm{{Password: password, Proof: FactorProof{TOTP: used}}, {Password: password, Proof: FactorProof{RecoveryCode: p.recovery[0]}}, passkey()} {
		if err := step(form); err != nil || p.recent(t) != nil {
			t.Errorf("%+v: %v", form, err)
		}
		if err := step(form); err == nil {
			t.Errorf("%+v proves twice", form)
		}
	}

	p.device.Verifies = false
	alone := passkey()
	wantCode(t, step(alone), fault.ValidationFailed) // it has not verified its user
	alone.Password = password
	if err := step(alone); err != nil {
		t.Errorf("with the password it is enough: %v", err)
	}
}

// A login that proved the password alone is not strong enough once another of
// the user's logins has added a second factor.
func TestAFactorThatWasAddedElsewhereIsAskedFor(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com")
	other := *p
	other.access = p.mustVerify(t, p.mustLogin(t, credentials(p.email)).Tokens)
	p.addTOTP(t)
	wantCode(t, other.recent(t), fault.StepUpRequired)
	if err := p.recent(t); err != nil {
		t.Error(err)
	}
}

func TestSecretsOutliveTheRotationOfKeys(t *testing.T) {
	t.Parallel()
	old, fresh := GenerateKey(), GenerateKey()
	ring := func(lines string) *Keyring { k, err := ParseKeyring([]byte(lines)); return ok(t, k, err) }
	p := newEnv(t, Config{FactorKeys: ring(old)}).newPerson(t, "ada@example.com").addTOTP(t)
	with := func(keys *Keyring) {
		s, err := New(Config{Password: cheap, FactorKeys: keys}, p.Store, p.keys, p.Clock.Now)
		p.env = &env{Env: p.Env, Service: ok(t, s, err), keys: p.keys}
	}
	with(ring(fresh))
	_, err := p.finish(t, p.ask(t).Challenge, FactorProof{TOTP: p.code()})
	wantCode(t, err, fault.Internal) // the key that sealed it is gone: never taken for a wrong code
	with(ring(fresh + "\n" + old))
	if _, err := p.finish(t, p.ask(t).Challenge, FactorProof{TOTP: p.code()}); err != nil {
		t.Fatal(err)
	}
	p.Clock.Advance(time.Minute)
	with(ring(fresh)) // which has sealed it anew
	if _, err := p.finish(t, p.ask(t).Challenge, FactorProof{TOTP: p.code()}); err != nil {
		t.Error(err)
	}
}

// Whatever becomes of a transaction, an act has its effect once or not at all,
// and one that is answered has had it.
func TestFactorsUnderEveryFault(t *testing.T) {
	t.Parallel()
	type act struct {
		name string
		run  func(p *person) func() error // prepares, and returns the act
		done func(p *person) int          // how often it has had its effect
	}
	left := func(p *person) int { return factor.RecoveryCodes - len(p.factors(t).Recovery) }
	acts := []act{
		{"finish", func(p *person) func() error {
			c := p.ask(t).Challenge
			return func() error { _, err := p.finish(t, c, FactorProof{RecoveryCode: p.recovery[0]}); return err }
		}, func(p *person) int {
			if logins := p.counts(t)["logins"] - 1; logins != left(p) {
				t.Errorf("%d logins for %d codes", logins, left(p))
			}
			return left(p)
		}},
		{"wrong code", func(p *person) func() error {
			c := p.ask(t).Challenge
			return func() error {
				_, err := p.finish(t, c, FactorProof{TOTP: "000000"})
				if fault.CodeOf(err) == fault.InvalidFactor {
					return nil
				}
				return err
			}
		}, func(p *person) int { return p.factors(t).Failed.Count }},
		{"step up", func(p *person) func() error {
			return func() error {
				_, err := p.StepUp(t.Context(), p.access, StepUpForm{Password: password, Proof: FactorProof{RecoveryCode: p.recovery[0]}})
				return err
			}
		}, left},
		{"add a passkey", func(p *person) func() error {
			c, err := p.BeginPasskey(t.Context(), p.access)
			response := p.device.Create(t, ok(t, c, err).Options)
			return func() error {
				_, _, err := p.FinishPasskey(t.Context(), p.access, NewPasskey{Challenge: c.Challenge, Name: "key", Response: response})
				return err
			}
		}, func(p *person) int { return len(p.factors(t).Passkeys) }},
		{"remove the app", func(p *person) func() error {
			return func() error { return p.RemoveTOTP(t.Context(), p.access) }
		}, func(p *person) int {
			if p.factors(t).TOTP == nil {
				return 1
			}
			return 0
		}},
		{"ask", func(p *person) func() error {
			return func() error { _, err := p.Login(t.Context(), credentials(p.email)); return err }
		}, func(p *person) int { return p.counts(t)["challenges"] }},
	}
	for _, act := range acts {
		for _, f := range faultkv.Faults() {
			t.Run(act.name+"/"+f.String(), func(t *testing.T) {
				t.Parallel()
				p := newEnv(t, Config{}).newPerson(t, "ada@example.com").addTOTP(t)
				run := act.run(p)
				p.DB.Follow(func(a faultkv.Attempt) faultkv.Fault {
					if a.Write && a.Retry == 0 {
						return f
					}
					return faultkv.None
				})
				err := run()
				p.DB.SetDown(false)
				n := act.done(p)
				if n > 1 || err == nil && n != 1 {
					t.Errorf("answered %v with its effect %d times", err, n)
				}
				if retried := f != faultkv.GiveUpCommitted && f != faultkv.GiveUpLost && f != faultkv.TimeoutBefore && f != faultkv.TimeoutAfter && f != faultkv.Unavailable; retried && err != nil {
					t.Errorf("not settled: %v", err)
				}
			})
		}
	}
}

func TestEnrolmentSettlesUnknownCommits(t *testing.T) {
	t.Parallel()
	for _, fates := range [][]storetest.Fate{{storetest.Committed}, {storetest.Lost}, {storetest.Lost, storetest.Committed, storetest.Committed}} {
		p := newEnv(t, Config{}).newPerson(t, "ada@example.com")
		begun, err := p.BeginTOTP(t.Context(), p.access)
		p.secret = secretOf(t, ok(t, begun, err))
		p.DB.Unknown(fates...)
		shown, err := p.FinishTOTP(t.Context(), p.access, begun.Challenge, p.code())
		codes := ok(t, shown, err).Codes
		if len(codes) != factor.RecoveryCodes {
			t.Fatalf("%v: the recovery codes are lost", fates)
		}
		if hash, _ := factor.RecoveryHash(p.access.UserID, codes[0]); p.factors(t).Recovery[0] != hash {
			t.Errorf("%v: other codes were shown than are kept", fates)
		}
		p.DB.Unknown(fates...)
		p.addPasskey(t)
		p.DB.Unknown(fates...)
		if c, err := p.NewRecoveryCodes(t.Context(), p.access); err != nil || len(c.Codes) == 0 {
			t.Error(err)
		}
	}
}

// What a user had goes with them; challenges, which name nobody, in minutes.
func TestFactorsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	p := newEnv(t, Config{}).newPerson(t, "ada@example.com").addTOTP(t)
	p.addPasskey(t)
	_ = p.ask(t)
	err := p.Store.Update(t.Context(), func(tx *store.Tx) error {
		f, err := tx.Factors(p.access.UserID)
		tx.DeleteFactors(f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Clock.Advance(challengeTTL)
	if _, err := p.Store.Sweep(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if c := p.counts(t); c["factors"]+c["passkeys"]+c["challenges"] != 0 {
		t.Errorf("left behind: %v", c)
	}
}
