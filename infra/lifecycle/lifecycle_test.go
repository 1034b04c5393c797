package lifecycle

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/stacks"
)

// added is what an operator sets beside an environment's file; with all of it
// there is nothing that the program leaves out.
func added(env stacks.Environment) map[string]string {
	digest := strings.Repeat("1", 64)
	if !env.Cloud() {
		return map[string]string{"serviceImageBlue": "registry.local/coditect/api@sha256:" + digest}
	}
	return map[string]string{
		"project": "coditect-" + string(env), "projectNumber": "123456789012", "clusterAuthorizedNetworks": "203.0.113.7/32",
		"serviceImageBlue": "registry.example/coditect/api@sha256:" + digest,
		"frontendImage":    "registry.example/coditect/frontend@sha256:" + digest,
		"legacyImage":      "registry.example/coditect/api-v2@sha256:" + digest,
		"backupAccessId":   "GOOG1EXAMPLEEXAMPLEEXAMPLE", "monitoringEmails": "oncall@coditect.ai",
		"deliveryRepository": "coditect/platform", "deliveryClientSum": digest,
	}
}

// world is an environment on the engine, before simulated clouds of its own.
type world struct {
	cloud   *simcloud.Cloud
	home    string
	env     stacks.Environment
	program pulumi.RunFunc
}

// begin makes the clouds; there is no environment in them yet.
func begin(tb testing.TB, env stacks.Environment, program pulumi.RunFunc) *world {
	tb.Helper()
	if testing.Short() {
		tb.Skip("the engine takes its time")
	}
	if _, err := exec.LookPath("pulumi"); err != nil {
		tb.Skip("no Pulumi on PATH: `make pulumi` builds it")
	}
	cloud, err := simcloud.Open(simcloud.Options{Directory: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &world{cloud: cloud, home: tb.TempDir(), env: env, program: program}
}

func (w *world) open(tb testing.TB, more map[string]string) *engine.Stack {
	tb.Helper()
	values := added(w.env)
	maps.Copy(values, more)
	stack, err := engine.Open(tb.Context(), engine.Options{
		Root: filepath.Join("..", ".."), Environment: string(w.env), Home: w.home, Providers: w.cloud.Providers(), Program: w.program,
		Overlay: func(_, committed config.Map) config.Map {
			all := maps.Clone(committed)
			for name, value := range values {
				all[engine.Key(name)] = config.NewValue(value)
			}
			return all
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return stack
}

// up returns what an update did.
func (w *world) up(tb testing.TB, more map[string]string) map[string]int {
	tb.Helper()
	result, err := w.open(tb, more).Up(tb.Context())
	if err != nil {
		tb.Fatalf("%s: up: %v", w.env, engine.Explain(err))
	}
	return *result.Summary.ResourceChanges
}

func TestLifeOfEachEnvironment(t *testing.T) {
	for _, env := range stacks.Environments() {
		if !env.Cloud() {
			continue // `make up` proves that one, with processes that run
		}
		t.Run(string(env), func(t *testing.T) {
			w := begin(t, env, program.Deploy)
			made := w.up(t, nil)
			if len(made) != 1 || made[string(apitype.OpCreate)] < 100 {
				t.Errorf("the first update did %v", made)
			}
			if again := w.up(t, nil); len(again) != 1 || again[string(apitype.OpSame)] != made[string(apitype.OpCreate)] {
				t.Errorf("the second update did %v, the first %v", again, made)
			}
			w.destroy(t)
		})
	}
}

// destroy is refused as long as the settings protect the environment, and then leaves nothing.
func (w *world) destroy(t *testing.T) {
	t.Helper()
	_, err := w.open(t, nil).Destroy(t.Context())
	if err == nil || !strings.Contains(err.Error(), "protect") {
		t.Errorf("%s: the protected environment: %v", w.env, err)
	}
	if len(w.cloud.Objects.List("gcp:container/cluster:Cluster", "")) != 1 {
		t.Fatalf("%s: the refused destruction took the cluster", w.env)
	}
	freed := w.up(t, map[string]string{"deletionProtection": "false"})
	if kinds := slices.Sorted(maps.Keys(freed)); slices.Contains(kinds, string(apitype.OpDelete)) || slices.Contains(kinds, string(apitype.OpReplace)) {
		t.Errorf("%s: to lift the protection did %v", w.env, freed)
	}
	if _, err := w.open(t, map[string]string{"deletionProtection": "false"}).Destroy(t.Context()); err != nil {
		t.Fatalf("%s: destroy: %v", w.env, engine.Explain(err))
	}
	for _, kind := range []string{"gcp:container/cluster:Cluster", "gcp:compute/network:Network", "gcp:storage/bucket:Bucket", "gcp:monitoring/alertPolicy:AlertPolicy"} {
		if left := w.cloud.Objects.List(kind, ""); len(left) != 0 {
			t.Errorf("%s: destruction left %d of %s", w.env, len(left), kind)
		}
	}
}
