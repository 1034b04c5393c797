package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A change of settings that was a mistake is taken back: first told, then done,
// and never where data would go with it.
func TestInfrastructureGoesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds, and brings an environment up")
	}
	c := clone(t)
	git := func(args ...string) string {
		t.Helper()
		out, err := output(t.Context(), c.dir, c.environ(), "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(out)
	}
	commit := func(key, value string) string {
		t.Helper()
		if key != "" {
			c.configure(t, key, value)
		}
		git("add", "-A")
		git("commit", "-q", "-m", "settings")
		return git("rev-parse", "HEAD")
	}
	back := func(args ...string) (string, int) {
		out, err := output(t.Context(), c.dir, append(c.environ(), "PATH="+filepath.Join(c.dir, ".bin")+":"+os.Getenv("PATH")),
			filepath.Join(c.dir, ".bin", "coditect"), append([]string{"rollback", "--infrastructure", "--env", "local"}, args...)...)
		return out, exitCode(err)
	}
	file := func() string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(c.dir, "Pulumi.local.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	pods := func(want string) {
		t.Helper()
		if out := c.mustMake(t, "status"); !strings.Contains(out, want) {
			t.Errorf("status does not show %q:\n%s", want, out)
		}
	}
	git("init", "-q")
	elsewhere := commit("namespace", "elsewhere")
	good := commit("namespace", "coditect-app")
	c.mustMake(t, "up")
	pods("2 of 2 pods ready")
	commit("serviceMaxReplicas", "3")
	commit("serviceReplicas", "3")
	c.mustMake(t, "up")
	pods("3 of 3 pods ready")
	wrong := file()

	out, code := back()
	if code != 0 || !strings.Contains(out, "serviceReplicas: 3 → 2") || !strings.Contains(out, "Nothing was done") || !strings.Contains(out, "--to "+good[:12]) {
		t.Fatalf("the dry run exits %d:\n%s", code, out)
	}
	if file() != wrong {
		t.Error("the dry run changed the file")
	}
	if out, code := back("--confirm", "local"); code == 0 || !strings.Contains(out, "--confirm needs --to") {
		t.Errorf("without a revision it exits %d:\n%s", code, out)
	}
	if out, code := back("--to", elsewhere, "--confirm", "local"); code == 0 || !strings.Contains(out, "would") || file() != wrong {
		t.Errorf("where data would go it exits %d:\n%s", code, out)
	}
	if out, code := back("--to", good[:12], "--confirm", "local"); code != 0 || !strings.Contains(out, "commit that file") {
		t.Fatalf("the rollback exits %d:\n%s", code, out)
	}
	pods("2 of 2 pods ready")
	if text := file(); strings.Contains(text, `serviceReplicas: "3"`) {
		t.Errorf("the file is\n%s", text)
	}
	c.mustMake(t, "down")
}
