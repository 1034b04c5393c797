package preview_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/preview"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/stacks"
)

// repository is a git repository with the project's own project and stack files.
func repository(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("pulumi"); err != nil {
		t.Skip("no pulumi on PATH: `make pulumi` builds it into .bin")
	}
	dir := t.TempDir()
	files := []string{"Pulumi.yaml"}
	for _, env := range stacks.Environments() {
		files = append(files, "Pulumi."+string(env)+".yaml")
	}
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "settings"}} {
		if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// set adds a line to an environment's file.
func set(t *testing.T, dir, environment, line string) {
	t.Helper()
	path := filepath.Join(dir, "Pulumi."+environment+".yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, []byte("  coditect:"+line+"\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, o preview.Options) preview.Plan {
	t.Helper()
	plan, err := preview.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestFromNothing(t *testing.T) {
	dir := repository(t)
	for _, env := range stacks.Environments() {
		t.Run(string(env), func(t *testing.T) {
			plan := run(t, preview.Options{Root: dir, Environment: string(env)})
			counts := plan.Counts()
			if counts[preview.Create] < 10 || len(counts) != 1 {
				t.Errorf("from nothing: %v", counts)
			}
			if len(plan.Findings) > 0 {
				t.Errorf("rules are broken: %v", plan.Findings)
			}
			if env.Cloud() != (plan.Cost.Monthly > 0) || env.Cloud() != (len(plan.StandIns) > 0) {
				t.Errorf("costs %.2f, stand-ins %v", plan.Cost.Monthly, plan.StandIns)
			}
			if !slices.ContainsFunc(plan.Resources, func(r preview.Resource) bool {
				return strings.HasSuffix(r.Type, ":HTTPRoute") && strings.HasSuffix(r.Parent, "::gateway")
			}) {
				t.Error("no route below the gateway")
			}
		})
	}
}

func TestAgainstARevision(t *testing.T) {
	dir := repository(t)
	plan := run(t, preview.Options{Root: dir, Environment: "prod", Against: "HEAD"})
	if counts := plan.Counts(); len(counts) != 1 || counts[preview.Same] == 0 {
		t.Errorf("nothing was changed: %v", counts)
	}
	set(t, dir, "dev", "gatewayTimeout: 45s")
	set(t, dir, "dev", "databaseStorageClass: premium-rwo")
	t.Setenv(program.EnvAllowReplace, "databaseStorageClass,foundationdb")
	plan = run(t, preview.Options{Root: dir, Environment: "dev", Against: "HEAD"})
	found := func(op, kind, path, from, to string, replaces bool) {
		t.Helper()
		if !slices.ContainsFunc(plan.Resources, func(r preview.Resource) bool {
			return r.Op == op && strings.HasSuffix(r.Type, ":"+kind) &&
				slices.Contains(r.Changes, engine.Change{Path: path, From: from, To: to, Replaces: replaces})
		}) {
			t.Errorf("no %s of a %s for %s from %s to %s", op, kind, path, from, to)
		}
	}
	found(preview.Update, "GCPBackendPolicy", "spec.default.timeoutSec", "30", "45", false)
	found(preview.Replace, "StatefulSet", "spec.volumeClaimTemplates[0].spec.storageClassName", "standard-rwo", "premium-rwo", true)

	var tree, markdown bytes.Buffer
	plan.Tree(&tree, preview.Style{Width: 60})
	plan.Markdown(&markdown)
	for _, want := range []string{"against its settings at HEAD", "30 → 45"} {
		if !strings.Contains(tree.String(), want) || !strings.Contains(markdown.String(), want) {
			t.Errorf("%q is not told:\n%s\n%s", want, tree.String(), markdown.String())
		}
	}
	for line := range strings.Lines(tree.String()) {
		if len([]rune(strings.TrimSuffix(line, "\n"))) > 60 || strings.Contains(line, "\x1b") {
			t.Errorf("a line is wider than the terminal, or coloured: %q", line)
		}
	}
	raw, err := json.Marshal(plan)
	if err != nil || !strings.Contains(string(raw), `"op":"update"`) {
		t.Errorf("as JSON: %s %v", raw, err)
	}
}

func TestRefusals(t *testing.T) {
	dir := repository(t)
	for name, test := range map[string]struct {
		o    preview.Options
		want string
	}{
		"no such environment": {preview.Options{Root: dir, Environment: "mars"}, "local dev staging prod"},
		"no such revision":    {preview.Options{Root: dir, Environment: "dev", Against: "nowhere"}, "name a revision"},
		"an option of git":    {preview.Options{Root: dir, Environment: "dev", Against: "--output=x"}, "name a revision"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := preview.Run(t.Context(), test.o)
			if p, ok := errors.AsType[*problem.Error](err); !ok || !strings.Contains(p.Text, test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	// What holds data is not replaced, however little is asked for: the setting is refused, and, where that is allowed, the resource.
	set(t, dir, "dev", "databaseStorageClass: premium-rwo")
	for allowed, want := range map[string]string{
		"":                                  `databaseStorageClass is "premium-rwo", and "standard-rwo" is deployed: the StatefulSet would be replaced`,
		"databaseStorageClass":              "would replace StatefulSet foundationdb: lost would be the database's pods",
		"databaseStorageClass,foundationbd": "foundationbd: no resource",
	} {
		t.Setenv(program.EnvAllowReplace, allowed)
		_, err := preview.Run(t.Context(), preview.Options{Root: dir, Environment: "dev", Against: "HEAD"})
		if p, ok := errors.AsType[*problem.Error](err); !ok || !strings.Contains(p.Text, want) {
			t.Errorf("allowed %q: %v, want %q", allowed, err, want)
		}
	}
	t.Setenv(program.EnvAllowReplace, "")
	set(t, dir, "dev", `clusterNodes: "0"`)
	set(t, dir, "dev", "colour: red")
	_, err := preview.Run(t.Context(), preview.Options{Root: dir, Environment: "dev"})
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || !strings.Contains(p.Text, "clusterNodes") || !strings.Contains(p.Text, "colour") {
		t.Errorf("faulty settings: %v", err)
	}
}
