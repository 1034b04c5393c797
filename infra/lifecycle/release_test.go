package lifecycle

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"

	"coditect.ai/platform/infra/cloud"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/slots"
	"coditect.ai/platform/stacks"
)

// What a release does to a stack of the cloud, the real engine does: an update of
// a slot, updates of a route, the settings as the backend has recorded them, and
// between them nothing that a plain update would change.
func TestStackOfARelease(t *testing.T) {
	w := begin(t, stacks.Dev, program.Deploy)
	// fresh is a checkout of before the release, edited what somebody has changed in its file and not brought up.
	fresh, edited := false, map[string]string{}
	open := func(ctx context.Context) (*engine.Stack, error) {
		return engine.Open(ctx, engine.Options{
			Root: filepath.Join("..", ".."), Environment: string(w.env), Home: w.home, Providers: w.cloud.Providers(), Program: w.program,
			// As a file that is edited, the workspace's keeps what a release has set.
			Overlay: func(last, committed config.Map) config.Map {
				all := maps.Clone(committed)
				for name, value := range added(w.env) {
					all[engine.Key(name)] = config.NewValue(value)
				}
				for name, value := range edited {
					all[engine.Key(name)] = config.NewValue(value)
				}
				for _, key := range slots.Keys() {
					if fresh {
						break
					}
					if value := engine.Text(last[engine.Key(key)]); value != "" {
						all[engine.Key(key)] = config.NewValue(value)
					}
				}
				return all
			},
		})
	}
	s := &cloud.EngineStack{Open: open, Dir: w.home, Address: program.OutputAddress, Kubeconfig: program.OutputKubeconfig, Program: program.OutputProgram, Say: t.Logf}
	ctx := t.Context()
	if err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	r := &cloud.Releases{Stack: s}
	if _, err := r.Configured(ctx); err == nil {
		t.Error("a stack that was never updated tells its split")
	}
	if _, err := s.Update(ctx, nil); err != nil {
		t.Fatal(err)
	}
	image := "registry.example/coditect/api@sha256:" + strings.Repeat("2", 64)
	if err := r.Deploy(ctx, stacks.Green, image); err != nil {
		t.Fatal(err)
	}
	if got := w.at(t, "apps/Deployment", "coditect-api-v5-green", "spec", "template", "spec", "containers", 0, "image"); got != image {
		t.Errorf("slot green runs %v", got)
	}
	quiet := func(after string) {
		t.Helper()
		stack, err := open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		result, err := stack.Preview(ctx)
		if err != nil {
			t.Fatal(engine.Explain(err))
		}
		for op, n := range result.ChangeSummary {
			if op != "same" && n > 0 {
				t.Errorf("after %s a plain update would %s %d", after, op, n)
			}
		}
	}
	quiet("the deployment")
	for _, weights := range []rollout.Weights{{stacks.Blue: 90, stacks.Green: 10}, {stacks.Blue: 100, stacks.Green: 0}} {
		if err := r.Shift(ctx, weights); err != nil {
			t.Fatal(err)
		}
		if got := w.at(t, "gateway.networking.k8s.io/HTTPRoute", "coditect-api-v5", "spec", "rules", 0, "backendRefs", 1, "weight"); got != float64(weights[stacks.Green]) {
			t.Errorf("the route gives slot green %v, want %v", got, weights)
		}
		split, err := r.Configured(ctx)
		if err != nil || !maps.Equal(split.Weights, weights) || split.Images[stacks.Green] != image {
			t.Errorf("the backend has recorded %+v, %v", split, err)
		}
		quiet(weights.String())
	}
	fresh, edited = true, map[string]string{"servicePreStop": "40s", "gatewayTimeout": "7s"}
	grace := func() any {
		t.Helper()
		return w.at(t, "apps/Deployment", "coditect-api-v5-green", "spec", "template", "spec", "terminationGracePeriodSeconds")
	}
	before := grace()
	next := "registry.example/coditect/api@sha256:" + strings.Repeat("3", 64)
	if err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Deploy(ctx, stacks.Green, next); err != nil {
		t.Fatal(err)
	}
	if err := r.Shift(ctx, rollout.Weights{stacks.Blue: 75, stacks.Green: 25}); err != nil {
		t.Fatal(err)
	}
	if got := w.at(t, "apps/Deployment", "coditect-api-v5-green", "spec", "template", "spec", "containers", 0, "image"); got != next {
		t.Errorf("from a fresh checkout slot green runs %v", got)
	}
	if got := grace(); got != before {
		t.Errorf("a release brought up what was edited: %v, and %v before", got, before)
	}
	if last, err := s.Last(ctx); err != nil || last["servicePreStop"] != "15s" || last["gatewayTimeout"] != "30s" || last["gatewayWeightGreen"] != "25" || last["serviceImageGreen"] != next {
		t.Errorf("the backend has recorded %v, %v", last, err)
	}
	// Its file can be brought to what releases have made, and then differs in nothing.
	fresh, edited = true, nil
	if err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	fresh = false // from now on it keeps what is written into it
	behind, err := s.TakeOver(ctx)
	var keys []string
	for _, d := range behind {
		keys = append(keys, d.Key)
	}
	slices.Sort(keys)
	if want := []string{"gatewayWeightBlue", "gatewayWeightGreen", "serviceImageGreen"}; err != nil || !slices.Equal(keys, want) {
		t.Errorf("taken over is %v, %v", behind, err)
	}
	if behind, err := s.TakeOver(ctx); err != nil || len(behind) > 0 {
		t.Errorf("taken over again is %v, %v", behind, err)
	}
	quiet("the outcome was taken over")
	if err := r.Shift(ctx, rollout.Weights{stacks.Blue: 100, stacks.Green: 0}); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := s.Outputs(ctx)
	if source, unread := program.Source(filepath.Join("..", "..")); err != nil || unread != nil || out.Program != source || source == "" {
		t.Errorf("the program of the last update is %q, and this one %q (%v, %v)", out.Program, source, err, unread)
	}
	if err := r.Deploy(ctx, stacks.Green, ""); err != nil {
		t.Fatal(err)
	}
	for _, o := range w.cloud.Objects.List("apps/Deployment", "") {
		if o.Key.Name == "coditect-api-v5-green" {
			t.Error("the slot that was emptied still has its Deployment")
		}
	}
}
