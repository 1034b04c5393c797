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

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/simcloud/daemon"
	"coditect.ai/platform/stacks"
)

// orphanWait bounds how long an update waits for the engine of a killed command to end.
const orphanWait = 30 * time.Second

// openStack opens the environment on the engine, with what next puts into the
// slots on top of the committed settings.
func (e *Environment) openStack(ctx context.Context, providers string, next release) (*engine.Stack, error) {
	s, err := engine.Open(ctx, engine.Options{
		Root: e.root, Environment: Name, Home: e.path("pulumi"), Providers: providers, Program: program.Deploy,
		Overlay: func(last, committed config.Map) config.Map { return overlay(last, e.own(committed), next) },
	})
	if mend := disk(err, e.dir); mend != nil {
		return nil, mend
	}
	return s, err
}

// own is the committed settings with the environment's own on top.
func (e *Environment) own(committed config.Map) config.Map {
	merged := maps.Clone(committed)
	for name, value := range e.settings {
		merged[engine.Key(name)] = config.NewValue(value)
	}
	return merged
}

// overlay is the committed settings with what next puts into the slots, which
// may depend on the settings of the last update.
func overlay(last, committed config.Map, next release) config.Map {
	merged := maps.Clone(committed)
	if merged == nil {
		merged = config.Map{}
	}
	next(func(name string) string { return engine.Text(last[engine.Key(name)]) },
		func(name, value string) { merged[engine.Key(name)] = config.NewValue(value) })
	return merged
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

// cutOff tells whether the last update never came to its end.
func (e *Environment) cutOff() bool {
	_, err := os.Stat(e.path("updating"))
	return err == nil
}

// lost tells whether the simulated cloud has been taken from under the state.
func (e *Environment) lost(ctx context.Context, cloud *daemon.Client, s *engine.Stack) (bool, error) {
	status, err := cloud.Status(ctx)
	if err != nil {
		return false, fmt.Errorf("ask the simulated cloud what runs: %w", err)
	}
	if status.Objects > 0 {
		return false, nil
	}
	info, err := s.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("read the state: %w", e.explain(err))
	}
	return info.ResourceCount != nil && *info.ResourceCount > 0, nil
}

// heal makes the state fit for an update after one that was cut off: it waits
// for an engine that outlived its command, takes away its lock, and asks the
// cloud which of the resources it was creating are there.
func (e *Environment) heal(ctx context.Context, s *engine.Stack) error {
	e.say("  the state may be wrong (cut off, its cloud removed, or changed outside): comparing it with what is really there")
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
			return problem.New(nil, "process %d, an engine that outlived its command, still changes the environment: end it, then run this again.", alive)
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
