// Package engine owns how a stack of the program is opened on the Pulumi
// engine: the committed project and stack files, what a command sets on top of
// them, the state, and the simulated providers where there are any. Whoever
// runs, previews or compares an environment does it on a [Stack]: [Open] keeps
// one in a state of its own, [Attach] finds the operator's.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/stacks"
)

// Options of [Open].
type Options struct {
	// Root is the repository's directory, which holds the project and stack files.
	Root string
	// Environment names the stack.
	Environment string
	// Committed stands for the settings of the environment's file, which are read where it is nil.
	Committed config.Map
	// Home is where the engine keeps its workspace and the state.
	Home string
	// Providers attaches simulated providers, as PULUMI_DEBUG_PROVIDERS.
	Providers string
	Program   pulumi.RunFunc
	// Overlay makes what is in force of what was at the last update and what is committed; without it the latter is.
	Overlay func(last, committed config.Map) config.Map
}

// Stack is an environment on the engine.
type Stack struct {
	auto.Stack

	Settings stacks.Settings // in force
}

// Open prepares the engine's workspace. A [problem.Error] says what the
// operator can mend: settings that are refused, or no Pulumi on PATH.
func Open(ctx context.Context, o Options) (*Stack, error) {
	project, err := workspace.LoadProject(filepath.Join(o.Root, "Pulumi.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read Pulumi.yaml: %w", err)
	}
	if o.Committed == nil {
		if o.Committed, err = read(project, filepath.Join(o.Root, File(o.Environment))); err != nil {
			return nil, err
		}
	}
	state := filepath.Join(o.Home, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("make the engine's directory: %w", err)
	}
	project.Main = "" // the program is linked into this command and is not to be looked up
	project.Backend = &workspace.ProjectBackend{URL: "file://" + state}

	ws, err := newWorkspace(ctx,
		auto.WorkDir(o.Home), auto.Project(*project), auto.Program(o.Program), auto.PulumiHome(filepath.Join(o.Home, "home")),
		auto.EnvVars(map[string]string{
			"PULUMI_DEBUG_PROVIDERS":                      o.Providers,
			"PULUMI_CONFIG_PASSPHRASE":                    "", // the state holds no secret; values of secrets stay in the simulated Secret Manager
			"PULUMI_SKIP_UPDATE_CHECK":                    "true",
			"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
			"PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK":    "true", // the version is pinned beside the SDK's
		}))
	if err != nil {
		return nil, err
	}

	// The workspace's own settings file keeps the encryption salt and what the overlay adds; all else is the committed file's.
	own, err := ws.StackSettings(ctx, o.Environment)
	if err != nil {
		own = &workspace.ProjectStack{} // the first time
	}
	last := own.Config
	own.Config = o.Committed
	if o.Overlay != nil {
		own.Config = o.Overlay(last, o.Committed)
	}
	settings, err := load(o.Environment, own.Config)
	if err != nil {
		return nil, err
	}
	if err := ws.SaveStackSettings(ctx, o.Environment, own); err != nil {
		return nil, fmt.Errorf("write the engine's settings: %w", err)
	}
	s, err := auto.UpsertStack(ctx, o.Environment, ws)
	if err != nil {
		return nil, fmt.Errorf("open the stack: %w", Explain(err))
	}
	return &Stack{Stack: s, Settings: settings}, nil
}

// File is the name of an environment's file.
func File(environment string) string { return "Pulumi." + environment + ".yaml" }

// Parse reads the text of an environment's file, for instance an earlier one.
func Parse(root, environment string, text []byte) (config.Map, error) {
	project, err := workspace.LoadProject(filepath.Join(root, "Pulumi.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read Pulumi.yaml: %w", err)
	}
	dir, err := os.MkdirTemp("", "coditect-settings")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", File(environment), err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, File(environment))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("read %s: %w", File(environment), err)
	}
	return read(project, path)
}

// read returns what a stack's file sets; never nil.
func read(project *workspace.Project, path string) (config.Map, error) {
	stack, err := workspace.LoadProjectStack(nil, project, path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if stack.Config == nil {
		return config.Map{}, nil
	}
	return stack.Config, nil
}

// load checks the settings before anything is begun; the program itself checks them once more.
func load(environment string, values config.Map) (stacks.Settings, error) {
	own := map[string]string{}
	for key, value := range values {
		switch key.Namespace() {
		case stacks.Project:
			own[key.Name()] = Text(value)
		case "pulumi": // the engine's own
		default: // misspelt, or another program's: nothing here reads it
			own[key.String()] = Text(value)
		}
	}
	settings, err := stacks.Load(environment, own)
	if err != nil {
		return settings, problem.New(err, "Pulumi.%s.yaml: %v", environment, err)
	}
	return settings, nil
}

// Key is a setting's key in a stack's configuration.
func Key(name string) config.Key { return config.MustMakeKey(stacks.Project, name) }

// Text is the text of a value, "" where there is none; no setting is secret.
func Text(value config.Value) string {
	text, err := value.Value(config.NopDecrypter)
	if err != nil {
		return ""
	}
	return text
}

// Explain shortens an engine's error, which carries its whole output, to its [Faults].
func Explain(err error) error { return errors.New(strings.Join(Faults(err), "; ")) }

// Faults are what an engine's error says is wrong, or its first line where
// nothing does. A program's own faults keep the lines that they have.
func Faults(err error) []string {
	var found []string
	listing := false // a list that belongs to the error before
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "stderr: ")
		text, is := strings.CutPrefix(line, "error: ")
		switch {
		case is && strings.HasSuffix(text, " occurred:"):
			listing = true
		case is:
			listing = false
			found = append(found, text)
		case listing && line != "":
			if text, first := strings.CutPrefix(line, "* "); first {
				found = append(found, text)
			} else if len(found) > 0 {
				found[len(found)-1] += "\n  " + line
			}
		default:
			listing = false
		}
	}
	if len(found) == 0 {
		text, _, _ := strings.Cut(err.Error(), "\n")
		found = []string{text}
	}
	return found
}
