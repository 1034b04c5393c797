package enginebench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// records is the number of records of a filled database.
const records = 20_000

// startVariable makes the test binary open one engine, read a key and exit, to time a start.
const startVariable = "ENGINEBENCH_START"

func TestMain(m *testing.M) {
	name := os.Getenv(startVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	for _, e := range engines {
		if e.name != name {
			continue
		}
		c, err := e.open(os.Args[1])
		if err == nil {
			_, err = c.get(key(1))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func key(i int) []byte { return fmt.Appendf(nil, "tenants/%06d/sessions/%06d", i%100, i) }

// each runs f as a sub-benchmark of every engine, on a filled database.
func each(b *testing.B, f func(b *testing.B, c conn)) {
	b.Helper()
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			c := filled(b, e.open, filepath.Join(b.TempDir(), "kv.db"))
			b.ReportAllocs()
			b.ResetTimer()
			f(b, c)
		})
	}
}

func filled(b *testing.B, open opener, path string) conn {
	b.Helper()
	c, err := open(path)
	check(b, err)
	b.Cleanup(func() { check(b, c.Close()) })
	value := make([]byte, 300)
	check(b, c.exec(lock))
	for i := range records {
		check(b, c.exec(put, key(i), value))
	}
	check(b, c.exec(commit))
	return c
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGet reads one key inside an open snapshot.
func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, c conn) {
		check(b, c.exec(begin))
		for i := range b.N {
			if v, err := c.get(key(i * 7919 % records)); err != nil || len(v) != 300 {
				b.Fatal(len(v), err)
			}
		}
		b.StopTimer()
		check(b, c.exec(commit))
	})
}

// BenchmarkSnapshot opens a snapshot, reads three keys and ends it: the store's part of an authenticated request.
func BenchmarkSnapshot(b *testing.B) {
	each(b, func(b *testing.B, c conn) {
		for i := range b.N {
			check(b, c.exec(begin))
			for j := range 3 {
				if v, err := c.get(key((i + j*31) * 7919 % records)); err != nil || len(v) != 300 {
					b.Fatal(len(v), err)
				}
			}
			check(b, c.exec(commit))
		}
	})
}

// BenchmarkScan reads a page of pairs in its own snapshot.
func BenchmarkScan(b *testing.B) {
	each(b, func(b *testing.B, c conn) {
		for range b.N {
			if n, err := c.scan([]byte("tenants/000042/"), []byte("tenants/0000420")); err != nil || n < pageSize*300 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkCommit commits one record durably.
func BenchmarkCommit(b *testing.B) {
	each(b, func(b *testing.B, c conn) {
		value := make([]byte, 300)
		for i := range b.N {
			check(b, c.exec(lock))
			check(b, c.exec(put, key(records+i), value))
			check(b, c.exec(commit))
		}
	})
}

// BenchmarkCommitBatch commits a hundred records with one sync.
func BenchmarkCommitBatch(b *testing.B) {
	each(b, func(b *testing.B, c conn) {
		value := make([]byte, 300)
		for i := range b.N {
			check(b, c.exec(lock))
			for j := range 100 {
				check(b, c.exec(put, key(records+i*100+j), value))
			}
			check(b, c.exec(commit))
		}
	})
}

// BenchmarkStart runs a process that opens the database and reads one key. The
// binary holds all engines, so what their packages do at start is in each figure
// alike and only the rest can be compared.
func BenchmarkStart(b *testing.B) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "kv.db")
			filled(b, e.open, path)
			self, err := os.Executable()
			check(b, err)
			b.ResetTimer()
			for range b.N {
				cmd := exec.CommandContext(b.Context(), self, path)
				cmd.Env = append(os.Environ(), startVariable+"="+e.name)
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		})
	}
}
