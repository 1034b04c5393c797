package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/enginetest"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/session"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/telemetry"
	"coditect.ai/platform/app/internal/tenant"
)

const password = "correct horse battery staple"

// service is a whole API on a loopback port, on the build's engine.
type service struct {
	t       testing.TB
	api     *httpapi.API
	server  *httptest.Server
	metrics *telemetry.Metrics
	db      *breakable
	logs    *syncBuffer

	store   *store.Store
	rules   *auth.Service
	backend *httpapi.Backend
	wrap    func(kv.Database) kv.Database // stands before the engine; nil: nothing
	faults  *faultkv.DB
}

// noFault leaves every transaction alone.
func noFault(faultkv.Attempt) faultkv.Fault { return faultkv.None }

// newService starts a service; change may change its options first.
func newService(tb testing.TB, change ...func(*httpapi.Options)) *service {
	tb.Helper()
	s := newClosedService(tb, change...)
	s.open()
	return s
}

// newClosedService starts a service whose store is not open yet.
func newClosedService(tb testing.TB, change ...func(*httpapi.Options)) *service {
	tb.Helper()
	s := &service{t: tb, logs: &syncBuffer{}, metrics: telemetry.NewMetrics("test", "none", "blue")}
	opts := httpapi.Options{
		Version: "1.2.3-test", Log: telemetry.NewLogger(s.logs, slog.LevelInfo, "blue"), Metrics: s.metrics,
		Now: time.Now, RequestTimeout: time.Minute,
	}
	for _, c := range change {
		c(&opts)
	}
	s.api = httpapi.New(opts)
	s.server = watched(tb, s.api, s.logs)
	tb.Cleanup(s.server.Close)
	return s
}

func (s *service) open() {
	s.t.Helper()
	inner := enginetest.Open(s.t)
	engine := inner
	if s.wrap != nil {
		engine = s.wrap(inner)
	}
	s.faults = faultkv.Wrap(engine, noFault, 0)
	s.db = &breakable{Database: s.faults}
	s.t.Cleanup(func() { must(s.t, inner.Close()) })
	keys, err := auth.ParseKeyring([]byte(auth.GenerateKey() + "\n"))
	must(s.t, err)
	st := store.New(s.db, "test", time.Now)
	rules, err := auth.New(auth.Config{
		Password:     auth.PasswordParams{MemoryKiB: 64, Iterations: 1, Parallelism: 1},
		RefreshGrace: time.Hour, // no test here is to depend on how fast it runs
	}, st, keys, time.Now)
	must(s.t, err)
	s.store, s.rules = st, rules
	s.backend = &httpapi.Backend{
		Auth: rules, Sessions: session.NewService(st), Tenants: tenant.NewService(st, rules),
		Probe: st.Probe,
	}
	s.api.Open(s.backend)
}

// breakable is a database that can be told to fail or to hang.
type breakable struct {
	kv.Database
	down     atomic.Bool
	hang     atomic.Bool
	conflict atomic.Bool // of every change
}

func (b *breakable) check(ctx context.Context) error {
	if b.hang.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if b.down.Load() {
		return errors.Join(kv.ErrUnavailable, errors.New("secret detail of the store"))
	}
	return nil
}

func (b *breakable) Transact(ctx context.Context, fn func(kv.Transaction) error) error {
	if err := b.check(ctx); err != nil {
		return err
	}
	if b.conflict.Load() {
		return kv.ErrConflict
	}
	return b.Database.Transact(ctx, fn)
}

func (b *breakable) Read(ctx context.Context, fn func(kv.Reader) error) error {
	if err := b.check(ctx); err != nil {
		return err
	}
	return b.Database.Read(ctx, fn)
}

// request is one call of a test.
type request struct {
	method, path, token string
	body                string
	contentType         string // application/json where there is a body, unless told
	header              http.Header
}

// reply is an answer with its envelope opened.
type reply struct {
	status int
	header http.Header
	raw    string

	Success bool            `json:"success"`
	Data    json.RawMessage `json:"data"`
	Page    *struct {
		NextCursor *string `json:"next_cursor"`
	} `json:"page"`
	Error     httpapi.FailureError `json:"error"`
	RequestID string               `json:"request_id"`
}

// do sends q and checks what every answer must have.
func (s *service) do(q request) reply {
	s.t.Helper()
	r, err := s.try(s.t.Context(), q)
	must(s.t, err)
	if r.header.Get(contract.HeaderRequestID) == "" || r.header.Get(contract.HeaderVersion) != "1.2.3-test" {
		s.t.Fatalf("%s %s: no request id or version in %v", q.method, q.path, r.header)
	}
	if q.method == http.MethodHead || r.status == http.StatusNoContent {
		if r.raw != "" {
			s.t.Fatalf("%s %s: body %q", q.method, q.path, r.raw)
		}
		return r
	}
	if r.header.Get("Content-Type") != "application/json" || r.header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("%s %s: headers %v", q.method, q.path, r.header)
	}
	must(s.t, json.Unmarshal([]byte(r.raw), &r))
	if q.path == contract.KeySetPath && r.status == http.StatusOK {
		return r // follows a standard of its own
	}
	if r.Success != (r.status < 400) || (!r.Success && (r.Error.Code == "" || r.Error.Message == "" || r.RequestID != r.header.Get(contract.HeaderRequestID))) {
		s.t.Fatalf("%s %s: status %d with envelope %s", q.method, q.path, r.status, r.raw)
	}
	return r
}

func (s *service) try(ctx context.Context, q request) (reply, error) {
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, s.server.URL+q.path, body)
	if err != nil {
		return reply{}, err
	}
	maps.Copy(req.Header, q.header)
	switch {
	case q.contentType != "":
		req.Header.Set("Content-Type", q.contentType)
	case q.body != "":
		req.Header.Set("Content-Type", "application/json")
	}
	if q.token != "" {
		req.Header.Set("Authorization", "Bearer "+q.token)
	}
	resp, err := s.server.Client().Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, raw: string(raw)}, err
}

// want sends q and returns the answer, which must have the status.
func (s *service) want(status int, q request) reply {
	s.t.Helper()
	r := s.do(q)
	if r.status != status {
		s.t.Fatalf("%s %s: %d, want %d: %s", q.method, q.path, r.status, status, r.raw)
	}
	return r
}

// wantCode is want for a failure, whose code it checks too.
func (s *service) wantCode(status int, code string, q request) reply {
	s.t.Helper()
	r := s.want(status, q)
	if string(r.Error.Code) != code {
		s.t.Fatalf("%s %s: code %q, want %q: %s", q.method, q.path, r.Error.Code, code, r.raw)
	}
	return r
}

// register signs a new user up.
func (s *service) register(email string) httpapi.SignedIn {
	s.t.Helper()
	return dataOf[httpapi.SignedIn](s.t, s.want(http.StatusCreated, request{method: "POST", path: api("/auth/register"), body: object(
		"email", email, "password", password, "first_name", "Ada", "last_name", "Lovelace", "company", "Engines",
	)}))
}

// createSession makes a session and returns it.
func (s *service) createSession(token, name string) httpapi.Session {
	s.t.Helper()
	return dataOf[httpapi.Session](s.t, s.want(http.StatusCreated, request{method: "POST", path: api("/sessions"), token: token, body: object("name", name)}))
}

func api(path string) string { return contract.BasePath + path }

// object writes a flat JSON object of names and values in turn.
func object(pairs ...any) string {
	m := make(map[string]any)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func dataOf[T any](tb testing.TB, r reply) T {
	tb.Helper()
	var v T
	must(tb, json.Unmarshal(r.Data, &v))
	return v
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// syncBuffer is a log that several goroutines write and a test reads.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
