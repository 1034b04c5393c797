package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
)

func TestLogLinesAreCloudLoggings(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelDebug, "blue")
	log.Debug("a")
	log.Info("b", slog.Group("g", slog.String("level", "kept"), slog.String("msg", "kept")))
	log.Warn("c")
	log.Error("d")
	var severities []string
	for text := range strings.Lines(out.String()) {
		var line struct {
			Severity string            `json:"severity"`
			Time     string            `json:"time"`
			Message  string            `json:"message"`
			Slot     string            `json:"slot"`
			Level    string            `json:"level"`
			Msg      string            `json:"msg"`
			G        map[string]string `json:"g"`
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if _, err := time.Parse(time.RFC3339Nano, line.Time); err != nil || line.Slot != "blue" || line.Message == "" || line.Level+line.Msg != "" {
			t.Errorf("%s", text)
		}
		if line.Message == "b" && (line.G["level"] != "kept" || line.G["msg"] != "kept") {
			t.Errorf("%s", text)
		}
		severities = append(severities, line.Severity)
	}
	if got := strings.Join(severities, " "); got != "DEBUG INFO WARNING ERROR" {
		t.Error(got)
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for given, attrs := range map[string]int{
		good: 2, strings.Replace(good, "00-", "01-", 1) + "-more": 2,
		"": 0, good[:54]: 0, strings.ToUpper(good): 0, strings.Replace(good, "-b7", "_b7", 1): 0, strings.Repeat("x", 55): 0,
		"00-" + strings.Repeat("\"", 32) + good[35:]: 0,
	} {
		if got := Trace(given); len(got) != attrs {
			t.Errorf("%q: %v", given, got)
		}
	}
}

func TestMetricsUnderTheContractsNames(t *testing.T) {
	t.Parallel()
	m := NewMetrics("1.2.3", "abc", "green")
	m.Begin()
	m.Begin()
	m.Done("/r", http.MethodGet, http.StatusOK, 20*time.Millisecond)
	m.Panicked()
	m.Gauge("one_gauge", "A gauge.", func() float64 { return 7 })
	m.Counter("one_total", "A counter.", func() float64 { return 8 })
	w := httptest.NewRecorder()
	InternalHandler(m).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, contract.MetricsPath, nil))
	text := w.Body.String()
	for _, line := range []string{
		contract.MetricRequests + `{method="GET",route="/r",slot="green",status="200"} 1`,
		contract.MetricRequestSeconds + `_bucket{method="GET",route="/r",slot="green",le="0.025"} 1`,
		contract.MetricRequestSeconds + `_bucket{method="GET",route="/r",slot="green",le="0.01"} 0`,
		contract.MetricInFlight + `{slot="green"} 1`,
		contract.MetricPanics + `{slot="green"} 1`,
		`one_gauge{slot="green"} 7`,
		`one_total{slot="green"} 8`,
		`coditect_build_info{commit="abc",go="go`,
		`go_goroutines `,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

func TestTransactionsAreCountedByKindAndOutcome(t *testing.T) {
	t.Parallel()
	m := NewMetrics("1.2.3", "abc", "green")
	var none *Tracer // off: metrics alone
	observe := none.Transactions(m, time.Now)
	for _, one := range []struct {
		kind, outcome string
		attempts      int
	}{{"write", "ok", 1}, {"write", "ok", 3}, {"write", "conflict", 5}, {"read", "refused", 1}} {
		ctx, done := observe(t.Context(), one.kind)
		if ctx != t.Context() {
			t.Error("another context")
		}
		done(one.attempts, one.outcome)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, contract.MetricsPath, nil))
	for _, line := range []string{
		`coditect_store_transactions_total{kind="write",outcome="ok",slot="green"} 2`,
		`coditect_store_transactions_total{kind="write",outcome="conflict",slot="green"} 1`,
		`coditect_store_transactions_total{kind="read",outcome="refused",slot="green"} 1`,
		`coditect_store_retries_total{kind="write",slot="green"} 6`,
		`coditect_store_transaction_duration_seconds_count{kind="write",slot="green"} 3`,
	} {
		if !strings.Contains(w.Body.String(), "\n"+line) {
			t.Errorf("no %s in\n%s", line, w.Body)
		}
	}
}

// A collector that is away costs requests nothing, and the process its goodbye no more than it allows.
func TestTracesAreBoundedWithoutACollector(t *testing.T) {
	t.Parallel()
	hangs := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer server.Close()
	defer close(hangs)
	tracer, err := NewTracer(TraceConfig{URL: server.URL, Share: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * traceQueue { // more than the queue has room for: none of them waits
		r := tracer.Request(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		tracer.Done(r, "/", http.MethodGet, "id", http.StatusOK)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tracer.Close(ctx); err == nil {
		t.Error("nothing was lost?")
	}
}
