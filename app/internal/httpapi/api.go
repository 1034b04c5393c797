package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/session"
	"coditect.ai/platform/app/internal/telemetry"
)

// Limits of every request. The deadline of its work is Options.RequestTimeout.
const (
	MaxBodyBytes   = 64 << 10
	MaxHeaderBytes = 16 << 10
)

// Options are what an API is made of. Every member is needed unless it says otherwise.
type Options struct {
	Version        string
	Log            *slog.Logger
	Metrics        *telemetry.Metrics
	Now            func() time.Time
	RequestTimeout time.Duration
	CORSOrigins    []string // optional: origins whose pages may call, or "*"
	TrustedProxies int      // optional: how many X-Forwarded-For entries are our own proxies'
}

// Backend is what stands below the API once the store is open.
type Backend struct {
	Auth     *auth.Service
	Sessions *session.Service
	// Probe makes one small read: it tells whether the store answers.
	Probe func(context.Context) error
}

// API answers HTTP requests. It serves from the start; until Open has given it
// a backend every route but /health answers 503.
type API struct {
	opts     Options
	router   *mux.Router
	cors     cors
	backend  atomic.Pointer[Backend]
	draining atomic.Bool
	ready    readiness

	// Values of the headers that are the same in every answer; shared, never changed.
	version []string
}

// New returns an API without a backend.
func New(opts Options) *API {
	a := &API{opts: opts, cors: newCORS(opts.CORSOrigins), version: []string{opts.Version}}
	// Paths are matched as they came: cleaning would answer some with a redirect.
	a.router = mux.NewRouter().SkipClean(true)
	a.router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		callOf(w).refuse(r, errNoRoute)
	})
	for _, res := range resources(Routes()) {
		a.router.Handle(res.path, res)
	}
	return a
}

// Open gives the API its backend.
func (a *API) Open(b *Backend) { a.backend.Store(b) }

// Drain makes the API not ready, and every answer the last of its connection,
// while it goes on answering.
func (a *API) Drain() { a.draining.Store(true) }

// ServeHTTP answers one request: exactly one answer, one line in the log and
// one count, whatever the handler does.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{
		ResponseWriter: w,
		api:            a,
		route:          &unmatched,
		start:          a.opts.Now(),
		id:             requestID(r.Header),
		address:        clientAddress(r, a.opts.TrustedProxies),
	}
	a.opts.Metrics.Begin()
	defer c.finish(r)

	h := w.Header()
	h[contract.HeaderRequestID] = []string{c.id}
	h[contract.HeaderVersion] = a.version
	h["X-Content-Type-Options"] = nosniff
	h["Referrer-Policy"] = noReferrer
	h["Content-Security-Policy"] = noContent
	h["Strict-Transport-Security"] = transport
	h["Cache-Control"] = noStore
	if a.draining.Load() {
		h["Connection"] = closing
	}
	a.cors.decorate(h, r)
	a.router.ServeHTTP(c, r)
}

// Header values are shared between answers, which saves each an allocation.
var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	transport  = []string{"max-age=31536000"}
	noStore    = []string{"no-store"}
	closing    = []string{"close"}
	jsonType   = []string{"application/json"}
)
