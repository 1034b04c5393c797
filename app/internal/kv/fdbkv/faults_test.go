//go:build fdb && fdbdouble

package fdbkv_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/fdbkv"
	"coditect.ai/platform/app/internal/kv/fdbkv/fdbdouble"
)

// patience bounds what must not hang, on a busy machine.
const patience = time.Minute

// open makes a cluster of the test's own. Zero options are those of a test.
func open(t *testing.T, opt fdbkv.Options) (*fdbkv.DB, fdbdouble.Cluster) {
	t.Helper()
	cluster, file := fdbdouble.New(t)
	opt.ClusterFile = file
	if opt.Timeout == 0 {
		opt.Timeout = time.Minute
	}
	db := openAt(t, opt)
	t.Cleanup(func() {
		cluster.SetAvailable(true)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, cluster
}

func increment(tr kv.Transaction) error {
	v, err := tr.Get([]byte("n"))
	if err != nil {
		return err
	}
	tr.Set([]byte("n"), kv.CounterValue(kv.Counter(v)+1))
	return nil
}

func counter(t *testing.T, db *fdbkv.DB) (n int64) {
	t.Helper()
	if err := db.Read(t.Context(), func(r kv.Reader) error {
		v, err := r.Get([]byte("n"))
		n = kv.Counter(v)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// What each error of a commit becomes, once and for as long as it lasts.
func TestCommitFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		code      int
		committed bool
		once      error // for one such commit; nil is retried with success
		always    error // when every commit ends so
	}{
		{"conflict", 1020, false, nil, kv.ErrConflict},
		{"too old", 1007, false, nil, kv.ErrTooOld},
		{"future version", 1009, false, nil, kv.ErrUnavailable},
		{"database locked", 1038, false, nil, kv.ErrUnavailable},
		{"unknown, lost", 1021, false, nil, kv.ErrCommitUnknown},
		{"unknown, committed", 1021, true, nil, kv.ErrCommitUnknown},
		{"cluster replaced, lost", 1039, false, nil, kv.ErrCommitUnknown},
		{"cluster replaced, committed", 1039, true, nil, kv.ErrCommitUnknown},
		{"timed out, lost", 1031, false, kv.ErrCommitUnknown, kv.ErrCommitUnknown},
		{"timed out, committed", 1031, true, kv.ErrCommitUnknown, kv.ErrCommitUnknown},
		{"too large", 2101, false, kv.ErrTooLarge, kv.ErrTooLarge},
		{"broken client", 4100, false, kv.ErrCommitUnknown, kv.ErrCommitUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const retries = 3
			db, cluster := open(t, fdbkv.Options{MaxRetries: retries, MaxRetryDelay: time.Millisecond})
			cluster.FailCommits(1, tt.code, tt.committed)
			ran := 0
			err := db.Transact(t.Context(), func(tr kv.Transaction) error {
				ran++
				return increment(tr)
			})
			if !errors.Is(err, tt.once) || (tt.once == nil) != (ran == 2) {
				t.Errorf("once: %v after %d runs, want %v", err, ran, tt.once)
			}
			want := int64(0)
			if tt.committed {
				want++
			}
			if tt.once == nil {
				want++
			}
			if got := counter(t, db); got != want {
				t.Errorf("once: the counter is %d, want %d", got, want)
			}
			ran = 0
			cluster.FailCommits(1000, tt.code, tt.committed)
			err = db.Transact(t.Context(), func(tr kv.Transaction) error {
				ran++
				return increment(tr)
			})
			if !errors.Is(err, tt.always) || (tt.once == nil) != (ran == retries+1) {
				t.Errorf("always: %v after %d runs, want %v", err, ran, tt.always)
			}
			cluster.FailCommits(0, 0, false)
			if err := db.Transact(t.Context(), increment); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// After an unknown outcome no other failure says that nothing was committed.
func TestUnknownOutlivesOtherFailures(t *testing.T) {
	t.Parallel()
	db, cluster := open(t, fdbkv.Options{MaxRetries: 3})
	fail := func(ctx context.Context, second func()) error {
		cluster.FailCommits(1, 1021, true)
		ran := 0
		return db.Transact(ctx, func(tr kv.Transaction) error {
			if ran++; ran == 2 {
				second()
			}
			return increment(tr)
		})
	}
	err := fail(t.Context(), func() { cluster.FailReads(1, 4100) })
	if !errors.Is(err, kv.ErrCommitUnknown) || errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("an unavailable database: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := fail(ctx, cancel); !errors.Is(err, kv.ErrCommitUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	own := errors.New("own")
	cluster.FailCommits(1, 1021, true)
	ran := 0
	if err := db.Transact(t.Context(), func(tr kv.Transaction) error {
		if ran++; ran == 2 {
			return own
		}
		return increment(tr)
	}); err != own { //nolint:errorlint // the very same error
		t.Errorf("an error of the function: %v", err)
	}
	if got := counter(t, db); got != 3 {
		t.Errorf("the counter is %d", got)
	}
}

func TestReadFaults(t *testing.T) {
	t.Parallel()
	db, cluster := open(t, fdbkv.Options{MaxRetries: 2, MaxRetryDelay: time.Millisecond})
	for _, tt := range []struct {
		code  int
		want  error
		tried int
	}{
		{1007, nil, 2},
		{1009, nil, 2},
		{1037, nil, 2},
		{1031, kv.ErrUnavailable, 1},
		{1510, kv.ErrUnavailable, 1},
	} {
		cluster.FailReads(1, tt.code)
		ran := 0
		err := db.Read(t.Context(), func(r kv.Reader) error {
			ran++
			_, err := r.Get([]byte("n"))
			return err
		})
		if !errors.Is(err, tt.want) || ran != tt.tried {
			t.Errorf("%d: %v after %d runs, want %v after %d", tt.code, err, ran, tt.want, tt.tried)
		}
	}
	if s := db.Stats(); s.Retries != 3 || s.Failures != 2 {
		t.Errorf("%+v", s)
	}
}

// A cluster that does not answer keeps nobody longer than told, and is as before when it answers again.
func TestUnreachableCluster(t *testing.T) {
	t.Parallel()
	db, cluster := open(t, fdbkv.Options{Timeout: 200 * time.Millisecond})
	other := openAt(t, fdbkv.Options{ClusterFile: fileOf(t, cluster), Timeout: time.Minute})
	cluster.SetAvailable(false)
	start := time.Now()
	if err := db.Transact(t.Context(), increment); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("reading: %v", err)
	}
	if err := db.Transact(t.Context(), func(tr kv.Transaction) error { tr.Set([]byte("blind"), nil); return nil }); !errors.Is(err, kv.ErrCommitUnknown) {
		t.Errorf("committing: %v", err)
	}
	// Contexts end what the timeout would still let wait.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := other.Transact(ctx, increment); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kv.ErrCommitUnknown) {
		t.Errorf("reading with a deadline: %v", err)
	}
	if err := calledOff(t, func(ctx context.Context) error {
		return other.Transact(ctx, func(tr kv.Transaction) error { tr.Set([]byte("n"), nil); return nil })
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("committing with a cancel: %v", err)
	}
	if took := time.Since(start); took > patience {
		t.Errorf("it took %v", took)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- other.Transact(t.Context(), increment) }() // ends when the cluster answers
	time.Sleep(20 * time.Millisecond)                                 // so that it most likely waits already
	cluster.SetAvailable(true)
	if err := <-waiting; err != nil {
		t.Errorf("who waited: %v", err)
	}
	if got := counter(t, other); got != 1 {
		t.Errorf("the counter is %d: a transaction that was given up has taken effect", got)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// calledOff runs f under a context that is cancelled, until it is so in the
// middle of a commit: on a busy machine the first may be before.
func calledOff(t *testing.T, f func(context.Context) error) error {
	t.Helper()
	for start := time.Now(); ; {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		err := f(ctx)
		cancel()
		if err == nil || errors.Is(err, kv.ErrCommitUnknown) {
			return err
		}
		if time.Since(start) > patience {
			t.Fatalf("never in the middle of a commit: %v", err)
		}
	}
}

// fileOf writes another cluster file of the same cluster.
func fileOf(t *testing.T, c fdbdouble.Cluster) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "other.cluster")
	if err := os.WriteFile(file, []byte("# a comment\n"+c.Name()+"@[::1]:4500,localhost:4501:tls\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A commit that never answers ends with the context, and says that it may have taken effect.
func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	db, cluster := open(t, fdbkv.Options{})
	for _, committed := range []bool{false, true} {
		cluster.FailCommits(1, 0, committed)
		if err := calledOff(t, func(ctx context.Context) error {
			return db.Transact(ctx, func(tr kv.Transaction) error { tr.Add([]byte("n"), 1); return nil })
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("committed %t: %v", committed, err)
		}
	}
	if got := counter(t, db); got != 1 {
		t.Errorf("the counter is %d", got)
	}
}

func TestSlowCluster(t *testing.T) {
	t.Parallel()
	db, cluster := open(t, fdbkv.Options{})
	cluster.SetLatency(20 * time.Millisecond)
	for range 3 {
		if err := db.Transact(t.Context(), increment); err != nil {
			t.Fatal(err)
		}
	}
	if got := counter(t, db); got != 3 {
		t.Errorf("the counter is %d", got)
	}
}

// Contexts leave no goroutine behind, whichever way a transaction ends.
func TestNoGoroutineIsLeft(t *testing.T) { // not in parallel: it counts goroutines
	db, cluster := open(t, fdbkv.Options{Timeout: 20 * time.Millisecond})
	if err := db.Transact(t.Context(), increment); err != nil { // whatever starts with the first
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%5)*time.Millisecond)
		cluster.SetAvailable(i%2 == 0)
		_ = db.Transact(ctx, increment)
		cancel()
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// Open tells what is wrong with a cluster file, and that it may be tried again.
func TestClusterFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fdb.cluster")
	for _, tt := range []struct{ text, want string }{
		{"", "no such file"},
		{"\n", "is not of the form"},
		{"description@127.0.0.1:4500", "is not of the form"},
		{"a:b@127.0.0.1", "missing port"},
		{"a:b@127.0.0.1:4500,host", "missing port"},
		{"a:b@db-0.cluster.invalid:4500,db-1.cluster.invalid:4500:tls", "no coordinator's name has an address"},
	} {
		if tt.text != "" {
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := fdbkv.Open(t.Context(), fdbkv.Options{ClusterFile: file}); !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
	if err := os.WriteFile(file, []byte("later:b@db-0.cluster.invalid:4500,127.0.0.1:4500\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := counter(t, openAt(t, fdbkv.Options{ClusterFile: file})); got != 0 {
		t.Error(got)
	}
}

func TestOptionsOutOfRange(t *testing.T) {
	t.Parallel()
	_, file := fdbdouble.New(t)
	for name, opt := range map[string]fdbkv.Options{
		"no cluster file":   {},
		"API version":       {ClusterFile: file, Client: fdbkv.Client{APIVersion: 720}},
		"another client":    {ClusterFile: file, Client: fdbkv.Client{APIVersion: 710}},
		"another directory": {ClusterFile: file, Client: fdbkv.Client{ExternalClientDir: t.TempDir()}},
		"timeout":           {ClusterFile: file, Timeout: time.Microsecond},
		"size":              {ClusterFile: file, SizeLimit: kv.MaxTransactionSize + 1},
	} {
		openAt(t, fdbkv.Options{ClusterFile: file}) // the process has its client
		if _, err := fdbkv.Open(t.Context(), opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSizeLimit(t *testing.T) {
	t.Parallel()
	db, _ := open(t, fdbkv.Options{SizeLimit: 1000})
	if err := db.Transact(t.Context(), func(tr kv.Transaction) error { tr.Set([]byte("k"), make([]byte, 1000)); return nil }); !errors.Is(err, kv.ErrTooLarge) {
		t.Error(err)
	}
}
