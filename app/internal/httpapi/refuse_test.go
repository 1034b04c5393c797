package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/httpapi"
)

// Each bad request gets the documented answer, and after all of them the
// service still does its work.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("good@example.org")
	token, id := in.Tokens.AccessToken, s.createSession(in.Tokens.AccessToken, "mine").ID.String()
	register, login, sessions := api("/auth/register"), api("/auth/login"), api("/sessions")
	credentials := func(extra string) string {
		return `{"email":"good@example.org","password":"` + password + `"` + extra + `}`
	}
	encoded := http.Header{"Content-Encoding": {"gzip"}}
	auth := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	const invalid, unsupported = "invalid_request", "unsupported_media_type"

	for name, tt := range map[string]struct {
		q      request
		status int
		code   string
		field  string
	}{
		"no body":             {request{method: "POST", path: login, contentType: "application/json"}, 400, invalid, "body"},
		"neither body":        {request{method: "POST", path: login}, 415, unsupported, "Content-Type"},
		"not JSON":            {request{method: "POST", path: login, body: `email=x`}, 400, invalid, "body"},
		"cut off":             {request{method: "POST", path: login, body: `{"email":"x`}, 400, invalid, "body"},
		"array":               {request{method: "POST", path: login, body: `[]`}, 400, invalid, "body"},
		"null":                {request{method: "POST", path: login, body: `null`}, 400, invalid, "body"},
		"string":              {request{method: "POST", path: login, body: `"x"`}, 400, invalid, "body"},
		"trailing garbage":    {request{method: "POST", path: login, body: credentials("") + `x`}, 400, invalid, "body"},
		"second object":       {request{method: "POST", path: login, body: credentials("") + `{}`}, 400, invalid, "body"},
		"only spaces":         {request{method: "POST", path: login, body: "  \n"}, 400, invalid, "body"},
		"invalid UTF-8":       {request{method: "POST", path: login, body: credentials(`,"device":"` + "\xff" + `"`)}, 400, invalid, "body"},
		"half a surrogate":    {request{method: "POST", path: login, body: credentials(`,"device":"\ud800"`)}, 400, invalid, "body"},
		"byte order mark":     {request{method: "POST", path: login, body: "\ufeff" + credentials("")}, 400, invalid, "body"},
		"unknown member":      {request{method: "POST", path: login, body: credentials(`,"admin":true`)}, 400, invalid, "admin"},
		"other case":          {request{method: "POST", path: login, body: credentials(`,"Email":"x"`)}, 400, invalid, "Email"},
		"duplicate member":    {request{method: "POST", path: login, body: credentials(`,"email":"x"`)}, 400, invalid, "email"},
		"duplicate, escaped":  {request{method: "POST", path: login, body: credentials(`,"\u0065mail":"x"`)}, 400, invalid, "email"},
		"deep duplicate":      {request{method: "POST", path: sessions, token: token, body: `{"metadata":{"a":{"b":1,"b":2}}}`}, 400, invalid, "metadata.a.b"},
		"number for text":     {request{method: "POST", path: login, body: `{"email":1}`}, 400, invalid, "email"},
		"object for text":     {request{method: "POST", path: login, body: `{"password":{}}`}, 400, invalid, "password"},
		"secret number":       {request{method: "POST", path: login, body: `{"email":"good@example.org","password":8675309421}`}, 400, invalid, "password"},
		"text for bool":       {request{method: "POST", path: api("/auth/logout"), token: token, body: `{"everywhere":"yes"}`}, 400, invalid, "everywhere"},
		"metadata a list":     {request{method: "POST", path: sessions, token: token, body: `{"metadata":[]}`}, 400, "validation_failed", "metadata"},
		"metadata a number":   {request{method: "POST", path: sessions, token: token, body: `{"metadata":1}`}, 400, "validation_failed", "metadata"},
		"too deep":            {request{method: "POST", path: sessions, token: token, body: `{"metadata":` + strings.Repeat(`[`, 20_000) + `}`}, 400, invalid, "body"},
		"too large":           {request{method: "POST", path: login, body: credentials(`,"device":"` + strings.Repeat("x", httpapi.MaxBodyBytes) + `"`)}, 413, "body_too_large", ""},
		"long unknown member": {request{method: "POST", path: login, body: `{"` + strings.Repeat("é", 1000) + `":1}`}, 400, invalid, strings.Repeat("é", 50) + "…"},

		"form":         {request{method: "POST", path: login, body: `email=x`, contentType: "application/x-www-form-urlencoded"}, 415, unsupported, "Content-Type"},
		"text":         {request{method: "POST", path: login, body: credentials(""), contentType: "text/plain"}, 415, unsupported, "Content-Type"},
		"broken type":  {request{method: "POST", path: login, body: credentials(""), contentType: "application/json; charset"}, 415, unsupported, "Content-Type"},
		"latin-1":      {request{method: "POST", path: login, body: credentials(""), contentType: "application/json; charset=latin1"}, 415, unsupported, "Content-Type"},
		"compressed":   {request{method: "POST", path: login, body: credentials(""), header: encoded}, 415, unsupported, "Content-Encoding"},
		"session form": {request{method: "POST", path: sessions, token: token, body: "name=x", contentType: "application/x-www-form-urlencoded"}, 415, unsupported, "Content-Type"},

		"no fields":      {request{method: "POST", path: register, body: `{}`}, 400, "validation_failed", "email"},
		"no address":     {request{method: "POST", path: register, body: `{"email":"nobody","password":"` + password + `"}`}, 400, "validation_failed", "email"},
		"short password": {request{method: "POST", path: register, body: `{"email":"a@example.org","password":"short"}`}, 400, "validation_failed", "password"},
		"a common one":   {request{method: "POST", path: register, body: `{"email":"a@example.org","password":"password123"}`}, 400, "validation_failed", "password"},
		"a taken one":    {request{method: "POST", path: register, body: object("email", "good@example.org", "password", password, "first_name", "A", "last_name", "B", "company", "C")}, 409, "email_taken", ""},
		"odd tenant":     {request{method: "POST", path: login, body: credentials(`,"tenant_id":"nonsense"`)}, 400, "validation_failed", "tenant_id"},
		"odd refresh":    {request{method: "POST", path: api("/auth/refresh"), body: `{"refresh_token":"nonsense"}`}, 401, "invalid_token", ""},
		"wrong password": {request{method: "POST", path: login, body: `{"email":"good@example.org","password":"something else"}`}, 401, "invalid_credentials", ""},

		"token in the URL":    {request{method: "GET", path: sessions + "?access_token=" + token}, 401, "invalid_token", ""},
		"and in the header":   {request{method: "GET", path: sessions + "?access_token=" + token, token: token}, 400, invalid, "access_token"},
		"unknown parameter":   {request{method: "GET", path: sessions + "?colour=red", token: token}, 400, invalid, "colour"},
		"none are taken":      {request{method: "GET", path: sessions + "/" + id + "?limit=1", token: token}, 400, invalid, "limit"},
		"repeated parameter":  {request{method: "GET", path: sessions + "?limit=1&limit=2", token: token}, 400, invalid, "limit"},
		"malformed query":     {request{method: "GET", path: sessions + "?limit=%zz", token: token}, 400, invalid, "query"},
		"limit not a number":  {request{method: "GET", path: sessions + "?limit=ten", token: token}, 400, invalid, "limit"},
		"limit zero":          {request{method: "GET", path: sessions + "?limit=0", token: token}, 400, invalid, "limit"},
		"limit too high":      {request{method: "GET", path: sessions + "?limit=201", token: token}, 400, invalid, "limit"},
		"cursor of no page":   {request{method: "GET", path: sessions + "?cursor=nonsense", token: token}, 400, invalid, "cursor"},
		"id not a UUID":       {request{method: "GET", path: sessions + "/42", token: token}, 404, "not_found", ""},
		"id in braces":        {request{method: "GET", path: sessions + "/%7B" + id + "%7D", token: token}, 404, "not_found", ""},
		"id without dashes":   {request{method: "GET", path: sessions + "/" + strings.ReplaceAll(id, "-", ""), token: token}, 404, "not_found", ""},
		"nobody's id":         {request{method: "DELETE", path: sessions + "/" + uuid.NewString(), token: token}, 404, "not_found", ""},
		"unknown path":        {request{method: "GET", path: api("/nothing")}, 404, "not_found", ""},
		"outside of the base": {request{method: "GET", path: "/"}, 404, "not_found", ""},
		"slash at the end":    {request{method: "GET", path: contract.HealthPath + "/"}, 404, "not_found", ""},
		"two slashes":         {request{method: "GET", path: "/" + contract.HealthPath}, 404, "not_found", ""},
		"dots":                {request{method: "GET", path: api("/x/../health")}, 404, "not_found", ""},
		"wrong method":        {request{method: "GET", path: login}, 405, "method_not_allowed", ""},

		"no token":       {request{method: "GET", path: sessions}, 401, "invalid_token", ""},
		"other scheme":   {request{method: "GET", path: sessions, header: auth("Basic Z29vZDpnb29k")}, 401, "invalid_token", ""},
		"empty token":    {request{method: "GET", path: sessions, header: auth("Bearer ")}, 401, "invalid_token", ""},
		"two tokens":     {request{method: "GET", path: sessions, header: auth("Bearer "+token, "Bearer "+token)}, 401, "invalid_token", ""},
		"nonsense":       {request{method: "GET", path: sessions, token: "a.b.c"}, 401, "invalid_token", ""},
		"altered":        {request{method: "GET", path: sessions, token: token[:len(token)-2] + "xx"}, 401, "invalid_token", ""},
		"refresh token":  {request{method: "GET", path: sessions, token: in.Tokens.RefreshToken}, 401, "invalid_token", ""},
		"unsigned":       {request{method: "GET", path: sessions, token: "eyJhbGciOiJub25lIn0." + strings.Split(token, ".")[1] + "."}, 401, "invalid_token", ""},
		"a huge token":   {request{method: "GET", path: sessions, token: strings.Repeat("x", 8000)}, 401, "invalid_token", ""},
		"token in query": {request{method: "GET", path: sessions + "?access_token=" + token}, 401, "invalid_token", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{t: t, api: s.api, server: s.server}
			r := s.wantCode(tt.status, tt.code, tt.q)
			if tt.field != "" && (len(r.Error.Fields) == 0 || r.Error.Fields[0].Field != tt.field || r.Error.Fields[0].Problem == "") {
				t.Errorf("want field %q: %s", tt.field, r.raw)
			}
			if challenge := r.header.Get("WWW-Authenticate"); (tt.status == 401) != strings.HasPrefix(challenge, "Bearer realm=") {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
			for _, secret := range []string{password, token, in.Tokens.RefreshToken, "goroutine", ".go:"} {
				if strings.Contains(r.raw, secret) {
					t.Errorf("the answer repeats %q: %s", secret, r.raw)
				}
			}
		})
	}

	s.want(http.StatusOK, request{method: "GET", path: contract.HealthPath})
	s.want(http.StatusOK, request{method: "GET", path: contract.ReadyPath})
	s.want(http.StatusOK, request{method: "GET", path: sessions + "/" + id, token: token})
	s.want(http.StatusOK, request{method: "POST", path: login, body: credentials(""), contentType: "application/json; charset=UTF-8"})
	if logs := s.logs.String(); strings.Contains(logs, password) || strings.Contains(logs, token) || strings.Contains(logs, in.Tokens.RefreshToken) || strings.Contains(logs, "8675309421") {
		t.Error("a secret is in the log")
	}
}

// A body of unknown length is bounded as it comes in.
func TestBodyWithoutALengthIsBounded(t *testing.T) {
	t.Parallel()
	s := newService(t)
	endless := io.LimitReader(neverEnding('x'), 100<<20)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL+api("/auth/login"), endless)
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.server.Client().Do(req)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatal(resp.Status)
	}
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

// What is not HTTP at all is refused by net/http and harms nobody.
func TestGarbageOnTheWire(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, text := range []string{
		"\x16\x03\x01 hello\r\n\r\n",
		"GET\r\n\r\n",
		"GET /api/v5/health HTTP/9.9\r\n\r\n",
		"GET /api/v5/health HTTP/1.1\r\n\r\n", // no Host
		"POST /api/v5/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /api/v5/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n",
		"GET /api/v5/health HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 2<<20) + "\r\n\r\n",
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.server.Listener.Addr().String())
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		_, _ = io.WriteString(conn, text) // the server may hang up before the end
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode < http.StatusBadRequest || resp.StatusCode == http.StatusInternalServerError {
				t.Errorf("%.40q: %s", text, resp.Status)
			}
		}
		must(t, conn.Close())
	}
	s.want(http.StatusOK, request{method: "GET", path: contract.HealthPath})
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := newClosedService(t)
	seen := map[string]bool{}
	for given, kept := range map[string]bool{
		"abc-DEF_1.2": true, strings.Repeat("x", 128): true, uuid.NewString(): true,
		"": false, strings.Repeat("x", 129): false, "a b": false, "a\"b": false, "é": false, "$(x)": false,
	} {
		r := s.do(request{method: "GET", path: contract.HealthPath, header: http.Header{contract.HeaderRequestID: {given}}})
		got := r.header.Get(contract.HeaderRequestID)
		if (got == given) != kept || got == "" || seen[got] {
			t.Errorf("given %q: got %q", given, got)
		}
		seen[got] = true
	}
}

func TestSecurityHeadersAndNoCookies(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.register("h@example.org")
	r := s.do(request{method: "POST", path: api("/auth/login"), body: object("email", "h@example.org", "password", password), header: http.Header{"Origin": {"https://evil.example"}}})
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Strict-Transport-Security": "max-age=31536000",
		"Referrer-Policy": "no-referrer", "Content-Disposition": `attachment; filename="answer.json"`,
		"Set-Cookie": "", "Access-Control-Allow-Origin": "", "Server": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestCORSFromSettings(t *testing.T) {
	t.Parallel()
	s := newClosedService(t, func(o *httpapi.Options) { o.CORSOrigins = []string{"https://coditect.ai"} })
	for origin, allowed := range map[string]string{"https://coditect.ai": "https://coditect.ai", "https://evil.example": "", "": ""} {
		h := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization"}}
		r := s.want(http.StatusNoContent, request{method: "OPTIONS", path: api("/auth/login"), header: h})
		if r.header.Get("Access-Control-Allow-Origin") != allowed || r.header.Get("Vary") != "Origin" || r.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%q: %v", origin, r.header)
		}
		if got := r.header.Get("Access-Control-Allow-Methods"); (allowed != "") != strings.Contains(got, "POST") {
			t.Errorf("%q: methods %q", origin, got)
		}
		r = s.want(http.StatusOK, request{method: "GET", path: contract.HealthPath, header: http.Header{"Origin": {origin}}})
		if r.header.Get("Access-Control-Allow-Origin") != allowed {
			t.Errorf("%q: %v", origin, r.header)
		}
	}
}

// A handler that panics is answered, counted and logged, and the next request is served.
func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	s := newClosedService(t)
	s.api.Open(&httpapi.Backend{}) // every rule is a nil pointer
	r := s.wantCode(http.StatusInternalServerError, "internal", request{method: "POST", path: api("/auth/login"), body: object("email", "a@example.org", "password", password)})
	if strings.Contains(r.raw, "nil pointer") || strings.Contains(r.raw, "goroutine") {
		t.Fatal(r.raw)
	}
	if logs := s.logs.String(); !strings.Contains(logs, "nil pointer") || !strings.Contains(logs, `"severity":"ERROR"`) || !strings.Contains(logs, r.RequestID) {
		t.Fatal(logs)
	}
	s.wantMetric(contract.MetricPanics + `{slot="blue"} 1`)
	s.want(http.StatusOK, request{method: "GET", path: contract.HealthPath})
}

// A client that goes away cancels its work, and counts as gone, not as our failure.
func TestClientThatLeavesCancelsItsWork(t *testing.T) {
	t.Parallel()
	s := newService(t)
	token := s.register("gone@example.org").Tokens.AccessToken
	s.db.hang.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := make(chan error, 1)
	go func() {
		_, err := s.try(ctx, request{method: "GET", path: api("/sessions"), token: token})
		left <- err
	}()
	s.wantMetric(contract.MetricInFlight + `{slot="blue"} 1`)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.eventually(func() bool { return strings.Contains(s.metricsText(), `status="499"`) })
}

// Work that the process calls off when its grace is over is never taken for done.
func TestWorkThatIsCalledOffIsNotAnsweredWith200(t *testing.T) {
	t.Parallel()
	s := newService(t)
	token := s.register("off@example.org").Tokens.AccessToken
	s.db.hang.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, http.MethodDelete, api("/sessions/"+uuid.NewString()), nil)
	r.Header.Set("Authorization", "Bearer "+token)
	s.api.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

// Work that outlives its time is given up and answered.
func TestWorkHasADeadline(t *testing.T) {
	t.Parallel()
	s := newService(t, func(o *httpapi.Options) { o.RequestTimeout = 500 * time.Millisecond })
	in, err := s.rules.Register(t.Context(), auth.Registration{Email: "slow@example.org", Password: password, FirstName: "Ada", LastName: "L"}) // under no deadline
	must(t, err)
	token := in.Tokens.AccessToken
	s.db.hang.Store(true)
	r := s.wantCode(http.StatusServiceUnavailable, "unavailable", request{method: "GET", path: api("/sessions"), token: token})
	if r.header.Get("Retry-After") == "" {
		t.Fatal("no Retry-After")
	}
}

func TestStoreErrorsStayInside(t *testing.T) {
	t.Parallel()
	s := newService(t)
	token := s.register("in@example.org").Tokens.AccessToken
	s.db.down.Store(true)
	r := s.wantCode(http.StatusServiceUnavailable, "unavailable", request{method: "GET", path: api("/sessions"), token: token})
	if strings.Contains(r.raw, "secret detail") || r.header.Get("Retry-After") == "" {
		t.Fatal(r.raw, r.header)
	}
	if !strings.Contains(s.logs.String(), "secret detail") {
		t.Fatal("the cause is not in the log")
	}
	s.db.down.Store(false)
	s.want(http.StatusOK, request{method: "GET", path: api("/sessions"), token: token})
}

func TestRequestLogAndMetrics(t *testing.T) {
	t.Parallel()
	s := newService(t)
	in := s.register("log@example.org")
	id := s.createSession(in.Tokens.AccessToken, "x").ID.String()
	s.want(http.StatusOK, request{method: "GET", path: api("/sessions/" + id), token: in.Tokens.AccessToken, header: http.Header{
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, contract.HeaderRequestID: {"find-me"},
	}})
	var line struct {
		Severity    string `json:"severity"`
		Message     string `json:"message"`
		UserID      string `json:"user_id"`
		Trace       string `json:"logging.googleapis.com/trace"`
		HTTPRequest struct {
			RequestURL string `json:"requestUrl"`
			Status     int    `json:"status"`
		} `json:"httpRequest"`
	}
	for text := range strings.Lines(s.logs.String()) {
		if strings.Contains(text, "find-me") {
			must(t, json.Unmarshal([]byte(text), &line))
		}
	}
	if line.Severity != "INFO" || line.Message != "request" || line.UserID != in.User.ID.String() || line.Trace != "0af7651916cd43dd8448eb211c80319c" ||
		line.HTTPRequest.RequestURL != api("/sessions/{id}") || line.HTTPRequest.Status != 200 {
		t.Fatalf("%+v", line)
	}
	s.do(request{method: "GET", path: "/some/secret/path"})
	s.do(request{method: "BREW", path: contract.HealthPath})
	s.wantMetric(fmt.Sprintf(`%s{method="GET",route="%s",slot="blue",status="200"} 1`, contract.MetricRequests, api("/sessions/{id}")))
	s.wantMetric(contract.MetricRequests + `{method="GET",route="unmatched",slot="blue",status="404"} 1`)
	s.wantMetric(contract.MetricRequests + `{method="other",route="` + contract.HealthPath + `",slot="blue",status="405"} 1`)
	if text := s.metricsText(); strings.Contains(text, "secret") || strings.Contains(text, id) {
		t.Fatal("a raw path is a label")
	}
}
