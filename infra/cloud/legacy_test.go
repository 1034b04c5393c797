package cloud

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/infra/slots"
	"coditect.ai/platform/infra/workflow"
)

// estate is a region with API v2: what its settings say is there at once.
type estate struct {
	*region

	asked []string
	blind error
	used  float64
}

func (e *estate) Apply(_ context.Context, settings map[string]string, targets ...string) error {
	if !slices.Equal(targets, slots.LegacyTargets()) {
		return errors.New("other resources were to be updated")
	}
	maps.Copy(e.settings, settings)
	return nil
}

func (e *estate) Get(_ context.Context, of kube.Resource, _, name string, into any) error {
	if name != "coditect-api-v2" || e.settings["legacyImage"] == "" {
		return kube.ErrAbsent
	}
	replicas := 3
	if e.settings["legacyReplicas"] == "1" {
		replicas = 1
	}
	switch of {
	case kube.HTTPRoutes:
		if e.settings["legacyRouted"] == "false" {
			return kube.ErrAbsent
		}
		condition := func(kind string) map[string]any {
			return map[string]any{"type": kind, "status": "True", "observedGeneration": 1, "reason": "x", "message": "", "lastTransitionTime": "2026-11-26T00:00:00Z"}
		}
		return through(map[string]any{
			"metadata": map[string]any{"name": name, "generation": 1},
			"status":   map[string]any{"parents": []any{map[string]any{"conditions": []any{condition("Accepted"), condition("ResolvedRefs")}}}},
		}, into)
	case kube.Deployments:
		return through(map[string]any{"spec": map[string]any{"replicas": replicas}, "status": map[string]any{"readyReplicas": replicas}}, into)
	}
	return errors.New("something else was asked for")
}

func (e *estate) Reached(_ context.Context, service, other string, _ time.Duration) (float64, error) {
	e.asked = append(e.asked, service+" beside "+other)
	return e.used, e.blind
}

// TestRetireInTheCloud: the machine of package retire takes API v2 out of an
// environment of the cloud, holds where the load balancer's counts are missing,
// and brings it back.
func TestRetireInTheCloud(t *testing.T) {
	begin := func(t *testing.T) (*estate, *retire.Retirements) {
		t.Helper()
		r, _ := newRegion(t)
		e := &estate{region: r}
		e.settings["legacyImage"] = "registry.example/api-v2@sha256:1"
		environment := &Legacy{Releases: &Releases{Stack: e, Connect: func([]byte) (Cluster, error) { return e, nil }}, Counts: e}
		return e, retire.New(retire.Options{
			Name: "dev", Environment: environment, Store: workflow.In(t.TempDir()), Owner: workflow.Owner{Name: "ada@desk"},
			Now: func() time.Time { return r.clock },
		})
	}
	plan := retire.Plan{Verify: 24 * time.Hour, Watch: 24 * time.Hour, Settle: 24 * time.Hour, Step: time.Hour, Hold: 7 * 24 * time.Hour}
	run := func(t *testing.T, e *estate, r *retire.Retirements, until func(*retire.State) bool) *retire.State {
		t.Helper()
		for range 200 {
			s, err := r.Tick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if until(s) {
				return s
			}
			e.clock = e.clock.Add(6 * time.Hour)
		}
		t.Fatal("it never comes to that")
		return nil
	}
	ended := func(s *retire.State) bool { return s.Ended != nil }
	asks := func(s *retire.State) bool { return s.Phase == retire.Approval || s.Ended != nil }

	t.Run("removed", func(t *testing.T) {
		e, r := begin(t)
		if _, err := r.Start(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		if s := run(t, e, r, asks); s.Phase != retire.Approval || e.settings["legacyReplicas"] != "1" {
			t.Fatalf("%s, %v", s.Phase, e.settings)
		}
		if _, err := r.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := run(t, e, r, ended); s.Phase != retire.Completed || e.settings["legacyImage"] != "" {
			t.Errorf("%s, %v", s.Phase, e.settings)
		}
		if !slices.Contains(e.asked, "coditect-api-v2 beside coditect-api-v5-blue") {
			t.Errorf("asked %v", e.asked)
		}
	})
	t.Run("not measured", func(t *testing.T) {
		e, r := begin(t)
		e.blind = errors.New("no data")
		if _, err := r.Start(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		if s := run(t, e, r, func(s *retire.State) bool { return s.Attention != "" || s.Ended != nil }); s.Phase != retire.Verifying {
			t.Errorf("%s without a measure", s.Phase)
		}
	})
	t.Run("brought back", func(t *testing.T) {
		e, r := begin(t)
		if _, err := r.Start(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		run(t, e, r, asks)
		if _, err := r.Abort(t.Context(), "a customer called"); err != nil {
			t.Fatal(err)
		}
		if s := run(t, e, r, ended); s.Phase != retire.Restored || e.settings["legacyReplicas"] != "" || e.settings["legacyRouted"] != "" {
			t.Errorf("%s, %v", s.Phase, e.settings)
		}
	})
}
