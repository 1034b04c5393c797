package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/console"
)

// patience bounds every wait of these tests; none takes long where all is well.
const patience = time.Minute

// page is an open console and a client that was let in.
type page struct {
	t      *testing.T
	base   string // http://127.0.0.1:PORT
	url    string // with the key
	client *http.Client
	end    func() error
}

func open(t *testing.T, o console.Options) *page {
	t.Helper()
	o.Environment = "local"
	o.Interval = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	l, err := console.Listen(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := console.New(o)
	ended := make(chan error, 1)
	go func() { ended <- c.Serve(ctx, l) }()
	var result error
	end := func() error {
		cancel()
		select {
		case err := <-ended:
			result = err
			ended <- err
		case <-time.After(patience):
			result = errors.New("the console does not end")
		}
		return result
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, base: "http://" + l.Addr().String(), url: c.URL(l), client: &http.Client{Jar: jar, Timeout: patience}, end: end}
	if code, body := p.do(http.MethodGet, p.url, "", nil); code != http.StatusOK || !strings.Contains(body, "Coditect console") {
		t.Fatalf("the page answers %d: %s", code, body)
	}
	return p
}

func (p *page) do(method, url, body string, header map[string]string) (code int, answer string) {
	p.t.Helper()
	return send(p.t, p.client, method, url, body, header)
}

func send(t *testing.T, client *http.Client, method, url, body string, header map[string]string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// act asks for an action as the page does.
func (p *page) act(id, confirm string) (code int, answer string) {
	p.t.Helper()
	return p.do(http.MethodPost, p.base+"/actions/"+id, `{"confirm":"`+confirm+`"}`, p.own())
}

func (p *page) own() map[string]string {
	return map[string]string{"Origin": p.base, "Content-Type": "application/json"}
}

// await reads snapshots until one is as wanted.
func (p *page) await(what string, wanted func(console.Snapshot) bool) console.Snapshot {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/events", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var s console.Snapshot
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData {
			continue
		}
		s = console.Snapshot{}
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			p.t.Fatal(err)
		}
		if wanted(s) {
			return s
		}
	}
	p.t.Fatalf("no snapshot shows %s; the last: %+v", what, s)
	return s
}

func TestSourcesFillTheirPartsAndFailuresAreNamed(t *testing.T) {
	p := open(t, console.Options{Sources: []console.Source{
		{Name: "health", Fill: func(_ context.Context, s *console.Snapshot) error {
			s.Environments = []console.Environment{{Name: "local", Health: console.Healthy}}
			return nil
		}},
		{Name: "backups", Fill: func(context.Context, *console.Snapshot) error { return errors.New("no such bucket") }},
	}})
	s := p.await("both sources", func(s console.Snapshot) bool { return len(s.Environments) == 1 })
	if len(s.Unread) != 1 || s.Unread[0] != "backups: no such bucket" {
		t.Errorf("unread: %q", s.Unread)
	}
}

func TestASourceThatHangsHoldsUpNothingForLong(t *testing.T) {
	p := open(t, console.Options{Sources: []console.Source{
		{Name: "slow", Fill: func(ctx context.Context, _ *console.Snapshot) error {
			<-ctx.Done()
			return ctx.Err()
		}},
	}})
	p.await("the source that gave up", func(s console.Snapshot) bool { return len(s.Unread) == 1 })
}

func TestAnActionRunsItsCommandOnce(t *testing.T) {
	hold := t.TempDir() + "/hold"
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, console.Options{Actions: []console.Action{
		{ID: "work", Command: []string{"/bin/sh", "-c", `echo at work; while [ -e "$0" ]; do sleep 0.05; done; echo done`, hold}},
		{ID: "fail", Command: []string{"/bin/sh", "-c", "echo no luck >&2; exit 3"}},
		{ID: "absent", Command: []string{"/no/such/command"}},
	}})
	for confirm, want := range map[string]int{"": http.StatusBadRequest, "prod": http.StatusBadRequest} {
		if code, answer := p.act("work", confirm); code != want {
			t.Errorf("confirmed with %q: %d %s", confirm, code, answer)
		}
	}
	if code, _ := p.act("other", "local"); code != http.StatusNotFound {
		t.Errorf("an unknown action: %d", code)
	}
	if code, answer := p.act("absent", "local"); code != http.StatusInternalServerError || !strings.Contains(answer, "/no/such/command") {
		t.Errorf("a command that is not there: %d %s", code, answer)
	}
	if code, answer := p.act("work", "local"); code != http.StatusAccepted {
		t.Fatalf("confirmed: %d %s", code, answer)
	}
	p.await("its output", func(s console.Snapshot) bool { return s.Run != nil && s.Run.Running && s.Run.Output == "at work\n" })
	if code, _ := p.act("fail", "local"); code != http.StatusConflict {
		t.Errorf("a second action at the same time: %d", code)
	}
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}
	s := p.await("its end", func(s console.Snapshot) bool { return s.Run != nil && !s.Run.Running })
	if s.Run.Failure != "" || s.Run.Output != "at work\ndone\n" {
		t.Errorf("it ended as %+v", s.Run)
	}
	if code, _ := p.act("fail", "local"); code != http.StatusAccepted {
		t.Errorf("an action after it: %d", code)
	}
	s = p.await("the failure", func(s console.Snapshot) bool { return s.Run.Action == "fail" && !s.Run.Running })
	if s.Run.Failure != "exit status 3" || s.Run.Output != "no luck\n" {
		t.Errorf("it ended as %+v", s.Run)
	}
}

func TestEndingTheConsoleInterruptsItsAction(t *testing.T) {
	mark := t.TempDir() + "/interrupted"
	p := open(t, console.Options{Actions: []console.Action{
		{ID: "work", Command: []string{"/bin/sh", "-c", `trap 'touch "$0"; exit 130' INT; echo ready; while :; do sleep 0.05; done`, mark}},
	}})
	if code, answer := p.act("work", "local"); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, answer)
	}
	p.await("the command at work", func(s console.Snapshot) bool { return s.Run != nil && s.Run.Output != "" })
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the command was not interrupted as a terminal would: %v", err)
	}
}

func TestOnlyThePageWithTheKeyIsServed(t *testing.T) {
	p := open(t, console.Options{Actions: []console.Action{{ID: "work", Command: []string{"/bin/true"}}}})
	stranger := &http.Client{Timeout: patience}
	with := func(name, value string) map[string]string {
		h := p.own()
		h[name] = value
		return h
	}
	for name, test := range map[string]struct {
		client *http.Client
		method string
		path   string
		header map[string]string
		want   int
	}{
		"no key":                  {stranger, http.MethodGet, "/", nil, http.StatusUnauthorized},
		"a wrong key":             {stranger, http.MethodGet, "/?key=guess", nil, http.StatusUnauthorized},
		"events without a key":    {stranger, http.MethodGet, "/events", nil, http.StatusUnauthorized},
		"acting without a key":    {stranger, http.MethodPost, "/actions/work", p.own(), http.StatusUnauthorized},
		"a name that points here": {p.client, http.MethodGet, "/", map[string]string{"Host": "evil.example:80"}, http.StatusMisdirectedRequest},
		"another site's page":     {p.client, http.MethodPost, "/actions/work", with("Origin", "http://evil.example"), http.StatusForbidden},
		"no origin":               {p.client, http.MethodPost, "/actions/work", map[string]string{"Content-Type": "application/json"}, http.StatusForbidden},
		"a form":                  {p.client, http.MethodPost, "/actions/work", with("Content-Type", "text/plain"), http.StatusForbidden},
		"no such file":            {p.client, http.MethodGet, "/../console.go", nil, http.StatusNotFound},
		"the page":                {p.client, http.MethodGet, "/app.js", nil, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			if code, answer := send(t, test.client, test.method, p.base+test.path, `{"confirm":"local"}`, test.header); code != test.want {
				t.Errorf("%d, want %d: %s", code, test.want, answer)
			}
		})
	}
	if code, _ := p.do(http.MethodPost, p.base+"/actions/work", strings.Repeat("x", 1<<20), p.own()); code != http.StatusBadRequest {
		t.Errorf("a huge body: %d", code)
	}
	p.await("that nothing ran", func(s console.Snapshot) bool { return s.Run == nil })
}
