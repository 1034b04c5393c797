package revision

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repository is one of three revisions: its file, and then the hash of each.
func repository(t *testing.T, files ...string) (root string, hashes []string) {
	t.Helper()
	root = t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", root, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	write(t, filepath.Join(root, "Pulumi.yaml"), "name: coditect\nruntime: go\n")
	run("init", "-q")
	for _, file := range files {
		write(t, filepath.Join(root, "Pulumi.dev.yaml"), file)
		run("add", "-A")
		run("commit", "-q", "-m", "settings")
		hashes = append(hashes, Clean(t.Context(), root, "dev"))
	}
	return root, hashes
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	first  = "config:\n  coditect:serviceReplicas: \"2\"\n  coditect:serviceImageBlue: old\n  coditect:mailFrom: a@example.com\n"
	second = "# kept in mind\nconfig:\n  coditect:serviceReplicas: \"3\"\n  coditect:serviceImageBlue: new\n  coditect:databaseGeneration: \"2\"\n  coditect:clusterNodes: \"5\"\n"
)

func TestWayBack(t *testing.T) {
	root, hashes := repository(t, first, second)
	if len(hashes[0]) != 40 || hashes[0] == hashes[1] {
		t.Fatalf("the revisions are %v", hashes)
	}
	w, err := Find(t.Context(), root, "dev", hashes[0][:10])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"clusterNodes: 5 → its default", "mailFrom: its default → a@example.com", "serviceReplicas: 3 → 2"}
	if !slices.Equal(w.Changes, want) || w.Revision != hashes[0] || len(w.Program) != 0 {
		t.Errorf("the way is %+v", w)
	}
	if err := w.Write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "Pulumi.dev.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"# kept in mind", `serviceReplicas: "2"`, "serviceImageBlue: new", `databaseGeneration: "2"`, "mailFrom"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the file lacks %q:\n%s", part, text)
		}
	}
	if strings.Contains(string(text), "clusterNodes") {
		t.Errorf("the file has more than it should:\n%s", text)
	}
	if left, _ := filepath.Glob(filepath.Join(root, ".*next*")); len(left) > 0 {
		t.Errorf("left is %v", left)
	}
	again, err := Find(t.Context(), root, "dev", hashes[0])
	if err != nil || len(again.Changes) != 0 {
		t.Errorf("the way was not gone to its end: %+v %v", again, err)
	}
	if Clean(t.Context(), root, "dev") != "" {
		t.Error("a file that was changed is taken for a revision")
	}
}

func TestProgramOfAnotherRevision(t *testing.T) {
	root, hashes := repository(t, first, second)
	write(t, filepath.Join(root, "infra", "x_test.go"), "package x\n")
	write(t, filepath.Join(root, "infra", "program.go"), "package x\n")
	if out, err := exec.CommandContext(t.Context(), "git", "-C", root, "add", "-A").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	w, err := Find(t.Context(), root, "dev", hashes[0])
	if err != nil || !slices.Equal(w.Program, []string{"infra/program.go"}) {
		t.Errorf("%+v %v", w, err)
	}
}

func TestUnknownRevisions(t *testing.T) {
	root, hashes := repository(t, first)
	for _, name := range []string{"nothing", "--all", ""} {
		if _, err := Find(t.Context(), root, "dev", name); err == nil || !strings.Contains(err.Error(), "git knows no revision") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Find(t.Context(), root, "prod", hashes[0]); err == nil || !strings.Contains(err.Error(), "has no Pulumi.prod.yaml") {
		t.Errorf("an environment that the revision does not have: %v", err)
	}
	if Clean(t.Context(), t.TempDir(), "dev") != "" {
		t.Error("a directory without git has a revision")
	}
}
