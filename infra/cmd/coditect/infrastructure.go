package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/cloud"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/policy"
	"coditect.ai/platform/infra/preview"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/revision"
	"coditect.ai/platform/stacks"
)

// reversion is a rollback of an environment's infrastructure, and not of its records.
type reversion struct {
	environment string
	to, confirm string
	// settingsAlone takes the settings back though the program has changed since.
	settingsAlone bool
}

// run shows what the rollback would do; confirmed, it does it.
func (r reversion) run(cmd *cobra.Command) error {
	if !stacks.Environment(r.environment).Known() {
		return unknown(r.environment)
	}
	if r.confirm != "" && r.confirm != r.environment {
		return problem.New(nil, "--confirm names %s and the environment is %s: nothing was done.", r.confirm, r.environment)
	}
	if r.confirm != "" && r.to == "" {
		return problem.New(nil, "--confirm needs --to: run this without it first, and it names the revision.")
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	env, err := local.Open(".", out)
	if err != nil {
		return err
	}
	way, err := r.find(ctx, env)
	if err != nil {
		return err
	}
	if len(way.Program) > 0 && !r.settingsAlone {
		return problem.New(nil, "the program itself has changed since %s (%s and %d more files), and its settings with today's program never ran together: `git worktree add ../coditect-%s %s` and bring it up from there; or --settings-alone, if you have looked.",
			way.Short(), way.Program[0], len(way.Program)-1, way.Short(), way.Short())
	}
	plan, err := preview.Run(ctx, preview.Options{Root: env.Root(), Environment: r.environment, Target: way.Settings})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Back to the settings of %s. In %s:\n", way.Short(), engine.File(r.environment))
	for _, change := range way.Changes {
		fmt.Fprintln(out, "  "+change)
	}
	if len(way.Changes) == 0 {
		fmt.Fprintln(out, "  nothing: the file is so already")
	}
	fmt.Fprintln(out)
	plan.Tree(out, terminal())
	var lost []string
	for _, one := range plan.Resources {
		if one.Component || one.Op != preview.Replace && one.Op != preview.Delete {
			continue
		}
		if policy.HoldsData(one.Type) {
			return problem.New(nil, "this would take %s %s away, and with it %s: name another revision, or change the settings by hand; docs/settings.md says which are fixed once they are in use.", one.Type, one.Name, policy.Loss(one.Type))
		}
		lost = append(lost, fmt.Sprintf("%s %s (%s)", one.Type, one.Name, one.Op))
	}
	fmt.Fprintln(out, "\nLost would be:")
	for _, one := range lost {
		fmt.Fprintln(out, "  "+one)
	}
	if len(lost) == 0 {
		fmt.Fprintln(out, "  nothing: whatever changes is changed in place")
	}
	if r.confirm == "" {
		fmt.Fprintf(out, "Records, releases and their split stay.\nNothing was done. To do it: coditect rollback --infrastructure --env %s --to %s --confirm %s\n", r.environment, way.Short(), r.environment)
		return nil
	}
	return operation(cmd, env, func(ctx context.Context) error {
		if err := way.Write(); err != nil {
			return err
		}
		if err := r.update(ctx, cmd, env); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s has the settings of %s now: commit that file.\n", engine.File(r.environment), way.Short())
		return nil
	})
}

// find makes the way to the revision that is named, or to the newest good one whose settings differ.
func (r reversion) find(ctx context.Context, env *local.Environment) (*revision.Way, error) {
	if r.to != "" {
		return revision.Find(ctx, env.Root(), r.environment, r.to)
	}
	good, err := operations(env).Good(r.environment)
	if err != nil {
		return nil, err
	}
	for _, name := range good {
		// One that git knows no more, or that lacks the file, is not good for this.
		if way, err := revision.Find(ctx, env.Root(), r.environment, name); err == nil && len(way.Changes) > 0 {
			return way, nil
		}
	}
	return nil, problem.New(nil, "no update of %s from this checkout is on record that ended well with other settings: name a revision with --to, one of `git log -- %s`.", r.environment, engine.File(r.environment))
}

// update brings the environment to its file.
func (r reversion) update(ctx context.Context, cmd *cobra.Command, env *local.Environment) error {
	if r.environment == local.Name {
		return env.Up(ctx)
	}
	stack, err := cloudStack(ctx, env, r.environment, cmd.OutOrStdout(), program.Deploy)
	if err != nil {
		return err
	}
	behind, err := stack.Behind(ctx)
	if err != nil {
		return err
	}
	if len(behind) > 0 {
		return problem.New(nil, "%s of this checkout is older than the last update, in %s: an update would take a release or a recovery back. Take over what was committed since, or what releases have made (`coditect rollout settings --env %s`), then run this again.",
			engine.File(r.environment), cloud.Differences(behind), r.environment)
	}
	_, err = stack.Update(ctx, nil)
	return err
}
