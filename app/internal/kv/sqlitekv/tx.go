package sqlitekv

import (
	"bytes"
	"context"
	"fmt"

	"coditect.ai/platform/app/internal/kv"
)

// checkEvery is the number of pairs after which a range read looks at the clock and the context.
const checkEvery = 64

// tx is one run of a transaction's function. It reads one snapshot and keeps
// its writes, and what its commit depends on, in memory.
type tx struct {
	ctx      context.Context //nolint:containedctx // kv's reads have no context of their own: it is the call's
	snapshot snapshot
	readOnly bool // gather no conflicts: there will be no commit
	writes   writes
	reads    []kv.Range
	extra    []kv.Range // write conflicts without a write
	size     int        // bytes of keys, values and conflict ranges
	err      error      // the first failure, which the commit reports
}

var _ kv.Transaction = (*tx)(nil)

// fail remembers the first failure.
func (t *tx) fail(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

func (t *tx) Get(key []byte) ([]byte, error) { return t.get(key, !t.readOnly) }

func (t *tx) Range(r kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	return t.rangeRead(r, opt, !t.readOnly)
}

func (t *tx) Snapshot() kv.Reader { return snapshotReader{t} }

// snapshotReader reads like its transaction but leaves no conflict range.
type snapshotReader struct{ t *tx }

func (s snapshotReader) Get(key []byte) ([]byte, error) { return s.t.get(key, false) }

func (s snapshotReader) Range(r kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	return s.t.rangeRead(r, opt, false)
}

func (s snapshotReader) ReadVersion() (int64, error) { return s.t.ReadVersion() }

func (t *tx) ReadVersion() (version int64, err error) {
	if err := t.snapshot.use(t.ctx, func(c *conn) (err error) {
		version, err = c.version()
		return err
	}); err != nil {
		return 0, t.fail(fmt.Errorf("read version: %w", err))
	}
	return version, nil
}

func (t *tx) get(key []byte, conflicts bool) ([]byte, error) {
	e, own := t.writes.own(key)
	if own && e.kind != effectAdd {
		return e.over(nil), nil // the transaction's own: whatever is stored does not matter
	}
	var value []byte
	err := t.snapshot.use(t.ctx, func(c *conn) (err error) {
		value, err = c.get(key)
		return err
	})
	if err != nil {
		return nil, t.fail(fmt.Errorf("get: %w", err))
	}
	if conflicts {
		t.conflict(&t.reads, kv.KeyRange(key))
	}
	if own {
		return e.over(value), nil
	}
	return value, nil
}

func (t *tx) rangeRead(r kv.Range, opt kv.RangeOptions, conflicts bool) ([]kv.Pair, error) {
	if bytes.Compare(r.Begin, r.End) >= 0 {
		return nil, nil
	}
	merged := merge{writes: &t.writes, own: t.writes.within(r), opt: opt}
	err := t.snapshot.use(t.ctx, func(c *conn) error {
		rows := 0
		return c.scan(r, opt.Reverse, func(key, value []byte) (bool, error) {
			if rows++; rows%checkEvery == 0 {
				if err := t.ctx.Err(); err != nil {
					return false, err
				}
				if err := t.snapshot.check(); err != nil {
					return false, err
				}
			}
			merged.stored(key, value)
			return !merged.full(), nil
		})
	})
	if err != nil {
		return nil, t.fail(fmt.Errorf("range: %w", err))
	}
	merged.rest()
	if conflicts {
		t.conflict(&t.reads, merged.read(r))
	}
	return merged.pairs, nil
}

// merge puts a transaction's own writes between the stored pairs, in reading order.
type merge struct {
	writes *writes
	own    []string // the keys still to come, ascending
	opt    kv.RangeOptions
	pairs  []kv.Pair
}

func (m *merge) full() bool { return m.opt.Limit > 0 && len(m.pairs) >= m.opt.Limit }

// next returns the own key that comes first in reading order.
func (m *merge) next() (string, bool) {
	switch {
	case len(m.own) == 0:
		return "", false
	case m.opt.Reverse:
		return m.own[len(m.own)-1], true
	default:
		return m.own[0], true
	}
}

// take emits the pair of the own key that comes first, on top of what is stored, and drops it.
func (m *merge) take(key string, stored []byte) {
	if m.opt.Reverse {
		m.own = m.own[:len(m.own)-1]
	} else {
		m.own = m.own[1:]
	}
	if value := m.writes.effects[key].over(stored); value != nil {
		m.pairs = append(m.pairs, kv.Pair{Key: []byte(key), Value: value})
	}
}

// stored takes the next stored pair, after the own keys before it.
func (m *merge) stored(key, value []byte) {
	for !m.full() {
		own, ok := m.next()
		if !ok || (own > string(key)) != m.opt.Reverse && own != string(key) {
			break
		}
		if own == string(key) {
			m.take(own, value)
			return
		}
		m.take(own, nil)
	}
	if !m.full() && !m.writes.cleared.contains(key) {
		m.pairs = append(m.pairs, kv.Pair{Key: key, Value: value})
	}
}

// rest takes the own keys after the last stored pair.
func (m *merge) rest() {
	for !m.full() {
		own, ok := m.next()
		if !ok {
			return
		}
		m.take(own, nil)
	}
}

// read is the part of r that the result depends on.
func (m *merge) read(r kv.Range) kv.Range {
	if !m.full() {
		return kv.Range{Begin: bytes.Clone(r.Begin), End: bytes.Clone(r.End)}
	}
	last := m.pairs[len(m.pairs)-1].Key
	if m.opt.Reverse {
		return kv.Range{Begin: bytes.Clone(last), End: bytes.Clone(r.End)}
	}
	return kv.Range{Begin: bytes.Clone(r.Begin), End: kv.KeyRange(last).End}
}

func (t *tx) Set(key, value []byte) {
	if t.fits(key, value, 0) {
		t.writes.set(key, value)
	}
}

func (t *tx) Clear(key []byte) {
	// No longer key exists, so there is nothing to clear: FoundationDB sees it the same way.
	if len(key) <= kv.MaxKeySize && t.fits(key, nil, 0) {
		t.writes.clear(key)
	}
}

func (t *tx) ClearRange(r kv.Range) {
	if t.grow(2 * (len(r.Begin) + len(r.End))) {
		t.writes.clearRange(r)
	}
}

func (t *tx) Add(key []byte, delta int64) {
	if t.fits(key, nil, 8) {
		t.writes.add(key, delta)
	}
}

func (t *tx) AddReadConflict(r kv.Range) { t.conflict(&t.reads, cloneRange(r)) }

func (t *tx) AddWriteConflict(r kv.Range) { t.conflict(&t.extra, cloneRange(r)) }

func cloneRange(r kv.Range) kv.Range {
	return kv.Range{Begin: bytes.Clone(r.Begin), End: bytes.Clone(r.End)}
}

// fits accounts for a write of key, value and more bytes, and refuses what exceeds a limit.
func (t *tx) fits(key, value []byte, more int) bool {
	switch {
	case len(key) > kv.MaxKeySize:
		_ = t.fail(fmt.Errorf("%w: a key of %d bytes, %d at the most", kv.ErrTooLarge, len(key), kv.MaxKeySize))
	case len(value) > kv.MaxValueSize:
		_ = t.fail(fmt.Errorf("%w: a value of %d bytes, %d at the most", kv.ErrTooLarge, len(value), kv.MaxValueSize))
	default:
		// The key counts twice more as the bounds of its conflict range.
		return t.grow(3*len(key) + len(value) + more)
	}
	return false
}

func (t *tx) conflict(ranges *[]kv.Range, r kv.Range) {
	if bytes.Compare(r.Begin, r.End) < 0 && t.grow(len(r.Begin)+len(r.End)) {
		*ranges = append(*ranges, r)
	}
}

func (t *tx) grow(n int) bool {
	if t.size += n; t.size > kv.MaxTransactionSize {
		_ = t.fail(fmt.Errorf("%w: a transaction of more than %d bytes", kv.ErrTooLarge, kv.MaxTransactionSize))
		return false
	}
	return true
}

// changes tells whether the transaction has something to commit.
func (t *tx) changes() bool { return !t.writes.empty() || len(t.extra) > 0 }
