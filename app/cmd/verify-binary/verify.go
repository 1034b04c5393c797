package main

import (
	"context"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
)

// leastSize is far above a program that does nothing (Go's is 1.5 MB) and far
// below the service (30 MB and more).
const leastSize = 10 << 20

// expected is what a binary is held to.
type expected struct {
	version, commit string
	engines         []string
	leastSize       int64
	within          time.Duration
}

// check names every fault of what is expected.
func (e expected) check() error {
	var faults []error
	if e.version == "" || e.version == "unknown" {
		faults = append(faults, fmt.Errorf("--version is %q: say which version this is to be", e.version))
	}
	if raw, err := hex.DecodeString(e.commit); err != nil || len(raw) != 20 {
		faults = append(faults, fmt.Errorf("--commit is %q: a release says which commit it was built of, by all 40 digits", e.commit))
	}
	if slices.Contains(e.engines, "") {
		faults = append(faults, errors.New("--engines names an empty one"))
	}
	if e.within <= 0 {
		faults = append(faults, errors.New("--within must be longer than nothing"))
	}
	return errors.Join(faults...)
}

// verify holds the binary at path to what is expected, cheapest first. It tells
// what held; the error names every reason to refuse that the last step found,
// and no later step runs: what is no program is not executed.
func verify(ctx context.Context, path string, want expected) (passed []string, err error) {
	size, err := checkFile(path, want.leastSize)
	if err != nil {
		return nil, err
	}
	passed = append(passed, fmt.Sprintf("size       %d bytes, at least %d are wanted", size, want.leastSize))
	libraries, err := checkLibraries(ctx, path)
	if err != nil {
		return passed, err
	}
	passed = append(passed, "libraries  "+libraries)
	if err := checkTags(path); err != nil {
		return passed, err
	}
	if err := checkVersion(ctx, path, want); err != nil {
		return passed, err
	}
	passed = append(passed, fmt.Sprintf("version    %s, commit %s, engines %s", want.version, want.commit, strings.Join(want.engines, ", ")))
	for _, engine := range want.engines {
		took, err := checkHealth(ctx, path, engine, want)
		if err != nil {
			return passed, err
		}
		passed = append(passed, fmt.Sprintf("health     answered %v after its start, engine %s", took.Round(time.Millisecond), engine))
	}
	return passed, nil
}

func checkFile(path string, least int64) (size int64, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return 0, fmt.Errorf("it cannot be looked at: %w", err)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("it is no file (%v)", info.Mode().Type())
	case info.Size() == 0:
		return 0, errors.New("it is empty: the build left nothing behind")
	}
	var faults []error
	if info.Mode().Perm()&0o111 == 0 {
		faults = append(faults, fmt.Errorf("it is not executable (%v)", info.Mode().Perm()))
	}
	if info.Size() < least {
		faults = append(faults, fmt.Errorf("it has %d bytes, and the service has at least %d: a placeholder, or an unfinished build", info.Size(), least))
	}
	return info.Size(), errors.Join(faults...)
}

// rehearsal is the build tag of releases that fail on purpose.
const rehearsal = "rehearsal"

// checkTags refuses a build that was made to rehearse a rollback. What carries no
// build information is left to the other checks.
func checkTags(path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil //nolint:nilerr // a script, for one, which has to say who it is itself
	}
	for _, setting := range info.Settings {
		if setting.Key == "-tags" && slices.Contains(strings.Split(setting.Value, ","), rehearsal) {
			return errors.New("it was built for a rehearsal and fails on purpose")
		}
	}
	return nil
}

// built is what `version --json` tells.
type built struct {
	Service string   `json:"service"`
	Version string   `json:"version"`
	Commit  string   `json:"commit"`
	Engines []string `json:"engines"`
}

func checkVersion(ctx context.Context, path string, want expected) error {
	ctx, cancel := context.WithTimeout(ctx, want.within)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version", "--json")
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("`version --json` failed: %w%s", reason(ctx.Err(), err), lastWords(stderrOf(err)))
	}
	if len(out) == 0 {
		return errors.New("`version --json` printed nothing and exited with 0: a program that does nothing")
	}
	var b built
	if err := json.Unmarshal(out, &b); err != nil {
		return fmt.Errorf("`version --json` printed no JSON: %w%s", err, lastWords(out))
	}
	var faults []error
	for _, field := range []struct{ name, have, want string }{
		{"service", b.Service, contract.ServiceName}, {"version", b.Version, want.version}, {"commit", b.Commit, want.commit},
	} {
		if field.have != field.want {
			faults = append(faults, fmt.Errorf("its %s is %q, not %q", field.name, field.have, field.want))
		}
	}
	for _, engine := range want.engines {
		if !slices.Contains(b.Engines, engine) {
			faults = append(faults, fmt.Errorf("it has no engine %q, only %q", engine, b.Engines))
		}
	}
	return errors.Join(faults...)
}

// reason prefers the reason why a program was ended to how it ended.
func reason(why, how error) error {
	if why != nil {
		return why
	}
	return how
}

func stderrOf(err error) []byte {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.Stderr
	}
	return nil
}

// lastWords quotes the end of what a program said.
func lastWords(text []byte) string {
	const most = 400
	words := strings.Join(strings.Fields(string(text)), " ")
	if words == "" {
		return ""
	}
	if len(words) > most {
		words = "…" + strings.ToValidUTF8(words[len(words)-most:], "")
	}
	return "; its last words: " + words
}
