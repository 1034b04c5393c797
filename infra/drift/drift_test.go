package drift_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/drift"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/infra/simcloud/store"
)

type cluster struct{ pulumi.ProviderResourceState }

type object struct{ pulumi.CustomResourceState }

// configs is a program of as many ConfigMaps as it is given names.
func configs(names ...string) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		provider := &cluster{}
		if err := ctx.RegisterResource("pulumi:providers:kubernetes", "cluster", pulumi.Map{}, provider); err != nil {
			return err
		}
		for _, name := range names {
			err := ctx.RegisterResource("kubernetes:core/v1:ConfigMap", name, pulumi.Map{
				"apiVersion": pulumi.String("v1"), "kind": pulumi.String("ConfigMap"),
				"metadata": pulumi.Map{"name": pulumi.String(name)}, "data": pulumi.StringMap{"a.b": pulumi.String("1"), "c": pulumi.String("2")},
			}, &object{}, pulumi.Provider(provider))
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// stack makes the operator's own stack dev, in a backend that the machine is logged in to.
func stack(t *testing.T) (root string, cloud *simcloud.Cloud) {
	t.Helper()
	if _, err := exec.LookPath("pulumi"); err != nil {
		t.Skip("no pulumi on PATH: `make pulumi` builds it into .bin")
	}
	cloud, err := simcloud.Open(simcloud.Options{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	root = t.TempDir()
	for _, name := range []string{"Pulumi.yaml", "Pulumi.dev.yaml"} {
		content, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "Pulumi.dev.yaml" {
			content = append(content, []byte("  coditect:project: somebodys\n  coditect:projectNumber: \"1\"\n  coditect:clusterAuthorizedNetworks: 203.0.113.7/32\n")...)
		}
		if err := os.WriteFile(filepath.Join(root, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "infra"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PULUMI_BACKEND_URL": "file://" + t.TempDir(), "PULUMI_HOME": t.TempDir(), "PULUMI_CONFIG_PASSPHRASE": "theirs",
		"PULUMI_DEBUG_PROVIDERS": cloud.Providers(), "PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
	} {
		t.Setenv(name, value)
	}
	init := exec.CommandContext(t.Context(), "pulumi", "stack", "init", "dev", "--no-select", "--non-interactive")
	init.Dir = root
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return root, cloud
}

func attach(t *testing.T, root string, program pulumi.RunFunc) *engine.Stack {
	t.Helper()
	s, err := engine.Attach(t.Context(), root, "dev", program)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, root string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "Pulumi.dev.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func look(t *testing.T, s drift.Stack) drift.Report {
	t.Helper()
	report, err := drift.Look(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestLook finds each kind of drift in the operator's own stack, and changes neither file nor state.
func TestLook(t *testing.T) {
	root, cloud := stack(t)
	s := attach(t, root, configs("edited", "kept", "removed"))
	if _, err := s.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := read(t, root)
	if report := look(t, s); report.Drifted != 0 || len(report.Resources) != 3 || report.Environment != "dev" {
		t.Errorf("nothing was changed: %+v", report)
	}

	key := func(name string) store.Key {
		return store.Key{Kind: "/ConfigMap", Namespace: "default", Name: name}
	}
	if err := cloud.Objects.Change(key("edited"), map[string]any{"data": map[string]any{"a.b": "by hand", "c": nil}}); err != nil {
		t.Fatal(err)
	}
	if err := cloud.Objects.Delete(key("removed")); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for range 2 { // a second look sees the same: the first has not touched the state
		report := look(t, s)
		for i := range report.Resources {
			report.Resources[i].URN = ""
		}
		const kind = "kubernetes:core/v1:ConfigMap"
		if got, want := report.Resources, []drift.Resource{
			{Type: kind, Name: "edited", Verdict: drift.Changed, Changes: []engine.Change{
				{Path: "data.c", From: "2"}, {Path: `data["a.b"]`, From: "1", To: "by hand"},
			}},
			{Type: kind, Name: "kept", Verdict: drift.Unchanged},
			{Type: kind, Name: "removed", Verdict: drift.Missing},
		}; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
		raw, err := json.Marshal(report.Resources)
		if err != nil || want != nil && !bytes.Equal(raw, want) {
			t.Errorf("as JSON: %s %v", raw, err)
		}
		want = raw
		var text bytes.Buffer
		report.Text(&text)
		for _, line := range []string{"changed outside         ConfigMap edited", "by hand", "missing                 ConfigMap removed", "2 of 3 resources of dev"} {
			if !strings.Contains(text.String(), line) {
				t.Errorf("%q is not told:\n%s", line, text.String())
			}
		}
	}

	// The program makes one of them no more; and somebody has made another one.
	report, err := drift.Look(t.Context(), attach(t, root, configs("edited", "removed")), func(context.Context) ([]drift.Thing, error) {
		return []drift.Thing{{Type: "/ConfigMap", Name: "by-hand"}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]drift.Verdict{}
	for _, r := range report.Resources {
		verdicts[r.Name] = r.Verdict
	}
	if want := map[string]drift.Verdict{"edited": drift.Changed, "kept": drift.Unknown, "removed": drift.Missing, "by-hand": drift.Unknown}; !reflect.DeepEqual(verdicts, want) {
		t.Errorf("%v, want %v", verdicts, want)
	}
	if got := read(t, root); got != file {
		t.Errorf("the stack's file was changed:\n%s", got)
	}
}

// TestRefused: who has no such stack, or no passphrase, is told what to do.
func TestRefused(t *testing.T) {
	root, _ := stack(t)
	s := attach(t, root, configs())
	for name, test := range map[string]struct{ variable, value, want string }{
		"another backend":  {"PULUMI_BACKEND_URL", "file://" + t.TempDir(), "pulumi login"},
		"wrong passphrase": {"PULUMI_CONFIG_PASSPHRASE", "another", "PULUMI_CONFIG_PASSPHRASE is not"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(test.variable, test.value)
			_, err := drift.Look(t.Context(), s, nil)
			if err == nil {
				t.Fatal("it was compared")
			}
			refusal, ok := errors.AsType[*problem.Error](engine.Refused("dev", err))
			if !ok || !strings.Contains(refusal.Text, test.want) {
				t.Errorf("%v, want %q", refusal, test.want)
			}
		})
	}
}
