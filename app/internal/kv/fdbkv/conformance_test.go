//go:build fdb

package fdbkv_test

import (
	"context"
	"os"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/fdbkv"
	"coditect.ai/platform/app/internal/kv/kvtest"
)

// everything is each key that a test may write.
var everything = kv.Range{End: []byte{0xFF}}

// TestConformance needs a cluster of its own: the suite reads and clears the
// whole of it. One that holds anything is refused, unless FDB_TEST_CLEAR=1
// says that it may go.
func TestConformance(t *testing.T) {
	opt := fdbkv.Options{ClusterFile: os.Getenv("FDB_CLUSTER_FILE"), Timeout: time.Minute}
	if os.Getenv("FDB_TEST_CLEAR") != "1" {
		refuseData(t, openAt(t, opt))
	}
	kvtest.Run(t, kvtest.Engine{
		New: func(t *testing.T) func(*testing.T) kv.Database {
			t.Helper()
			clearAll(t, opt)
			t.Cleanup(func() { clearAll(t, opt) })
			return func(t *testing.T) kv.Database { t.Helper(); return openAt(t, opt) }
		},
		MaxAge: maxAge(t, opt.ClusterFile),
	})
}

func openAt(t *testing.T, opt fdbkv.Options) *fdbkv.DB {
	t.Helper()
	db, err := fdbkv.Open(context.Background(), opt) // also called when the test's own context is done
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func refuseData(t *testing.T, db *fdbkv.DB) {
	t.Helper()
	if err := db.Read(t.Context(), func(r kv.Reader) error {
		pairs, err := r.Range(everything, kv.RangeOptions{Limit: 1})
		if len(pairs) > 0 {
			t.Fatalf("the cluster holds data (first key %q); the suite needs an empty one, or FDB_TEST_CLEAR=1 to empty it", pairs[0].Key)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func clearAll(t *testing.T, opt fdbkv.Options) {
	t.Helper()
	if err := openAt(t, opt).Transact(context.Background(), func(tr kv.Transaction) error {
		tr.ClearRange(everything)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
