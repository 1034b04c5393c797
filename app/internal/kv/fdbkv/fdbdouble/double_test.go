//go:build fdb && fdbdouble

package fdbdouble_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apple/foundationdb/bindings/go/src/fdb"

	"coditect.ai/platform/app/internal/kv/fdbkv/fdbdouble"
)

// What the conformance suite does not ask of the double, because the contract
// has no use for it, but the README promises. Not in parallel: the binding does
// not open databases concurrently.

func open(t *testing.T) fdb.Database {
	t.Helper()
	_, file := fdbdouble.New(t)
	must(t, fdb.APIVersion(730))
	db, err := fdb.OpenDatabase(file)
	must(t, err)
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func transact(t *testing.T, db fdb.Database, fn func(fdb.Transaction)) {
	t.Helper()
	_, err := db.Transact(func(tr fdb.Transaction) (any, error) { fn(tr); return nil, nil })
	must(t, err)
}

func wantCode(t *testing.T, what string, err error, code int) {
	t.Helper()
	if coded, ok := errors.AsType[fdb.Error](err); !ok || coded.Code != code {
		t.Errorf("%s: %v, want code %d", what, err, code)
	}
}

func begin(t *testing.T, db fdb.Database) fdb.Transaction {
	t.Helper()
	tr, err := db.CreateTransaction()
	must(t, err)
	return tr
}

func TestAtomicOperations(t *testing.T) {
	db := open(t)
	key := fdb.Key("k")
	for _, tt := range []struct {
		name           string
		op             func(fdb.Transaction, fdb.KeyConvertible, []byte)
		old, by, want  string
		absent, leaves bool // there is no old value; there is no new one
	}{
		{"add", fdb.Transaction.Add, "\xff\x01", "\x01\x00", "\x00\x02", false, false},
		{"add to a longer one", fdb.Transaction.Add, "\xff\x01\x07", "\x01", "\x00", false, false},
		{"and", fdb.Transaction.BitAnd, "\x0f", "\x3c", "\x0c", false, false},
		{"and with none", fdb.Transaction.BitAnd, "", "\x3c", "\x3c", true, false},
		{"or", fdb.Transaction.BitOr, "\x0f", "\x30", "\x3f", false, false},
		{"xor", fdb.Transaction.BitXor, "\x0f", "\x3c", "\x33", false, false},
		{"max", fdb.Transaction.Max, "\x00\x02", "\xff\x01", "\x00\x02", false, false},
		{"min", fdb.Transaction.Min, "\x00\x02", "\xff\x01", "\xff\x01", false, false},
		{"min with none", fdb.Transaction.Min, "", "\xff\x01", "\xff\x01", true, false},
		{"byte max", fdb.Transaction.ByteMax, "b", "abc", "b", false, false},
		{"byte min", fdb.Transaction.ByteMin, "b", "abc", "abc", false, false},
		{"append", fdb.Transaction.AppendIfFits, "a", "bc", "abc", false, false},
		{"compare and clear", fdb.Transaction.CompareAndClear, "a", "a", "", false, true},
		{"compare and keep", fdb.Transaction.CompareAndClear, "a", "b", "a", false, false},
	} {
		// On what the cluster has, and on what the transaction itself has written.
		for _, own := range []bool{false, true} {
			write := func(tr fdb.Transaction) {
				tr.Clear(key)
				if !tt.absent {
					tr.Set(key, []byte(tt.old))
				}
			}
			if !own {
				transact(t, db, write)
			}
			check := func(tr fdb.Transaction) {
				if got := tr.Get(key).MustGet(); string(got) != tt.want || (got == nil) != tt.leaves {
					t.Errorf("%s (own %t): %q, want %q", tt.name, own, got, tt.want)
				}
			}
			transact(t, db, func(tr fdb.Transaction) {
				if own {
					write(tr)
				}
				tt.op(tr, key, []byte(tt.by))
				check(tr)
			})
			transact(t, db, check)
		}
	}
}

func TestVersionstamps(t *testing.T) {
	db := open(t)
	tr := begin(t, db)
	tr.SetVersionstampedKey(fdb.Key("key/0123456789/end\x04\x00\x00\x00"), []byte("v"))
	tr.SetVersionstampedValue(fdb.Key("value"), []byte("0123456789\x00\x00\x00\x00"))
	_, err := tr.Get(fdb.Key("value")).Get()
	wantCode(t, "reading it before the commit", err, 1036)
	stamp := tr.GetVersionstamp()
	must(t, tr.Commit().Get())
	version, err := tr.GetCommittedVersion()
	must(t, err)
	want := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, uint64(version)), 0)
	transact(t, db, func(tr fdb.Transaction) {
		if got := tr.Get(fdb.Key("key/" + string(want) + "/end")).MustGet(); string(got) != "v" {
			t.Errorf("the key with the stamp holds %q", got)
		}
		if got := tr.Get(fdb.Key("value")).MustGet(); !bytes.Equal(got, want) {
			t.Errorf("the value is %x, want %x", got, want)
		}
	})
	if got, err := stamp.Get(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the stamp is %x (%v), want %x", got, err, want)
	}
}

func TestSelectorsAndModes(t *testing.T) {
	db := open(t)
	transact(t, db, func(tr fdb.Transaction) {
		for _, k := range []string{"b", "d", "f"} {
			tr.Set(fdb.Key(k), bytes.Repeat([]byte{'v'}, 300))
		}
	})
	transact(t, db, func(tr fdb.Transaction) {
		tr.Set(fdb.Key("h"), nil) // one's own counts
		tr.Clear(fdb.Key("f"))
		for _, tt := range []struct {
			sel  fdb.KeySelector
			want string
		}{
			{fdb.FirstGreaterOrEqual(fdb.Key("b")), "b"},
			{fdb.FirstGreaterThan(fdb.Key("b")), "d"},
			{fdb.FirstGreaterThan(fdb.Key("d")), "h"},
			{fdb.LastLessThan(fdb.Key("d")), "b"},
			{fdb.LastLessOrEqual(fdb.Key("d")), "d"},
			{fdb.LastLessThan(fdb.Key("b")), ""},
			{fdb.FirstGreaterThan(fdb.Key("h")), "\xff"},
			{fdb.KeySelector{Key: fdb.Key("a"), Offset: 3}, "h"},
			{fdb.KeySelector{Key: fdb.Key("z"), Offset: -1}, "d"},
		} {
			if got := tr.GetKey(tt.sel).MustGet(); string(got) != tt.want {
				t.Errorf("%+v is %q, want %q", tt.sel, got, tt.want)
			}
		}
		all := fdb.KeyRange{Begin: fdb.Key(""), End: fdb.Key("\xff")}
		for mode := fdb.StreamingModeWantAll; mode <= fdb.StreamingModeSerial; mode++ {
			for _, reverse := range []bool{false, true} {
				var keys []string
				it := tr.GetRange(all, fdb.RangeOptions{Mode: mode, Reverse: reverse, Limit: 10}).Iterator()
				for it.Advance() {
					keys = append(keys, string(it.MustGet().Key))
				}
				if reverse {
					slices.Reverse(keys)
				}
				if got := strings.Join(keys, " "); got != "b d h" {
					t.Errorf("mode %d, reverse %t: %q", mode, reverse, got)
				}
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	db := open(t)
	key := fdb.Key("k")
	for _, tt := range []struct {
		name string
		code int
		do   func(fdb.Transaction) error
	}{
		{"read of a system key", 2004, func(tr fdb.Transaction) error { _, err := tr.Get(fdb.Key("\xff/x")).Get(); return err }},
		{"write of a system key", 2004, func(tr fdb.Transaction) error { tr.Set(fdb.Key("\xff/x"), nil); return tr.Commit().Get() }},
		{"inverted range", 2005, func(tr fdb.Transaction) error {
			tr.ClearRange(fdb.KeyRange{Begin: fdb.Key("b"), End: fdb.Key("a")})
			return tr.Commit().Get()
		}},
		{"exact mode without a limit", 2210, func(tr fdb.Transaction) error {
			it := tr.GetRange(fdb.KeyRange{Begin: key, End: fdb.Key("l")}, fdb.RangeOptions{Mode: fdb.StreamingModeExact}).Iterator()
			it.Advance()
			_, err := it.Get()
			return err
		}},
		{"watch", 2108, func(tr fdb.Transaction) error { return tr.Watch(key).Get() }},
		{"cancelled", 1025, func(tr fdb.Transaction) error { tr.Cancel(); _, err := tr.Get(key).Get(); return err }},
		{"on_error of what is not retried", 2000, func(tr fdb.Transaction) error { return tr.OnError(fdb.Error{Code: 2000}).Get() }},
		{"no retry left", 1020, func(tr fdb.Transaction) error {
			must(t, tr.Options().SetRetryLimit(1))
			must(t, tr.OnError(fdb.Error{Code: 1020}).Get())
			return tr.OnError(fdb.Error{Code: 1020}).Get()
		}},
		{"no versionstamp of a reader", 2021, func(tr fdb.Transaction) error {
			stamp := tr.GetVersionstamp()
			must(t, tr.Commit().Get())
			_, err := stamp.Get()
			return err
		}},
	} {
		wantCode(t, tt.name, tt.do(begin(t, db)), tt.code)
	}
	missing, err := fdb.OpenDatabase(t.TempDir() + "/none")
	must(t, err)
	_, err = begin(t, missing).Get(key).Get()
	wantCode(t, "a missing cluster file", err, 1515)
}

// A reset transaction is as new, whatever ended it.
func TestReset(t *testing.T) {
	db := open(t)
	tr := begin(t, db)
	tr.Set(fdb.Key("gone"), nil)
	tr.Cancel()
	tr.Reset()
	tr.Set(fdb.Key("kept"), nil)
	must(t, tr.Commit().Get())
	transact(t, db, func(tr fdb.Transaction) {
		if got := fmt.Sprint(tr.Get(fdb.Key("gone")).MustGet() == nil, tr.Get(fdb.Key("kept")).MustGet() == nil); got != "true false" {
			t.Error(got)
		}
	})
}
