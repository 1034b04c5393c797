package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
	"coditect.ai/platform/app/internal/store/tuple"
)

func id(n byte) uuid.UUID { return uuid.UUID{0: n, 6: 0x70, 8: 0x80} }

// populate writes one of each: user 1 in tenant 2 with login 3, token 4 and sessions 5, 6.
func populate(tb testing.TB, env *storetest.Env) {
	tb.Helper()
	update(tb, env, func(tx *store.Tx) error {
		now := tx.Now()
		tx.CreateUser(store.User{ID: id(1), Email: "ada@example.com", CreatedAt: now})
		tx.PutTenant(store.Tenant{ID: id(2), Name: "Ada", CreatedAt: now})
		tx.PutMembership(store.Membership{TenantID: id(2), UserID: id(1), Role: store.RoleOwner, CreatedAt: now})
		tx.PutLogin(store.Login{
			ID: id(3), UserID: id(1), TenantID: id(2), Current: store.TokenHash{4},
			CreatedAt: now, ExpiresAt: now.Add(time.Hour), EndsAt: now.Add(24 * time.Hour),
		})
		tx.PutRefreshToken(store.RefreshToken{
			Hash: store.TokenHash{4}, UserID: id(1), LoginID: id(3), ExpiresAt: now.Add(time.Hour),
		})
		for _, s := range []byte{5, 6} {
			tx.PutSession(store.Session{ID: id(s), TenantID: id(2), UserID: id(1), Metadata: json.RawMessage(`{"<":"&"}`)})
		}
		return nil
	})
}

func update(tb testing.TB, env *storetest.Env, fn func(*store.Tx) error) {
	tb.Helper()
	if err := env.Store.Update(tb.Context(), fn); err != nil {
		tb.Fatal(err)
	}
}

func view(tb testing.TB, env *storetest.Env, fn func(*store.Reader) error) {
	tb.Helper()
	if err := env.Store.View(tb.Context(), fn); err != nil {
		tb.Fatal(err)
	}
}

func check(tb testing.TB, env *storetest.Env) store.Report {
	tb.Helper()
	report, err := env.Store.Check(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	view(t, env, func(r *store.Reader) error {
		byEmail, err1 := r.UserIDByEmail("ada@example.com")
		user, err2 := r.User(byEmail)
		tenant, err3 := r.Tenant(id(2))
		member, err4 := r.Membership(id(2), id(1))
		members, err5 := r.Memberships(id(1), uuid.Nil, 10)
		login, err6 := r.Login(id(1), id(3))
		token, err7 := r.RefreshToken(store.TokenHash{4})
		session, err8 := r.Session(id(2), id(5))
		if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8); err != nil {
			return err
		}
		now := r.Now()
		for name, pair := range map[string][2]any{
			"user":    {user, store.User{ID: id(1), Email: "ada@example.com", CreatedAt: now}},
			"tenant":  {tenant, store.Tenant{ID: id(2), Name: "Ada", CreatedAt: now}},
			"member":  {member, store.Membership{TenantID: id(2), UserID: id(1), Role: store.RoleOwner, CreatedAt: now}},
			"members": {members, []store.Membership{member}},
			"token": {token, store.RefreshToken{
				Hash: store.TokenHash{4}, UserID: id(1), LoginID: id(3), ExpiresAt: now.Add(time.Hour),
			}},
			"login's token": {login.Current, store.TokenHash{4}},
			"session": {session, store.Session{
				ID: id(5), TenantID: id(2), UserID: id(1), Metadata: json.RawMessage(`{"<":"&"}`),
			}},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s is %+v, want %+v", name, pair[0], pair[1])
			}
		}
		return nil
	})
	want := map[string]int{
		"users": 1, "users_by_email": 1, "tenants": 1, "memberships": 1, "members": 1, "logins": 1,
		"refresh_tokens": 1, "owned": 1, "expiry": 2, "sessions": 2, "sessions_by_user": 2, "session_owners": 2,
	}
	if got := check(t, env); !reflect.DeepEqual(got.Counts, want) {
		t.Errorf("counts are %v, want %v", got.Counts, want)
	}
}

func TestAbsentIsNotFound(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	view(t, env, func(r *store.Reader) error {
		_, err1 := r.UserIDByEmail("nobody@example.com")
		_, err2 := r.User(id(1))
		_, err3 := r.Tenant(id(1))
		_, err4 := r.Membership(id(1), id(1))
		_, err5 := r.Login(id(1), id(1))
		_, err6 := r.RefreshToken(store.TokenHash{})
		_, err7 := r.Session(id(1), id(1))
		for i, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%d: %v, want ErrNotFound", i+1, err)
			}
		}
		return nil
	})
}

func TestSessionsPageNewestFirst(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	update(t, env, func(tx *store.Tx) error {
		for n := byte(1); n <= 9; n++ {
			tx.PutSession(store.Session{ID: id(n), TenantID: id(100), UserID: id(200 + n%3)})
		}
		return nil
	})
	view(t, env, func(r *store.Reader) error {
		var got []byte
		for before := uuid.Nil; ; {
			page, more, err := r.Sessions(id(100), id(201), before, 2)
			if err != nil {
				return err
			}
			for _, s := range page {
				got = append(got, s.ID[0])
				before = s.ID
			}
			if more != (len(got) < 3) {
				t.Errorf("more is %t after %v", more, got)
			}
			if !more {
				break
			}
		}
		if want := []byte{7, 4, 1}; !slices.Equal(got, want) {
			t.Errorf("pages hold %v, want %v", got, want)
		}
		return nil
	})
}

func TestExpiredIsRefusedThenSwept(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	sweep := func(batch int) int {
		t.Helper()
		done, err := env.Store.Sweep(t.Context(), batch)
		if err != nil || done.Foreign != 0 || done.More {
			t.Fatal(done, err)
		}
		return done.Removed
	}
	env.Clock.Advance(30 * time.Minute)
	update(t, env, func(tx *store.Tx) error { // the login is renewed, its old token stays behind
		l, err := tx.Login(id(1), id(3))
		if err != nil {
			return err
		}
		l.ExpiresAt, l.Current = tx.Now().Add(time.Hour), store.TokenHash{9}
		tx.PutLogin(l)
		tx.PutRefreshToken(store.RefreshToken{Hash: l.Current, UserID: l.UserID, LoginID: l.ID, ExpiresAt: l.ExpiresAt})
		return nil
	})
	env.Clock.Advance(30*time.Minute - time.Millisecond)
	if n := sweep(10); n != 0 {
		t.Errorf("swept %d before anything expired", n)
	}
	env.Clock.Advance(time.Millisecond)
	view(t, env, func(r *store.Reader) error {
		if _, err := r.RefreshToken(store.TokenHash{4}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("expired token: %v, want ErrNotFound", err)
		}
		if _, err := r.Login(id(1), id(3)); err != nil {
			t.Errorf("renewed login: %v", err)
		}
		return nil
	})
	if n := sweep(10); n != 1 {
		t.Errorf("swept %d, want the old token alone", n)
	}
	env.Clock.Advance(time.Hour)
	view(t, env, func(r *store.Reader) error {
		if _, err := r.Login(id(1), id(3)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("expired login: %v, want ErrNotFound", err)
		}
		return nil
	})
	if first, second := sweep(1), sweep(1); first != 2 || second != 0 {
		t.Errorf("sweeps removed %d and %d; want 2 and 0", first, second)
	}
	got := check(t, env)
	if got.Counts["expiry"]+got.Counts["logins"]+got.Counts["refresh_tokens"] != 0 {
		t.Errorf("left behind: %v", got.Counts)
	}
}

func TestDeletedLeavesNothing(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	update(t, env, func(tx *store.Tx) error {
		logins, _, err := tx.Logins(id(1), uuid.Nil, 10)
		if err != nil || len(logins) != 1 {
			return fmt.Errorf("logins: %v, %w", logins, err)
		}
		tx.DeleteLogin(logins[0])
		for _, n := range []byte{5, 6} {
			s, err := tx.Session(id(2), id(n))
			if err != nil {
				return err
			}
			tx.DeleteSession(s)
		}
		tx.DeleteMembership(id(2), id(1))
		return nil
	})
	want := map[string]int{"users": 1, "users_by_email": 1, "tenants": 1}
	if got := check(t, env); !reflect.DeepEqual(got.Counts, want) {
		t.Errorf("left behind: %v, want %v", got.Counts, want)
	}
}

// Each case breaks one key of a store that agreed; Check must see every one.
func TestCheckSeesEveryDisagreement(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	populateAccounts(t, env)
	populateFactors(t, env, id(1))
	var keys []kv.Pair
	if err := env.DB.Read(t.Context(), func(r kv.Reader) (err error) {
		keys, err = r.Range(kv.PrefixRange(tuple.Key{}.Text("test")), kv.RangeOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	write := func(key, value []byte) {
		t.Helper()
		if err := env.DB.Transact(t.Context(), func(tx kv.Transaction) error {
			if value == nil {
				tx.Clear(key)
			} else {
				tx.Set(key, value)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range keys {
		elements, err := tuple.Decode(p.Key)
		if err != nil {
			t.Fatal(err)
		}
		for how, value := range map[string][]byte{"removed": nil, "garbled": []byte("\x01{]"), "newer": []byte("\xC8{}")} {
			if how == "removed" && elements[1] == "outbox" {
				continue // nothing refers to a letter
			}
			write(p.Key, value)
			if report := check(t, env); report.OK() {
				t.Errorf("%v was %s and nothing is reported", elements, how)
			}
		}
		write(p.Key, p.Value)
	}
	foreign := tuple.Key{}.Text("test").Text("who knows").Int(1)
	write(foreign, []byte{1})
	if report := check(t, env); report.OK() || !strings.Contains(strings.Join(report.Problems, " "), "who knows") {
		t.Errorf("a foreign key is not reported: %q", report.Problems)
	}
	write(foreign, nil)
}

// Entries that a newer release wrote, or whose records it wrote, are neither
// removed nor in the way of the others.
func TestSweepPassesByWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	space := tuple.Key{}.Text("test")
	expiry := space.Text("expiry")
	now := env.Clock.Now().UnixMilli()
	var strange []kv.Pair
	for n := range int64(30) {
		strange = append(strange, kv.Pair{Key: expiry.Int(now + n).Text("visits").Int(n), Value: []byte("x")})
	}
	hash := make([]byte, 32)
	strange = append(strange,
		kv.Pair{Key: expiry.Int(now).Text("throttles").Bytes(hash), Value: []byte{}},
		kv.Pair{Key: space.Text("throttles").Bytes(hash), Value: []byte("\x09{}")},
		kv.Pair{Key: append(expiry.Int(now), 0xF0), Value: []byte{}},
	)
	write := func(write func(tx kv.Transaction, p kv.Pair)) {
		t.Helper()
		if err := env.DB.Transact(t.Context(), func(tx kv.Transaction) error {
			for _, p := range strange {
				write(tx, p)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	write(func(tx kv.Transaction, p kv.Pair) { tx.Set(p.Key, p.Value) })
	env.Clock.Advance(2 * time.Hour)
	for _, want := range []int{2, 0} {
		done, err := env.Store.Sweep(t.Context(), 5)
		if err != nil || done.Removed != want || done.Foreign != len(strange)-1 || done.More {
			t.Errorf("%+v, %v; want %d removed and %d left alone", done, err, want, len(strange)-1)
		}
	}
	if err := env.DB.Read(t.Context(), func(r kv.Reader) error {
		for _, p := range strange {
			if value, err := r.Get(p.Key); err != nil || !bytes.Equal(value, p.Value) {
				t.Errorf("%q is now %q, %v", p.Key, value, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	write(func(tx kv.Transaction, p kv.Pair) { tx.Clear(p.Key) })
}

func TestNewerRecordIsRefusedByName(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	key := tuple.Key{}.Text("test").Text("users").UUID(id(1))
	set := func(value []byte) {
		if err := env.DB.Transact(t.Context(), func(tx kv.Transaction) error { tx.Set(key, value); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set([]byte("\x02{}"))
	err := env.Store.View(t.Context(), func(r *store.Reader) error { _, err := r.User(id(1)); return err })
	if err == nil || !strings.Contains(err.Error(), "schema version 2") || fault.CodeOf(err) != fault.Internal {
		t.Errorf("error is %v, want one that names the version", err)
	}
	if err := env.DB.Transact(t.Context(), func(tx kv.Transaction) error { tx.Clear(key); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestFaultsOfTheDatabase(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		code fault.Code
	}{
		{kv.ErrConflict, fault.Busy},
		{kv.ErrTooOld, fault.Busy},
		{kv.ErrCommitUnknown, fault.Unavailable},
		{kv.ErrUnavailable, fault.Unavailable},
		{kv.ErrClosed, fault.Unavailable},
		{kv.ErrTooLarge, fault.Internal},
		{store.ErrNotFound, fault.Internal},
		{fault.New(fault.EmailTaken, ""), fault.EmailTaken},
	} {
		broken := broken{fmt.Errorf("engine: %w", tt.err)}
		st := store.New(broken, "test", time.Now)
		for _, err := range []error{
			st.Update(t.Context(), func(*store.Tx) error { return nil }),
			st.View(t.Context(), func(*store.Reader) error { return nil }),
		} {
			if fault.CodeOf(err) != tt.code || !errors.Is(err, tt.err) {
				t.Errorf("%v became %v, want %s with its cause", tt.err, err, tt.code)
			}
		}
	}
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		st := store.New(broken{ended}, "test", time.Now)
		if err := st.View(t.Context(), nil); !errors.Is(err, ended) {
			t.Errorf("%v became %v", ended, err)
		} else if _, isFault := errors.AsType[*fault.Error](err); isFault {
			t.Errorf("%v became a fault", ended)
		}
	}
}

// broken fails whatever is asked of it.
type broken struct{ err error }

func (b broken) Transact(context.Context, func(kv.Transaction) error) error { return b.err }
func (b broken) Read(context.Context, func(kv.Reader) error) error          { return b.err }
func (b broken) Close() error                                               { return nil }

func TestCheckWhileOthersWrite(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for n := 0; err == nil; n++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			s := store.Session{ID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n%500)), TenantID: id(1), UserID: id(2)}
			err = env.Store.Update(context.WithoutCancel(t.Context()), func(tx *store.Tx) error {
				switch found, err := tx.Session(s.TenantID, s.ID); {
				case err == nil:
					tx.DeleteSession(found)
				case errors.Is(err, store.ErrNotFound):
					tx.PutSession(s)
				default:
					return err
				}
				return nil
			})
		}
		stopped <- err
	}()
	for range 20 {
		if report := check(t, env); !report.OK() {
			t.Errorf("disagreement under load: %q", report.Problems)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
