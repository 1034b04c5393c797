package sqlitekv

import (
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// A long snapshot outlives the age of transactions, shows one moment however
// much is written meanwhile, and keeps no writer waiting, of any process.
func TestLongSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const age = 100 * time.Millisecond
	reader, db := openStore(t, Options{Dir: dir, MaxAge: age}), openStore(t, Options{Dir: dir})
	for _, key := range []string{"record 000", "record 001"} {
		if err := write(t.Context(), db, key, 10); err != nil {
			t.Fatal(err)
		}
	}
	if db.writer.longSnapshot() {
		t.Error("a writer sees a long snapshot where there is none")
	}
	if err := reader.Snapshot(t.Context(), func(r kv.Reader) error {
		for deadline := time.Now().Add(3 * age); time.Now().Before(deadline); {
			pairs, err := r.Range(kv.PrefixRange([]byte("record ")), kv.RangeOptions{})
			if err != nil || len(pairs) != 2 {
				t.Fatalf("%d records, %v", len(pairs), err)
			}
			if err := write(t.Context(), db, "record 002", 10); err != nil {
				t.Fatal(err)
			}
			time.Sleep(age / 10)
		}
		if !db.writer.longSnapshot() {
			t.Error("a writer does not see the snapshot, and would wait for it")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wantRecords(t, db, 3)
	if db.writer.longSnapshot() {
		t.Error("a writer sees a snapshot that has ended")
	}
}
