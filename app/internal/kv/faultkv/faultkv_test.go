package faultkv_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
)

var key = []byte("k")

func open(t *testing.T) kv.Database {
	t.Helper()
	db, err := sqlitekv.Open(t.Context(), sqlitekv.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func read(t *testing.T, db kv.Database) string {
	t.Helper()
	var value []byte
	if err := db.Read(t.Context(), func(r kv.Reader) (err error) {
		value, err = r.Get(key)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return string(value)
}

// TestFaults: what each fault does to one write, its caller and its runs.
func TestFaults(t *testing.T) {
	tests := map[faultkv.Fault]struct {
		runs      int
		committed bool
		err       error
	}{
		faultkv.None:             {1, true, nil},
		faultkv.Conflict:         {2, true, nil},
		faultkv.TooOld:           {2, true, nil},
		faultkv.UnknownCommitted: {2, true, nil},
		faultkv.UnknownLost:      {2, true, nil},
		faultkv.GiveUpCommitted:  {1, true, kv.ErrCommitUnknown},
		faultkv.GiveUpLost:       {1, false, kv.ErrCommitUnknown},
		faultkv.TimeoutBefore:    {1, false, context.DeadlineExceeded},
		faultkv.TimeoutAfter:     {1, true, context.DeadlineExceeded},
		faultkv.Unavailable:      {0, false, kv.ErrUnavailable},
		faultkv.Slow:             {1, true, nil},
		faultkv.Hung:             {0, false, context.DeadlineExceeded},
	}
	if len(tests) != len(faultkv.Faults())+2 { // None and Hung
		t.Fatal("a fault is missing in the table")
	}
	for fault, tt := range tests {
		t.Run(fault.String(), func(t *testing.T) {
			db := faultkv.Wrap(open(t), faultkv.At(1, fault), time.Millisecond)
			runs, seen := 0, ""
			ctx := t.Context()
			if fault == faultkv.Hung {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 10*time.Millisecond)
				defer cancel()
			}
			err := db.Transact(ctx, func(tx kv.Transaction) error {
				runs++
				old, err := tx.Get(key)
				if err != nil {
					return err
				}
				seen += string(old) + "|"
				tx.Set(key, []byte("v"))
				return nil
			})
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if runs != tt.runs {
				t.Errorf("the function ran %d times, want %d", runs, tt.runs)
			}
			// A second run after a commit of unknown outcome meets what the first has written.
			if want := map[bool]string{true: "|v|"}[fault == faultkv.UnknownCommitted]; want != "" && seen != want {
				t.Errorf("the runs saw %q, want %q", seen, want)
			}
			if got := read(t, db); (got == "v") != tt.committed {
				t.Errorf("the value is %q, want committed %v", got, tt.committed)
			}
			if db.Calls() != 2 {
				t.Errorf("%d calls counted, want 2", db.Calls())
			}
		})
	}
}

// TestOwnErrors: an error of the function's own ends the call under every fault, without effect.
func TestOwnErrors(t *testing.T) {
	own := errors.New("own")
	for _, fault := range append(faultkv.Faults(), faultkv.Hung) {
		db := faultkv.Wrap(open(t), faultkv.At(1, fault), 0)
		ctx, cancel := context.WithCancel(t.Context())
		if fault == faultkv.Hung {
			cancel()
		}
		err := db.Transact(ctx, func(tx kv.Transaction) error {
			tx.Set(key, []byte("v"))
			return own
		})
		cancel()
		if !errors.Is(err, own) && fault != faultkv.Unavailable && fault != faultkv.Hung {
			t.Errorf("%s: error %v, want the function's own", fault, err)
		}
		if got := read(t, db); got != "" {
			t.Errorf("%s: the value is %q, want none", fault, got)
		}
	}
}

// TestEndlessPlan: a plan that never relents ends in the error that it stands for, not in a loop.
func TestEndlessPlan(t *testing.T) {
	db := faultkv.Wrap(open(t), func(faultkv.Attempt) faultkv.Fault { return faultkv.Conflict }, 0)
	if err := db.Transact(t.Context(), func(kv.Transaction) error { return nil }); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("Transact returns %v, want %v", err, kv.ErrConflict)
	}
	if err := db.Read(t.Context(), func(kv.Reader) error { return nil }); !errors.Is(err, kv.ErrTooOld) {
		t.Errorf("Read returns %v, want %v", err, kv.ErrTooOld)
	}
}

// TestSlowIsCancelled: a slow attempt ends with its caller's deadline.
func TestSlowIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := faultkv.Wrap(nil, faultkv.At(1, faultkv.Slow), time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := db.Transact(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Transact returns %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// TestSeveralFaults: one attempt after the other meets its own, and an outcome
// that was unknown once stays unknown when the database goes away.
func TestSeveralFaults(t *testing.T) {
	db := faultkv.Wrap(open(t), faultkv.At(1, faultkv.UnknownCommitted, faultkv.Conflict, faultkv.Unavailable), 0)
	runs := 0
	err := db.Transact(t.Context(), func(tx kv.Transaction) error {
		runs++
		tx.Set(key, []byte("v"))
		return nil
	})
	if !errors.Is(err, kv.ErrCommitUnknown) || runs != 2 || read(t, db) != "v" {
		t.Errorf("%v after %d runs", err, runs)
	}
}

// TestRandom: a seed is a history of faults, in about the share asked for.
func TestRandom(t *testing.T) {
	fates := func(seed uint64) (all []faultkv.Fault) {
		plan := faultkv.Random(seed, 0.5, faultkv.Conflict, faultkv.Unavailable)
		for range 1000 {
			all = append(all, plan(faultkv.Attempt{}))
		}
		return all
	}
	one, again, other := fates(1), fates(1), fates(2)
	if !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Error("the seed does not decide")
	}
	count := map[faultkv.Fault]int{}
	for _, f := range one {
		count[f]++
	}
	if len(count) != 3 || count[faultkv.None] < 400 || count[faultkv.None] > 600 {
		t.Errorf("%v", count)
	}
}
