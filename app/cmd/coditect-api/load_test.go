package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coditect.ai/platform/app/internal/load"
)

// The command against a real process: figures, report, and the exit codes that
// a pipeline goes by.
func TestLoadCommand(t *testing.T) {
	t.Parallel()
	api := serveChild(t, settings(t.TempDir()))
	api.waitReady()
	run1 := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), console{signals: make(chan os.Signal), out: &out, err: &errs}, append([]string{"load"}, args...))
		return code, out.String(), errs.String()
	}
	page := filepath.Join(t.TempDir(), "report.html")
	code, out, errs := run1("--users", "2", "--duration", "4s", "--sessions", "1", "--json", "--html", page, "--max-error-rate", "0", "--max-p99", "all=1m", api.url)
	var report load.Report
	if code != exitOK || json.Unmarshal([]byte(out), &report) != nil || report.Stages[0].Requests == 0 || !strings.Contains(errs, "stage 1 of 1, 2 users") {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	if text, err := os.ReadFile(page); err != nil || !bytes.Contains(text, []byte("</html>")) {
		t.Fatal(err)
	}
	if code, out, _ = run1("--users", "1", "--duration", "2s", "--max-p99", "register=1us", api.url); code != exitFault || !strings.Contains(out, "broken: 1 users: p99 of register") {
		t.Errorf("a broken threshold: %d\n%s", code, out)
	}
	for name, args := range map[string][]string{
		"no URL": {}, "users": {"--users", "many", api.url}, "rate": {"--max-error-rate", "2", api.url}, "p99": {"--max-p99", "x", api.url}, "length": {"--duration", "1ms", api.url},
	} {
		if code, _, errs := run1(args...); code != exitUsage || errs == "" {
			t.Errorf("%s: %d %s", name, code, errs)
		}
	}
}

// Ctrl-C ends a run early, with the report of what was measured.
func TestLoadCommandInterrupted(t *testing.T) {
	t.Parallel()
	api := serveChild(t, settings(t.TempDir()))
	api.waitReady()
	signals := make(chan os.Signal, 1)
	var out bytes.Buffer
	code := run(t.Context(), console{signals: signals, out: &out, err: writer(func(p []byte) {
		if strings.Contains(string(p), "lives") {
			select {
			case signals <- syscall.SIGINT:
			default:
			}
		}
	})}, []string{"load", "--users", "1", "--duration", "1h", api.url})
	if code != exitInterrupted || !strings.Contains(out.String(), "Interrupted") || !strings.Contains(out.String(), "session-create") {
		t.Fatalf("%d\n%s", code, out.String())
	}
}

// writer calls a function with what is written.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
