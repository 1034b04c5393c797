package sqlitekv_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
)

const benchRecords = 10_000

func benchKey(i int) []byte { return fmt.Appendf(nil, "tenants/%04d/sessions/%06d", i%100, i) }

// filled opens a store with benchRecords records of 300 bytes.
func filled(b *testing.B) *sqlitekv.DB {
	b.Helper()
	db := open(b, sqlitekv.Options{Dir: b.TempDir()})
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	value := bytes.Repeat([]byte("v"), 300)
	for i := 0; i < benchRecords; i += 1000 {
		if err := db.Transact(b.Context(), func(tr kv.Transaction) error {
			for j := range 1000 {
				tr.Set(benchKey(i+j), value)
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

// BenchmarkOpen opens an existing store, reads one key and closes: what a process's start pays.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	stored(b, dir)
	for b.Loop() {
		db := open(b, sqlitekv.Options{Dir: dir})
		if err := db.Read(b.Context(), func(r kv.Reader) error { _, err := r.Get([]byte("a")); return err }); err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGet reads one key per snapshot, and three as an authenticated request does.
func BenchmarkGet(b *testing.B) {
	for _, keys := range []int{1, 3} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			db := filled(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := db.Read(b.Context(), func(r kv.Reader) error {
					for j := range keys {
						if v, err := r.Get(benchKey((i + j) * 7919 % benchRecords)); err != nil || len(v) != 300 {
							return fmt.Errorf("%d bytes: %w", len(v), err)
						}
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTransactReadOnly is three reads in a transaction that writes nothing.
func BenchmarkTransactReadOnly(b *testing.B) {
	db := filled(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := db.Transact(b.Context(), func(tr kv.Transaction) error {
			for j := range 3 {
				if v, err := tr.Get(benchKey((i + j) * 7919 % benchRecords)); err != nil || len(v) != 300 {
					return fmt.Errorf("%d bytes: %w", len(v), err)
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRange reads a page of 50 records.
func BenchmarkRange(b *testing.B) {
	db := filled(b)
	page := kv.PrefixRange([]byte("tenants/0042/"))
	b.ReportAllocs()
	for b.Loop() {
		if err := db.Read(b.Context(), func(r kv.Reader) error {
			pairs, err := r.Range(page, kv.RangeOptions{Limit: 50})
			if len(pairs) != 50 {
				return fmt.Errorf("%d pairs: %w", len(pairs), err)
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreate makes records with an index entry durable, as a number of clients at once.
func BenchmarkCreate(b *testing.B) {
	for _, clients := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			db := filled(b)
			before := db.Stats()
			var next atomic.Int64
			value := bytes.Repeat([]byte("v"), 300)
			b.ResetTimer()
			var group sync.WaitGroup
			for range clients {
				group.Go(func() {
					for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
						if err := create(b.Context(), db, benchRecords+i, value); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.StopTimer()
			after := db.Stats()
			b.ReportMetric(float64(after.Syncs-before.Syncs)/float64(after.Commits-before.Commits), "syncs/commit")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// create writes a record that must be new, and its index entry.
func create(ctx context.Context, db kv.Database, i int, value []byte) error {
	return db.Transact(ctx, func(tr kv.Transaction) error {
		key := benchKey(i)
		if v, err := tr.Get(key); err != nil || v != nil {
			return fmt.Errorf("%s is there: %w", key, err)
		}
		tr.Set(key, value)
		tr.Set(fmt.Appendf(nil, "sessions/%06d", i), key)
		return nil
	})
}
