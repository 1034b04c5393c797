// Package metricstest runs a real Prometheus for tests, and what it scrapes.
package metricstest

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"coditect.ai/platform/app/contract"
)

// Interval is that of the scrapes.
const Interval = 200 * time.Millisecond

// patience is how long what is waited for may take on a busy machine.
const patience = time.Minute

// Binary returns Prometheus' executable, or skips the test where there is none.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		tb.Skip("there is no Prometheus on PATH: install Debian's package prometheus, or `make prometheus`")
	}
	return path
}

// Start runs a Prometheus that scrapes the processes, and returns its address. It ends with the test.
func Start(tb testing.TB, processes ...*Process) string {
	tb.Helper()
	binary, dir := Binary(tb), tb.TempDir()
	var targets []map[string]any
	for _, p := range processes {
		targets = append(targets, map[string]any{"targets": []string{p.address}, "labels": p.labels})
	}
	config, err := yaml.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": Interval.String(), "scrape_timeout": Interval.String()},
		"scrape_configs": []any{map[string]any{"job_name": "pods", "static_configs": targets}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		tb.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		tb.Fatal(err)
	}
	output := &bytes.Buffer{}
	cmd := exec.CommandContext(tb.Context(), binary, "--config.file", path, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+address+"/-/ready", nil)
		if err != nil {
			tb.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return "http://" + address
			}
		}
		select {
		case <-ended:
			tb.Fatalf("Prometheus ended:\n%s", output)
		default:
		}
		if time.Now().After(deadline) {
			tb.Fatal("Prometheus does not become ready")
		}
	}
}

// Process is a process of the service as Prometheus sees it.
type Process struct {
	address string
	labels  map[string]string
	slot    string
	server  *httptest.Server

	mu      sync.Mutex
	began   time.Time
	answers map[answer]float64
	took    map[float64]float64 // observations by the bucket's bound
}

type answer struct {
	route  string
	status int
}

// buckets are bounds of the service's own histogram, in seconds.
var buckets = []float64{.1, .25, .5, 1, 2.5}

// Run starts a process in the namespace, whose pod is of the slot, as is what it tells unless TellSlot changes that.
func Run(tb testing.TB, namespace, slot, pod string) *Process {
	tb.Helper()
	p := &Process{slot: slot, labels: map[string]string{
		"namespace": namespace, "pod": pod, "instance": pod + ":internal", "pod_slot": slot,
	}}
	p.Restart()
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(p.metrics())
	}))
	tb.Cleanup(p.server.Close)
	p.address = strings.TrimPrefix(p.server.URL, "http://")
	return p
}

// Stop ends the process.
func (p *Process) Stop() { p.server.Close() }

// Restart sets everything that is counted to what a new process has: answered probes.
func (p *Process) Restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.took = time.Now(), map[float64]float64{}
	p.answers = map[answer]float64{{contract.ReadyPath, 200}: 1, {contract.HealthPath, 503}: 7}
}

// TellSlot makes the process tell another slot than its pod's.
func (p *Process) TellSlot(slot string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slot = slot
}

// Answer counts n requests with the status, each of which took that long.
func (p *Process) Answer(n float64, status int, took time.Duration) {
	p.Count(n, status)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took[took.Seconds()] += n
}

// Count counts n requests with the status, and times none of them.
func (p *Process) Count(n float64, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[answer{"/api/v5/sessions", status}] += n
}

func (p *Process) metrics() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := &bytes.Buffer{}
	fmt.Fprintf(text, "process_start_time_seconds %f\n", float64(p.began.UnixMilli())/1000)
	for a, n := range p.answers {
		fmt.Fprintf(text, "%s{slot=%q,route=%q,method=\"GET\",status=\"%d\"} %g\n", contract.MetricRequests, p.slot, a.route, a.status, n)
	}
	if len(p.took) == 0 {
		return text.Bytes()
	}
	line := func(part, le string, n float64) {
		fmt.Fprintf(text, "%s%s{slot=%q,route=\"/api/v5/sessions\",method=\"GET\"%s} %g\n", contract.MetricRequestSeconds, part, p.slot, le, n)
	}
	all := 0.0
	for n := range maps.Values(p.took) {
		all += n
	}
	for _, bound := range buckets {
		below := 0.0
		for _, took := range slices.Sorted(maps.Keys(p.took)) {
			if took <= bound {
				below += p.took[took]
			}
		}
		line("_bucket", fmt.Sprintf(",le=\"%g\"", bound), below)
	}
	line("_bucket", `,le="+Inf"`, all)
	line("_count", "", all)
	return text.Bytes()
}
