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
	"coditect.ai/platform/app/internal/tenant"
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
	Tracer         *telemetry.Tracer // optional
	Now            func() time.Time
	RequestTimeout time.Duration
	CORSOrigins    []string // optional: origins whose pages may call, or "*"
	TrustedProxies int      // optional: how many X-Forwarded-For entries are our own proxies'
	UnsentBytes    int      // optional: the most that pages may take while clients read them, an eighth of it by one user; 32 MiB
}

// Backend is what stands below the API once the store is open.
type Backend struct {
	Auth     *auth.Service
	Sessions *session.Service
	Tenants  *tenant.Service
	// Probe tells whether the store answers and takes writes.
	Probe func(context.Context) error
}

// API answers HTTP requests. It serves from the start; until Open has given it
// a backend every route but /health answers 503.
type API struct {
	opts      Options
	router    *mux.Router
	resources map[*mux.Route]*resource
	cors      cors
	ids       *requestIDs
	version   []string // the header's value
	backend   atomic.Pointer[Backend]
	draining  atomic.Bool
	unsent    *unsent
	ready     readiness
}

// New returns an API without a backend.
func New(opts Options) *API {
	a := &API{
		opts: opts,
		// Paths are matched as they came: cleaning them would answer some with a redirect.
		router:    mux.NewRouter().SkipClean(true),
		resources: make(map[*mux.Route]*resource),
		cors:      newCORS(opts.CORSOrigins),
		ids:       newRequestIDs(),
		unsent:    newUnsent(opts.UnsentBytes),
		version:   []string{opts.Version},
	}
	files, err := pages()
	if err != nil { // which a test rules out
		opts.Log.Error("the API has no description", slog.String("cause", err.Error()))
	}
	for _, res := range resources(append(Routes(), files...)) {
		a.resources[a.router.Path(res.path)] = res
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
	r = a.opts.Tracer.Request(r)
	c := &call{api: a, w: w, r: r, route: &unmatched, start: a.opts.Now(), id: a.ids.of(r.Header)}
	a.opts.Metrics.Begin()
	defer c.finish() //nolint:contextcheck // a call carries its request and with it the context

	h := w.Header()
	h[contract.HeaderRequestID] = []string{c.id}
	h[contract.HeaderVersion] = a.version
	h["X-Content-Type-Options"] = nosniff
	h["Content-Security-Policy"] = noContent
	h["Strict-Transport-Security"] = transport
	h["Cache-Control"] = noStore
	if a.draining.Load() {
		h["Connection"] = closing
	}
	a.cors.decorate(h, r)

	// The router only matches: to hand the call over by itself it would copy
	// the request twice.
	var match mux.RouteMatch
	if !a.router.Match(r, &match) {
		c.refuse(errNoRoute)
		return
	}
	a.resources[match.Route].serve(c, match.Vars) //nolint:contextcheck // a call carries its request and with it the context
}

// Header values are shared between answers, which saves each an allocation.
var (
	nosniff   = []string{"nosniff"}
	noContent = []string{"default-src 'none'; frame-ancestors 'none'"}
	transport = []string{"max-age=31536000"}
	noStore   = []string{"no-store"}
	closing   = []string{"close"}
	jsonType  = []string{"application/json"}
	// attachment keeps a browser that is led to an answer from showing it as a page.
	attachment = []string{`attachment; filename="answer.json"`}
)
