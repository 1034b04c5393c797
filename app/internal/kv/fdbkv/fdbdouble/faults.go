//go:build fdbdouble

package fdbdouble

// #include <stdlib.h>
// #include <fdb_double.h>
// #cgo LDFLAGS: -lfdb_c
import "C"

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"
)

// Cluster is one that tests can hurt.
type Cluster struct{ name string }

// New makes an empty cluster and returns it with its cluster file.
func New(tb testing.TB) (c Cluster, file string) {
	tb.Helper()
	c = Cluster{"double:" + rand.Text()}
	file = filepath.Join(tb.TempDir(), "fdb.cluster")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%s@127.0.0.1:4500\n", c.name), 0o600); err != nil {
		tb.Fatal(err)
	}
	return c, file
}

// Name is the cluster's description and ID.
func (c Cluster) Name() string { return c.name }

// Named is the cluster of that description and ID.
func Named(name string) Cluster { return Cluster{name} }

func (c Cluster) ask(f func(name *C.char)) {
	name := C.CString(c.name)
	defer C.free(unsafe.Pointer(name))
	f(name)
}

// SetAvailable makes the cluster answer, or leave whatever it is asked unanswered.
func (c Cluster) SetAvailable(available bool) {
	c.ask(func(name *C.char) { C.fdb_double_available(name, flag(available)) })
}

// SetLatency makes each answer take that long.
func (c Cluster) SetLatency(d time.Duration) {
	c.ask(func(name *C.char) { C.fdb_double_latency(name, C.int64_t(d.Microseconds())) })
}

// SetWindow makes transactions too old after d.
func (c Cluster) SetWindow(d time.Duration) {
	c.ask(func(name *C.char) { C.fdb_double_window(name, C.int64_t(d.Milliseconds())) })
}

// FailReads makes the next n reads fail with a code.
func (c Cluster) FailReads(n, code int) {
	c.ask(func(name *C.char) { C.fdb_double_fail_reads(name, C.int(n), C.int(code)) })
}

// FailCommits makes the next n commits fail with a code, or never answer with
// code 0, having taken effect or not.
func (c Cluster) FailCommits(n, code int, committed bool) {
	c.ask(func(name *C.char) { C.fdb_double_fail_commits(name, C.int(n), C.int(code), flag(committed)) })
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
