package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildRefusals runs the build script against a go command that fails as a
// new machine's would: each way is told in one sentence that says what to do.
func TestBuildRefusals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		goCommand string // the script that stands in for go; empty: none on PATH
		want      string
	}{
		"no Go":      {"", "Go is not installed: install Go 1.26 or later"},
		"Go too old": {`[ "$1" = env ] && echo go1.21.3`, "Go 1.21.3 is too old: this repository needs Go 1.26 or later"},
		"no network": {`[ "$1" = env ] && { echo go1.26.8; exit; }; echo "go: x: Get \"https://proxy\": dial tcp: lookup proxy: no such host" >&2; exit 1`, "the Go module proxy cannot be reached"},
		"disk full":  {`[ "$1" = env ] && { echo go1.26.8; exit; }; echo "write /tmp/x: no space left on device" >&2; exit 1`, "the disk is full"},
		"no memory":  {`[ "$1" = env ] && { echo go1.26.8; exit; }; echo "compile: signal: killed" >&2; exit 1`, "there was not enough memory"},
		"our fault":  {`[ "$1" = env ] && { echo go1.26.8; exit; }; echo "main.go:3: undefined: x" >&2; exit 1`, "did not build; the compiler's words are above"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			script := filepath.Join(root, "infra", "tools", "build.sh")
			copyFile(t, filepath.Join(repository(t), "infra", "tools", "build.sh"), script, 0o755)
			write(t, filepath.Join(root, "app", "go.mod"), "module x\n\ngo 1.26.0\n", 0o644)
			bin := filepath.Join(root, "bin")
			for _, tool := range []string{"bash", "sed", "sort", "head", "mkdir", "dirname", "sleep", "grep", "cat"} {
				link(t, tool, bin)
			}
			if tt.goCommand != "" {
				write(t, filepath.Join(bin, "go"), "#!/bin/sh\n"+tt.goCommand+"\n", 0o755)
			}
			cmd := exec.CommandContext(t.Context(), script, "thing", filepath.Join(root, "app"), ".", filepath.Join(root, "out", "thing"))
			cmd.Env = []string{"PATH=" + bin}
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("it succeeded:\n%s", out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, tt.want) || !strings.HasPrefix(last, "coditect: ") {
				t.Errorf("the last line is %q, want it to say %q", last, tt.want)
			}
		})
	}
}

// TestRolloutRefusals: what cannot be rehearsed is told in one line before anything is built.
func TestRolloutRefusals(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", repository(t), "rollout", "BAD=luck")
	out, err := cmd.CombinedOutput()
	if code := exitCode(err); code != 2 || !strings.Contains(string(out), "BAD is errors, slow or crash, not luck") {
		t.Errorf("make rollout BAD=luck exits %d:\n%s", code, out)
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it bare
		return exit.ExitCode()
	}
	return -1
}

// repository is the root of the checkout under test.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data), mode)
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// link puts one tool of this machine into bin, so that a PATH of bin alone has it and nothing else.
func link(t *testing.T, tool, bin string) {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
		t.Fatal(err)
	}
}

// output runs a command of the test and returns what it printed; the context bounds it.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}
