package sqlitekv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

func openStore(t *testing.T, opt Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// write sets a key to a value of n bytes.
func write(ctx context.Context, db *DB, key string, n int) error {
	return db.Transact(ctx, func(tr kv.Transaction) error { tr.Set([]byte(key), make([]byte, n)); return nil })
}

// writeUntilFull writes records until one is refused, and returns how many were acknowledged.
func writeUntilFull(t *testing.T, db *DB) int {
	t.Helper()
	for n := range 1000 {
		if err := write(t.Context(), db, fmt.Sprintf("record %03d", n), 50_000); err != nil {
			if !errors.Is(err, kv.ErrUnavailable) {
				t.Fatalf("a full disk: %v, want ErrUnavailable", err)
			}
			return n
		}
	}
	t.Fatal("the disk did not fill up")
	return 0
}

// wantRecords fails the test unless exactly the first n records are there.
func wantRecords(t *testing.T, db *DB, n int) {
	t.Helper()
	if err := db.Read(t.Context(), func(r kv.Reader) error {
		pairs, err := r.Range(kv.PrefixRange([]byte("record ")), kv.RangeOptions{})
		if len(pairs) != n {
			t.Errorf("%d records are there, %d were acknowledged", len(pairs), n)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestFullDatabase(t *testing.T) {
	db := openStore(t, Options{Dir: t.TempDir()})
	if _, err := db.writer.conn.once("PRAGMA max_page_count = 300"); err != nil {
		t.Fatal(err)
	}
	n := writeUntilFull(t, db)
	wantRecords(t, db, n)
	if err := db.Transact(t.Context(), func(tr kv.Transaction) error { tr.Clear([]byte("record 000")); return nil }); err != nil {
		t.Errorf("making room: %v", err)
	}
	if err := write(t.Context(), db, "record 000", 50_000); err != nil {
		t.Errorf("with room again: %v", err)
	}
	wantRecords(t, db, n)
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	db := openStore(t, Options{Dir: dir})
	n := writeUntilFull(t, db)
	if n == 0 {
		t.Fatal("nothing fitted")
	}
	wantRecords(t, db, n)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), db, fmt.Sprintf("record %03d", n), 50_000); err != nil {
		t.Errorf("with space again: %v", err)
	}
	wantRecords(t, db, n+1)
}

// TestHungNeighbour has another process hold the writers' lock.
func TestHungNeighbour(t *testing.T) {
	dir := t.TempDir()
	db := openStore(t, Options{Dir: dir, MaxAge: 2 * time.Second})
	neighbour, err := openLock(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	if err := neighbour.lock(nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := write(ctx, db, "a", 1); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kv.ErrCommitUnknown) {
		t.Errorf("with a deadline: %v", err)
	}
	if err := write(t.Context(), db, "b", 1); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("without a deadline: %v", err)
	}
	wantRecords(t, db, 0) // readers do not wait
	if err := neighbour.close(); err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), db, "c", 1); err != nil {
		t.Errorf("after the neighbour left: %v", err)
	}
	if err := db.Read(t.Context(), func(r kv.Reader) error {
		pairs, err := r.Range(kv.Range{End: []byte{0xFF}}, kv.RangeOptions{})
		if len(pairs) != 1 {
			t.Errorf("%d pairs, want only the acknowledged one", len(pairs))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestCloseBesideHungNeighbour closes a store whose writer waits for a lock that it will not get.
func TestCloseBesideHungNeighbour(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), Options{Dir: dir, MaxAge: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	neighbour, err := openLock(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	if err := neighbour.lock(nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = neighbour.close() }()
	if err := write(t.Context(), db, "a", 1); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("close hangs")
	}
}

func TestOpenBesideHungNeighbour(t *testing.T) {
	dir := t.TempDir()
	neighbour, err := openLock(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	if err := neighbour.lock(nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = neighbour.close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if db, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", db, err)
	}
}

// TestNeighbourHungInASnapshot has another process stop in the middle of a
// read: the log cannot start over, and waiting for that again and again would
// stop every writer.
func TestNeighbourHungInASnapshot(t *testing.T) {
	dir := t.TempDir()
	db := openStore(t, Options{Dir: dir})
	neighbour, err := openConn(filepath.Join(dir, fileName), readerCacheKiB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := neighbour.once("BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := neighbour.version(); err != nil {
		t.Fatal(err)
	}
	db.writer.conn.SetBusyTimeout(time.Millisecond)
	db.writer.logLimit = 1
	step := func(n int) {
		if err := db.Transact(t.Context(), func(tr kv.Transaction) error {
			for i := range walStepBytes/kv.MaxValueSize + 1 {
				tr.Set(fmt.Appendf(nil, "record %d/%d", n, i), make([]byte, kv.MaxValueSize))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	const steps = 16
	for n := range steps {
		step(n)
	}
	if err := write(t.Context(), db, "last", 1); err != nil { // after it the writer is done with the steps
		t.Fatal(err)
	}
	if waits := int64(db.Stats().Checkpoints) - steps; waits < 2 || waits > steps/2 {
		t.Errorf("in %d steps the writer waited %d times for a reader that never leaves", steps, waits)
	}
	if err := neighbour.Close(); err != nil {
		t.Fatal(err)
	}
	step(steps)
	step(steps + 1)
	if info, err := os.Stat(filepath.Join(dir, fileName+"-wal")); err != nil || info.Size() > walKeepBytes {
		t.Errorf("the neighbour left and the log still is %v, %v", info, err)
	}
}

// submit hands the writer a transaction that read nothing but what never was, at version.
func submit(db *DB, version int64, key string) error {
	w := &writes{}
	w.set([]byte(key), nil)
	r := &request{
		version: version,
		reads:   []kv.Range{kv.KeyRange([]byte("never written"))},
		writes:  w,
		wrote:   w.conflicts(nil),
		done:    make(chan error, 1),
	}
	db.writer.queue <- r
	return <-r.done
}

// TestTrimmedLog commits so often that the log of commits is trimmed under another handle.
func TestTrimmedLog(t *testing.T) {
	dir := t.TempDir()
	db, busy := openStore(t, Options{Dir: dir}), openStore(t, Options{Dir: dir})
	busy.writer.maxAge = -logMargin // everything but the latest commit may go at once
	if err := submit(db, 0, "first"); err != nil {
		t.Fatal(err)
	}
	const commits = 2 * trimEvery
	for i := range int64(commits) {
		if err := submit(busy, i+1, strconv.FormatInt(i, 10)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := openConn(filepath.Join(dir, fileName), readerCacheKiB)
	if err != nil {
		t.Fatal(err)
	}
	left, err := c.once("SELECT count(*) FROM commits")
	if err := errors.Join(err, c.Close()); err != nil || left > trimEvery {
		t.Errorf("%d of %d commits are left in the log: %v", left, commits, err)
	}
	// What db knows of the log ends before what is left of it begins.
	if err := submit(db, 1, "old"); !errors.Is(err, kv.ErrTooOld) {
		t.Errorf("a transaction older than the log: %v, want ErrTooOld", err)
	}
	if err := submit(db, 1+commits, "fresh"); err != nil {
		t.Errorf("a fresh transaction: %v", err)
	}
}
