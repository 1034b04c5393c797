package metrics_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/metrics"
	"coditect.ai/platform/infra/metrics/metricstest"
)

const (
	namespace = "shop"
	patience  = time.Minute
	// window is longer than the test: what a process ever did lies in it.
	window = 10 * time.Minute
)

func open(t *testing.T, o metrics.Options) *metrics.Prometheus {
	t.Helper()
	o.Namespace = namespace
	if o.Interval == 0 {
		o.Interval = metricstest.Interval
	}
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	p, err := metrics.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eventually asks until the sample is as wanted.
func eventually(t *testing.T, p *metrics.Prometheus, slot string, window time.Duration, what string, wanted func(metrics.Sample, error) bool) metrics.Sample {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		s, err := p.Sample(t.Context(), slot, window)
		if wanted(s, err) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: never; last %+v, %v", what, s, err)
		}
	}
}

// refused waits for ErrNoData with the words.
func refused(t *testing.T, p *metrics.Prometheus, slot string, window time.Duration, words string) {
	t.Helper()
	eventually(t, p, slot, window, "no data: "+words, func(_ metrics.Sample, err error) bool {
		return errors.Is(err, metrics.ErrNoData) && strings.Contains(err.Error(), words)
	})
}

func TestSampleCountsWhatSlotsAnswered(t *testing.T) {
	t.Parallel()
	blue, other := metricstest.Run(t, namespace, "blue", "blue-1"), metricstest.Run(t, namespace, "blue", "blue-2")
	green := metricstest.Run(t, namespace, "green", "green-1")
	elsewhere := metricstest.Run(t, "another", "blue", "blue-3")
	elsewhere.Answer(5000, 500, time.Second)
	blue.Answer(600, 200, 80*time.Millisecond)
	other.Answer(370, 201, 80*time.Millisecond)
	other.Answer(30, 503, 900*time.Millisecond)
	p := open(t, metrics.Options{Address: metricstest.Start(t, blue, other, green, elsewhere)})

	// All that a new process has counted when it is first scraped is counted.
	s := eventually(t, p, "blue", window, "1000 requests", func(s metrics.Sample, err error) bool { return err == nil && s.Requests == 1000 })
	if s.Errors != 30 || s.Targets != 2 || s.P99 <= 500*time.Millisecond || s.P99 > time.Second {
		t.Errorf("blue did %+v, want 30 errors, 2 targets and a p99 from 0.5 to 1 s", s)
	}
	// Probes are not requests, failed ones no errors; none is a number, not an absence.
	s = eventually(t, p, "green", window, "an idle slot", func(_ metrics.Sample, err error) bool { return err == nil })
	if s != (metrics.Sample{Targets: 1}) {
		t.Errorf("an idle slot did %+v", s)
	}
	// A kind of error that was never seen before.
	blue.Answer(20, 500, 2*time.Second)
	s = eventually(t, p, "blue", window, "1020 requests", func(s metrics.Sample, err error) bool { return err == nil && s.Requests == 1020 })
	if s.Errors != 50 || s.P99 <= time.Second {
		t.Errorf("blue did %+v, want 50 errors and a p99 above 1 s", s)
	}
}

func TestSampleEndsWithItsWindowAndSurvivesRestarts(t *testing.T) {
	t.Parallel()
	process := metricstest.Run(t, namespace, "blue", "blue-1")
	process.Answer(1e6, 200, 80*time.Millisecond)
	p := open(t, metrics.Options{Address: metricstest.Start(t, process)})
	const short = 3 * time.Second
	eventually(t, p, "blue", short, "what was long ago is not counted", func(s metrics.Sample, err error) bool { return err == nil && s.Requests == 0 })
	process.Restart()
	process.Answer(100, 200, 80*time.Millisecond)
	process.Answer(50, 500, 80*time.Millisecond)
	// Extrapolation makes it an estimate, and never one that is far off.
	s := eventually(t, p, "blue", short, "the new process' requests", func(s metrics.Sample, err error) bool {
		if err == nil && s.Requests > 400 {
			t.Fatalf("a restart counts as %+v", s)
		}
		return err == nil && s.Requests >= 140 && s.Errors >= 45
	})
	if s.P99 > 100*time.Millisecond {
		t.Errorf("p99 is %s", s.P99)
	}
}

func TestSampleIsNeverMadeUp(t *testing.T) {
	t.Parallel()
	whole, dying := metricstest.Run(t, namespace, "half", "half-1"), metricstest.Run(t, namespace, "half", "half-2")
	untimed := metricstest.Run(t, namespace, "untimed", "untimed-1")
	untimed.Answer(100, 200, time.Second)
	untimed.Count(900, 200)
	impossible := metricstest.Run(t, namespace, "impossible", "impossible-1")
	impossible.Answer(math.NaN(), 200, time.Second)
	lying := metricstest.Run(t, namespace, "lying", "lying-1")
	lying.TellSlot("half")
	address := metricstest.Start(t, whole, dying, untimed, impossible, lying)
	p := open(t, metrics.Options{Address: address})

	whole.Answer(100, 200, time.Second)
	eventually(t, p, "half", window, "both are scraped", func(s metrics.Sample, err error) bool { return err == nil && s.Requests == 100 })
	dying.Stop()
	refused(t, p, "half", window, "1 of 2 processes cannot be scraped")
	refused(t, p, "absent", window, "no process of the slot is scraped")
	refused(t, p, "untimed", window, "contradict")
	refused(t, p, "impossible", window, "cannot be")
	refused(t, p, "lying", window, "tells nothing")
	refused(t, p, "untimed", time.Millisecond, "too short")

	late := open(t, metrics.Options{Address: address, Now: func() time.Time { return time.Now().Add(2 * time.Minute) }})
	refused(t, late, "untimed", window, "the newest scrape was")
}

// TestPrometheusOutOfReach: it is down, it hangs, it is another server, it answers nonsense.
func TestPrometheusOutOfReach(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release); hanging.Close() })
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	serve := func(body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		t.Cleanup(server.Close)
		return server.URL
	}
	for name, address := range map[string]string{
		"down": gone.URL, "hanging": hanging.URL, "another server": serve("<html>"),
		"a scalar": serve(`{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`),
	} {
		p := open(t, metrics.Options{Address: address, Timeout: 300 * time.Millisecond})
		s, err := p.Sample(t.Context(), "blue", window)
		if err == nil || errors.Is(err, metrics.ErrNoData) || s != (metrics.Sample{}) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// TestManagedFrontend: below a path, and for a bearer alone.
func TestManagedFrontend(t *testing.T) {
	t.Parallel()
	process := metricstest.Run(t, namespace, "blue", "blue-1")
	process.Answer(10, 200, time.Millisecond)
	behind, err := url.Parse(metricstest.Start(t, process))
	if err != nil {
		t.Fatal(err)
	}
	const path = "/v1/projects/p/location/global/prometheus"
	proxy := httputil.NewSingleHostReverseProxy(behind)
	frontend := httptest.NewServer(http.StripPrefix(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer fresh" {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	})))
	t.Cleanup(frontend.Close)
	token := func(context.Context) (string, error) { return "fresh", nil }
	p := open(t, metrics.Options{Address: frontend.URL + path, Token: token})
	eventually(t, p, "blue", window, "10 requests", func(s metrics.Sample, err error) bool { return err == nil && s.Requests == 10 })

	if _, err := open(t, metrics.Options{Address: frontend.URL + path}).Sample(t.Context(), "blue", window); err == nil {
		t.Error("no bearer and no error")
	}
	none := func(context.Context) (string, error) { return "", errors.New("nobody is signed in") }
	_, err = open(t, metrics.Options{Address: frontend.URL + path, Token: none}).Sample(t.Context(), "blue", window)
	if err == nil || !strings.Contains(err.Error(), "nobody is signed in") {
		t.Errorf("without a token: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, o := range []metrics.Options{{Namespace: "a"}, {Address: "http://x"}, {Address: "http://x\x7f", Namespace: "a"}} {
		if _, err := metrics.New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
