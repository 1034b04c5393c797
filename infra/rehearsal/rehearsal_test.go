package rehearsal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/rollout"
)

func ended(phase rollout.Phase) *rollout.State {
	return &rollout.State{Phase: phase, Release: rollout.Release{Version: "2"}, Reason: "it is bad", Plan: Plan()}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	answered := func(requests, failed int) Answered {
		return Answered{Requests: requests, Failed: failed, Failures: map[string]int{"internal": failed}}
	}
	for name, tt := range map[string]struct {
		bad     string
		phase   rollout.Phase
		answers Answers
		want    string
	}{
		"a good one":                  {"", rollout.Completed, Answers{"1": answered(9, 0), "2": answered(9, 0)}, ""},
		"a good one that went back":   {"", rollout.RolledBack, Answers{"1": answered(9, 0), "2": answered(9, 0)}, "ended rolledBack"},
		"a loss at the release":       {"", rollout.Completed, Answers{"1": answered(9, 0), "2": answered(9, 1)}, "1 of 9 requests failed at the release (2): internal 1"},
		"a loss at the former":        {Errors, rollout.RolledBack, Answers{"1": answered(9, 1), "2": answered(9, 3)}, "failed at the former release (1)"},
		"a loss between":              {"", rollout.Completed, Answers{"1": answered(9, 0), "2": answered(9, 0), "": answered(1, 1)}, "1 requests were answered by no release"},
		"no one to compare with":      {"", rollout.Completed, Answers{"2": answered(9, 0)}, "the former release (1) answered no request"},
		"errors":                      {Errors, rollout.RolledBack, Answers{"1": answered(9, 0), "2": answered(9, 3)}, ""},
		"errors that stayed":          {Errors, rollout.Completed, Answers{"1": answered(9, 0), "2": answered(9, 3)}, "not rolledBack"},
		"errors that never were":      {Errors, rollout.RolledBack, Answers{"1": answered(9, 0), "2": answered(9, 0)}, "never did"},
		"slow":                        {Slow, rollout.RolledBack, Answers{"1": answered(9, 0), "2": answered(9, 0)}, ""},
		"a loss between, and slow":    {Slow, rollout.RolledBack, Answers{"1": answered(9, 0), "2": answered(9, 0), "": answered(1, 1)}, "by no release"},
		"a crash, with what it takes": {Crash, rollout.RolledBack, Answers{"1": answered(9, 0), "2": answered(9, 0), "": answered(1, 1)}, ""},
	} {
		faults := strings.Join(Faults(tt.bad, ended(tt.phase), "1", tt.answers), "\n")
		if (tt.want == "") != (faults == "") || !strings.Contains(faults, tt.want) {
			t.Errorf("%s: %q, want %q", name, faults, tt.want)
		}
	}
	table := strings.Join(Answers{"1": answered(9, 0), "": answered(2, 2)}.Table(), "\n")
	if !strings.Contains(table, "no release") || !strings.Contains(table, "internal 2") {
		t.Error(table)
	}
}

// script stands in for the service's binary.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "coditect-api")
	if err := os.WriteFile(path, []byte("#!/bin/bash\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	ready := filepath.Join(t.TempDir(), "ready")
	await := func(t *testing.T) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(ready); err == nil {
				return
			} else if time.Now().After(deadline) {
				t.Fatal("the load never starts")
			}
		}
	}
	const report = `{"stages":[{"versions":{"1":{"requests":7,"failed":1,"failures":{"internal":1}}}}]}`
	load, err := Begin(t.Context(), script(t, fmt.Sprintf("trap \"echo '%s'; exit 130\" TERM\ntouch %s\nwhile :; do sleep 0.01; done\n", strings.ReplaceAll(report, `"`, `\"`), ready)), "http://x")
	if err != nil {
		t.Fatal(err)
	}
	await(t)
	answers, err := load.End()
	if err != nil || answers["1"].Requests != 7 || answers["1"].Failures["internal"] != 1 {
		t.Errorf("%+v, %v", answers, err)
	}
	// One that dies early has watched nothing.
	load, err = Begin(t.Context(), script(t, "echo no such service >&2\nexit 1\n"), "http://x")
	if err != nil {
		t.Fatal(err)
	}
	<-load.ended
	if _, err := load.End(); err == nil || !strings.Contains(err.Error(), "no such service") {
		t.Errorf("it died and the error is %v", err)
	}
	if _, err := Begin(t.Context(), filepath.Join(t.TempDir(), "none"), "http://x"); err == nil {
		t.Error("a load tool that is not there was started")
	}
	// It does not outlive who asked for it.
	ctx, cancel := context.WithCancel(t.Context())
	load, err = Begin(ctx, script(t, "exec sleep 1000\n"), "http://x")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-load.ended
}

func TestScreen(t *testing.T) {
	t.Parallel()
	state := ended(rollout.Soaking)
	state.Canary, state.Stable, state.Target = "green", "blue", rollout.Weights{"blue": 90, "green": 10}
	at := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	state.Events = []rollout.Event{{At: at, Text: "Stage 1 of 3."}}
	look := rollout.Judgment{At: at, Canary: &rollout.Sample{Requests: 50, Errors: 5, P99: time.Second}, Stable: &rollout.Sample{}}
	state.Judged = []rollout.Judgment{look}

	var out strings.Builder
	plain := &Screen{Out: &out}
	for range 3 {
		plain.Show(state) // what was told is not told again
	}
	if text := out.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "Stage 1 of 3.") ||
		!strings.Contains(text, "10 %: release 50 requests, 10.0 % errors, p99 1s, former no requests") {
		t.Errorf("plain:\n%s", text)
	}
	for _, width := range []int{30, 80} {
		out.Reset()
		drawn := &Screen{Out: &out, Redraw: true, Style: rollout.Style{Color: true, Width: width}}
		drawn.Show(state)
		first := out.String()
		drawn.Show(state)
		if want := fmt.Sprintf("%s\x1b[%dA\x1b[J%s", first, drawn.drawn, first); out.String() != want {
			t.Errorf("drawn over:\n%q\nwant\n%q", out.String(), want)
		}
	}
	if n := rows("\x1b[31m"+strings.Repeat("x", 30)+"\x1b[0m\n\nab\n", 30); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	if n := rows(strings.Repeat("█", 31)+"\n", 30); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}
