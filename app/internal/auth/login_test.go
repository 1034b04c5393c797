package auth

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

func credentials(email string) Credentials {
	return Credentials{Email: email, Password: password, Device: strings.Repeat("ä", 300), Address: "192.0.2.7"}
}

func (e *env) mustLogin(tb testing.TB, c Credentials) SignedIn {
	tb.Helper()
	in, err := e.Login(tb.Context(), c)
	if err != nil {
		tb.Fatalf("logging in: %v", err)
	}
	return in
}

// spent returns what fn costs the store.
func (e *env) spent(fn func()) store.Stats {
	before := e.Store.Stats()
	fn()
	after := e.Store.Stats()
	return store.Stats{
		Transactions: after.Transactions - before.Transactions, Attempts: after.Attempts - before.Attempts,
		Reads: after.Reads - before.Reads, Writes: after.Writes - before.Writes,
	}
}

func TestLoginOpensALogin(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	registered := e.mustRegister(t, "ada@example.com")
	var in SignedIn
	cost := e.spent(func() { in = e.mustLogin(t, credentials(" ADA@example.com")) })
	if cost.Transactions != 2 || cost.Reads > 8 {
		t.Errorf("took %+v, want 2 transactions and 8 reads", cost)
	}
	if in.User != registered.User || in.TenantID != registered.TenantID || len(in.Tenants) != 1 || in.Tenants[0] != registered.Tenants[0] {
		t.Errorf("login answers %+v, registration answered %+v", in, registered)
	}
	first, second := e.mustVerify(t, registered.Tokens), e.mustVerify(t, in.Tokens)
	if first.LoginID == second.LoginID || first.TokenID == second.TokenID {
		t.Error("two logins share an id")
	}
	for _, a := range []Access{first, second} {
		cost := e.spent(func() {
			if err := e.authorize(t, a); err != nil {
				t.Error(err)
			}
		})
		if cost.Transactions != 1 || cost.Reads != 3 {
			t.Errorf("authorizing took %+v, want 1 transaction and 3 reads", cost)
		}
	}
}

func TestUnknownAddressAndWrongPasswordAreOne(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.mustRegister(t, "ada@example.com")
	wrong := credentials("ada@example.com")
	wrong.Password = "wrong"
	var errs [3]error
	var costs [3]store.Stats
	for i, c := range []Credentials{wrong, credentials("nobody@example.com"), credentials("no address")} {
		c.Address = fmt.Sprintf("192.0.2.%d", 10+i) // none has failed before
		costs[i] = e.spent(func() { _, errs[i] = e.Login(t.Context(), c) })
		wantCode(t, errs[i], fault.InvalidCredentials)
		if errs[i].Error() != errs[0].Error() || costs[i] != costs[0] {
			t.Errorf("%q: %v at %+v differs from %v at %+v", c.Email, errs[i], costs[i], errs[0], costs[0])
		}
	}
}

func TestLoginForATenant(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	ada, bob := e.mustRegister(t, "ada@example.com"), e.mustRegister(t, "bob@example.com")
	err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		tx.PutMembership(store.Membership{TenantID: bob.TenantID, UserID: ada.User.ID, Role: store.RoleMember})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c := credentials("ada@example.com")
	if in := e.mustLogin(t, c); in.TenantID != ada.TenantID || len(in.Tenants) != 2 {
		t.Errorf("without a tenant: %v of %+v", in.TenantID, in.Tenants)
	}
	c.TenantID = bob.TenantID.String()
	in := e.mustLogin(t, c)
	a := e.mustVerify(t, in.Tokens)
	if in.TenantID != bob.TenantID || a.TenantID != bob.TenantID || a.Role != store.RoleMember {
		t.Errorf("with a tenant: %+v", a)
	}
	for _, bad := range []string{uuid.NewString(), uuid.Nil.String(), "x"} {
		c.TenantID = bad
		_, err := e.Login(t.Context(), c)
		wantCode(t, err, fault.ValidationFailed)
	}

	// A role that changes counts at once, and so does its end.
	setRole := func(change func(*store.Tx)) {
		if err := e.Store.Update(t.Context(), func(tx *store.Tx) error { change(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	setRole(func(tx *store.Tx) {
		tx.PutMembership(store.Membership{TenantID: bob.TenantID, UserID: ada.User.ID, Role: store.RoleAdmin})
	})
	if err := e.Store.View(t.Context(), func(r *store.Reader) error {
		now, err := Authorize(r, a)
		if now.Role != store.RoleAdmin {
			t.Errorf("role is %s, want admin at once", now.Role)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	setRole(func(tx *store.Tx) { tx.DeleteMembership(bob.TenantID, ada.User.ID) })
	wantCode(t, e.authorize(t, a), fault.InvalidToken)
	_, err = e.Refresh(t.Context(), in.Tokens.RefreshToken)
	wantCode(t, err, fault.InvalidToken)
}

func TestPasswordIsHashedAgainWhenParametersRise(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	id := e.mustRegister(t, "ada@example.com").User.ID
	risen := PasswordParams{MemoryKiB: 16, Iterations: 2, Parallelism: 1}
	s, err := New(Config{Password: risen}, e.Store, e.keys, e.Clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 { // who meets another's new hash tries again with it
		wg.Go(func() {
			if _, err := s.Login(t.Context(), credentials("ada@example.com")); err != nil {
				t.Errorf("logging in: %v", err)
			}
		})
	}
	wg.Wait()
	if err := e.Store.View(t.Context(), func(r *store.Reader) error {
		u, err := r.User(id)
		if err != nil {
			return err
		}
		h, err := parsePHC(u.PasswordHash)
		if h.params != risen || !h.matches(password) {
			t.Errorf("hash is %s", u.PasswordHash)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestLoginSettlesUnknownCommits(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.mustRegister(t, "ada@example.com")
	risen, err := New(Config{Password: PasswordParams{16, 2, 1}}, e.Store, e.keys, e.Clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i, fates := range [][]storetest.Fate{{storetest.Committed}, {storetest.Lost}, {storetest.Lost, storetest.Committed}} {
		e.DB.Unknown(fates...)
		in, err := risen.Login(t.Context(), credentials("ada@example.com"))
		if err != nil || len(in.Tenants) != 1 {
			t.Fatalf("%v: %+v, %v", fates, in, err)
		}
		if err := e.authorize(t, e.mustVerify(t, in.Tokens)); err != nil {
			t.Errorf("%v: %v", fates, err)
		}
		if n := e.counts(t)["logins"]; n != 2+i {
			t.Errorf("%v: %d logins, want %d", fates, n, 2+i)
		}
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	for _, fates := range [][]storetest.Fate{nil, {storetest.Committed}, {storetest.Lost, storetest.Committed}} {
		e := newEnv(t, Config{})
		one := e.mustRegister(t, "ada@example.com")
		two := e.mustLogin(t, credentials("ada@example.com"))
		a, b := e.mustVerify(t, one.Tokens), e.mustVerify(t, two.Tokens)
		e.DB.Unknown(fates...)
		cost := e.spent(func() {
			if err := e.Logout(t.Context(), a, false); err != nil {
				t.Errorf("%v: %v", fates, err)
			}
		})
		if cost.Transactions != 1 {
			t.Errorf("took %+v, want 1 transaction", cost)
		}
		wantCode(t, e.authorize(t, a), fault.InvalidToken)
		wantCode(t, e.Logout(t.Context(), a, false), fault.InvalidToken)
		_, err := e.Refresh(t.Context(), one.Tokens.RefreshToken)
		wantCode(t, err, fault.InvalidToken)
		if err := e.authorize(t, b); err != nil {
			t.Errorf("the other login: %v", err)
		}
	}
}

func TestLogoutEverywhere(t *testing.T) {
	t.Parallel()
	for _, fates := range [][]storetest.Fate{nil, {storetest.Committed}} {
		e := newEnv(t, Config{})
		ins := []SignedIn{e.mustRegister(t, "ada@example.com")}
		for range maxTidied + 5 {
			ins = append(ins, e.mustLogin(t, credentials("ada@example.com")))
		}
		other := e.mustVerify(t, e.mustRegister(t, "bob@example.com").Tokens)
		e.DB.Unknown(fates...)
		cost := e.spent(func() {
			if err := e.Logout(t.Context(), e.mustVerify(t, ins[3].Tokens), true); err != nil {
				t.Fatal(err)
			}
		})
		if cost.Transactions != 1 {
			t.Errorf("took %+v, want 1 transaction", cost)
		}
		for i, in := range ins {
			wantCode(t, e.authorize(t, e.mustVerify(t, in.Tokens)), fault.InvalidToken)
			_, err := e.Refresh(t.Context(), in.Tokens.RefreshToken)
			if fault.CodeOf(err) != fault.InvalidToken {
				t.Errorf("login %d refreshes: %v", i, err)
			}
		}
		if err := e.authorize(t, other); err != nil {
			t.Errorf("another user: %v", err)
		}
		if err := e.authorize(t, e.mustVerify(t, e.mustLogin(t, credentials("ada@example.com")).Tokens)); err != nil {
			t.Errorf("a login after it: %v", err)
		}
		e.Clock.Advance(31 * 24 * time.Hour)
		if _, err := e.Store.Sweep(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		if c := e.counts(t); c["logins"] != 0 || c["refresh_tokens"] != 0 || c["owned"] != 0 || c["expiry"] != c["audit"] {
			t.Errorf("after the sweep: %v", c)
		}
	}
}

func TestStoreThatIsDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	in := e.mustRegister(t, "ada@example.com")
	a := e.mustVerify(t, in.Tokens)
	e.DB.SetDown(true)
	defer e.DB.SetDown(false)
	_, err1 := e.Register(t.Context(), registration("bob@example.com"))
	_, err2 := e.Login(t.Context(), credentials("ada@example.com"))
	_, err3 := e.Refresh(t.Context(), in.Tokens.RefreshToken)
	for i, err := range []error{err1, err2, err3, e.Logout(t.Context(), a, true), e.authorize(t, a)} {
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Unavailable || f.RetryAfter <= 0 {
			t.Errorf("%d: %v, want unavailable with a time to retry", i+1, err)
		}
	}
}
