package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/operator"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

// Where nothing is under way, a tick reads two documents and reaches nothing else;
// what is under way is moved, and only by what is prepared for it.
func TestTickEverything(t *testing.T) {
	ctx := t.Context()
	now := time.Now()
	refused := errors.New("another revision")
	for name, tt := range map[string]struct {
		release    rollout.Phase // "" for none
		retirement retire.Phase
		prepare    error

		opened, moved [2]bool // release, retirement
		fails         bool
	}{
		"nothing ever":       {},
		"all is over":        {release: rollout.Completed, retirement: retire.Restored},
		"went back":          {release: rollout.RolledBack},
		"a release":          {release: rollout.Soaking, opened: [2]bool{true, true}, moved: [2]bool{true, false}},
		"kept for a return":  {release: rollout.Retaining, opened: [2]bool{true, true}, moved: [2]bool{true, false}},
		"a retirement":       {release: rollout.Completed, retirement: retire.Watching, opened: [2]bool{true, true}, moved: [2]bool{false, true}},
		"both":               {release: rollout.Soaking, retirement: retire.Watching, opened: [2]bool{true, true}, moved: [2]bool{true, true}},
		"of another program": {release: rollout.Soaking, prepare: refused, opened: [2]bool{true, true}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			store := workflow.In(t.TempDir())
			save := func(key string, state any) {
				t.Helper()
				content, err := json.Marshal(state)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := store.Put(ctx, key, content, ""); err != nil {
					t.Fatal(err)
				}
			}
			saved := func(ended bool) tick.Saved {
				s := tick.Saved{Format: 1, ID: "a", Environment: "dev"}
				if ended {
					s.Ended = &now
				}
				return s
			}
			if tt.release != "" {
				save("rollout", rollout.State{Saved: saved(tt.release.Ended()), Phase: tt.release})
			}
			if tt.retirement != "" {
				save("retirement", retire.State{Saved: saved(tt.retirement == retire.Restored), Phase: tt.retirement})
			}
			var opened, moved [2]bool
			e := everything{
				name: "dev", store: store,
				open:    func(context.Context) (*site, error) { opened = [2]bool{true, true}; return &site{name: "dev"}, nil },
				prepare: func(context.Context, *site) error { return tt.prepare },
				move: func(_ context.Context, _ *site, release, retirement bool) (ticked, error) {
					moved = [2]bool{release, retirement}
					return ticked{}, nil
				},
			}
			if _, err := e.run(ctx); (err != nil) != tt.fails {
				t.Errorf("the tick fails of %v", err)
			}
			if opened != tt.opened || moved != tt.moved {
				t.Errorf("opened %v, moved %v", opened, moved)
			}
		})
	}
}

// What alerts go by is in the line of a tick.
func TestTickLine(t *testing.T) {
	for _, tt := range []struct {
		ticked
		want []string
		not  string
	}{
		{ticked{}, []string{`"ticked":true`, "Nothing is under way", `"INFO"`}, "asked"},
		{ticked{lines: []string{"Release v2 waits."}, Asked: true}, []string{`"ticked":true`, `"asked":true`, "Release v2 waits.", `"WARNING"`}, "Nothing"},
	} {
		var out bytes.Buffer
		if err := tt.log(&out); err != nil {
			t.Fatal(err)
		}
		if strings.Count(out.String(), "\n") != 1 || strings.Contains(out.String(), tt.not) {
			t.Errorf("%s", out.String())
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s lacks %s", out.String(), want)
			}
		}
	}
}

// A scheduled tick goes by the program of the last update, or not at all.
func TestSameProgram(t *testing.T) {
	if err := same("prod", "a", "a"); err != nil {
		t.Error(err)
	}
	for _, last := range []string{"", "b"} {
		if err := same("prod", "a", last); err == nil || !strings.Contains(err.Error(), "operatorImage") {
			t.Errorf("after an update by %q: %v", last, err)
		}
	}
	// On this machine there is no CronJob.
	if err := inside(t.Context(), &site{name: string(stacks.Local)}); err == nil {
		t.Error("local is ticked from within a cluster")
	}
}

// pods answers for some, by name.
type pods map[string]corev1.PodPhase

func (p pods) Get(_ context.Context, _ kube.Resource, _, name string, into any) error {
	phase, there := p[name]
	switch {
	case !there:
		return kube.ErrAbsent
	case phase == "":
		return errors.New("the API server does not answer")
	}
	into.(*corev1.Pod).Status.Phase = phase //nolint:forcetypeassert // what is asked for
	return nil
}

func (pods) List(context.Context, kube.Resource, string, string, any) error { return nil }
func (pods) Log(context.Context, string, string, string) ([]byte, error)    { return nil, nil }

// A lock is nobody's only where a pod of the operator's has left it and is over.
func TestGoneOperator(t *testing.T) {
	cluster := pods{
		"coditect-operator-1-a": corev1.PodRunning, "coditect-operator-1-b": corev1.PodFailed,
		"coditect-operator-1-c": corev1.PodSucceeded, "coditect-operator-1-d": "",
	}
	for host, want := range map[string]bool{
		"coditect-operator-1-a": false, "coditect-operator-1-b": true, "coditect-operator-1-c": true,
		"coditect-operator-1-d": false, "coditect-operator-1-e": true, "adas-laptop": false, "coditect-operator": false,
	} {
		if got := goneOperator(t.Context(), cluster, "ns", host); got != want {
			t.Errorf("%s is gone: %t", host, got)
		}
	}
}

// A tick that goes on writes the line that its alert goes by, and none once it has ended.
func TestATickThatGoesOnIsHeard(t *testing.T) {
	var out bytes.Buffer
	beats := make(chan time.Time)
	stop := beat(&out, beats)
	for range 3 {
		beats <- time.Time{}
	}
	stop()
	if got := strings.Count(out.String(), `"`+operator.Field+`":true`); got != 3 {
		t.Errorf("%d lines of 3: %s", got, out.String())
	}
}
