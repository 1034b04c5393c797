// Package faultkv puts any engine's failures on demand in front of it, so that
// what the layers above promise can be proven for each fault at each point.
// It changes when and how a transaction fails, never what it reads or writes.
package faultkv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// Fault is what happens to one attempt of a transaction.
type Fault int

// The faults. Those that the contract lets an engine retry are followed by
// another attempt, whose fate the plan decides anew; the others end the call.
const (
	None Fault = iota
	// Conflict and TooOld: the function ran, nothing was committed; retried.
	Conflict
	TooOld
	// UnknownCommitted and UnknownLost: the commit's outcome is unknown, and it did or did not take effect; retried.
	UnknownCommitted
	UnknownLost
	// GiveUpCommitted and GiveUpLost are the same with no retry left: the call returns kv.ErrCommitUnknown.
	GiveUpCommitted
	GiveUpLost
	// TimeoutBefore and TimeoutAfter: the deadline passes just before or just after the commit.
	TimeoutBefore
	TimeoutAfter
	// Unavailable: the database cannot be reached; the function did not run.
	Unavailable
	// Slow: the attempt takes Delay longer.
	Slow
	// Hung: nothing answers until the context ends; the function did not run.
	Hung
)

// Faults lists every fault that ends by itself, for tests that go through them
// all: Hung is left out, which only a context that ends can end.
func Faults() []Fault {
	return []Fault{Conflict, TooOld, UnknownCommitted, UnknownLost, GiveUpCommitted, GiveUpLost, TimeoutBefore, TimeoutAfter, Unavailable, Slow}
}

var names = map[Fault]string{
	None: "none", Conflict: "conflict", TooOld: "too old",
	UnknownCommitted: "unknown, committed", UnknownLost: "unknown, lost",
	GiveUpCommitted: "given up, committed", GiveUpLost: "given up, lost",
	TimeoutBefore: "timeout before the commit", TimeoutAfter: "timeout after the commit",
	Unavailable: "unavailable", Slow: "slow", Hung: "hung",
}

// String names the fault as test names show it.
func (f Fault) String() string { return names[f] }

// Attempt is one run of a transaction function.
type Attempt struct {
	Call  int64 // number of the call on this database, Transact and Read counted together, from 1
	Retry int   // 0 for the first attempt of the call
	Write bool  // Transact, not Read
}

// Plan decides an attempt's fate. It is called from every goroutine that uses the database.
type Plan func(Attempt) Fault

// At injects faults into the first attempts of one call, one each, and leaves all others alone.
func At(call int64, faults ...Fault) Plan {
	return func(a Attempt) Fault {
		if a.Call == call && a.Retry < len(faults) {
			return faults[a.Retry]
		}
		return None
	}
}

// Random injects one of the faults, each as likely, into that share of all
// attempts. The same seed gives the same fates in the same order of attempts.
func Random(seed uint64, share float64, faults ...Fault) Plan {
	var mu sync.Mutex
	source := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated, not to be secret
	return func(Attempt) Fault {
		mu.Lock()
		defer mu.Unlock()
		if source.Float64() >= share {
			return None
		}
		return faults[source.IntN(len(faults))]
	}
}

// maxRetries bounds what a plan without an end would make endless.
const maxRetries = 100

// DB is a database with faults.
type DB struct {
	inner kv.Database
	plan  atomic.Pointer[Plan]
	calls atomic.Int64
	delay time.Duration
}

// Wrap returns inner with the faults of plan; a Slow attempt takes delay longer.
// Closing it closes inner.
func Wrap(inner kv.Database, plan Plan, delay time.Duration) *DB {
	db := &DB{inner: inner, delay: delay}
	db.Follow(plan)
	return db
}

// Follow replaces the plan and counts calls from 1 again.
func (db *DB) Follow(plan Plan) {
	db.plan.Store(&plan)
	db.calls.Store(0)
}

// Calls is the number of calls since Wrap or Follow.
func (db *DB) Calls() int64 { return db.calls.Load() }

// errAbandon makes the inner engine drop an attempt that has run.
var errAbandon = errors.New("faultkv: attempt abandoned")

// Transact implements kv.Database.
func (db *DB) Transact(ctx context.Context, fn func(kv.Transaction) error) error {
	call := db.calls.Add(1)
	unknown := false // the outcome of an earlier attempt
	for retry := range maxRetries {
		fault := (*db.plan.Load())(Attempt{Call: call, Retry: retry, Write: true})
		again, err := db.attempt(ctx, fault, fn)
		if unknown && errors.Is(err, kv.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", kv.ErrCommitUnknown, err) // that nothing was committed would be a guess
		}
		if !again {
			return err
		}
		unknown = unknown || fault == UnknownCommitted || fault == UnknownLost
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("after %d attempts: %w", maxRetries, kv.ErrConflict)
}

// attempt runs fn once under fault and tells whether the contract asks for another run.
func (db *DB) attempt(ctx context.Context, fault Fault, fn func(kv.Transaction) error) (again bool, err error) {
	switch fault {
	case Conflict, TooOld, UnknownLost:
		return db.abandon(ctx, fn, nil)
	case GiveUpLost:
		return db.abandon(ctx, fn, kv.ErrCommitUnknown)
	case TimeoutBefore:
		return db.abandon(ctx, fn, context.DeadlineExceeded)
	case UnknownCommitted, GiveUpCommitted, TimeoutAfter:
		if err := db.inner.Transact(ctx, fn); err != nil {
			return false, err
		}
		switch fault {
		case UnknownCommitted:
			return true, nil
		case GiveUpCommitted:
			return false, kv.ErrCommitUnknown
		default:
			return false, context.DeadlineExceeded
		}
	case Unavailable:
		return false, kv.ErrUnavailable
	case Hung:
		<-ctx.Done()
		return false, ctx.Err()
	case Slow:
		if err := db.pause(ctx); err != nil {
			return false, err
		}
	case None:
	}
	return false, db.inner.Transact(ctx, fn)
}

// abandon runs fn, drops what it wrote, and answers with outcome; nil asks for
// another attempt. An error of fn's own ends the call, as without a fault.
func (db *DB) abandon(ctx context.Context, fn func(kv.Transaction) error, outcome error) (again bool, err error) {
	err = db.inner.Transact(ctx, func(tx kv.Transaction) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errAbandon
	})
	if !errors.Is(err, errAbandon) {
		return false, err
	}
	return outcome == nil, outcome
}

// Read implements kv.Database. A read has no commit: of the faults only
// Unavailable, Slow, Hung and the timeouts reach it, and TooOld and Conflict run it again.
func (db *DB) Read(ctx context.Context, fn func(kv.Reader) error) error {
	call := db.calls.Add(1)
	for retry := range maxRetries {
		switch (*db.plan.Load())(Attempt{Call: call, Retry: retry}) {
		case Conflict, TooOld:
			if err := db.inner.Read(ctx, fn); err != nil {
				return err
			}
			continue
		case TimeoutBefore, TimeoutAfter:
			return context.DeadlineExceeded
		case Unavailable:
			return kv.ErrUnavailable
		case Hung:
			<-ctx.Done()
			return ctx.Err()
		case Slow:
			if err := db.pause(ctx); err != nil {
				return err
			}
		case None, UnknownCommitted, UnknownLost, GiveUpCommitted, GiveUpLost:
		}
		return db.inner.Read(ctx, fn)
	}
	return fmt.Errorf("after %d attempts: %w", maxRetries, kv.ErrTooOld)
}

func (db *DB) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(db.delay):
		return nil
	}
}

// Close implements kv.Database.
func (db *DB) Close() error { return db.inner.Close() }
