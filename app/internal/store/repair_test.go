package store_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
	"coditect.ai/platform/app/internal/store/tuple"
)

// damaged is a store that tests break and put back.
type damaged struct {
	*storetest.Env
	tb    testing.TB
	whole map[string]string
}

func newDamaged(tb testing.TB) *damaged {
	tb.Helper()
	d := &damaged{Env: storetest.New(tb), tb: tb}
	populate(tb, d.Env)
	populateAccounts(tb, d.Env)
	populateFactors(tb, d.Env, id(1))
	d.whole = d.contents()
	return d
}

func (d *damaged) contents() map[string]string {
	d.tb.Helper()
	all := map[string]string{}
	if err := d.DB.Read(d.tb.Context(), func(r kv.Reader) error {
		pairs, err := r.Range(kv.PrefixRange(tuple.Key{}.Text("test")), kv.RangeOptions{})
		clear(all)
		for _, p := range pairs {
			all[string(p.Key)] = string(p.Value)
		}
		return err
	}); err != nil {
		d.tb.Fatal(err)
	}
	return all
}

// become has the store hold exactly these keys.
func (d *damaged) become(contents map[string]string) {
	d.tb.Helper()
	if err := d.DB.Transact(d.tb.Context(), func(tx kv.Transaction) error {
		tx.ClearRange(kv.PrefixRange(tuple.Key{}.Text("test")))
		for key, value := range contents {
			tx.Set([]byte(key), []byte(value))
		}
		return nil
	}); err != nil {
		d.tb.Fatal(err)
	}
}

func (d *damaged) repair(apply bool) (done, left []store.Mend) {
	d.tb.Helper()
	done, left, err := d.Store.Repair(d.tb.Context(), apply)
	if err != nil {
		d.tb.Fatal(err)
	}
	return done, left
}

// isRecord tells records from what follows from them, by what their keys are.
func isRecord(key string) bool {
	elements, err := tuple.Decode([]byte(key))
	if err != nil {
		panic(err)
	}
	words := make([]string, len(elements))
	for i, e := range elements {
		words[i] = "#"
		if name, isName := e.(string); isName && i != 2 {
			words[i] = name
		}
	}
	switch form := strings.Join(words[1:], " "); {
	case strings.HasPrefix(form, "expiry"), strings.HasPrefix(form, "users_by_email"), strings.HasPrefix(form, "passkeys"),
		strings.HasPrefix(form, "sessions"), strings.HasPrefix(form, "invitation_tokens"),
		strings.HasPrefix(form, "tenants # members"), strings.HasPrefix(form, "tenants # sessions_by_user"):
		return false
	case strings.HasPrefix(form, "users # "):
		return !slices.Contains([]string{"refresh_tokens", "one_time_tokens", "kept_answers", "challenges"}, words[3])
	}
	return true
}

// Each key is broken in each way. What follows from a record comes back as it
// was; a record is never written, and what hangs on a lost one goes or is named.
func TestRepairOfEveryDamage(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	if done, left := d.repair(true); len(done)+len(left) != 0 || !maps.Equal(d.contents(), d.whole) {
		t.Fatalf("a store without fault is mended: %v %v", done, left)
	}
	records := 0
	for key, value := range d.whole {
		record := isRecord(key)
		if record {
			records++
		}
		for how, broken := range map[string]string{"removed": "", "garbled": "\x01{]", "newer": "\xC8{}"} {
			elements, _ := tuple.Decode([]byte(key))
			name := fmt.Sprint(elements, " ", how)
			if how == "removed" && elements[1] == "outbox" {
				continue // nothing refers to a letter
			}
			before := maps.Clone(d.whole)
			if before[key] = broken; how == "removed" {
				delete(before, key)
			}
			d.become(before)
			planned, _ := d.repair(false)
			if !maps.Equal(d.contents(), before) {
				t.Fatalf("%s: a dry run changed something", name)
			}
			done, left := d.repair(true)
			after := d.contents()
			report := check(t, d.Env)
			if report.OK() != (len(left) == 0) || (len(planned) == 0) != (len(done) == 0) {
				t.Errorf("%s: %d planned, %d done, %v left, and then %q", name, len(planned), len(done), left, report.Problems)
			}
			if again, _ := d.repair(true); len(again) != 0 || !maps.Equal(d.contents(), after) {
				t.Errorf("%s: a second repair does more: %v", name, again)
			}
			if !record {
				if !maps.Equal(after, d.whole) {
					t.Errorf("%s: does not come back: %v %v", name, done, left)
				}
				continue
			}
			if how != "removed" && (len(left) == 0 || after[key] != broken) {
				t.Errorf("%s: a record that cannot be read was touched, or not named", name)
			}
			for other, old := range before {
				if now, there := after[other]; isRecord(other) && (!there && elements[1] != "refresh_tokens" || there && now != old) {
					e, _ := tuple.Decode([]byte(other))
					t.Errorf("%s: the record %v was changed", name, e)
				}
			}
		}
		d.become(d.whole)
		_ = value
	}
	if records < 15 || len(d.whole)-records < 20 {
		t.Errorf("%d records and %d entries: the test sees too little", records, len(d.whole)-records)
	}
}

// Entries too many are dropped, unless they are rightly somebody else's.
func TestRepairOfWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	space := tuple.Key{}.Text("test")
	for name, p := range map[string]kv.Pair{
		"an expiry of nothing":          {Key: space.Text("expiry").Int(1).Text("logins").UUID(id(1)).UUID(id(99)), Value: []byte{}},
		"a second expiry":               {Key: space.Text("expiry").Int(1).Text("logins").UUID(id(1)).UUID(id(3)), Value: []byte{}},
		"a former address":              {Key: space.Text("users_by_email").Text("former@example.com"), Value: tuple.Key{}.UUID(id(1))},
		"an address of nobody":          {Key: space.Text("users_by_email").Text("no@example.com"), Value: tuple.Key{}.UUID(id(98))},
		"a garbled address of nobody":   {Key: space.Text("users_by_email").Text("no@example.com"), Value: []byte("?")},
		"a member on one side":          {Key: space.Text("tenants").UUID(id(2)).Text("members").UUID(id(97)), Value: []byte(`{}`)},
		"an owner of no session":        {Key: space.Text("sessions").UUID(id(96)), Value: tuple.Key{}.UUID(id(2)).UUID(id(1))},
		"another's session in the list": {Key: space.Text("tenants").UUID(id(2)).Text("sessions_by_user").UUID(id(95)).UUID(id(5)), Value: []byte{}},
		"another's token":               {Key: space.Text("users").UUID(id(94)).Text("refresh_tokens").Bytes(bytes.Repeat([]byte{4}, 32)), Value: []byte{}},
	} {
		more := maps.Clone(d.whole)
		more[string(p.Key)] = string(p.Value)
		d.become(more)
		if done, left := d.repair(true); len(done) != 1 || len(left) != 0 || !maps.Equal(d.contents(), d.whole) {
			t.Errorf("%s: %v done, %v left", name, done, left)
		}
	}
	// Two users with one address: neither is touched.
	twice := maps.Clone(d.whole)
	twice[string(space.Text("users").UUID(id(93)))] = twice[string(space.Text("users").UUID(id(1)))]
	d.become(twice)
	if done, left := d.repair(true); len(done) != 0 || len(left) != 1 || !strings.Contains(left[0].Why, "another record") || !maps.Equal(d.contents(), twice) {
		t.Errorf("two users with one address: %v done, %v left", done, left)
	}
	// A foreign key is named and left.
	d.become(map[string]string{string(space.Text("who knows").Int(1)): "x"})
	if done, left := d.repair(true); len(done) != 0 || len(left) != 1 || len(d.contents()) != 1 {
		t.Errorf("a foreign key: %v done, %v left", done, left)
	}
	d.become(d.whole)
}

// Whatever happens to one of its transactions, a repair that is run again ends well.
func TestRepairUnderFaults(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	broken := maps.Clone(d.whole)
	for key := range broken {
		if !isRecord(key) {
			delete(broken, key)
		}
	}
	for _, fault := range faultkv.Faults() {
		for _, call := range []int64{1, 2, 3, 9, 20} {
			d.become(broken)
			d.DB.Follow(faultkv.At(call, fault))
			done, left, err := d.Store.Repair(context.WithoutCancel(t.Context()), true)
			d.DB.Follow(func(faultkv.Attempt) faultkv.Fault { return faultkv.None })
			if err == nil && (len(left) != 0 || len(done) == 0) {
				t.Errorf("%v at %d: %d done, %v left", fault, call, len(done), left)
			}
			d.repair(true)
			if !maps.Equal(d.contents(), d.whole) {
				t.Errorf("%v at %d: the store is not whole again", fault, call)
			}
		}
	}
}
