package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	aVersion = "v5.1.0"
	aCommit  = "0123456789abcdef0123456789abcdef01234567"
)

// wanted is what the fixtures claim to be.
func wanted() expected {
	return expected{version: aVersion, commit: aCommit, engines: []string{"embedded"}, leastSize: 1 << 20, within: time.Minute}
}

// compile builds a Go program as the image's build does.
func compile(t *testing.T, pkg, ldflags string, more ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "coditect-api")
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", out, "-ldflags", ldflags}, more...), pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, text)
	}
	return out
}

// maker leaves something where the service should be.
type maker func(*testing.T) string

func compiled(mode, version string) maker {
	return func(t *testing.T) string {
		t.Helper()
		return compile(t, "./testdata/fixture", fmt.Sprintf("-X main.mode=%s -X main.version=%s -X main.commit=%s", mode, version, aCommit))
	}
}

func written(content string, mode os.FileMode) maker {
	return func(t *testing.T) string {
		t.Helper()
		return write(t, content, mode)
	}
}

func none(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "none")
}

func write(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "coditect-api")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// The service itself is accepted.
func TestAcceptsTheService(t *testing.T) {
	t.Parallel()
	path := compile(t, "../coditect-api", "-X main.version="+aVersion+" -X main.commit="+aCommit)
	var out, errs bytes.Buffer
	environ := map[string]string{"VERSION": aVersion, "COMMIT": aCommit}
	if code := run(t.Context(), func(name string) string { return environ[name] }, &out, &errs, []string{path}); code != exitOK {
		t.Fatalf("%d\n%s%s", code, &out, &errs)
	}
	for _, want := range []string{"size ", "none needed", aCommit, "health "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing of %q in:\n%s", want, &out)
		}
	}

	// The same binary is refused as soon as one thing more is expected of it.
	for name, tt := range map[string]struct {
		change func(*expected)
		want   string
	}{
		"another version": {func(e *expected) { e.version = "v5.2.0" }, `its version is "v5.1.0", not "v5.2.0"`},
		"another commit":  {func(e *expected) { e.commit = strings.Repeat("f", 40) }, `its commit is "0123`},
		"another engine":  {func(e *expected) { e.engines = []string{"embedded", "foundationdb"} }, `it has no engine "foundationdb"`},
		"a larger floor":  {func(e *expected) { e.leastSize = 1 << 30 }, "at least 1073741824"},
	} {
		want := wanted()
		tt.change(&want)
		if _, err := verify(t.Context(), path, want); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusesARehearsal: a build that fails on purpose is told from the service, and
// the service has nothing of what makes it fail.
func TestRefusesARehearsal(t *testing.T) {
	t.Parallel()
	ldflags := "-X main.version=" + aVersion + " -X main.commit=" + aCommit
	const fault = "coditect rehearsal: a fault on purpose"
	for name, tt := range map[string]struct {
		flags []string
		bad   bool
	}{"the service": {nil, false}, "a rehearsal": {[]string{"-tags", "rehearsal"}, true}} {
		path := compile(t, "../coditect-api", ldflags, tt.flags...)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(fault)) != tt.bad {
			t.Errorf("%s: its fault is there: %v", name, !tt.bad)
		}
		if err := checkTags(path); (err != nil) != tt.bad {
			t.Errorf("%s: %v", name, err)
		}
		if !tt.bad {
			continue
		}
		if _, err := verify(t.Context(), path, wanted()); err == nil || !strings.Contains(err.Error(), "fails on purpose") {
			t.Errorf("%s is accepted: %v", name, err)
		}
	}
}

// What a broken build may leave in the service's place is refused, each with its reason.
func TestRefusesWhatIsNotTheService(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("not a program\n", 1<<17)
	for name, tt := range map[string]struct {
		path   maker
		change func(*expected)
		want   string
	}{
		"nothing":                     {none, nil, "no such file"},
		"a directory":                 {(*testing.T).TempDir, nil, "it is no file"},
		"an empty file":               {written("", 0o755), nil, "it is empty"},
		"a text file":                 {written(text, 0o755), nil, "it is no program for Linux"},
		"a file without the right":    {written(text, 0o644), nil, "it is not executable"},
		"a short script":              {written("#!/bin/sh\n", 0o755), nil, "a placeholder, or an unfinished build"},
		"an empty main, by its size":  {compiled("empty", ""), func(e *expected) { e.leastSize = leastSize }, "a placeholder, or an unfinished build"},
		"an empty main, by its words": {compiled("empty", ""), nil, "printed nothing and exited with 0"},
		"a wrong version":             {compiled("serves", "v5.0.9"), nil, `its version is "v5.0.9", not "v5.1.0"`},
		"one that leaves at once":     {compiled("leaves", aVersion), nil, "ended (exit status 0) before it answered"},
		"one that dies":               {compiled("dies", aVersion), nil, "ended (exit status 3) before it answered /api/v5/health; its last words: no such cluster"},
		"one that never answers":      {compiled("silent", aVersion), func(e *expected) { e.within = 3 * time.Second }, "has not answered /api/v5/health within 3s"},
		"one that lacks a library":    {lacking, func(e *expected) { e.leastSize = 1 }, "error while loading shared libraries: libclient.so"},
		"one for another processor":   {foreign, func(e *expected) { e.leastSize = 1 }, "it is a program for EM_MIPS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := wanted()
			if tt.change != nil {
				tt.change(&want)
			}
			_, err := verify(t.Context(), tt.path(t), want)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// linked is a C program that needs a library of ours, and that library.
func linked(t *testing.T) (program, library string) {
	t.Helper()
	dir := t.TempDir()
	program, library = filepath.Join(dir, "program"), filepath.Join(dir, "libclient.so")
	for file, text := range map[string]string{"client.c": "int client(void) { return 0; }\n", "main.c": "int client(void);\nint main(void) { return client(); }\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"-shared", "-fPIC", "-o", library, filepath.Join(dir, "client.c")},
		{"-o", program, filepath.Join(dir, "main.c"), "-L" + dir, "-lclient", "-Wl,-rpath," + dir},
	} {
		if out, err := exec.CommandContext(t.Context(), "cc", args...).CombinedOutput(); err != nil {
			t.Fatalf("cc: %v\n%s", err, out)
		}
	}
	return program, library
}

func lacking(t *testing.T) string {
	t.Helper()
	program, library := linked(t)
	if err := os.Remove(library); err != nil {
		t.Fatal(err)
	}
	return program
}

// A library that is there is no reason to refuse.
func TestFindsLibraries(t *testing.T) {
	t.Parallel()
	program, _ := linked(t)
	found, err := checkLibraries(t.Context(), program)
	if err != nil || !strings.Contains(found, "libclient.so") || !strings.Contains(found, "libc.so") {
		t.Errorf("%q %v", found, err)
	}
}

// foreign is a program whose head says that it is for another processor.
func foreign(t *testing.T) string {
	t.Helper()
	program, _ := linked(t)
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	data[18], data[19] = byte(elf.EM_MIPS), 0 // e_machine, little-endian
	return write(t, string(data), 0o755)
}

// What is expected must itself say something.
func TestExpectsSomething(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "takes one binary"},
		{[]string{"a", "b"}, "takes one binary"},
		{[]string{"a"}, `--version is ""`},
		{[]string{"--version", "unknown", "--commit", aCommit, "a"}, `--version is "unknown"`},
		{[]string{"--version", aVersion, "--commit", "0123abc", "a"}, "by all 40 digits"},
		{[]string{"--version", aVersion, "--commit", aCommit, "--engines", "embedded,", "a"}, "--engines names an empty one"},
		{[]string{"--version", aVersion, "--commit", aCommit, "--within", "0s", "a"}, "--within"},
		{[]string{"--release", aVersion, "a"}, "not defined"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), func(string) string { return "" }, &out, &errs, tt.args); code != exitUsage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%q: %d %s", tt.args, code, &errs)
		}
	}
}
