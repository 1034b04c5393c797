package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/stacks"
)

// orphanWait bounds how long an update waits for the engine of a killed command to end.
const orphanWait = 30 * time.Second

// stack is the engine's side of the environment.
type stack struct {
	auto.Stack
	settings stacks.Settings // in force
}

// release changes what the slots hold: get reads what they held at the last update, set says what they shall hold.
type release func(get func(key string) string, set func(key, value string))

// openStack prepares the engine's workspace: the committed project and stack
// settings with what next puts into the slots on top, and the simulated
// providers attached.
func (e *Environment) openStack(ctx context.Context, providers string, next release) (*stack, error) {
	project, err := workspace.LoadProject(filepath.Join(e.root, "Pulumi.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read Pulumi.yaml: %w", err)
	}
	committed, err := workspace.LoadProjectStack(nil, project, filepath.Join(e.root, "Pulumi."+Name+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("read Pulumi.%s.yaml: %w", Name, err)
	}

	home := e.path("pulumi")
	state := filepath.Join(home, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, storage(err, e.dir)
	}
	project.Main = "" // the program is linked into this command and is not to be looked up
	project.Backend = &workspace.ProjectBackend{URL: "file://" + state}

	ws, err := auto.NewLocalWorkspace(ctx,
		auto.WorkDir(home), auto.Project(*project), auto.Program(program.Deploy), auto.PulumiHome(filepath.Join(home, "home")),
		auto.EnvVars(map[string]string{
			"PULUMI_DEBUG_PROVIDERS":                      providers,
			"PULUMI_CONFIG_PASSPHRASE":                    "", // the state holds no secret; values of secrets stay in the simulated Secret Manager
			"PULUMI_SKIP_UPDATE_CHECK":                    "true",
			"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
			"PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK":    "true", // the version is pinned beside the SDK's
		}))
	if err != nil {
		if strings.Contains(err.Error(), "executable file not found") {
			return nil, problem(err, "the Pulumi command line is not on PATH: run `make pulumi`, or install it, then run this again.")
		}
		return nil, fmt.Errorf("prepare the engine's workspace: %w", err)
	}

	// The workspace's own settings file keeps the encryption salt and the release; all else is the committed file's.
	own, err := ws.StackSettings(ctx, Name)
	if err != nil {
		own = &workspace.ProjectStack{} // the first time
	}
	own.Config = overlay(own.Config, committed.Config, next)
	settings, err := load(own.Config)
	if err != nil {
		return nil, err
	}
	if err := ws.SaveStackSettings(ctx, Name, own); err != nil {
		return nil, storage(err, e.dir)
	}
	s, err := auto.UpsertStack(ctx, Name, ws)
	if err != nil {
		return nil, fmt.Errorf("open the stack: %w", e.explain(err))
	}
	return &stack{Stack: s, settings: settings}, nil
}

// overlay is the committed settings with what next puts into the slots, which
// may depend on the settings of the last update.
func overlay(last, committed config.Map, next release) config.Map {
	merged := maps.Clone(committed)
	if merged == nil {
		merged = config.Map{}
	}
	next(func(name string) string { return plain(last[key(name)]) },
		func(name, value string) { merged[key(name)] = config.NewValue(value) })
	return merged
}

// load checks the settings before anything is begun; the program itself checks them once more.
func load(values config.Map) (stacks.Settings, error) {
	own := map[string]string{}
	for key, value := range values {
		if key.Namespace() == stacks.Project {
			own[key.Name()] = plain(value)
		}
	}
	settings, err := stacks.Load(Name, own)
	if err != nil {
		return settings, problem(err, "Pulumi.%s.yaml: %v", Name, err)
	}
	return settings, nil
}

func key(name string) config.Key { return config.MustMakeKey(stacks.Project, name) }

// plain is the text of a value, "" where there is none; no setting is secret.
func plain(value config.Value) string {
	text, err := value.Value(config.NopDecrypter)
	if err != nil {
		return ""
	}
	return text
}

// begin marks that an update is under way; the returned function takes the mark
// away and is called only when the update has ended as it should.
func (e *Environment) begin() (done func() error, err error) {
	f, err := os.Create(e.path("updating"))
	if err != nil {
		return nil, storage(err, e.dir)
	}
	if err := f.Close(); err != nil {
		return nil, storage(err, e.dir)
	}
	return func() error {
		if err := os.Remove(e.path("updating")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storage(err, e.dir)
		}
		return nil
	}, nil
}

// cutOff tells whether the last update never came to its end, or the
// simulated cloud has been taken from under its state.
func (e *Environment) cutOff() bool {
	_, err := os.Stat(e.path("updating"))
	return err == nil
}

// heal makes the state fit for an update after one that was cut off: it waits
// for an engine that outlived its command, takes away its lock, and asks the
// cloud which of the resources it was creating are there.
func (e *Environment) heal(ctx context.Context, s *stack) error {
	e.say("  the last run was cut off: comparing the state with what is really there")
	if err := e.awaitOrphans(ctx); err != nil {
		return err
	}
	if locks, _ := filepath.Glob(e.lockPattern()); len(locks) > 0 {
		if err := s.Cancel(ctx); err != nil {
			return fmt.Errorf("release the lock of the cut-off update: %w", err)
		}
	}
	if _, err := s.Refresh(ctx, optrefresh.ClearPendingCreates()); err != nil {
		return fmt.Errorf("refresh the state: %w", e.explain(err))
	}
	return nil
}

// lockPattern matches the lock files of the engine's file backend.
func (e *Environment) lockPattern() string {
	return e.path("pulumi", "state", ".pulumi", "locks", "organization", stacks.Project, Name, "*.json")
}

// awaitOrphans waits for an engine whose command was killed; it still writes the state.
func (e *Environment) awaitOrphans(ctx context.Context) error {
	deadline := time.Now().Add(orphanWait)
	for {
		alive := 0
		files, err := filepath.Glob(e.lockPattern())
		if err != nil {
			return fmt.Errorf("look for locks: %w", err)
		}
		for _, file := range files {
			var lock struct {
				Pid int `json:"pid"`
			}
			if raw, err := os.ReadFile(file); err == nil && json.Unmarshal(raw, &lock) == nil && runsPulumi(lock.Pid) {
				alive = lock.Pid
			}
		}
		if alive == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return problem(nil, "process %d, an engine that outlived its command, still changes the environment: end it, then run this again.", alive)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// runsPulumi tells whether pid is a living engine and not a number used again.
func runsPulumi(pid int) bool {
	if pid <= 0 || syscall.Kill(pid, 0) != nil {
		return false
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err != nil || strings.Contains(string(cmdline), "pulumi")
}
