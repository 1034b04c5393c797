// Package storetest owns what tests of the rules need below them: an empty
// store on the build's engine, a clock that they move, and a database that is
// down, or whose commits end unknown, on demand.
package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/enginetest"
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
	env := &Env{Clock: NewClock(), DB: &DB{Database: engine}}
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
type DB struct {
	kv.Database

	down  atomic.Bool
	mu    sync.Mutex
	fates []Fate
}

// SetDown makes the database unavailable, or available again.
func (d *DB) SetDown(down bool) { d.down.Store(down) }

// Read reads, unless the database is down.
func (d *DB) Read(ctx context.Context, fn func(kv.Reader) error) error {
	if d.down.Load() {
		return kv.ErrUnavailable
	}
	return d.Database.Read(ctx, fn)
}

// Fate is what becomes of a commit that is reported as unknown.
type Fate int

// The fates.
const (
	Committed Fate = iota
	Lost
)

// Unknown makes the next commits end with these fates, each followed by
// another run of its function, as an engine would.
func (d *DB) Unknown(fates ...Fate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fates = append(d.fates, fates...)
}

func (d *DB) fate() (Fate, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fates) == 0 {
		return 0, false
	}
	next := d.fates[0]
	d.fates = d.fates[1:]
	return next, true
}

var errLost = errors.New("this commit is lost")

// Transact runs fn until a commit of it is neither lost nor unknown.
func (d *DB) Transact(ctx context.Context, fn func(kv.Transaction) error) error {
	for {
		if d.down.Load() {
			return kv.ErrUnavailable
		}
		fate, unknown := d.fate()
		err := d.Database.Transact(ctx, func(t kv.Transaction) error {
			if err := fn(t); err != nil {
				return err
			}
			if unknown && fate == Lost {
				return errLost
			}
			return nil
		})
		if !unknown || err != nil && !errors.Is(err, errLost) {
			return err
		}
	}
}
