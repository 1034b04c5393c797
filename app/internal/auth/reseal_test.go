package auth

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
)

// as is the person before another replica.
func (p *person) as(s *Service) *person {
	other := *p
	other.env = &env{Env: p.Env, Service: s, keys: s.keys}
	return &other
}

// The whole of a rotation as docs/runbooks/rotate-jwt-secret.md has it, replica by
// replica: nobody is signed out, and nobody's authenticator app is lost, not even
// that of a user who does not sign in while it lasts.
func TestARotationLocksNobodyOut(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	old, fresh := GenerateKey(), GenerateKey()
	stages := [][]string{{old}, {old, fresh}, {fresh, old}, {fresh}}
	before := e.withKeys(t, stages[0]...)
	first := &env{Env: e.Env, Service: before, keys: before.keys}
	sleeper := first.newPerson(t, "sam@example.com").addTOTP(t)
	user := first.newPerson(t, "ada@example.com").addTOTP(t)
	pair := user.in.Tokens

	for i, stage := range stages[1:] {
		if len(stage) == 1 { // the old key is about to go
			done, err := before.Reseal(t.Context())
			if err != nil || len(done.Lost) > 0 || done.Current+done.Anew != 2 {
				t.Fatalf("sealed anew: %+v (%v)", done, err)
			}
			e.Clock.Advance(before.cfg.AccessTTL)
		}
		after := e.withKeys(t, stage...)
		both := []*Service{before, after} // both serve while the change is rolled out
		for _, replica := range both {
			var err error
			if pair, err = replica.Refresh(t.Context(), pair.RefreshToken); err != nil {
				t.Fatalf("stage %d: the login has ended: %v", i+1, err)
			}
			for _, other := range both {
				if _, err := other.Verify(pair.AccessToken); err != nil {
					t.Errorf("stage %d: %v", i+1, err)
				}
			}
			e.Clock.Advance(2 * replica.cfg.RefreshGrace)
			at := user.as(replica)
			if _, err := at.finish(t, at.ask(t).Challenge, FactorProof{TOTP: at.code()}); err != nil {
				t.Errorf("stage %d: signing in with the app: %v", i+1, err)
			}
			e.Clock.Advance(time.Minute)
		}
		before = after
	}
	at := sleeper.as(before)
	if _, err := at.Refresh(t.Context(), sleeper.in.Tokens.RefreshToken); err != nil {
		t.Errorf("who was away all the time is signed out: %v", err)
	}
	if _, err := at.finish(t, at.ask(t).Challenge, FactorProof{TOTP: at.code()}); err != nil {
		t.Errorf("who was away all the time cannot sign in: %v", err)
	}
}

// A key that is taken out too early is told of, and nothing of it is touched: put
// back, it opens what it sealed.
func TestResealTellsOfAKeyThatIsGone(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	old, fresh := GenerateKey(), GenerateKey()
	with := func(keys ...string) *Service { return e.withKeys(t, keys...) }
	start := with(old)
	first := &env{Env: e.Env, Service: start, keys: start.keys}
	p := first.newPerson(t, "ada@example.com").addTOTP(t)
	first.newPerson(t, "bob@example.com").addPasskey(t) // no app, nothing sealed
	first.newPerson(t, "eve@example.com")
	sealed := p.factors(t).TOTP.Sealed

	for _, step := range []struct {
		keys []string
		want Resealed
	}{
		{[]string{old}, Resealed{Current: 1}},
		{[]string{fresh}, Resealed{Lost: []uuid.UUID{p.access.UserID}}},
		{[]string{fresh, old}, Resealed{Anew: 1}},
		{[]string{fresh, old}, Resealed{Current: 1}},
		{[]string{fresh}, Resealed{Current: 1}},
	} {
		done, err := with(step.keys...).Reseal(t.Context())
		if err != nil || !reflect.DeepEqual(done, step.want) {
			t.Errorf("%+v (%v), want %+v", done, err, step.want)
		}
		if len(done.Lost) > 0 && !bytes.Equal(p.factors(t).TOTP.Sealed, sealed) {
			t.Error("what could not be opened was changed")
		}
	}
	at := p.as(with(fresh))
	if _, err := at.finish(t, at.ask(t).Challenge, FactorProof{TOTP: at.code()}); err != nil {
		t.Error(err)
	}

	e.DB.SetDown(true)
	_, err := with(fresh).Reseal(t.Context())
	e.DB.SetDown(false)
	wantCode(t, err, fault.Unavailable)
}
