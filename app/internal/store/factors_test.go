package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

// factorsOf is what populateFactors keeps of a user.
func factorsOf(userID uuid.UUID) store.Factors {
	return store.Factors{
		UserID: userID, TOTP: &store.TOTP{ID: id(70), Sealed: []byte("sealed"), LastStep: 7},
		Passkeys: []store.Passkey{{ID: id(71), CredentialID: []byte("one"), Name: "one"}, {ID: id(72), CredentialID: []byte("two"), Name: "two"}},
		Recovery: []store.TokenHash{{1}, {2}},
	}
}

// populateFactors gives a user second factors, and begins a login of theirs
// and one of nobody's.
func populateFactors(tb testing.TB, env *storetest.Env, userID uuid.UUID) {
	tb.Helper()
	err := env.Store.Update(tb.Context(), func(tx *store.Tx) error {
		tx.PutFactors(factorsOf(userID))
		tx.PutChallenge(store.Challenge{Hash: store.TokenHash{7}, Purpose: "login", UserID: userID, ExpiresAt: tx.Now().Add(time.Minute)})
		tx.PutChallenge(store.Challenge{Hash: store.TokenHash{8}, Purpose: "passwordless", ExpiresAt: tx.Now().Add(time.Minute)})
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func TestFactorsAndTheirIndex(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	user := id(1)
	populateFactors(t, env, user)
	owner := func(credential string) (owner uuid.UUID, err error) {
		err = env.Store.View(t.Context(), func(r *store.Reader) (err error) { owner, err = r.PasskeyOwner([]byte(credential)); return err })
		return owner, err
	}
	update := func(change func(*store.Factors)) store.Factors {
		t.Helper()
		var f store.Factors
		err := env.Store.Update(t.Context(), func(tx *store.Tx) (err error) {
			if f, err = tx.Factors(user); err != nil {
				return err
			}
			change(&f)
			tx.PutFactors(f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if got, err := owner("one"); got != user || err != nil {
		t.Errorf("owner %v: %v", got, err)
	}
	f := update(func(f *store.Factors) { f.Passkeys = f.Passkeys[1:]; f.Recovery = f.Recovery[1:] })
	if len(f.Passkeys) != 1 || f.Passkeys[0].Name != "two" || f.TOTP.LastStep != 7 || f.Recovery[0] != (store.TokenHash{2}) {
		t.Errorf("read back %+v", f)
	}
	if _, err := owner("one"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a passkey that was removed: %v", err)
	}
	update(func(f *store.Factors) { f.TOTP = nil })
	f = update(func(f *store.Factors) { f.Passkeys = nil })
	if report := check(t, env); f.Any() || report.Counts["factors"]+report.Counts["passkeys"] != 0 {
		t.Errorf("without a second factor: %+v, in the store %v", f, report.Counts)
	}
}

func TestChallengesExpire(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	populateFactors(t, env, id(1))
	read := func(hash store.TokenHash) error {
		return env.Store.View(t.Context(), func(r *store.Reader) error { _, err := r.Challenge(hash); return err })
	}
	for _, hash := range []store.TokenHash{{7}, {8}} {
		if err := read(hash); err != nil {
			t.Errorf("%v: %v", hash[0], err)
		}
	}
	env.Clock.Advance(time.Minute)
	for _, hash := range []store.TokenHash{{7}, {8}, {9}} {
		if err := read(hash); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v after its time: %v", hash[0], err)
		}
	}
	if _, err := env.Store.Sweep(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if counts := check(t, env).Counts; counts["challenges"] != 0 {
		t.Errorf("after the sweep: %v", counts)
	}
}
