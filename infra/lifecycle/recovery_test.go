package lifecycle

import (
	"context"
	"strings"
	"testing"

	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/cloud"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/simcloud/store"
	"coditect.ai/platform/stacks"
)

const (
	clusters = "gcp:container/cluster:Cluster"
	jobs     = "batch/Job"
	sets     = "apps/StatefulSet"
)

// What a recovery does to the stack, the real engine does: it sees that the
// cluster is gone, forgets what was in it, builds it anew phase by phase, and
// leaves the environment as the file says.
func TestStackOfARecovery(t *testing.T) {
	w := begin(t, stacks.Dev, program.Deploy)
	simulated := w.cloud
	s := &cloud.EngineStack{
		Open: func(context.Context) (*engine.Stack, error) { return w.open(t, nil), nil }, //nolint:contextcheck // the test has its own
		Dir:  w.home, Address: program.OutputAddress, Kubeconfig: program.OutputKubeconfig, Say: t.Logf,
	}
	ctx := t.Context()
	if err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	gone := func(want bool) {
		t.Helper()
		if got, err := s.Gone(ctx); err != nil || got != want {
			t.Fatalf("gone: %t %v, want %t", got, err, want)
		}
	}
	update := func(settings map[string]string) cloud.Outputs {
		t.Helper()
		out, err := s.Update(ctx, settings)
		if err != nil {
			t.Fatalf("%v: %v", settings, err)
		}
		return out
	}
	has := func(kind, name string, want bool) {
		t.Helper()
		found := false
		for _, o := range simulated.Objects.List(kind, "") {
			found = found || strings.HasSuffix(o.Key.Name, name)
		}
		if found != want {
			t.Errorf("%s %s is there: %t, want %t", kind, name, found, want)
		}
	}
	behind := func(want string) {
		t.Helper()
		all, err := s.Behind(ctx)
		if got := cloud.Differences(all); err != nil || got != want {
			t.Errorf("the file is behind in %q %v, want %q", got, err, want)
		}
	}
	gone(true) // nothing was ever made
	behind("")
	if out := update(nil); out.Address != "https://dev.coditect.ai/api/v5" || !strings.Contains(out.Kubeconfig, "gke-gcloud-auth-plugin") {
		t.Errorf("put out is %+v", out)
	}
	gone(false)
	behind("")
	for _, o := range simulated.Objects.Select(func(k store.Key) bool { return k.Kind == clusters || !strings.HasPrefix(k.Kind, "gcp:") }) {
		if err := simulated.Objects.Delete(o.Key); err != nil {
			t.Fatal(err)
		}
	}
	gone(true)
	if err := s.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	update(map[string]string{"recoveryPhase": "ground", "databaseGeneration": "2"})
	has(clusters, "coditect", true)
	has(sets, "foundationdb", true)
	has("apps/Deployment", "coditect-api-v5-blue", false)
	update(map[string]string{"recoveryPhase": "restore", "databaseGeneration": "2", "recoveryFrom": "coditect@4711"})
	has(jobs, backup.RestoreJob, true)
	update(map[string]string{"recoveryPhase": "check", "databaseGeneration": "2"})
	has(jobs, backup.RestoreJob, false)
	has(jobs, backup.CheckJob, true)
	update(map[string]string{"databaseGeneration": "2"})
	has(jobs, backup.CheckJob, false)
	has("apps/Deployment", "coditect-api-v5-blue", true)
	behind("databaseGeneration (1, and the last update had 2)")
	if s.Settings().Database.Generation != 1 {
		t.Errorf("an update changed what is committed: generation %d", s.Settings().Database.Generation)
	}
}
