package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/kv/enginetest"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

// However many ask, the store writes to find out only where no request has
// written for a while.
func TestProbesHardlyWrite(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	probe := func() (writes uint64) {
		t.Helper()
		before := env.Store.Stats().Writes
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if err := env.Store.Probe(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for deadline := time.Now().Add(time.Minute); env.Store.Trying() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		return env.Store.Stats().Writes - before
	}
	if n := probe(); n != 1 {
		t.Errorf("%d writes to find out for the first time", n)
	}
	if n := probe(); n != 0 {
		t.Errorf("%d writes while the last is fresh", n)
	}
	env.Clock.Advance(10 * time.Second)
	if n := probe(); n != 1 {
		t.Errorf("%d writes once the last is stale", n)
	}
	env.Clock.Advance(9 * time.Second)
	populate(t, env)
	env.Clock.Advance(9 * time.Second)
	if n := probe(); n != 0 {
		t.Errorf("%d writes beside those of requests", n)
	}
	counts := check(t, env)
	if !counts.OK() {
		t.Errorf("probes leave something: %q", counts.Problems)
	}
}

// A store that reads and does not write is found out and recovers, and one
// that never wrote is not taken for sound.
func TestProbeSeesThatWritesFail(t *testing.T) {
	t.Parallel()
	inner := enginetest.Open(t)
	t.Cleanup(func() { _ = inner.Close() })
	var broken atomic.Bool
	db := faultkv.Wrap(inner, func(a faultkv.Attempt) faultkv.Fault {
		if a.Write && broken.Load() {
			return faultkv.GiveUpLost
		}
		return faultkv.None
	}, 0)
	for name, soundBefore := range map[string]bool{"from the start": false, "later": true} {
		broken.Store(!soundBefore)
		s := store.New(db, name, time.Now)
		if soundBefore {
			if err := s.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			err := s.Update(t.Context(), func(tx *store.Tx) error { tx.PutTenant(store.Tenant{ID: id(1)}); return nil })
			if fault.CodeOf(err) != fault.Unavailable {
				t.Fatal(err)
			}
		}
		seen := func(want bool) {
			t.Helper()
			for deadline := time.Now().Add(time.Minute); (s.Probe(t.Context()) == nil) != want; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s: sound is never %t", name, want)
				}
			}
		}
		if err := s.Probe(t.Context()); !soundBefore && fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("never wrote, and is sound: %v", err)
		}
		seen(false)
		if s.Writable() == nil {
			t.Error("writable")
		}
		broken.Store(false)
		seen(true)
	}
}

// A commit that takes long is no outage, and keeps no probe waiting.
func TestProbeDoesNotWaitForASlowCommit(t *testing.T) {
	t.Parallel()
	inner := enginetest.Open(t)
	t.Cleanup(func() { _ = inner.Close() })
	var slow atomic.Bool
	db := faultkv.Wrap(inner, func(a faultkv.Attempt) faultkv.Fault {
		if a.Write && slow.Load() {
			return faultkv.Slow
		}
		return faultkv.None
	}, time.Hour)
	clock := storetest.NewClock()
	s := store.New(db, "test", clock.Now)
	if err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	clock.Advance(time.Minute)
	if err := s.Probe(t.Context()); err != nil {
		t.Errorf("while the commit is under way: %v", err)
	}
	// A store that has never written has no verdict that could stand.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := store.New(db, "other", time.Now).Probe(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a verdict: %v", err)
	}
}
