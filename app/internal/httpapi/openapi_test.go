package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/httpapi"
)

// kept is the copy of the description that reviews see.
var kept = filepath.Join("..", "..", "..", "docs", "openapi.json")

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" && !testing.Short() &&
		flag.Lookup("test.list").Value.String() == ""
	if missing := watcher.unseen(); code == 0 && whole && len(missing) > 0 {
		fmt.Printf("documented, and reached by no test:\n  %s\n", strings.Join(missing, "\n  "))
		code = 1
	}
	os.Exit(code)
}

// watcher holds every request and answer of the suite against the description.
var watcher = newWatch()

// watch knows the description's operations and which of their answers were seen.
type watch struct {
	operations []*operation

	mu   sync.Mutex
	seen map[string]bool // "METHOD /path status code"
}

type operation struct {
	name    string // method and template
	method  string
	path    *regexp.Regexp
	request *jsonschema.Schema
	example string // of a request's body
	answers map[int]*jsonschema.Schema
	codes   map[int][]string // of failures; [""] for success
}

func newWatch() *watch {
	text, err := httpapi.Document()
	if err != nil {
		panic(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(err)
	}
	const url = "https://example.org/openapi.json"
	closed(document.(map[string]any)["components"])
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(url, document); err != nil {
		panic(err)
	}
	at := func(names ...string) *jsonschema.Schema {
		escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
		var pointer strings.Builder
		for _, name := range names {
			pointer.WriteString("/" + escape.Replace(name))
		}
		return compiler.MustCompile(url + "#" + pointer.String())
	}
	w := &watch{seen: map[string]bool{}}
	for path, methods := range document.(map[string]any)["paths"].(map[string]any) {
		for method, described := range methods.(map[string]any) {
			op := &operation{
				name: strings.ToUpper(method) + " " + path, method: strings.ToUpper(method),
				path:    regexp.MustCompile("^" + regexp.MustCompile(`\\\{[^}]*\\\}`).ReplaceAllString(regexp.QuoteMeta(contract.BasePath+path), "[^/]+") + "$"),
				answers: map[int]*jsonschema.Schema{}, codes: map[int][]string{},
			}
			o := described.(map[string]any)
			if o["requestBody"] != nil {
				op.request = at("paths", path, method, "requestBody", "content", "application/json", "schema")
				op.example = exampleOf(document.(map[string]any), o["requestBody"])
			}
			for text, answer := range o["responses"].(map[string]any) {
				status, err := strconv.Atoi(text)
				if err != nil {
					panic(err)
				}
				op.answers[status] = at("paths", path, method, "responses", text, "content", "application/json", "schema")
				op.codes[status] = []string{""}
				if _, codes, failure := strings.Cut(answer.(map[string]any)["description"].(string), ": "); failure {
					op.codes[status] = strings.Split(codes, ", ")
				}
			}
			w.operations = append(w.operations, op)
		}
	}
	// What has no parameter is found first: /x/me before /x/{id}.
	slices.SortFunc(w.operations, func(a, b *operation) int { return strings.Count(a.name, "{") - strings.Count(b.name, "{") })
	return w
}

// exampleOf builds a body of the examples that the description gives.
func exampleOf(document map[string]any, body any) string {
	schema := body.(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)
	name := strings.TrimPrefix(schema["$ref"].(string), "#/components/schemas/")
	schema = document["components"].(map[string]any)["schemas"].(map[string]any)[name].(map[string]any)
	example := map[string]any{}
	for member, described := range schema["properties"].(map[string]any) {
		if examples, ok := described.(map[string]any)["examples"].([]any); ok {
			example[member] = examples[0]
		}
	}
	text, err := json.Marshal(example)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// example returns a body that route takes, "" where it takes none.
func (w *watch) example(route httpapi.Route) string {
	for _, op := range w.operations {
		if op.name == route.Method+" "+strings.TrimPrefix(route.Path, contract.BasePath) {
			return op.example
		}
	}
	return ""
}

// closed forbids every schema's undescribed members: clients ignore them, the suite does not.
func closed(node any) {
	switch n := node.(type) {
	case map[string]any:
		if n["properties"] != nil && n["type"] == "object" {
			n["additionalProperties"] = false
		}
		for _, child := range n {
			closed(child)
		}
	case []any:
		for _, child := range n {
			closed(child)
		}
	}
}

// over watches what h answers, for tb.
func (w *watch) over(tb testing.TB, h http.Handler, logs *syncBuffer) http.Handler {
	tb.Helper()
	var secrets secrets
	tb.Cleanup(func() { secrets.check(tb, logs.String()) })
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(io.LimitReader(r.Body, httpapi.MaxBodyBytes+1)) // as much as the service reads
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(sent), r.Body), r.Body}
		path := r.URL.Path
		tape := &tape{ResponseWriter: out, status: http.StatusOK}
		h.ServeHTTP(tape, r)
		secrets.learn(r.Header, sent, tape.body.Bytes())
		if err := w.check(r.Method, path, sent, tape); err != nil {
			tb.Errorf("not as described: %s %s: %v\nsent %s\nanswered %d %s", r.Method, path, err, sent, tape.status, tape.body.String())
		}
	})
}

// tape keeps a copy of an answer.
type tape struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tape) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tape) Write(p []byte) (int, error) {
	t.body.Write(p)
	return t.ResponseWriter.Write(p)
}

func (t *tape) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (w *watch) check(method, path string, sent []byte, got *tape) error {
	if method == http.MethodHead {
		return nil // has no body to look at
	}
	i := slices.IndexFunc(w.operations, func(op *operation) bool { return op.method == method && op.path.MatchString(path) })
	if i < 0 {
		if got.status < 400 && method != http.MethodOptions && got.Header().Get("Etag") == "" && !strings.Contains(path, ".well-known") {
			return errors.New("no operation is described for a request that was answered")
		}
		return nil
	}
	op := w.operations[i]
	schema, ok := op.answers[got.status]
	if !ok {
		return fmt.Errorf("%s has no answer %d", op.name, got.status)
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(got.body.Bytes()))
	if err != nil {
		return err
	}
	if err := schema.Validate(body); err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	code := ""
	if got.status < 400 {
		if op.request != nil && len(bytes.TrimSpace(sent)) > 0 {
			request, err := jsonschema.UnmarshalJSON(bytes.NewReader(sent))
			if err != nil {
				return err
			}
			if err := op.request.Validate(request); err != nil {
				return fmt.Errorf("the request, which was taken: %w", err)
			}
		}
	} else {
		code = body.(map[string]any)["error"].(map[string]any)["code"].(string)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[fmt.Sprint(op.name, " ", got.status, " ", code)] = true
	return nil
}

// unseen lists what is described and was never answered.
func (w *watch) unseen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var missing []string
	for _, op := range w.operations {
		for status, codes := range op.codes {
			for _, code := range codes {
				if one := fmt.Sprint(op.name, " ", status, " ", code); !w.seen[one] {
					missing = append(missing, one)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// secrets are the values that no log may have: those of members and headers
// that hold one, wherever a request or an answer has them.
type secrets struct {
	mu     sync.Mutex
	values map[string]bool
}

var secretMember = regexp.MustCompile(`(?i)"([a-z_]*(?:password|token|secret|recovery_codes?|code_verifier|otpauth_url|totp_uri|signature|client_data_json)[a-z_]*)"\s*:\s*("(?:[^"\\]|\\.)*"|\[[^\]]*\])`)

func (s *secrets) learn(header http.Header, bodies ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string]bool{}
	}
	for _, value := range header.Values("Authorization") {
		if _, token, ok := strings.Cut(value, " "); ok {
			s.add(strings.TrimSpace(token))
		}
	}
	for _, body := range bodies {
		for _, found := range secretMember.FindAllSubmatch(body, -1) {
			var one string
			var several []string
			switch name := string(found[1]); {
			case strings.EqualFold(name, "token_type"):
			case json.Unmarshal(found[2], &one) == nil:
				s.add(one)
			case json.Unmarshal(found[2], &several) == nil:
				for _, one := range several {
					s.add(one)
				}
			}
		}
	}
}

// add leaves out what is too short to be told from other words.
func (s *secrets) add(value string) {
	if len(value) >= 8 {
		s.values[value] = true
	}
}

func (s *secrets) check(tb testing.TB, logs string) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for value := range s.values {
		if strings.Contains(logs, value) {
			tb.Errorf("the log has the secret %q", value)
		}
	}
}

// The scan finds what it looks for.
func TestLogScanFindsSecrets(t *testing.T) {
	t.Parallel()
	for text, found := range map[string]bool{
		`{"password":"hunter2hunter2"}`: true, `{"new_password": "hunter2hunter2"}`: true, `{"recovery_codes":["other","hunter2hunter2"]}`: true,
		`{"tokens":{"refresh_token":"hunter2hunter2"}}`: true, `{"name":"hunter2hunter2"}`: false, `{"token_type":"hunter2hunter2"}`: false,
	} {
		var s secrets
		s.learn(nil, []byte(text))
		if s.values["hunter2hunter2"] != found {
			t.Errorf("%s: %v", text, s.values)
		}
	}
}

// A new route, member or word shows as a difference of the copy in git.
func TestDescriptionInGitIsCurrent(t *testing.T) {
	t.Parallel()
	text, err := httpapi.Document()
	must(t, err)
	have, err := os.ReadFile(kept)
	must(t, err)
	if !bytes.Equal(text, have) {
		t.Fatal("docs/openapi.json differs: run make generate")
	}
}

func TestDescriptionIsServed(t *testing.T) {
	t.Parallel()
	s := newClosedService(t)
	text, err := httpapi.Document()
	must(t, err)
	for path, want := range map[string]struct{ kind, policy string }{
		"/openapi.json":   {"application/json", "default-src 'none'; frame-ancestors 'none'"},
		"/docs":           {"text/html; charset=utf-8", "script-src 'self'; style-src 'self'"},
		"/docs/app.js":    {"text/javascript; charset=utf-8", "require-trusted-types-for 'script'"},
		"/docs/style.css": {"text/css; charset=utf-8", "default-src 'none'"},
		"/docs/icon.svg":  {"image/svg+xml", "default-src 'none'"},
	} {
		r, err := s.try(t.Context(), request{method: "GET", path: api(path)})
		must(t, err)
		if r.status != http.StatusOK || r.header.Get("Content-Type") != want.kind || !strings.Contains(r.header.Get("Content-Security-Policy"), want.policy) ||
			strings.Contains(r.header.Get("Content-Security-Policy"), "unsafe") || r.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, r.status, r.header)
		}
		if path == "/openapi.json" && r.raw != string(text) {
			t.Error("another description is served")
		}
		again, err := s.try(t.Context(), request{method: "GET", path: api(path), header: http.Header{"If-None-Match": {r.header.Get("Etag")}}})
		must(t, err)
		if again.status != http.StatusNotModified || again.raw != "" {
			t.Errorf("%s again: %d", path, again.status)
		}
		s.want(http.StatusNoContent, request{method: "OPTIONS", path: api(path)})
		s.wantCode(http.StatusMethodNotAllowed, "method_not_allowed", request{method: "POST", path: api(path)})
	}
}

// Failures that any route may have are provoked on each of them, and the
// watch sees that they are those described.
func TestFailuresThatEveryRouteMayHave(t *testing.T) {
	t.Parallel()
	s := newService(t)
	token := s.register("every@example.org").Tokens.AccessToken
	closed := newClosedService(t)
	broken := newClosedService(t)
	broken.api.Open(&httpapi.Backend{}) // panics where it is used
	contended := newService(t)
	contendedToken := contended.register("ada@example.com").Tokens.AccessToken
	contended.db.conflict.Store(true)
	for _, route := range httpapi.Routes() {
		if route.Probe {
			continue
		}
		path := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(route.Path, "0198f2c4-8a52-7b6e-9d3e-2f4a6c8e0b1d")
		q := request{method: route.Method, path: path, token: token, body: watcher.example(route)}
		broken.wantCode(http.StatusInternalServerError, "internal", q)
		closed.wantCode(http.StatusServiceUnavailable, "unavailable", q)
		if route.Method != http.MethodGet {
			busy := q
			busy.token = contendedToken
			if r := contended.do(busy); route.SignedIn && r.Error.Code != "busy" {
				t.Errorf("%s %s under contention: %s", q.method, q.path, r.raw)
			}
		}
		odd := q
		odd.path += "?nobody-knows=this"
		s.wantCode(http.StatusBadRequest, "invalid_request", odd)
		if route.SignedIn {
			nobody := q
			nobody.token = ""
			s.wantCode(http.StatusUnauthorized, "invalid_token", nobody)
		}
		if strings.Contains(route.Path, "{") {
			other := q
			other.path = strings.ReplaceAll(path, "0198f2c4-8a52-7b6e-9d3e-2f4a6c8e0b1d", "nobodys")
			s.wantCode(http.StatusNotFound, "not_found", other)
		}
		if route.Request != nil {
			form := q
			form.body, form.contentType = "a=b", "application/x-www-form-urlencoded"
			s.wantCode(http.StatusUnsupportedMediaType, "unsupported_media_type", form)
			large := q
			large.body = `{"x":"` + strings.Repeat("x", httpapi.MaxBodyBytes) + `"}`
			s.wantCode(http.StatusRequestEntityTooLarge, "body_too_large", large)
		}
	}
}

// watched starts h on a loopback port with the watch in front.
func watched(tb testing.TB, h http.Handler, logs *syncBuffer) *httptest.Server {
	tb.Helper()
	return httptest.NewServer(watcher.over(tb, h, logs))
}
