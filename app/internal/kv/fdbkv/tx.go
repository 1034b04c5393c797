//go:build fdb

package fdbkv

import (
	"bytes"
	"context"
	"fmt"

	"github.com/apple/foundationdb/bindings/go/src/fdb"

	"coditect.ai/platform/app/internal/kv"
)

// tx is one attempt of a transaction.
type tx struct {
	ctx    context.Context // reads take none of their own
	native fdb.Transaction
	failed error // of a write that the binding refused by itself
}

// Get implements kv.Reader.
func (t *tx) Get(key []byte) ([]byte, error) { return get(t.ctx, t.native, key) }

// Range implements kv.Reader.
func (t *tx) Range(r kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	return scan(t.ctx, t.native, r, opt)
}

// Snapshot implements kv.Transaction.
func (t *tx) Snapshot() kv.Reader { return snapshot{t.ctx, t.native.Snapshot()} }

// snapshot reads without making the commit depend on it.
type snapshot struct {
	ctx    context.Context
	native fdb.Snapshot
}

func (s snapshot) Get(key []byte) ([]byte, error) { return get(s.ctx, s.native, key) }

func (s snapshot) Range(r kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	return scan(s.ctx, s.native, r, opt)
}

// ReadVersion implements kv.Reader.
func (t *tx) ReadVersion() (int64, error) { return readVersion(t.ctx, t.native) }

func (s snapshot) ReadVersion() (int64, error) { return readVersion(s.ctx, s.native) }

func readVersion(ctx context.Context, native fdb.ReadTransaction) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	version, err := native.GetReadVersion().Get()
	if err != nil {
		return 0, readError(ctx, err)
	}
	return version, nil
}

func get(ctx context.Context, native fdb.ReadTransaction, key []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, err := native.Get(fdb.Key(key)).Get()
	if err != nil {
		return nil, readError(ctx, err)
	}
	return value, nil
}

func scan(ctx context.Context, native fdb.ReadTransaction, r kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if bytes.Compare(r.Begin, r.End) >= 0 {
		return nil, nil
	}
	mode := fdb.StreamingModeWantAll
	if opt.Limit > 0 {
		mode = fdb.StreamingModeExact
	}
	found, err := native.GetRange(span(r), fdb.RangeOptions{Limit: opt.Limit, Mode: mode, Reverse: opt.Reverse}).GetSliceWithError()
	if err != nil {
		return nil, readError(ctx, err)
	}
	pairs := make([]kv.Pair, len(found))
	for i, p := range found {
		pairs[i] = kv.Pair{Key: p.Key, Value: p.Value}
	}
	return pairs, nil
}

// readError is the context's error where that has ended the read.
func readError(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	return fmt.Errorf("read: %w", classified(err, false))
}

func span(r kv.Range) fdb.KeyRange { return fdb.KeyRange{Begin: fdb.Key(r.Begin), End: fdb.Key(r.End)} }

// Set implements kv.Transaction.
func (t *tx) Set(key, value []byte) { t.native.Set(fdb.Key(key), value) }

// Clear implements kv.Transaction.
func (t *tx) Clear(key []byte) { t.native.Clear(fdb.Key(key)) }

// ClearRange implements kv.Transaction.
func (t *tx) ClearRange(r kv.Range) {
	if bytes.Compare(r.Begin, r.End) < 0 {
		t.native.ClearRange(span(r))
	}
}

// Add implements kv.Transaction.
func (t *tx) Add(key []byte, delta int64) { t.native.Add(fdb.Key(key), kv.CounterValue(delta)) }

// AddReadConflict implements kv.Transaction.
func (t *tx) AddReadConflict(r kv.Range) { t.addConflict(r, t.native.AddReadConflictRange) }

// AddWriteConflict implements kv.Transaction.
func (t *tx) AddWriteConflict(r kv.Range) { t.addConflict(r, t.native.AddWriteConflictRange) }

func (t *tx) addConflict(r kv.Range, add func(fdb.ExactRange) error) {
	if bytes.Compare(r.Begin, r.End) >= 0 {
		return
	}
	if err := add(span(r)); err != nil && t.failed == nil {
		t.failed = fmt.Errorf("add a conflict range: %w", classified(err, false))
	}
}
