//go:build fdb

package enginetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/fdbkv"
)

// open gives the test a subspace of its own in the one cluster.
func open(tb testing.TB) kv.Database {
	tb.Helper()
	opt := fdbkv.Options{ClusterFile: os.Getenv("FDB_CLUSTER_FILE"), Timeout: time.Minute} // of a machine that other tests keep busy
	db, err := fdbkv.Open(tb.Context(), opt)
	if err != nil {
		tb.Fatalf("open the engine: %v", err)
	}
	s := subspace{Database: db, prefix: []byte("coditect-test/" + rand.Text() + "/")}
	tb.Cleanup(func() {
		own, err := fdbkv.Open(context.Background(), opt) // the test has closed its own, and its context is done
		if err != nil {
			tb.Errorf("open the engine to clean up: %v", err)
			return
		}
		if err := own.Transact(context.Background(), func(t kv.Transaction) error {
			t.ClearRange(kv.PrefixRange(s.prefix))
			return nil
		}); err != nil {
			tb.Errorf("clean up: %v", err)
		}
	})
	return s
}

// subspace is the part of a database below a prefix.
type subspace struct {
	kv.Database
	prefix []byte
}

func (s subspace) Transact(ctx context.Context, fn func(kv.Transaction) error) error {
	return s.Database.Transact(ctx, func(t kv.Transaction) error { return fn(transaction{t, reader{t, s.prefix}}) })
}

func (s subspace) Read(ctx context.Context, fn func(kv.Reader) error) error {
	return s.Database.Read(ctx, func(r kv.Reader) error { return fn(reader{r, s.prefix}) })
}

type reader struct {
	kv.Reader
	prefix []byte
}

func (r reader) key(key []byte) []byte { return append(bytes.Clone(r.prefix), key...) }

func (r reader) span(s kv.Range) kv.Range { return kv.Range{Begin: r.key(s.Begin), End: r.key(s.End)} }

func (r reader) Get(key []byte) ([]byte, error) { return r.Reader.Get(r.key(key)) }

func (r reader) Range(s kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	pairs, err := r.Reader.Range(r.span(s), opt)
	for i := range pairs {
		pairs[i].Key = pairs[i].Key[len(r.prefix):]
	}
	return pairs, err
}

type transaction struct {
	kv.Transaction
	reader
}

func (t transaction) Get(key []byte) ([]byte, error) { return t.reader.Get(key) }

func (t transaction) Range(s kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	return t.reader.Range(s, opt)
}

func (t transaction) ReadVersion() (int64, error) { return t.reader.ReadVersion() }
func (t transaction) Snapshot() kv.Reader         { return reader{t.Transaction.Snapshot(), t.prefix} }
func (t transaction) Set(key, value []byte)       { t.Transaction.Set(t.key(key), value) }
func (t transaction) Clear(key []byte)            { t.Transaction.Clear(t.key(key)) }
func (t transaction) ClearRange(s kv.Range)       { t.Transaction.ClearRange(t.span(s)) }
func (t transaction) Add(key []byte, delta int64) { t.Transaction.Add(t.key(key), delta) }
func (t transaction) AddReadConflict(s kv.Range)  { t.Transaction.AddReadConflict(t.span(s)) }
func (t transaction) AddWriteConflict(s kv.Range) { t.Transaction.AddWriteConflict(t.span(s)) }
