//go:build fdb && fdbdouble

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/kv/fdbkv/fdbdouble"
)

// within is how long a busy machine may take; the service looks at its store every few seconds.
const within = time.Minute

func onFoundationDB(dir, clusterFile string) []string {
	return settings(dir, contract.EnvStoreEngine+"="+contract.EngineFoundationDB, contract.EnvClusterFile+"="+clusterFile)
}

// A cluster file that is missing, or whose coordinators have no address, neither
// ends the process nor keeps it from answering /health; once it names a
// cluster the service is ready.
func TestServesWithoutFoundationDBAndRecovers(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no cluster file":      "",
		"names without result": "double:names@db-0.cluster.invalid:4500,db-1.cluster.invalid:4500\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "fdb.cluster")
			if text != "" {
				must(t, os.WriteFile(file, []byte(text), 0o600))
			}
			c := serveChild(t, onFoundationDB(dir, file))
			waitLog(t, c.log, `"message":"not ready"`, 1)
			wantStatus(t, c.url, "/health", http.StatusOK)
			wantStatus(t, c.url, "/ready", http.StatusServiceUnavailable)
			wantStatus(t, c.url, "/sessions", http.StatusServiceUnavailable)
			must(t, os.WriteFile(file, []byte("double:later@127.0.0.1:4500\n"), 0o600))
			c.waitReady()
			if c.register("later@example.org") == "" {
				t.Fatal("no token")
			}
			waitLog(t, c.log, `"message":"ready again"`, 1)
		})
	}
}

// A cluster that does not answer, from the start or later: not ready, the cause
// in the log once a minute, ready again by itself; requests end in time.
func TestOutageOfFoundationDB(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for looks at the store")
	}
	t.Parallel()
	cluster, file := fdbdouble.New(t)
	cluster.SetAvailable(false)
	cfg, _, err := config.Load(onFoundationDB(t.TempDir(), file)[2:])
	must(t, err)
	keys, err := loadKeys(cfg)
	must(t, err)
	var logs sharedBuffer
	p := newProcess(cfg, keys, &logs)
	var ahead atomic.Int64 // minutes
	p.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * time.Minute) }
	must(t, p.start(t.Context()))
	t.Cleanup(func() {
		cluster.SetAvailable(true)
		if err := p.drain(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	url := "http://" + p.public.socket.Addr().String() + contract.BasePath

	waitLog(t, logs.String, `"message":"not ready"`, 1)
	wantStatus(t, url, "/health", http.StatusOK)
	wantStatus(t, url, "/ready", http.StatusServiceUnavailable)
	ahead.Add(1)
	waitLog(t, logs.String, `"message":"not ready"`, 2)
	cluster.SetAvailable(true)
	waitLog(t, logs.String, `"message":"ready again"`, 1)
	eventuallyReady(t, url)
	status, body, err := call(t.Context(), http.MethodPost, url+"/auth/register", "", registration("outage@example.org"))
	must(t, err)
	if status != http.StatusCreated {
		t.Fatalf("register: %d %s", status, body)
	}

	cluster.SetAvailable(false)
	start := time.Now()
	status, body, err = call(t.Context(), http.MethodPost, url+"/auth/login", "", fmt.Sprintf(`{"email":"outage@example.org","password":%q}`, password))
	must(t, err)
	if took := time.Since(start); status != http.StatusServiceUnavailable || took > within {
		t.Errorf("login in an outage: %d %s after %v", status, body, took)
	}
	wantStatus(t, url, "/health", http.StatusOK)
	waitLog(t, logs.String, `"message":"not ready"`, 3)
	cluster.SetAvailable(true)
	waitLog(t, logs.String, `"message":"ready again"`, 2)
	eventuallyReady(t, url)
}

func wantStatus(t *testing.T, url, path string, want int) {
	t.Helper()
	status, body, err := call(t.Context(), http.MethodGet, url+path, "", "")
	must(t, err)
	if status != want {
		t.Fatalf("%s: %d %s, want %d", path, status, body, want)
	}
}

// eventuallyReady allows for an answer from before the recovery.
func eventuallyReady(t *testing.T, url string) {
	t.Helper()
	eventually(t, func() bool {
		status, _, err := call(t.Context(), http.MethodGet, url+"/ready", "", "")
		return err == nil && status == http.StatusOK
	})
}

// waitLog waits until text is in the log n times.
func waitLog(t *testing.T, log func() string, text string, n int) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		got := strings.Count(log(), text)
		if got >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %d times in the log, not %d:\n%s", text, got, n, log())
		}
	}
}

// sharedBuffer is a log that a test reads while it is written.
type sharedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *sharedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *sharedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
