package store_test

import (
	"maps"
	"reflect"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

// The inventory is of the records: no index, no name of the subspace, no cut
// between transactions shows in it, and every change of a record does.
func TestInventory(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	populateAccounts(t, env)
	populateFactors(t, env, id(1))
	of := func(st *store.Store) contract.Inventory {
		t.Helper()
		report, err := st.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return report.Inventory
	}
	want := of(env.Store)
	if want.SchemaVersion < 1 || want.ReadVersion <= 0 || !want.Exact || len(want.Fingerprint) != len("sha256:")+64 {
		t.Errorf("%+v", want)
	}
	for _, kind := range []string{"users", "memberships", "logins", "sessions", "refresh_tokens", "factors", "invitations", "audit"} {
		if want.Counts[kind] == 0 {
			t.Errorf("no %s are counted: %v", kind, want.Counts)
		}
	}
	for _, kind := range []string{"throttles", "expiry", "members", "users_by_email", "owned", "outbox"} {
		if want.Counts[kind] != 0 {
			t.Errorf("%s are counted", kind)
		}
	}

	other := storetest.New(t)
	from, to := kv.PrefixRange([]byte("\x02test\x00")), "\x02elsewhere\x00"
	var pairs []kv.Pair
	if err := env.DB.Read(t.Context(), func(r kv.Reader) (err error) {
		pairs, err = r.Range(from, kv.RangeOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := other.DB.Transact(t.Context(), func(tx kv.Transaction) error {
		for _, p := range pairs {
			tx.Set([]byte(to+string(p.Key[len(from.Begin):])), p.Value)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := of(store.New(other.DB, "elsewhere", other.Clock.Now)); !got.Same(want) || !reflect.DeepEqual(got.Counts, want.Counts) {
		t.Errorf("a copy has %+v, want %+v", got, want)
	}

	for _, page := range []int{1, 3, 1000} {
		cut := store.New(env.DB, "test", env.Clock.Now)
		store.CutWalks(cut, page, 100)
		if got := of(cut); !got.Same(want) || !reflect.DeepEqual(got.Counts, want.Counts) || got.Exact != (page == 1000) {
			t.Errorf("in pages of %d it is %+v, want %+v", page, got, want)
		}
	}

	update(t, env, func(tx *store.Tx) error {
		th, err := tx.Throttle(store.TokenHash{77})
		th.ExpiresAt = tx.Now().Add(time.Hour)
		tx.PutThrottle(th)
		return err
	})
	if got := of(env.Store); !got.Same(want) || !maps.Equal(got.Counts, want.Counts) || got.ReadVersion <= want.ReadVersion {
		t.Errorf("with a throttle more %+v, want %+v", got, want)
	}
	update(t, env, func(tx *store.Tx) error {
		u, err := tx.User(id(1))
		u.LastName = "King"
		tx.UpdateUser(u)
		return err
	})
	if got := of(env.Store); got.Same(want) || !maps.Equal(got.Counts, want.Counts) {
		t.Error("a changed record does not show")
	}
}
