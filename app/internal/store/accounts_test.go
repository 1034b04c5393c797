package store_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
	"coditect.ai/platform/app/internal/store/tuple"
)

// populateAccounts adds to populate one of each record of accounts and
// tenants, and a user 20 who has been deleted.
func populateAccounts(tb testing.TB, env *storetest.Env) {
	tb.Helper()
	update(tb, env, func(tx *store.Tx) error {
		later := tx.Now().Add(time.Hour)
		tx.PutOneTimeToken(store.OneTimeToken{Hash: store.TokenHash{7}, UserID: id(1), Purpose: store.PurposeReset, ExpiresAt: later})
		tx.PutKeptAnswer(store.KeptAnswer{Hash: store.TokenHash{8}, UserID: id(1), Answer: json.RawMessage(`{}`), ExpiresAt: later})
		tx.PutThrottle(store.Throttle{Hash: store.TokenHash{9}, Failures: 3, ExpiresAt: later})
		tx.PutInvitation(store.Invitation{ID: id(10), TenantID: id(2), Email: "bob@example.com", Role: store.RoleMember, Token: store.TokenHash{10}, ExpiresAt: later})
		tx.PutEvent(store.Event{ID: id(11), TenantID: id(2), At: tx.Now(), ActorID: id(1), Action: "tenant.renamed", SubjectID: id(2), ExpiresAt: later})
		tx.PutLetter(store.Letter{ID: id(12), Kind: "reset", To: "ada@example.com", Seed: []byte{1}, ExpiresAt: later})
		tx.PutLogin(store.Login{ID: id(21), UserID: id(20), Current: store.TokenHash{22}, ExpiresAt: later, EndsAt: later})
		tx.PutRefreshToken(store.RefreshToken{Hash: store.TokenHash{22}, UserID: id(20), LoginID: id(21), ExpiresAt: later})
		tx.PutRemoval(store.Removal{Kind: store.RemoveUser, UserID: id(20)})
		return nil
	})
}

func TestAccountRecordsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	populateAccounts(t, env)
	view(t, env, func(r *store.Reader) error {
		later := r.Now().Add(time.Hour)
		token, err1 := r.OneTimeToken(store.TokenHash{7}, store.PurposeReset)
		_, other := r.OneTimeToken(store.TokenHash{7}, store.PurposeVerify)
		kept, err2 := r.KeptAnswer(store.TokenHash{8})
		throttle, err3 := r.Throttle(store.TokenHash{9})
		none, err4 := r.Throttle(store.TokenHash{99})
		invitation, err5 := r.InvitationByToken(store.TokenHash{10})
		listed, _, err6 := r.Invitations(id(2), uuid.Nil, 10)
		events, _, err7 := r.Events(id(2), uuid.Nil, 10)
		members, err8 := r.Members(id(2), uuid.Nil, 10)
		past, err9 := r.Members(id(2), id(1), 10)
		if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9); err != nil {
			return err
		}
		if !errors.Is(other, store.ErrNotFound) {
			t.Errorf("a token for another purpose: %v", other)
		}
		if throttle.Failures != 3 || none.Failures != 0 || len(past) != 0 {
			t.Errorf("throttles %+v, %+v; past the last member %v", throttle, none, past)
		}
		for name, pair := range map[string][2]any{
			"token":       {token, store.OneTimeToken{Hash: store.TokenHash{7}, UserID: id(1), Purpose: store.PurposeReset, ExpiresAt: later}},
			"answer":      {kept, store.KeptAnswer{Hash: store.TokenHash{8}, UserID: id(1), Answer: json.RawMessage(`{}`), ExpiresAt: later}},
			"invitation":  {invitation, store.Invitation{ID: id(10), TenantID: id(2), Email: "bob@example.com", Role: store.RoleMember, Token: store.TokenHash{10}, ExpiresAt: later}},
			"invitations": {listed, []store.Invitation{invitation}},
			"events":      {events, []store.Event{{ID: id(11), TenantID: id(2), At: r.Now(), ActorID: id(1), Action: "tenant.renamed", SubjectID: id(2), ExpiresAt: later}}},
			"members":     {members, []store.Membership{{TenantID: id(2), UserID: id(1), Role: store.RoleOwner, CreatedAt: r.Now()}}},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s is %+v, want %+v", name, pair[0], pair[1])
			}
		}
		return nil
	})
}

func TestWhatExpiresOfAccountsIsRefusedAndSwept(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	populateAccounts(t, env)
	env.Clock.Advance(time.Hour)
	view(t, env, func(r *store.Reader) error {
		_, err1 := r.OneTimeToken(store.TokenHash{7}, store.PurposeReset)
		_, err2 := r.KeptAnswer(store.TokenHash{8})
		_, err3 := r.Invitation(id(2), id(10))
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("expired: %v", err)
			}
		}
		if th, err := r.Throttle(store.TokenHash{9}); err != nil || th.Failures != 0 {
			t.Errorf("throttle %+v, %v", th, err)
		}
		return nil
	})
	// What has expired and is not swept yet gives way to what takes its place.
	update(t, env, func(tx *store.Tx) error {
		tx.PutKeptAnswer(store.KeptAnswer{Hash: store.TokenHash{8}, UserID: id(1), Answer: json.RawMessage(`1`), ExpiresAt: tx.Now().Add(time.Minute)})
		th, err := tx.Throttle(store.TokenHash{9})
		th.Failures, th.ExpiresAt = 1, tx.Now().Add(time.Minute)
		tx.PutThrottle(th)
		return err
	})
	if report := check(t, env); !report.OK() {
		t.Errorf("%q", report.Problems)
	}
	for range 2 {
		if _, err := env.Store.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		env.Clock.Advance(time.Minute)
	}
	counts := check(t, env).Counts
	for _, kind := range []string{"one_time_tokens", "kept_answers", "throttles", "invitations", "invitation_tokens", "audit", "logins", "refresh_tokens", "owned", "expiry"} {
		if counts[kind] != 0 {
			t.Errorf("%d %s are left", counts[kind], kind)
		}
	}
}

// A removal goes on where it stopped, in steps of any size, and leaves what is
// newer than itself.
func TestRemovalsLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, step := range []int{1, 2, 100} {
		env := storetest.New(t)
		populate(t, env)
		populateAccounts(t, env)
		update(t, env, func(tx *store.Tx) error {
			tx.DeleteMembership(id(2), id(1))
			tx.PutRemoval(store.Removal{Kind: store.RemoveSessions, TenantID: id(2), UserID: id(1)})
			return nil
		})
		env.Clock.Advance(time.Second)
		update(t, env, func(tx *store.Tx) error {
			tx.PutSession(store.Session{ID: id(30), TenantID: id(2), UserID: id(1), CreatedAt: tx.Now()})
			return nil
		})
		remove := func() {
			for n := 0; ; n++ {
				more, err := env.Store.Remove(t.Context(), step)
				if err != nil || n > 100 {
					t.Fatal(n, err)
				}
				if report := check(t, env); !report.OK() {
					t.Errorf("half way: %q", report.Problems)
				}
				if !more {
					return
				}
			}
		}
		remove()
		if counts := check(t, env).Counts; counts["sessions"] != 1 || counts["removals"] != 0 {
			t.Errorf("steps of %d leave %v", step, counts)
		}
		update(t, env, func(tx *store.Tx) error {
			u, err := tx.User(id(1))
			tx.DeleteUser(u)
			tx.PutRemoval(store.Removal{Kind: store.RemoveUser, UserID: id(1)})
			tx.DeleteTenant(id(2))
			tx.PutRemoval(store.Removal{Kind: store.RemoveTenant, TenantID: id(2)})
			return err
		})
		remove()
		want := map[string]int{"outbox": 1, "throttles": 1, "expiry": 1}
		if counts := check(t, env).Counts; !reflect.DeepEqual(counts, want) {
			t.Errorf("steps of %d leave %v, want %v", step, counts, want)
		}
	}
}

func TestLettersAreTriedAgainUntilTheyAreDeleted(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populateAccounts(t, env)
	take := func() []store.Letter {
		t.Helper()
		got, err := env.Store.TakeLetters(t.Context(), 10, 2, func(tries int) time.Duration { return time.Duration(tries) * time.Minute })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := take()
	if len(first) != 1 || first[0].To != "ada@example.com" || first[0].Tries != 1 || len(take()) != 0 {
		t.Fatalf("took %+v", first)
	}
	env.Clock.Advance(time.Minute)
	second := take()
	if len(second) != 1 || second[0].Tries != 2 || second[0].Due.IsZero() {
		t.Fatalf("took %+v", second)
	}
	env.Clock.Advance(2 * time.Minute)
	if last := take(); len(last) != 1 || !last[0].Due.IsZero() {
		t.Errorf("after its last try: %+v", last)
	}
	if n := check(t, env).Counts["outbox"]; n != 0 {
		t.Errorf("%d letters are left", n)
	}
	update(t, env, func(tx *store.Tx) error {
		tx.PutLetter(store.Letter{ID: id(13), To: "bob@example.com", ExpiresAt: tx.Now().Add(time.Hour)})
		return nil
	})
	sent := take()
	update(t, env, func(tx *store.Tx) error { tx.DeleteLetter(sent[0]); return nil })
	if n := check(t, env).Counts["outbox"]; n != 0 {
		t.Errorf("%d letters are left", n)
	}
}

// What a newer release asks to be sent or removed is in nobody's way.
func TestOutboxAndRemovalsPassByWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	space := tuple.Key{}.Text("test")
	var strange []tuple.Key
	for n := range byte(5) {
		strange = append(strange, space.Text("outbox").Int(int64(n)).UUID(id(n)), space.Text("removals").Text("attic").UUID(id(n)))
	}
	write := func(fn func(kv.Transaction, tuple.Key)) {
		t.Helper()
		if err := env.DB.Transact(t.Context(), func(tx kv.Transaction) error {
			for _, key := range strange {
				fn(tx, key)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	write(func(tx kv.Transaction, key tuple.Key) { tx.Set(key, []byte("\x07{}")) })
	update(t, env, func(tx *store.Tx) error {
		tx.PutLetter(store.Letter{ID: id(12), Kind: "reset", ExpiresAt: tx.Now().Add(time.Hour)})
		tx.PutRemoval(store.Removal{Kind: store.RemoveUser, UserID: id(20)})
		return nil
	})
	taken, err := env.Store.TakeLetters(t.Context(), 2, 3, func(int) time.Duration { return time.Minute })
	if err != nil || len(taken) != 1 || taken[0].ID != id(12) {
		t.Errorf("%+v, %v", taken, err)
	}
	for n := 0; ; n++ {
		more, err := env.Store.Remove(t.Context(), 10)
		if err != nil || n > 5 {
			t.Fatalf("%v after %d", err, n)
		}
		if !more {
			break
		}
	}
	if counts := check(t, env).Counts; counts["removals"] != 5 || counts["outbox"] != 6 {
		t.Errorf("%v", counts)
	}
	write(func(tx kv.Transaction, key tuple.Key) { tx.Clear(key) })
}
