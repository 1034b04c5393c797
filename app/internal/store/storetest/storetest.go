// Package storetest owns what tests of the rules need below them: an empty
// store on the build's engine, a clock that they move, and a database that is
// down, or whose commits end unknown, on demand.
package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv/enginetest"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/store"
)

// Env is a store with what moves it.
type Env struct {
	Store *store.Store
	Clock *Clock
	DB    *DB
}

// New opens a store that is closed, after its integrity has been checked, when the test ends.
func New(tb testing.TB) *Env {
	tb.Helper()
	engine := enginetest.Open(tb)
	env := &Env{Clock: NewClock(), DB: &DB{faultkv.Wrap(engine, noFaults, 0)}}
	env.Store = store.New(env.DB, "test", env.Clock.Now)
	tb.Cleanup(func() {
		report, err := env.Store.Check(context.Background()) // the test's own context is done
		if err != nil || !report.OK() {
			tb.Errorf("the store does not agree with itself: %v %q", err, report.Problems)
		}
		if err := engine.Close(); err != nil {
			tb.Errorf("closing the engine: %v", err)
		}
	})
	return env
}

// Clock stands still until it is moved.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at some odd moment.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 3, 29, 1, 59, 59, 987654321, time.UTC)}
}

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// DB is an engine with faults on demand.
type DB struct{ *faultkv.DB }

// SetDown makes the database unavailable, or available again.
func (d *DB) SetDown(down bool) {
	if !down {
		d.Follow(noFaults)
		return
	}
	d.Follow(func(faultkv.Attempt) faultkv.Fault { return faultkv.Unavailable })
}

func noFaults(faultkv.Attempt) faultkv.Fault { return faultkv.None }

// Fate is what becomes of a commit that is reported as unknown.
type Fate = faultkv.Fault

// The fates.
const (
	Committed = faultkv.UnknownCommitted
	Lost      = faultkv.UnknownLost
)

// Unknown makes the next commits end with these fates, each followed by
// another run of its function, as an engine would.
func (d *DB) Unknown(fates ...Fate) {
	var commits atomic.Int64
	d.Follow(func(a faultkv.Attempt) faultkv.Fault {
		if !a.Write {
			return faultkv.None
		}
		if n := int(commits.Add(1)); n <= len(fates) {
			return fates[n-1]
		}
		return faultkv.None
	})
}
