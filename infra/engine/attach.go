package engine

import (
	"context"
	"fmt"
	"maps"
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

// Attach opens a stack that is there already, in the backend that this machine
// is logged in to: the committed project and stack files, the operator's own
// credentials and passphrase, as plain Pulumi would use them in root. It writes
// nothing, not even which stack is selected. Whether there is such a stack, the
// first operation on it tells; [Refused] says that in the operator's words.
//
// A [problem.Error] says what the operator can mend.
func Attach(ctx context.Context, root, environment string, program pulumi.RunFunc) (*Stack, error) {
	settings, err := Committed(root, environment)
	if err != nil {
		return nil, err
	}
	ws, err := newWorkspace(ctx, auto.WorkDir(root), auto.Program(program), auto.EnvVars(map[string]string{"PULUMI_SKIP_UPDATE_CHECK": "true"}))
	if err != nil {
		return nil, err
	}
	s, err := auto.SelectStack(ctx, environment, unselected{ws})
	if err != nil {
		return nil, fmt.Errorf("open the stack: %w", Explain(err))
	}
	return &Stack{Stack: s, Settings: settings}, nil
}

// Committed are the settings of an environment's file, without its stack. Its error
// is as [Attach]'s, with a [stacks.RefusalError] in its chain where they are refused.
func Committed(root, environment string) (stacks.Settings, error) {
	project, err := workspace.LoadProject(filepath.Join(root, "Pulumi.yaml"))
	if err != nil {
		return stacks.Settings{}, fmt.Errorf("read Pulumi.yaml: %w", err)
	}
	values, err := read(project, filepath.Join(root, File(environment)))
	if err != nil {
		return stacks.Settings{}, err
	}
	return load(environment, values)
}

// unselected is a workspace in which the operator's choice of a stack stays as it is.
type unselected struct{ auto.Workspace }

func (unselected) SelectStack(context.Context, string) error { return nil }

// newWorkspace makes a workspace, and says what to do where there is no Pulumi.
func newWorkspace(ctx context.Context, o ...auto.LocalWorkspaceOption) (auto.Workspace, error) {
	ws, err := auto.NewLocalWorkspace(ctx, o...)
	if err != nil {
		if strings.Contains(err.Error(), "executable file not found") {
			return nil, problem.New(err, "the Pulumi command line is not on PATH: run `make pulumi`, or install it, then run this again.")
		}
		return nil, fmt.Errorf("prepare the engine's workspace: %w", err)
	}
	return ws, nil
}

// Refused turns what an operation on an attached stack failed of into what the operator can do.
func Refused(environment string, err error) error {
	text := err.Error()
	for _, known := range []struct{ sign, advice string }{
		{"no stack named", "this machine's Pulumi knows no stack %[1]s: log in to the backend that keeps it (pulumi login gs://…), or make it (pulumi stack init %[1]s), as docs/environments.md tells."},
		{"PULUMI_ACCESS_TOKEN", "this machine is logged in to no backend of Pulumi: `pulumi login` to the one that keeps the state of %[1]s, then run this again."},
		{"passphrase must be set", "the secrets of stack %[1]s need their passphrase: set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE, then run this again."},
		{"incorrect passphrase", "PULUMI_CONFIG_PASSPHRASE is not the one that the secrets of stack %[1]s were made with: set the right one, then run this again."},
		{"the stack is currently locked", "somebody changes %[1]s at this moment, or died doing it: wait, or `pulumi cancel --stack %[1]s` where you know that nobody does; then run this again."},
	} {
		if strings.Contains(text, known.sign) {
			return problem.New(err, known.advice, environment)
		}
	}
	return problem.New(err, "Pulumi cannot do this on stack %s:\n  %s", environment, Explain(err))
}

// Overlaid writes the environment's file in dir with settings on top, "" for one that
// is taken out, into a file of its own, to update with; remove takes it away. The
// committed one stays as it is.
func Overlaid(dir, environment string, settings map[string]string) (file string, remove func(), err error) {
	project, err := workspace.LoadProject(filepath.Join(dir, "Pulumi.yaml"))
	if err != nil {
		return "", nil, fmt.Errorf("read Pulumi.yaml: %w", err)
	}
	stack, err := workspace.LoadProjectStack(nil, project, filepath.Join(dir, File(environment)))
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w", File(environment), err)
	}
	merged := config.Map{}
	maps.Copy(merged, stack.Config)
	for name, value := range settings {
		if value == "" {
			delete(merged, Key(name))
			continue
		}
		merged[Key(name)] = config.NewValue(value)
	}
	stack.Config = merged
	if _, err := load(environment, merged); err != nil {
		return "", nil, err
	}
	scratch, err := os.MkdirTemp("", "coditect-settings")
	if err != nil {
		return "", nil, fmt.Errorf("write the settings of an update: %w", err)
	}
	file = filepath.Join(scratch, File(environment))
	if err := stack.Save(file); err != nil {
		_ = os.RemoveAll(scratch)
		return "", nil, fmt.Errorf("write the settings of an update: %w", err)
	}
	return file, func() { _ = os.RemoveAll(scratch) }, nil
}
