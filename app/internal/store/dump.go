package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// ErrWrittenTo says that a dump is of no one moment.
var ErrWrittenTo = errors.New("the store was written to meanwhile")

// Dump calls pair with every pair of the store in key order, its key below the
// subspace, and returns the inventory of what it has passed on. Where the
// engine cannot keep a snapshot for as long as that takes, Dump reads all of it
// twice, and returns ErrWrittenTo unless it was the same both times.
func (s *Store) Dump(ctx context.Context, pair func(kv.Pair) error) (contract.Inventory, error) {
	first := &dumping{pair: pair, sum: sha256.New()}
	seen, err := s.walk(ctx, first)
	if err != nil {
		return contract.Inventory{}, fmt.Errorf("reading the store: %w", err)
	}
	inventory := first.tally.inventory(seen)
	if inventory.Exact {
		return inventory, nil
	}
	second := &dumping{pair: func(kv.Pair) error { return nil }, sum: sha256.New()}
	if _, err := s.walk(ctx, second); err != nil {
		return contract.Inventory{}, fmt.Errorf("reading the store again: %w", err)
	}
	if !bytes.Equal(first.sum.Sum(nil), second.sum.Sum(nil)) {
		return contract.Inventory{}, ErrWrittenTo
	}
	inventory.Exact = true // nothing changed between: every snapshot of both walks was the same
	return inventory, nil
}

// dumping passes on what ended transactions have read.
type dumping struct {
	pair  func(kv.Pair) error
	now   []entry
	space space
	tally tally
	sum   hash.Hash // of everything
}

func (d *dumping) begin() { d.now = d.now[:0] }

func (d *dumping) visit(r *Reader, p kv.Pair) error {
	e, err := r.space.parse(p)
	if err != nil {
		e.form = foreign.kind // kept as it is: a newer release may know it
	}
	if e.form == nameLoading {
		return errors.New("it is half restored: finish that first")
	}
	d.space = r.space
	d.now = append(d.now, e)
	return nil
}

func (d *dumping) end() error {
	for _, e := range d.now {
		p := kv.Pair{Key: e.Key[len(d.space.prefix):], Value: e.Value}
		hashPair(d.sum, p)
		if f, known := forms[e.form]; known {
			d.tally.add(d.space, e, f)
		}
		if err := d.pair(p); err != nil {
			return err
		}
	}
	return nil
}

// Loading is the mark of a store that is being filled and not yet whole.
type Loading struct {
	Source    string    `json:"source"`          // what it is filled from
	After     []byte    `json:"after,omitempty"` // the last key that is there, below the subspace
	StartedAt time.Time `json:"started_at"`
}

func (Loading) version() byte { return 1 }

// ErrNotEmpty says that a store holds something, so that nothing is loaded into it.
var ErrNotEmpty = errors.New("the store is not empty")

// OtherSourceError says that a store is half filled from elsewhere.
type OtherSourceError struct{ Source string }

func (e *OtherSourceError) Error() string {
	return fmt.Sprintf("the store is half restored from %s: finish that first, or empty the store", e.Source)
}

// Bounds of one transaction of a load: what FoundationDB advises.
const (
	loadBytes = 256 << 10
	loadKeys  = 1000
)

// Loader fills an empty store. Each transaction remembers how far it has come,
// so a load that was cut short goes on there when it is begun again.
type Loader struct {
	store   *Store
	source  string
	after   []byte
	pending []kv.Pair
	size    int
}

// Load begins to fill the store from source, or goes on with it. The error is
// ErrNotEmpty where there is something else in the store.
func (s *Store) Load(ctx context.Context, source string) (*Loader, error) {
	l := &Loader{store: s, source: source}
	err := s.Update(ctx, func(tx *Tx) error {
		mark, err := tx.loading()
		switch {
		case err == nil && mark.Source != source:
			return &OtherSourceError{mark.Source}
		case err == nil:
			l.after = mark.After
			return nil
		case !isNotFound(err):
			return err
		}
		pairs, err := tx.scan(below(tx.space.prefix), kv.RangeOptions{Limit: 1})
		if err != nil {
			return err
		}
		if len(pairs) > 0 {
			return ErrNotEmpty
		}
		tx.put(Loading{Source: source, StartedAt: tx.now}, tx.space.loading())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("beginning to fill the store: %w", err)
	}
	return l, nil
}

func (s space) loading() tuple.Key { return s.prefix.Text(nameLoading) }

func (r *Reader) loading() (Loading, error) { return load[Loading](r, r.space.loading()) }

// Put adds a pair, whose key is below the subspace and after all earlier ones.
func (l *Loader) Put(ctx context.Context, p kv.Pair) error {
	if bytes.Compare(p.Key, l.after) <= 0 {
		return nil // an earlier run has been here
	}
	l.pending = append(l.pending, p)
	if l.size += 3*len(p.Key) + len(p.Value); l.size < loadBytes && len(l.pending) < loadKeys {
		return nil
	}
	return l.flush(ctx)
}

func (l *Loader) flush(ctx context.Context) error {
	if len(l.pending) == 0 {
		return nil
	}
	last := l.pending[len(l.pending)-1].Key
	err := l.store.Update(ctx, func(tx *Tx) error {
		mark, err := tx.loading()
		switch {
		case isNotFound(err) || err == nil && mark.Source != l.source:
			return errors.New("somebody else has taken the store over")
		case err != nil:
			return err
		case bytes.Compare(mark.After, last) >= 0:
			return nil // an earlier run's commit took effect
		}
		for _, p := range l.pending {
			tx.set(tx.space.at(p.Key), p.Value)
		}
		mark.After = last
		tx.put(mark, tx.space.loading())
		return nil
	})
	if err != nil {
		return fmt.Errorf("filling the store: %w", err)
	}
	l.after, l.pending, l.size = last, l.pending[:0], 0
	return nil
}

// Check writes what is left and checks the store, which nobody else may use yet.
func (l *Loader) Check(ctx context.Context) (Report, error) {
	if err := l.flush(ctx); err != nil {
		return Report{}, err
	}
	report, err := l.store.Check(ctx)
	delete(report.Counts, nameLoading) // the mark is not the store's
	return report, err
}

// Release hands the store over to those who use it.
func (l *Loader) Release(ctx context.Context) error {
	if err := l.store.Update(ctx, func(tx *Tx) error {
		tx.clear(tx.space.loading())
		return nil
	}); err != nil {
		return fmt.Errorf("handing the filled store over: %w", err)
	}
	return nil
}
