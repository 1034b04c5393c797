package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommit: settings are changed and taken out, comments stay, and what would be refused is not written.
func TestCommit(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"Pulumi.yaml":       "name: coditect\nruntime: go\n",
		"Pulumi.local.yaml": "# why it is so\nconfig:\n  coditect:databaseEngine: embedded\n  # its pods\n  coditect:legacyReplicas: \"2\"\n  coditect:legacyPort: \"8090\"\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		text, err := os.ReadFile(filepath.Join(root, "Pulumi.local.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if err := Commit(root, "local", map[string]string{"legacyReplicas": "1", "legacyPort": "", "legacyRouted": "false"}); err != nil {
		t.Fatal(err)
	}
	text := read()
	for _, want := range []string{"# why it is so", "# its pods", `legacyReplicas: "1"`, `legacyRouted: "false"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "legacyPort") {
		t.Errorf("what was taken out is there:\n%s", text)
	}
	if err := Commit(root, "local", map[string]string{"legacyReplicas": "many"}); err == nil || read() != text {
		t.Errorf("what is refused is written: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, ".settings-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
