package sqlitekv_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
)

// statements runs SQL on the store's file behind the engine's back.
func statements(t *testing.T, dir string, queries ...string) {
	t.Helper()
	c, err := sqlite.OpenConn(filepath.Join(dir, "store.db"), sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range queries {
		if err := sqlitex.ExecuteTransient(c, query, nil); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeFile overwrites the store's file from offset on.
func writeFile(t *testing.T, dir string, offset int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "store.db"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, offset)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// stored makes a store with one record and closes it.
func stored(tb testing.TB, dir string) {
	tb.Helper()
	db := open(tb, sqlitekv.Options{Dir: dir})
	if err := db.Transact(tb.Context(), func(tr kv.Transaction) error { tr.Set([]byte("a"), []byte("a")); return nil }); err != nil {
		tb.Fatal(err)
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		want    string
	}{
		{"a file of something else", func(t *testing.T, dir string) {
			t.Helper()
			writeFile(t, dir, 0, []byte(strings.Repeat("not a database. ", 512)))
		}, "not a database of this service"},
		{"another service's database", func(t *testing.T, dir string) {
			t.Helper()
			statements(t, dir, "CREATE TABLE other (x)")
		}, "not a database of this service"},
		{"a damaged header", func(t *testing.T, dir string) {
			t.Helper()
			stored(t, dir)
			writeFile(t, dir, 0, make([]byte, 64))
		}, "damaged"},
		{"a newer format", func(t *testing.T, dir string) {
			t.Helper()
			stored(t, dir)
			statements(t, dir, "PRAGMA user_version = 2")
		}, "newer version of the service: its format is 2"},
		{"a directory that is a file", func(t *testing.T, dir string) {
			t.Helper()
			if err := errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "create the store's directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			c.prepare(t, dir)
			db, err := sqlitekv.Open(t.Context(), sqlitekv.Options{Dir: dir})
			if err == nil {
				_ = db.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, c.want)
			}
		})
	}
}

func TestDamagedPagesAreAnErrorNotACrash(t *testing.T) {
	dir := t.TempDir()
	stored(t, dir)
	writeFile(t, dir, 4096, []byte(strings.Repeat("damage! ", 4*512)))
	db, err := sqlitekv.Open(t.Context(), sqlitekv.Options{Dir: dir})
	if err != nil {
		return // noticed even earlier
	}
	defer func() { _ = db.Close() }()
	if err := db.Read(t.Context(), func(r kv.Reader) error { _, err := r.Get([]byte("a")); return err }); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	if err := db.Transact(t.Context(), func(tr kv.Transaction) error { tr.Set([]byte("b"), nil); return nil }); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	db := open(t, sqlitekv.Options{Dir: dir})
	defer func() { _ = db.Close() }()
	if err := db.Transact(t.Context(), func(tr kv.Transaction) error { tr.Set([]byte("a"), nil); return nil }); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 { // database, log, its index, lock
		t.Errorf("%d files in the store's directory: %v", len(entries), entries)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
}

// TestForgottenSnapshot has a transaction sit on the only reader for longer than it may live.
func TestForgottenSnapshot(t *testing.T) {
	db := open(t, sqlitekv.Options{Dir: t.TempDir(), MaxReaders: 1, MaxAge: 2 * time.Second})
	defer func() { _ = db.Close() }()
	read := func(r kv.Reader) error { _, err := r.Get([]byte("a")); return err }
	inner := errors.New("not run")
	err := db.Read(t.Context(), func(r kv.Reader) error {
		if err := read(r); err != nil {
			return err
		}
		inner = db.Read(t.Context(), read) // waits until the reader is taken back
		if err := read(r); !errors.Is(err, kv.ErrTooOld) {
			t.Errorf("the forgotten snapshot still reads: %v", err)
		}
		return nil
	})
	if inner != nil || err != nil {
		t.Errorf("inner %v, outer %v", inner, err)
	}
}

// TestPanicLeavesTheReader has a function die with the only reader in its hands.
func TestPanicLeavesTheReader(t *testing.T) {
	db := open(t, sqlitekv.Options{Dir: t.TempDir(), MaxReaders: 1})
	defer func() { _ = db.Close() }()
	for _, call := range []func(){
		func() {
			_ = db.Transact(t.Context(), func(tr kv.Transaction) error { _, err := tr.Get([]byte("a")); panic(err) })
		},
		func() {
			_ = db.Read(t.Context(), func(r kv.Reader) error { _, err := r.Get([]byte("a")); panic(err) })
		},
	} {
		func() {
			defer func() { _ = recover() }()
			call()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), kv.MaxTransactionAge/2)
		if err := db.Read(ctx, func(r kv.Reader) error { _, err := r.Get([]byte("a")); return err }); err != nil {
			t.Errorf("the next reader: %v", err)
		}
		cancel()
	}
}

// TestRemovedStoreAcknowledgesNothing takes the files from under an open
// handle: what it would write, nobody would ever find.
func TestRemovedStoreAcknowledgesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db := open(t, sqlitekv.Options{Dir: dir})
	defer func() { _ = db.Close() }()
	write := func(db kv.Database) error {
		return db.Transact(t.Context(), func(tr kv.Transaction) error { tr.Set([]byte("a"), []byte("a")); return nil })
	}
	if err := write(db); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := write(db); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("without a file: %v", err)
	}
	successor := open(t, sqlitekv.Options{Dir: dir})
	defer func() { _ = successor.Close() }()
	if err := write(db); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("with another file in its place: %v", err)
	}
	if err := write(successor); err != nil {
		t.Errorf("the new file: %v", err)
	}
}

// fillPages sets as many keys to values that no page held before: SQLite does
// not write what stays the same.
func fillPages(tb testing.TB, db kv.Database, keys, round byte) {
	tb.Helper()
	value := bytes.Repeat([]byte{round}, kv.MaxValueSize)
	if err := db.Transact(tb.Context(), func(tr kv.Transaction) error {
		for i := range keys {
			tr.Set([]byte{'k', i}, value)
		}
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
}

func logSize(tb testing.TB, dir string) int64 {
	tb.Helper()
	info, err := os.Stat(filepath.Join(dir, "store.db-wal"))
	if err != nil {
		tb.Fatal(err)
	}
	return info.Size()
}

// TestLogIsBounded writes far more than the write-ahead log may hold.
func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	db := open(t, sqlitekv.Options{Dir: dir})
	defer func() { _ = db.Close() }()
	largest := int64(0)
	for round := range byte(60) {
		fillPages(t, db, 10, round)
		largest = max(largest, logSize(t, dir))
	}
	if largest > 16<<20 {
		t.Errorf("60 MB of writes made the write-ahead log %d bytes long", largest)
	}
}

// TestLogIsBoundedOverShortLives has one handle after the other write less
// than makes it move the log, and leave it behind as a killed process does.
func TestLogIsBoundedOverShortLives(t *testing.T) {
	dir := t.TempDir()
	for round := range byte(30) {
		db := open(t, sqlitekv.Options{Dir: dir})
		defer func() { _ = db.Close() }() // not before: SQLite moves the log when the last handle closes
		fillPages(t, db, 20, round)
	}
	if size := logSize(t, dir); size > 16<<20 {
		t.Errorf("30 lives of 2 MB each made the write-ahead log %d bytes long", size)
	}
}
