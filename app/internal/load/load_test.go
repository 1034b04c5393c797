package load_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/kv/enginetest"
	"coditect.ai/platform/app/internal/load"
	"coditect.ai/platform/app/internal/session"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/telemetry"
)

// serve starts a whole service; between stands before its handler.
func serve(t *testing.T, between func(http.Handler) http.Handler) string {
	t.Helper()
	db := enginetest.Open(t)
	keys, err := auth.ParseKeyring([]byte(auth.GenerateKey() + "\n"))
	must(t, err)
	st := store.New(db, "test", time.Now)
	rules, err := auth.New(auth.Config{Password: auth.PasswordParams{MemoryKiB: 64, Iterations: 1, Parallelism: 1}}, st, keys, time.Now)
	must(t, err)
	api := httpapi.New(httpapi.Options{
		Version: "1.2.3-test", Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewMetrics("test", "none", ""),
		Now: time.Now, RequestTimeout: 30 * time.Second,
	})
	api.Open(&httpapi.Backend{Auth: rules, Sessions: session.NewService(st), Probe: func(context.Context) error { return nil }})
	server := httptest.NewServer(between(api))
	t.Cleanup(func() {
		server.Close()
		must(t, db.Close())
	})
	return server.URL
}

func straight(h http.Handler) http.Handler { return h }

func quick(url string) load.Config {
	return load.Config{URL: url, Users: []int{2, 5}, Duration: 4 * time.Second, Sessions: 2, Timeout: 30 * time.Second}
}

func quiet(load.Progress) {}

func TestWholeLivesOfManyUsers(t *testing.T) {
	t.Parallel()
	var seen []load.Progress
	r, err := load.Run(t.Context(), quick(serve(t, straight)), func(p load.Progress) { seen = append(seen, p) })
	must(t, err)
	if r.Version != "1.2.3-test" || r.Interrupted || len(r.Stages) != 2 {
		t.Fatalf("%+v", r)
	}
	for i, s := range r.Stages {
		if s.Lives == 0 || s.Failed != 0 || s.Users != []int{2, 5}[i] {
			t.Fatalf("stage %d: %+v", i, s)
		}
		if of := s.Versions["1.2.3-test"]; len(s.Versions) != 1 || of.Requests != s.Requests || of.Failed != 0 {
			t.Errorf("by version: %+v", s.Versions)
		}
		requests := 0
		for _, o := range s.Operations {
			if o.Count == 0 || o.P50 <= 0 || o.P50 > o.P99 || o.P99 > o.P999 || o.P999 > o.Max {
				t.Errorf("%+v", o)
			}
			if o.Name != "life" {
				requests += o.Count
			}
		}
		onTimeline := 0
		for _, at := range s.Timeline {
			onTimeline += at.Requests
		}
		if requests != s.Requests || onTimeline != s.Requests || s.All.Count != s.Requests {
			t.Errorf("%d requests, %d by operation, %d by second", s.Requests, requests, onTimeline)
		}
	}
	if len(seen) < 4 || seen[0].Stage != 1 || seen[len(seen)-1].Stage != 2 || seen[len(seen)-1].Requests == 0 {
		t.Errorf("progress %+v", seen)
	}

	var limits load.Thresholds
	must(t, limits.ParseP99("all=5m"))
	none := 0.0
	limits.ErrorRate = &none
	limits.Judge(r)
	if len(r.Broken) != 0 || r.Thresholds != 2 {
		t.Fatal(r.Broken)
	}
	must(t, limits.ParseP99("login=1us"))
	limits.Judge(r)
	if len(r.Broken) != 2 || !strings.Contains(r.Broken[0], "2 users: p99 of login") {
		t.Fatal(r.Broken)
	}

	var text, encoded, html bytes.Buffer
	must(t, r.WriteText(&text))
	for _, want := range []string{"session-create", "p99.9", "5 users", "broken: 2 users: p99 of login"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	must(t, json.NewEncoder(&encoded).Encode(r))
	var back load.Report
	must(t, json.Unmarshal(encoded.Bytes(), &back))
	if back.Stages[1].Requests != r.Stages[1].Requests {
		t.Error(encoded.String())
	}
	must(t, r.WriteHTML(&html))
	for _, foreign := range []string{"<script", "<link", "src=", "@import", "url(", "ZgotmplZ", "NaN", "Inf"} {
		if strings.Contains(html.String(), foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
	if n := strings.Count(html.String(), "<svg"); n != 6 || !strings.Contains(html.String(), "<polyline") || !strings.Contains(html.String(), "Thresholds were broken") {
		t.Errorf("%d plots", n)
	}
	if dir := os.Getenv("KEEP_REPORT"); dir != "" { // to look at it
		must(t, os.WriteFile(filepath.Join(dir, "load.html"), html.Bytes(), 0o600))
	}
}

// A service that stalls is charged for those who came meanwhile.
func TestOpenLoopChargesAStall(t *testing.T) {
	t.Parallel()
	const stall = 1500 * time.Millisecond
	var first atomic.Bool
	url := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/auth/register") && first.CompareAndSwap(false, true) {
				time.Sleep(stall) // once, for one request
			}
			h.ServeHTTP(w, r)
		})
	})
	cfg := quick(url)
	cfg.Users, cfg.Rate, cfg.Sessions, cfg.Duration = []int{1}, 20, 1, 3*time.Second
	r, err := load.Run(t.Context(), cfg, quiet)
	must(t, err)
	register := r.Stages[0].Operations[0]
	// 30 lives came due during the stall and waited on average for half of it:
	// were each measured from its own beginning, one of 60 would be slow.
	if register.P90 < float64(stall.Milliseconds())/4 {
		t.Errorf("register %+v", register)
	}
	// The lives that were due: all were taken up or charged.
	if due := 60; register.Count < due-1 || register.Count > due+1 {
		t.Errorf("%d lives, %d were due", register.Count, due)
	}
	if n := register.Failures["no_user_was_free"]; n != register.Failed {
		t.Errorf("%v", register.Failures)
	}
}

func TestFailuresAreToldByTheirCode(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		between func(w http.ResponseWriter, r *http.Request) bool // answers, or returns false
		op      int
		fail    string
	}{
		"refused": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodDelete {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"success":false,"error":{"code":"unavailable"}}`)
			}
			return r.Method == http.MethodDelete
		}, 6, "unavailable"},
		"wrong answer": {func(w http.ResponseWriter, r *http.Request) bool {
			list := r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "limit")
			if list {
				fmt.Fprint(w, `{"success":true,"data":[]}`)
			}
			return list
		}, 4, "wrong_content"},
		"not signed out": {func(w http.ResponseWriter, r *http.Request) bool {
			logout := strings.HasSuffix(r.URL.Path, "/logout")
			if logout {
				fmt.Fprint(w, `{"success":true,"data":{}}`)
			}
			return logout
		}, 8, "unexpected_status"},
		"no JSON": {func(w http.ResponseWriter, r *http.Request) bool {
			login := strings.HasSuffix(r.URL.Path, "/login")
			if login {
				fmt.Fprint(w, `<html>`)
			}
			return login
		}, 1, "not_in_our_form"},
		"cut off": {func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/refresh") {
				panic(http.ErrAbortHandler)
			}
			return false
		}, 5, "network"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := quick(serve(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !tt.between(w, r) {
						h.ServeHTTP(w, r)
					}
				})
			}))
			cfg.Users, cfg.Duration = []int{1}, time.Minute
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := load.Run(ctx, cfg, func(p load.Progress) {
				if p.Failures > 0 {
					cancel()
				}
			})
			must(t, err)
			s := r.Stages[0]
			if o := s.Operations[tt.op]; o.Failures[tt.fail] == 0 || o.Failed != s.Failed || s.Lives != 0 {
				t.Fatalf("%+v", s)
			}
			most := 0.001
			load.Thresholds{ErrorRate: &most}.Judge(r)
			if len(r.Broken) != 1 {
				t.Error(r.Broken)
			}
		})
	}
}

func TestInterruptionGivesThePartialReport(t *testing.T) {
	t.Parallel()
	cfg := quick(serve(t, straight))
	cfg.Duration = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	r, err := load.Run(ctx, cfg, func(p load.Progress) {
		if p.Requests > 0 {
			cancel()
		}
	})
	must(t, err)
	if !r.Interrupted || len(r.Stages) != 1 || r.Stages[0].Requests == 0 || r.Stages[0].Failed != 0 || r.Stages[0].Seconds > 50 {
		t.Fatalf("%+v", r)
	}
	var html bytes.Buffer
	must(t, r.WriteHTML(&html))
	if !strings.Contains(html.String(), "interrupted") {
		t.Error("the page does not say so")
	}
}

func TestNothingIsMeasuredOfNoService(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	if _, err := load.Run(t.Context(), quick(url), quiet); err == nil {
		t.Error("a server of something else was measured")
	}
	server.Close()
	if _, err := load.Run(t.Context(), quick(url), quiet); err == nil {
		t.Error("no server was measured")
	}
	var html bytes.Buffer // of a run that measured nothing
	var limits load.Thresholds
	must(t, limits.ParseP99("refresh=1s"))
	empty := &load.Report{}
	limits.Judge(empty)
	must(t, empty.WriteHTML(&html))
}

func TestConfigFaultsAreToldTogether(t *testing.T) {
	t.Parallel()
	err := load.Config{URL: "ftp://x", Users: []int{0, 20_000}, Duration: time.Hour + 1, Rate: -1}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 6 {
		t.Fatal(err)
	}
	for url, ok := range map[string]bool{
		"http://127.0.0.1:8080": true, "https://api.example.com/": true, "http://x/api/v5": true, "http://x/prefix": true,
		"": false, "127.0.0.1:8080": false, "http://": false, "http://x?y": false, "http://user:word@x": false,
	} {
		cfg := quick(url)
		if err := cfg.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	for text, ok := range map[string]bool{"login=1s": true, "all=10ms": true, "life=1m": true, "login": false, "login=": false, "login=-1s": false, "lagin=1s": false} {
		var limits load.Thresholds
		if err := limits.ParseP99(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
