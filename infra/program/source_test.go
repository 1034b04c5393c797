package program_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coditect.ai/platform/infra/program"
)

// The source of the program changes with each package that it is made of, and with
// nothing else of the repository.
func TestSource(t *testing.T) {
	listed, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}", "coditect.ai/platform/infra").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var packages []string
	for name := range strings.FieldsSeq(string(listed)) {
		if dir, ours := strings.CutPrefix(name, "coditect.ai/platform/"); ours {
			packages = append(packages, dir)
			write(dir+"/some.go", "package some")
		}
	}
	if len(packages) < 20 || !slices.Contains(packages, "infra/program") {
		t.Fatalf("the program is made of %v", packages)
	}
	source := func() string {
		t.Helper()
		text, err := program.Source(root)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	before := source()
	write("infra/program/some_test.go", "package some")
	write("infra/console/some.go", "package some")
	write("Pulumi.prod.yaml", "config: {}")
	if after := source(); after != before || before == "" {
		t.Errorf("the same program is %q and %q", before, after)
	}
	for _, dir := range packages {
		write(dir+"/some.go", "package other")
		after := source()
		if after == before {
			t.Errorf("package %s does not count: name it", dir)
		}
		before = after
	}
	if _, err := program.Source(t.TempDir()); err == nil {
		t.Error("what is no repository has a program")
	}
}
