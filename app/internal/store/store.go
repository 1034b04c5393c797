// Package store owns the records: their keys, encoding, versions, indexes and
// expiry. Everything it keeps lies in one subspace of a kv.Database; an index
// changes in the same transaction as its record, so the two never disagree.
//
// It knows kv and fault, and nothing above. Rules belong to the packages that
// use it: store refuses only what would break its own invariants.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// ErrNotFound says that there is no such record, or it has expired.
var ErrNotFound = errors.New("no such record")

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// errReading tells a database that fails from data that is wrong.
var errReading = errors.New("reading")

// Store keeps records in one subspace of a database. It is safe for concurrent use.
type Store struct {
	db    kv.Database
	space space
	now   func() time.Time
	stats counters

	bounds   bounds
	pulse    pulse
	observer Observer // nil: nobody
}

// New returns the store in the named subspace of db. Several environments may
// share a database under different names.
func New(db kv.Database, subspace string, now func() time.Time) *Store {
	return &Store{db: db, space: space{tuple.Key{}.Text(subspace)}, now: now, bounds: walkBounds}
}

// Reader reads records on one snapshot. It is for one goroutine.
type Reader struct {
	kv    kv.Reader
	space space
	now   time.Time
	stats *counters
}

// Now is the time of the transaction: expired records are those of then. It
// has the precision that records keep.
func (r *Reader) Now() time.Time { return r.now }

// Tx reads and writes records in one transaction.
type Tx struct {
	*Reader
	kv     kv.Transaction
	again  bool
	wrote  bool  // or would, at the commit
	failed error // of a write
}

// Again reports that the function runs for another time, and so may find its
// own effect in place: an earlier run's commit may have reached the database
// although its outcome was unknown.
func (t *Tx) Again() bool { return t.again }

// Update runs fn in a transaction and commits it. fn may run several times: it
// has no effect but on its Tx, and takes ids from outside. The error is fn's
// own, a context's, or a fault.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	s.stats.transactions.Add(1)
	ctx, done := s.observe(ctx, kindWrite)
	attempts := 0
	wrote := false
	err := s.db.Transact(ctx, func(t kv.Transaction) error {
		tx := &Tx{Reader: s.reader(t), kv: t, again: attempts > 0}
		attempts++
		err := fn(tx)
		if wrote = tx.wrote; err != nil {
			return err
		}
		return tx.failed
	})
	outcome := outcomeOf(err)
	if wrote {
		s.pulse.note(outcome, s.now())
	}
	done(attempts, outcome)
	return mapped(err)
}

// View runs fn on one snapshot, which includes every acknowledged write. Its
// errors are as Update's.
func (s *Store) View(ctx context.Context, fn func(*Reader) error) error {
	s.stats.transactions.Add(1)
	ctx, done := s.observe(ctx, kindRead)
	attempts := 0
	err := s.db.Read(ctx, func(r kv.Reader) error {
		attempts++
		return fn(s.reader(r))
	})
	done(attempts, outcomeOf(err))
	return mapped(err)
}

func (s *Store) reader(r kv.Reader) *Reader {
	s.stats.attempts.Add(1)
	return &Reader{kv: r, space: s.space, now: s.clock(), stats: &s.stats}
}

// clock is the time with the precision that records keep.
func (s *Store) clock() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// How long a client is asked to wait after a failure that passes by itself.
const retryAfter = time.Second

// mapped is the one place where the database's failures become what a client
// may see. A context's error stays what it is: the caller knows whose it was.
func mapped(err error) error {
	if _, isFault := errors.AsType[*fault.Error](err); err == nil || isFault {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, kv.ErrConflict), errors.Is(err, kv.ErrTooOld):
		return passing(fault.Busy, "Too many changes to the same data at once; try again shortly.", err)
	case errors.Is(err, kv.ErrCommitUnknown):
		return passing(fault.Unavailable, "The store could not tell whether the change was made; look before you try again.", err)
	case errors.Is(err, kv.ErrUnavailable), errors.Is(err, kv.ErrClosed):
		return passing(fault.Unavailable, "The store does not answer; try again shortly.", err)
	default:
		return err
	}
}

func passing(code fault.Code, message string, cause error) error {
	return &fault.Error{Code: code, Message: message, RetryAfter: retryAfter, Cause: cause}
}

// Stats counts what the store has asked of its database since it was made.
type Stats struct {
	Transactions uint64 // calls of Update and View
	Attempts     uint64 // runs of their functions
	Reads        uint64 // keys and ranges read
	Writes       uint64 // keys and ranges set or cleared
}

type counters struct{ transactions, attempts, reads, writes atomic.Uint64 }

// Stats returns the counts of now.
func (s *Store) Stats() Stats {
	return Stats{
		Transactions: s.stats.transactions.Load(),
		Attempts:     s.stats.attempts.Load(),
		Reads:        s.stats.reads.Load(),
		Writes:       s.stats.writes.Load(),
	}
}

// get returns the value of key, or ErrNotFound.
func (r *Reader) get(key tuple.Key) ([]byte, error) {
	r.stats.reads.Add(1)
	value, err := r.kv.Get(key)
	if err != nil {
		return nil, fmt.Errorf("%w a key: %w", errReading, err)
	}
	if value == nil {
		return nil, ErrNotFound
	}
	return value, nil
}

func (r *Reader) scan(keys kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	r.stats.reads.Add(1)
	pairs, err := r.kv.Range(keys, opt)
	if err != nil {
		return nil, fmt.Errorf("%w a range: %w", errReading, err)
	}
	return pairs, nil
}

func (t *Tx) set(key tuple.Key, value []byte) {
	t.wrote = true
	t.stats.writes.Add(1)
	t.kv.Set(key, value)
}

func (t *Tx) clear(key tuple.Key) {
	t.wrote = true
	t.stats.writes.Add(1)
	t.kv.Clear(key)
}
