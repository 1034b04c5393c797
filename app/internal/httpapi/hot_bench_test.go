package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"coditect.ai/platform/app/contract"
)

// The hot path without the network: allocations per request.
func BenchmarkServeHealth(b *testing.B) {
	s := newClosedService(b)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, contract.HealthPath, nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		s.api.ServeHTTP(w, r)
	}
}

func BenchmarkServeGetSession(b *testing.B) {
	s := newService(b)
	token := s.register("bench@example.org").Tokens.AccessToken
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, api("/sessions/"+s.createSession(token, "bench").ID.String()), nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		s.api.ServeHTTP(w, r)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
