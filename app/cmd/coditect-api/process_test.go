package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/config"
)

// invoke runs a command line inside the test.
func invoke(t *testing.T, environ []string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), console{environ: environ, out: &stdout, err: &stderr}, args)
	return code, stdout.String(), stderr.String()
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args      []string
		code      int
		out, errs string
	}{
		{nil, exitUsage, "", "Usage: coditect-api"},
		{[]string{"help"}, exitOK, "serve", ""},
		{[]string{"nonsense"}, exitUsage, "", "Usage: coditect-api"},
		{[]string{"serve", "now"}, exitUsage, "", "serve takes 0 operands"},
		{[]string{"version", "-x"}, exitUsage, "", "flag provided but not defined"},
		{[]string{"version"}, exitOK, "engines: embedded", ""},
		{[]string{"config"}, exitOK, contract.EnvStoreDir, ""},
		{[]string{"config", "--markdown"}, exitOK, "| `" + contract.EnvJWTSecretFile + "` |", ""},
		{[]string{"keygen"}, exitUsage, "", "keygen takes 1 operand"},
	} {
		code, out, errs := invoke(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) {
			t.Errorf("%q: %d\n%s\n%s", tt.args, code, out, errs)
		}
	}
	_, out, _ := invoke(t, nil, "version", "--json")
	var b build
	must(t, json.Unmarshal([]byte(out), &b))
	if b.Service != contract.ServiceName || b.Version == "" || b.Commit == "" || !strings.HasPrefix(b.Go, "go") || len(b.Engines) == 0 {
		t.Errorf("%+v", b)
	}
}

// Every fault of the settings, and of the key file, is told at once.
func TestServeTellsEveryFault(t *testing.T) {
	t.Parallel()
	code, _, errs := invoke(t, []string{
		"CODITECT_LISTEN=nowhere", "CODITECT_SLOT=purple", "CODITECT_DRAIN_PAUSE=soon", "CODITECT_LISTN=x",
		contract.EnvJWTSecretFile + "=" + filepath.Join(t.TempDir(), "none"),
	}, "serve")
	if code != exitUsage {
		t.Fatal(code)
	}
	for _, want := range []string{"CODITECT_LISTEN", "CODITECT_SLOT", "CODITECT_DRAIN_PAUSE", "CODITECT_LISTN: no such setting", contract.EnvJWTSecretFile, "keygen"} {
		if !strings.Contains(errs, want) {
			t.Errorf("nothing about %s in:\n%s", want, errs)
		}
	}
}

func TestKeygen(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new", "key")
	if code, _, errs := invoke(t, nil, "keygen", file); code != exitOK {
		t.Fatal(errs)
	}
	first, err := os.ReadFile(file)
	must(t, err)
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 || len(first) < 44 {
		t.Fatalf("%v, %d bytes", info.Mode(), len(first))
	}
	if code, _, errs := invoke(t, nil, "keygen", file); code != exitFault || !strings.Contains(errs, "exists already") {
		t.Fatal(code, errs)
	}
	if code, _, errs := invoke(t, nil, "keygen", "--if-missing", file); code != exitOK {
		t.Fatal(errs)
	}
	second, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Fatal("the key was overwritten")
	}
	left, err := os.ReadDir(filepath.Dir(file))
	must(t, err)
	if len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestPortTakenIsOneSentence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := serveChild(t, settings(dir))
	address := strings.TrimSuffix(strings.TrimPrefix(first.url, "http://"), contract.BasePath)
	code, _, errs := invoke(t, append(settings(dir), contract.EnvListen+"="+address), "serve")
	if code != exitFault || !strings.Contains(errs, address+" is taken by another process") || strings.Count(errs, "\n") != 1 {
		t.Fatalf("%d: %s", code, errs)
	}
}

// A store that cannot be opened neither stops the process nor delays /health;
// the process says why it is not ready, and recovers by itself.
func TestServesWithoutItsStoreAndRecovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	obstacle := filepath.Join(dir, "store") // a file where the directory is to be
	must(t, os.WriteFile(obstacle, nil, 0o600))
	c := serveChild(t, settings(dir))
	want := func(path string, status int, text string) {
		t.Helper()
		got, body, err := call(t.Context(), http.MethodGet, c.url+path, "", "")
		must(t, err)
		if got != status || !strings.Contains(string(body), text) {
			t.Fatalf("%s: %d %s", path, got, body)
		}
	}
	want("/health", http.StatusOK, "healthy")
	want("/ready", http.StatusServiceUnavailable, `"code":"unavailable"`)
	want("/sessions", http.StatusServiceUnavailable, `"code":"unavailable"`)
	must(t, os.Remove(obstacle))
	c.waitReady()
	if c.register("later@example.org") == "" {
		t.Fatal("no token")
	}
	if log := c.log(); strings.Count(log, `"message":"not ready"`) != 1 || !strings.Contains(log, `"message":"ready again"`) {
		t.Fatal(log)
	}
}

// A neighbour that hangs with the store's lock in its hands is waited for, not in silence.
func TestTellsThatItWaitsForTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	lock, err := os.Create(filepath.Join(dir, "store", "store.lock"))
	must(t, err)
	must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	c := serveChild(t, settings(dir))
	eventually(t, func() bool { return strings.Contains(c.log(), "still opening the store") })
	must(t, lock.Close())
	c.waitReady()
}

// SIGTERM under load: not ready at once, every request that was sent before a
// load balancer turned away is answered, those that outlast the pause too, and
// the process leaves with 0 within its time.
func TestSIGTERMLosesNoRequest(t *testing.T) {
	t.Parallel()
	c := serveChild(t, settings(t.TempDir(), contract.EnvDrainPause+"=4s", contract.EnvShutdownGrace+"=1m", "CODITECT_REQUEST_TIMEOUT=1m"))
	c.waitReady()
	token := c.register("drain@example.org")
	slow, err := dial(t.Context(), c.url)
	must(t, err)
	late := message(http.MethodPost, c.url+"/sessions", token, `{"name":"late"}`)
	last := len(late) - 1 // held back until the pause is over
	_, err = slow.conn.Write(late[:last])
	must(t, err)
	var answered atomic.Int64
	var away atomic.Bool // the load balancer has seen that the process is not ready
	var clients sync.WaitGroup
	defer func() { away.Store(true); clients.Wait() }()
	for range 8 {
		clients.Go(func() {
			for !away.Load() && !t.Failed() {
				status, _, err := call(t.Context(), http.MethodPost, c.url+"/sessions", token, `{"name":"x"}`)
				if err != nil || status != http.StatusCreated {
					t.Errorf("%d %v", status, err)
				}
				answered.Add(1)
			}
		})
	}
	eventually(t, func() bool { return answered.Load() > 50 })
	must(t, c.cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, func() bool {
		status, _, err := call(t.Context(), http.MethodGet, c.url+"/ready", "", "")
		return err == nil && status == http.StatusServiceUnavailable
	})
	if status, _, err := call(t.Context(), http.MethodGet, c.url+"/health", "", ""); err != nil || status != http.StatusOK {
		t.Errorf("health while draining: %d %v", status, err)
	}
	away.Store(true)
	eventually(t, func() bool { // nobody listens any more
		w, err := dial(t.Context(), c.url)
		return err != nil || w.conn.Close() != nil
	})
	if status, err := slow.roundTrip(late[last:]); err != nil || status != http.StatusCreated {
		t.Errorf("the request that outlasted the pause: %d %v", status, err)
	}
	if err := c.exit(time.Minute); err != nil {
		t.Fatalf("left with %v:\n%s", err, c.log())
	}
}

func TestSecondSignalQuitsAtOnce(t *testing.T) {
	t.Parallel()
	c := serveChild(t, settings(t.TempDir(), contract.EnvDrainPause+"=1m"))
	must(t, c.cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, func() bool { return strings.Contains(c.log(), `"message":"draining"`) })
	must(t, c.cmd.Process.Signal(syscall.SIGINT))
	if err := c.exit(time.Minute); err == nil {
		t.Fatal("left with 0")
	}
}

func TestInternalListener(t *testing.T) {
	t.Parallel()
	internal := freeAddress(t)
	c := serveChild(t, settings(t.TempDir(), contract.EnvInternalListen+"="+internal, contract.EnvSlot+"=green"))
	c.waitReady()
	for path, text := range map[string]string{
		contract.MetricsPath:       contract.MetricRequests + `{method="GET",route="` + contract.ReadyPath + `",slot="green",status="200"}`,
		"/debug/build":             "coditect.ai/platform/app",
		"/debug/pprof/":            "goroutine",
		"/debug/pprof/cmdline":     "serve",
		"/debug/pprof/heap?seek=1": "",
	} {
		status, body, err := call(t.Context(), http.MethodGet, "http://"+internal+path, "", "")
		must(t, err)
		if status != http.StatusOK || !strings.Contains(string(body), text) {
			t.Errorf("%s: %d %.2000s", path, status, body)
		}
	}
	for _, path := range []string{contract.MetricsPath, "/debug/pprof/"} { // and never on the public one
		base := strings.TrimSuffix(c.url, contract.BasePath)
		if status, _, err := call(t.Context(), http.MethodGet, base+path, "", ""); err != nil || status != http.StatusNotFound {
			t.Errorf("%s on the public listener: %d %v", path, status, err)
		}
	}
}

// A store that is read and cannot be written is not ready, and is again once it can.
func TestNotReadyWhileTheStoreTakesNoWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := serveChild(t, settings(dir))
	c.waitReady()
	owner := c.register("ada@example.org")
	status := func(method, path string) int {
		status, _, err := call(t.Context(), method, c.url+path, owner, "")
		must(t, err)
		return status
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "store.db"))
	must(t, err)
	if len(files) != 1 {
		t.Fatal(files)
	}
	must(t, os.Rename(files[0], files[0]+".aside")) // which ends its writes, and not its reads
	if got := status(http.MethodPost, "/sessions"); got != http.StatusServiceUnavailable {
		t.Fatalf("writing: %d", got)
	}
	eventually(t, func() bool { return status(http.MethodGet, "/ready") == http.StatusServiceUnavailable })
	for path, want := range map[string]int{"/sessions": http.StatusOK, "/health": http.StatusOK} {
		if got := status(http.MethodGet, path); got != want {
			t.Errorf("%s: %d", path, got)
		}
	}
	must(t, os.Rename(files[0]+".aside", files[0]))
	eventually(t, func() bool { return status(http.MethodGet, "/ready") == http.StatusOK })
	if got := status(http.MethodPost, "/sessions"); got != http.StatusCreated {
		t.Errorf("writing again: %d", got)
	}
}

// A client that sends its request too slowly is hung up on.
func TestSlowHeadIsHungUpOn(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout")
	}
	t.Parallel()
	c := serveChild(t, settings(t.TempDir()))
	w, err := dial(t.Context(), c.url)
	must(t, err)
	_, err = fmt.Fprintf(w.conn, "GET %s HTTP/1.1\r\nHost: x\r\n", contract.HealthPath)
	must(t, err)
	must(t, w.conn.SetReadDeadline(time.Now().Add(2*headerTimeout)))
	resp, err := http.ReadResponse(bufio.NewReader(w.conn), nil)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatalf("answered %s", resp.Status)
	}
	if os.IsTimeout(err) {
		t.Fatal("still connected")
	}
}

// Every answer is the service's own, also to what asks about no path.
func TestOptionsOfNoPath(t *testing.T) {
	t.Parallel()
	c := serveChild(t, settings(t.TempDir()))
	w, err := dial(t.Context(), c.url)
	must(t, err)
	_, err = fmt.Fprint(w.conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	must(t, w.conn.SetReadDeadline(time.Now().Add(time.Minute)))
	resp, err := http.ReadResponse(bufio.NewReader(w.conn), nil)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusNotFound || resp.Header.Get(contract.HeaderRequestID) == "" || resp.Header.Get(contract.HeaderVersion) == "" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
}

// Whatever the settings allow, auth takes: a process that cannot start its
// rules would never get ready.
func TestAuthTakesWhatTheSettingsAllow(t *testing.T) {
	t.Parallel()
	keys, err := auth.ParseKeyring([]byte(auth.GenerateKey()))
	must(t, err)
	for _, environ := range [][]string{
		nil,
		{
			"CODITECT_ACCESS_TOKEN_TTL=1s", "CODITECT_REFRESH_TOKEN_TTL=1m", "CODITECT_LOGIN_TTL=1m", "CODITECT_REFRESH_GRACE=1s",
			"CODITECT_PASSWORD_HASH_SLOTS=1", "CODITECT_PASSWORD_HASH_MEMORY_KIB=8192", "CODITECT_PASSWORD_HASH_PASSES=1",
			"CODITECT_PASSWORD_HASH_QUEUE=1", "CODITECT_PASSWORD_HASH_WAIT=10ms",
		},
		{
			"CODITECT_ACCESS_TOKEN_TTL=24h", "CODITECT_REFRESH_TOKEN_TTL=8760h", "CODITECT_LOGIN_TTL=87600h", "CODITECT_REFRESH_GRACE=5m",
			"CODITECT_PASSWORD_HASH_SLOTS=64", "CODITECT_PASSWORD_HASH_MEMORY_KIB=262144", "CODITECT_PASSWORD_HASH_PASSES=16",
			"CODITECT_PASSWORD_HASH_QUEUE=65536", "CODITECT_PASSWORD_HASH_WAIT=30s",
		},
	} {
		cfg, _, err := config.Load(environ)
		must(t, err)
		if _, err := auth.New(authConfig(cfg, nil), nil, keys, time.Now); err != nil {
			t.Errorf("%q: %v", environ, err)
		}
	}
}

func TestCheckOfAStoreInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := serveChild(t, settings(dir))
	c.waitReady()
	c.register("check@example.org")
	code, out, errs := invoke(t, settings(dir)[2:], "check")
	if code != exitOK || !strings.Contains(out, "user") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
}

func eventually(t *testing.T, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !what(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("has not happened in a minute")
		}
	}
}
