package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/kv/faultkv"
)

func (s *service) metricsText() string {
	w := httptest.NewRecorder()
	s.metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, contract.MetricsPath, nil))
	return w.Body.String()
}

// wantMetric waits for a line: a request is counted after its answer.
func (s *service) wantMetric(line string) {
	s.t.Helper()
	s.eventually(func() bool { return strings.Contains(s.metricsText(), line+"\n") })
}

func (s *service) eventually(what func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !what(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("has not happened in a minute; metrics:\n%s", s.metricsText())
		}
	}
}

func TestReadinessFollowsTheStore(t *testing.T) {
	t.Parallel()
	s := newClosedService(t)
	ready := request{method: "GET", path: contract.ReadyPath}
	s.wantCode(http.StatusServiceUnavailable, "unavailable", ready)
	s.wantCode(http.StatusServiceUnavailable, "unavailable", request{method: "POST", path: api("/auth/login"), body: `{}`})
	s.open()
	status := func() int { return s.do(ready).status }
	s.eventually(func() bool { return status() == http.StatusOK }) // a busy machine may miss the first deadline
	s.eventually(func() bool { return s.do(ready).raw == `{"success":true,"data":{"status":"ready"}}` })
	s.db.down.Store(true)
	s.eventually(func() bool { return status() == http.StatusServiceUnavailable })
	s.want(http.StatusOK, request{method: "GET", path: contract.HealthPath})
	s.db.down.Store(false)
	s.eventually(func() bool { return status() == http.StatusOK })
	token := s.register("ada@example.org").Tokens.AccessToken
	s.faults.Follow(func(a faultkv.Attempt) faultkv.Fault { // as a full disk would
		if a.Write {
			return faultkv.GiveUpLost
		}
		return faultkv.None
	})
	s.wantCode(http.StatusServiceUnavailable, "unavailable", request{method: "POST", path: api("/sessions"), token: token})
	s.want(http.StatusOK, request{method: "GET", path: api("/sessions"), token: token})
	s.eventually(func() bool { return status() == http.StatusServiceUnavailable })
	s.faults.Follow(noFault)
	s.eventually(func() bool { return status() == http.StatusOK })
	s.api.Drain()
	r := s.wantCode(http.StatusServiceUnavailable, "unavailable", ready)
	if r.header.Get("Retry-After") == "" {
		t.Fatal("no Retry-After")
	}
	s.want(http.StatusOK, request{method: "GET", path: contract.HealthPath})
}

// However many ask, the store is asked once a second, and a store that hangs
// delays nobody beyond the deadline.
func TestReadinessAsksTheStoreOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{t: t}
		var asked atomic.Int64
		var hang atomic.Bool
		a := httpapi.New(httpapi.Options{Now: time.Now})
		release := make(chan struct{})
		a.Open(&httpapi.Backend{Probe: func(context.Context) error {
			asked.Add(1)
			if hang.Load() {
				<-release // deaf to its context, as a bad engine might be
			}
			return nil
		}})
		crowd := func() (failed int64) {
			var refused atomic.Int64
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if a.Ready(t.Context()) != nil {
						refused.Add(1)
					}
				})
			}
			all.Wait()
			return refused.Load()
		}
		if n := crowd(); n != 0 || asked.Load() != 1 {
			s.t.Fatalf("%d refused, asked %d times", n, asked.Load())
		}
		time.Sleep(1100 * time.Millisecond)
		hang.Store(true)
		begin := time.Now()
		if n := crowd(); n != 50 || asked.Load() != 2 || time.Since(begin) != 1500*time.Millisecond {
			s.t.Fatalf("%d refused after %v, asked %d times", n, time.Since(begin), asked.Load())
		}
		close(release)
		time.Sleep(1100 * time.Millisecond)
		if n := crowd(); n != 0 || asked.Load() != 3 {
			s.t.Fatalf("%d refused, asked %d times", n, asked.Load())
		}
	})
}
