package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"coditect.ai/platform/app/contract"
)

// previousRelease builds the release before this one out of the repository's
// history, and skips the test where that is not to be had.
func previousRelease(t *testing.T) string {
	t.Helper()
	pinned, err := os.ReadFile("testdata/previous-release")
	must(t, err)
	commit, _, _ := strings.Cut(string(pinned), "\n")
	if out, err := exec.CommandContext(t.Context(), "git", "cat-file", "-e", commit+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("the history of this checkout does not have the previous release, commit %s: %v %s", commit, err, out)
	}
	dir := t.TempDir()
	top, err := exec.CommandContext(t.Context(), "git", "rev-parse", "--show-toplevel").Output()
	must(t, err)
	archive := exec.CommandContext(t.Context(), "git", "archive", "--format=tar", commit+":app")
	archive.Dir = strings.TrimSpace(string(top))
	unpack := exec.CommandContext(t.Context(), "tar", "-xf", "-", "-C", dir)
	unpack.Stdin, err = archive.StdoutPipe()
	must(t, err)
	must(t, unpack.Start())
	must(t, archive.Run())
	must(t, unpack.Wait())
	binary := filepath.Join(dir, "previous")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "-ldflags", "-X main.version=previous -X main.commit="+commit, "./cmd/coditect-api")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the previous release, commit %s: %v\n%s", commit, err, out)
	}
	return binary
}

// The releases before and after a rollout serve one store at the same time, and
// each request of a user's goes to the other one: nothing breaks in either
// order, and every index agrees at the end.
func TestPreviousReleaseServesTheSameStore(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the previous release")
	}
	t.Parallel()
	previous := previousRelease(t)
	dir := t.TempDir()
	environ := settings(dir, "CODITECT_PASSWORD_HASH_MEMORY_KIB=8192", "CODITECT_PASSWORD_HASH_PASSES=1")
	before := serveProgram(t, previous, environ)
	before.waitReady()
	founder := newLife(t, "founder@example.org", before.url) // the store is the previous release's own
	founder.begin()
	if code, result := checkJSON(t, environ[2:]); code != exitOK || result.SchemaVersion != 1 {
		t.Errorf("%d %+v", code, result)
	}
	now := serveChild(t, environ)
	now.waitReady()
	eventually(t, func() bool { return strings.Contains(now.log(), "store migrated") })

	founder.urls = []string{before.url, now.url}
	founder.live()
	for i, urls := range [][]string{{now.url, before.url}, {before.url, now.url}, {now.url, before.url, before.url}} {
		l := newLife(t, fmt.Sprintf("user%d@example.org", i), urls...)
		l.begin()
		l.live()
		if i > 0 {
			l.leave()
		}
	}

	// Many at once, each request to whichever is next.
	var turn atomic.Int64
	targets := [2]*url.URL{origin(t, before.url), origin(t, now.url)}
	mixed := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(targets[turn.Add(1)%2]) }})
	defer mixed.Close()
	code, out, errs := invoke(t, nil, "load", "--users", "4", "--duration", "4s", "--sessions", "2", "--timeout", "1m", "--max-error-rate", "0", mixed.URL+contract.BasePath)
	if code != exitOK {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	code, result := checkJSON(t, environ[2:])
	if code != exitOK || result.SchemaVersion < 2 {
		t.Errorf("%d %q", code, result.Faults)
	}
	if text, err := exec.CommandContext(t.Context(), previous, "version").Output(); err != nil || !strings.Contains(string(text), "previous") {
		t.Errorf("%s %v", text, err)
	}
}

func origin(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	u.Path = ""
	return u
}

// userLife is a user whose requests go to several services in turns.
type userLife struct {
	t     *testing.T
	email string
	urls  []string
	n     int
	in    signedIn
}

type signedIn struct {
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	TenantID string `json:"tenant_id"`
	Tokens   struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	} `json:"tokens"`
}

func newLife(t *testing.T, email string, urls ...string) *userLife {
	t.Helper()
	return &userLife{t: t, email: email, urls: urls}
}

// do sends a request to whoever is next, and decodes the answer's data into out.
func (l *userLife) do(method, path, body string, want int, out any) {
	l.t.Helper()
	at := l.urls[l.n%len(l.urls)]
	l.n++
	status, answer, err := call(l.t.Context(), method, at+path, l.in.Tokens.Access, body)
	must(l.t, err)
	if status != want {
		l.t.Fatalf("%s, request %d: %s %s: %d %s, want %d", l.email, l.n, method, path, status, answer, want)
	}
	if out == nil {
		return
	}
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	must(l.t, json.NewDecoder(bytes.NewReader(answer)).Decode(&envelope))
	must(l.t, json.Unmarshal(envelope.Data, out))
}

func (l *userLife) credentials(word string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, l.email, word)
}

func (l *userLife) begin() {
	l.t.Helper()
	l.do(http.MethodPost, "/auth/register", registration(l.email), http.StatusCreated, &l.in)
	l.do(http.MethodPost, "/auth/login", l.credentials(password), http.StatusOK, &l.in)
}

// live does what a user does, so that each release reads and changes what the other has written.
func (l *userLife) live() {
	l.t.Helper()
	var made struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	for i := range 3 {
		l.do(http.MethodPost, "/sessions", fmt.Sprintf(`{"name":"s%d","metadata":{"n":%d}}`, i, i), http.StatusCreated, &made)
		l.do(http.MethodGet, "/sessions/"+made.ID, "", http.StatusOK, &made)
		l.do(http.MethodPatch, "/sessions/"+made.ID, `{"name":"renamed"}`, http.StatusOK, nil)
		if l.do(http.MethodGet, "/sessions/"+made.ID, "", http.StatusOK, &made); made.Name != "renamed" {
			l.t.Errorf("%+v", made)
		}
		l.do(http.MethodGet, "/sessions", "", http.StatusOK, nil)
		l.do(http.MethodPost, "/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, l.in.Tokens.Refresh), http.StatusOK, &l.in)
	}
	l.do(http.MethodDelete, "/sessions/"+made.ID, "", http.StatusOK, nil)
	l.do(http.MethodGet, "/sessions/"+made.ID, "", http.StatusNotFound, nil)
	l.do(http.MethodPatch, "/users/me", `{"last_name":"King"}`, http.StatusOK, nil)
	l.do(http.MethodGet, "/users/me", "", http.StatusOK, nil)
	l.do(http.MethodGet, "/auth/logins", "", http.StatusOK, nil)

	var tenant struct {
		ID string `json:"id"`
	}
	l.do(http.MethodPost, "/tenants", `{"name":"Engines"}`, http.StatusCreated, &tenant)
	l.do(http.MethodGet, "/tenants/"+tenant.ID, "", http.StatusOK, nil)
	l.do(http.MethodPatch, "/tenants/"+tenant.ID, `{"name":"More engines"}`, http.StatusOK, nil)
	l.do(http.MethodGet, "/tenants/"+tenant.ID+"/members", "", http.StatusOK, nil)
	l.do(http.MethodGet, "/tenants/"+tenant.ID+"/audit", "", http.StatusOK, nil)
	l.do(http.MethodDelete, "/tenants/"+tenant.ID, "", http.StatusOK, nil)
	l.do(http.MethodGet, "/tenants", "", http.StatusOK, nil)
}

// leave signs out everywhere, in again, and deletes the account.
func (l *userLife) leave() {
	l.t.Helper()
	l.do(http.MethodPost, "/auth/logout", `{"everywhere":true}`, http.StatusOK, nil)
	l.do(http.MethodGet, "/users/me", "", http.StatusUnauthorized, nil)
	l.do(http.MethodPost, "/auth/login", l.credentials(password), http.StatusOK, &l.in)
	l.do(http.MethodDelete, "/users/me", fmt.Sprintf(`{"password":%q}`, password), http.StatusOK, nil)
	l.do(http.MethodGet, "/users/me", "", http.StatusUnauthorized, nil)
	l.in = signedIn{}
	l.do(http.MethodPost, "/auth/login", l.credentials(password), http.StatusUnauthorized, nil)
}
