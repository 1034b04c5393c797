package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
	"coditect.ai/platform/app/internal/store/tuple"
)

// A newer release's fields, in every record and in what records hold, outlast
// that this release reads the record and writes it back.
func TestUnknownFieldsOutlastARewrite(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	newer := maps.Clone(d.whole)
	const more = `"colour":{"z":1,"a":["<&>"]}`
	for key, value := range newer {
		if strings.HasPrefix(value, "\x01{") {
			for _, name := range []string{`"proof":{`, `"totp":{`, `"passkeys":[{`, `"failed":{`, `"spent":[{`} {
				value = strings.Replace(value, name, name+more+",", 1)
			}
			if value = strings.TrimSpace(value); value == "\x01{}" {
				value = "\x01{" + more + "}"
			} else {
				value = value[:len(value)-1] + "," + more + "}"
			}
			newer[key] = value
		}
	}
	d.become(newer)
	update(t, d.Env, func(tx *store.Tx) error {
		user, err1 := tx.User(id(1))
		tenant, err2 := tx.Tenant(id(2))
		member, err3 := tx.Membership(id(2), id(1))
		login, err4 := tx.Login(id(1), id(3))
		session, err5 := tx.Session(id(2), id(5))
		factors, err6 := tx.Factors(id(1))
		throttle, err7 := tx.Throttle(store.TokenHash{9})
		if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
			return err
		}
		user.LastName, tenant.Name, member.Role, login.Device = "King", "Engines", store.RoleAdmin, "loom"
		session.Name, throttle.Failures = "night", 9
		factors.Recovery = nil
		tx.UpdateUser(user)
		tx.PutTenant(tenant)
		tx.PutMembership(member)
		tx.PutLogin(login)
		tx.PutSession(session)
		tx.PutFactors(factors)
		tx.PutThrottle(throttle)
		return nil
	})
	changed := 0
	for key, value := range d.contents() {
		if value == newer[key] {
			continue
		}
		changed++
		if strings.Count(value, more) != strings.Count(newer[key], more) || strings.Count(value, more) == 0 {
			t.Errorf("%s\nbecame\n%s", newer[key], value)
		}
	}
	if changed != 9 { // with a membership's and a session's twins
		t.Errorf("%d keys were changed, want 9", changed)
	}
	if report := check(t, d.Env); !report.OK() {
		t.Errorf("%q", report.Problems)
	}
	d.become(d.whole)
}

// Records are written as the release before wrote them, byte for byte but for
// the line's end.
func TestEncodingIsThatOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	for _, value := range d.whole {
		if !strings.HasPrefix(value, "\x01{") {
			continue
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(value[1:]), &fields); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		for name, field := range fields {
			if name == "Unknown" || name == "Extra" || bytes.Equal(field, []byte("false")) {
				t.Errorf("%s has %s", value, name)
			}
		}
	}
	session := d.whole[string(tuple.Key{}.Text("test").Text("tenants").UUID(id(2)).Text("sessions").UUID(id(5)))]
	if !strings.Contains(session, `"metadata":{"<":"&"}`) || strings.Contains(session, `"name"`) {
		t.Error(session)
	}
}

func TestLeaseIsTakenOverFromTheDead(t *testing.T) {
	t.Parallel()
	for _, fault := range append([]faultkv.Fault{faultkv.None}, faultkv.Conflict, faultkv.UnknownCommitted, faultkv.UnknownLost, faultkv.TooOld) {
		env := storetest.New(t)
		a, b := id(1), id(2)
		lease := func(holder uuid.UUID) bool {
			t.Helper()
			env.DB.Follow(faultkv.At(1, fault))
			held, err := env.Store.Lease(t.Context(), "sweep", holder, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return held
		}
		if !lease(a) || lease(b) || !lease(a) {
			t.Errorf("%v: two hold it, or nobody", fault)
		}
		env.Clock.Advance(time.Minute - time.Millisecond)
		if lease(b) {
			t.Errorf("%v: taken over too early", fault)
		}
		env.Clock.Advance(time.Millisecond)
		if !lease(b) || lease(a) {
			t.Errorf("%v: not taken over from a holder that is dead", fault)
		}
		if err := errors.Join(env.Store.Leave(t.Context(), "sweep", a), env.Store.Leave(t.Context(), "sweep", b)); err != nil || !lease(a) {
			t.Errorf("%v: not left: %v", fault, err)
		}
	}
}

// firstRelease puts n refresh tokens as the first release wrote them into the
// store: those of user 1 are somebody's, the others nobody's any more.
func firstRelease(tb testing.TB, env *storetest.Env, n int) {
	tb.Helper()
	populate(tb, env)
	space := tuple.Key{}.Text("test")
	at := env.Clock.Now().UTC().Truncate(time.Millisecond).Add(time.Hour)
	for from := 0; from < n; from += 500 {
		if err := env.DB.Transact(tb.Context(), func(tx kv.Transaction) error {
			for i := from; i < min(n, from+500); i++ {
				hash := store.HashOf(fmt.Append(nil, i))
				owner := id(1)
				if i%3 == 0 {
					owner = id(99)
				}
				value, err := json.Marshal(map[string]any{"user_id": owner, "login_id": id(3), "expires_at": at})
				if err != nil {
					return err
				}
				tx.Set(space.Text("refresh_tokens").Bytes(hash[:]), append([]byte{1}, value...))
				tx.Set(space.Text("expiry").Int(at.UnixMilli()).Text("refresh_tokens").Bytes(hash[:]), []byte{})
			}
			return nil
		}); err != nil {
			tb.Fatal(err)
		}
	}
}

// migrated fails the test unless the store is of this release's schema, with
// every token of a user in their index.
func migrated(tb testing.TB, env *storetest.Env, n int) {
	tb.Helper()
	report := check(tb, env)
	ours := n - (n+2)/3 + 1 // with the one of populate
	if !report.OK() || report.Inventory.SchemaVersion != store.SchemaVersion || report.Counts["owned"] != ours || report.Counts["refresh_tokens"] != ours || report.Counts["migrations"] != 0 {
		tb.Errorf("%+v", report)
	}
}

func TestMigrationOfTheFirstReleasesTokens(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	firstRelease(t, env, 250)
	if before := check(t, env); before.Inventory.SchemaVersion != 1 || before.Counts["owned"] != 1 {
		t.Fatalf("%+v", before)
	}
	done, err := env.Store.Migrate(t.Context(), id(50))
	if want := (store.Migrated{From: 1, To: store.SchemaVersion, Changed: 250}); err != nil || done != want {
		t.Errorf("%+v, %v, want %+v", done, err, want)
	}
	migrated(t, env, 250)
	if again, err := env.Store.Migrate(t.Context(), id(51)); err != nil || again.Changed != 0 || again.From != store.SchemaVersion {
		t.Errorf("%+v, %v", again, err)
	}
	empty := storetest.New(t)
	if done, err := empty.Store.Migrate(t.Context(), id(50)); err != nil || done.From != store.SchemaVersion || done.Changed != 0 {
		t.Errorf("an empty store: %+v, %v", done, err)
	}
}

// Wherever a migration is cut short, the next one goes on there; meanwhile the
// work is the first one's, until its lease has ended.
func TestMigrationUnderFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range faultkv.Faults() {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			for call := int64(1); ; call++ {
				env := storetest.New(t)
				firstRelease(t, env, 110)
				env.DB.Follow(faultkv.At(call, fault))
				_, err := env.Store.Migrate(t.Context(), id(50))
				calls := env.DB.Calls()
				env.DB.Follow(func(faultkv.Attempt) faultkv.Fault { return faultkv.None })
				if err != nil {
					env.Clock.Advance(time.Minute)
					if done, err := env.Store.Migrate(t.Context(), id(51)); err != nil || done.Busy {
						t.Fatalf("at %d: %+v %v", call, done, err)
					}
				}
				migrated(t, env, 110)
				if calls < call {
					return
				}
			}
		})
	}
}

func TestOneMigratesAtATime(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	firstRelease(t, env, 10)
	if held, err := env.Store.Lease(t.Context(), "migrate", id(50), time.Minute); err != nil || !held {
		t.Fatal(held, err)
	}
	if done, err := env.Store.Migrate(t.Context(), id(51)); err != nil || !done.Busy || done.Changed != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := env.Store.Migrate(t.Context(), id(50)); err != nil || done.Busy {
		t.Errorf("%+v, %v", done, err)
	}
	migrated(t, env, 10)
}

// A store says who may write to it, and a release that may not learns which one may.
func TestAdmission(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	put := func(name, value string) {
		t.Helper()
		if err := env.DB.Transact(context.WithoutCancel(t.Context()), func(tx kv.Transaction) error {
			key := tuple.Key{}.Text("test").Text(name)
			if value == "" {
				tx.Clear(key)
				return nil
			}
			tx.Set(key, []byte("\x01"+value))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	admit := func() error { return env.Store.Admit(t.Context()) }
	if err := admit(); err != nil {
		t.Errorf("a new store: %v", err)
	}
	put("schema", fmt.Sprintf(`{"version":%d,"writers":%d,"release":"5.9.0","since":"tomorrow"}`, store.SchemaVersion+1, store.SchemaVersion))
	if err := admit(); err != nil {
		t.Errorf("a newer store that lets this release write: %v", err)
	}
	put("schema", fmt.Sprintf(`{"version":%d,"writers":%d,"release":"6.0.0"}`, store.SchemaVersion+2, store.SchemaVersion+1))
	if _, isTooOld := errors.AsType[*store.TooOldError](admit()); !isTooOld || !strings.Contains(admit().Error(), "start release 6.0.0 or a later one") {
		t.Errorf("a store that is too new: %v", admit())
	}
	if _, err := env.Store.Migrate(t.Context(), id(1)); err == nil {
		t.Error("and it is migrated")
	}
	put("schema", "")
	put("loading", `{"source":"x"}`)
	if _, isHalf := errors.AsType[*store.HalfFilledError](admit()); !isHalf {
		t.Errorf("a store that is half filled: %v", admit())
	}
	put("loading", "")
}
