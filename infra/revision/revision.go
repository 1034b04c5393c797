// Package revision owns the way of an environment's settings back to an earlier
// revision of the repository: which revision, what of its file is taken over and
// what stays, and whether the program is still the same.
//
// The environment's file is what an environment is made of, so the way back is a
// change of that file, which the operator commits like any other.
package revision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/problem"
)

// kept stay as they are today: which release runs where is a rollout's to say, and
// which generation of the database is in use a recovery's.
var kept = []string{"serviceImageBlue", "serviceImageGreen", "gatewayWeightBlue", "gatewayWeightGreen", "databaseGeneration"}

// program is what makes an environment of its settings.
var program = []string{"infra", "stacks", "app/contract", ":(exclude)*_test.go", ":(exclude)*.golden.yaml"}

// Way is the way back to one revision.
type Way struct {
	// Revision is its full hash.
	Revision string
	// Settings of the environment's file, once the way is gone.
	Settings config.Map
	// Changes of settings, a line each; none where the file is so already.
	Changes []string
	// Program lists the files of the program that have changed since.
	Program []string

	root, environment string
	stack             *workspace.ProjectStack
}

// Clean is the revision that root is at, "" where what an environment is made of
// differs from it, or where there is none.
func Clean(ctx context.Context, root, environment string) string {
	paths := []string{"status", "--porcelain", "--", "Pulumi.yaml", engine.File(environment), "infra", "stacks", "app"}
	if changed, err := git(ctx, root, paths...); err != nil || changed != "" {
		return ""
	}
	head, err := git(ctx, root, "rev-parse", "HEAD")
	if err != nil {
		return ""
	}
	return head
}

// Find makes the way to a revision, which git must know. It writes nothing.
func Find(ctx context.Context, root, environment, name string) (*Way, error) {
	hash, err := git(ctx, root, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	if err != nil {
		return nil, problem.New(err, "git knows no revision %q: name one of `git log -- %s`.", name, engine.File(environment))
	}
	text, err := git(ctx, root, "show", "--end-of-options", hash+":./"+engine.File(environment))
	if err != nil {
		return nil, problem.New(err, "the revision %s has no %s: name another.", short(hash), engine.File(environment))
	}
	w := &Way{Revision: hash, root: root, environment: environment}
	if w.Settings, err = engine.Parse(root, environment, []byte(text+"\n")); err != nil {
		return nil, err
	}
	project, err := workspace.LoadProject(filepath.Join(root, "Pulumi.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read Pulumi.yaml: %w", err)
	}
	if w.stack, err = workspace.LoadProjectStack(nil, project, filepath.Join(root, engine.File(environment))); err != nil {
		return nil, fmt.Errorf("read %s: %w", engine.File(environment), err)
	}
	for _, name := range kept {
		key := engine.Key(name)
		delete(w.Settings, key)
		if value, set := w.stack.Config[key]; set {
			w.Settings[key] = value
		}
	}
	w.compare()
	changed, err := git(ctx, root, append([]string{"diff", "--name-only", hash, "--"}, program...)...)
	if err != nil {
		return nil, fmt.Errorf("compare the program with that of %s: %w", short(hash), err)
	}
	w.Program = strings.Fields(changed)
	return w, nil
}

func (w *Way) compare() {
	keys := map[config.Key]bool{}
	for _, all := range []config.Map{w.stack.Config, w.Settings} {
		for key := range all {
			keys[key] = true
		}
	}
	for key := range keys {
		today, had := w.stack.Config[key]
		then, has := w.Settings[key]
		switch from, to := engine.Text(today), engine.Text(then); {
		case had && has && from != to:
			w.Changes = append(w.Changes, fmt.Sprintf("%s: %s → %s", key.Name(), from, to))
		case had && !has:
			w.Changes = append(w.Changes, fmt.Sprintf("%s: %s → its default", key.Name(), from))
		case has && !had:
			w.Changes = append(w.Changes, fmt.Sprintf("%s: its default → %s", key.Name(), to))
		}
	}
	slices.Sort(w.Changes)
}

// Short is the revision as people read it.
func (w *Way) Short() string { return short(w.Revision) }

func short(hash string) string { return hash[:min(12, len(hash))] }

// Write goes the way: the environment's file has the settings from now on. It is
// replaced at once, so that a process that dies leaves the one or the other.
func (w *Way) Write() error {
	path := filepath.Join(w.root, engine.File(w.environment))
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", engine.File(w.environment), err)
	}
	w.stack.Config = w.Settings
	next := filepath.Join(w.root, "."+engine.File(w.environment)+".next.yaml")
	// What the file says beside its settings stays, comments too: it is edited, not written anew.
	err = os.WriteFile(next, text, 0o644) //nolint:gosec // a file of the repository, as readable as the others
	if err == nil {
		err = w.stack.Save(next)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", engine.File(w.environment), err), os.RemoveAll(next))
	}
	return nil
}

// git runs it in root and returns what it printed.
func git(ctx context.Context, root string, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(out.String()), nil
}
