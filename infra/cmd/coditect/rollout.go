package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/stacks"
)

// waitForTick is how long an operation waits for a tick of somebody else to end.
const waitForTick = 10 * time.Minute

func rolloutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollout", Short: "Release in stages, judged on metrics",
		Long: `A release goes to the slot that has no requests and gets them in stages. Each
stage is judged against the former release, and a bad one goes back by itself.

A rollout is moved by ticks: of ` + "`start --follow`" + `, of ` + "`tick --follow`" + `, or of a scheduler
that calls ` + "`tick`" + `. Any of them goes on where another has ended.

Exit code 0: it is as it should be; 3: a person is asked to decide, or the
release went back; 1: the command failed.`,
	}
	group(cmd)
	cmd.AddCommand(
		rolloutStart(), rolloutTick(), rolloutStatus(), rolloutReport(), rolloutSettings(), rolloutRehearse(),
		decision("pause", "Stop the advance; what is bad goes back all the same", true, func(ctx context.Context, r *rollout.Rollouts, reason string) (*rollout.State, error) {
			return r.Pause(ctx, reason)
		}),
		decision("resume", "Go on after a pause, or put back what another hand has changed", false, func(ctx context.Context, r *rollout.Rollouts, _ string) (*rollout.State, error) {
			return r.Resume(ctx)
		}),
		decision("promote", "Approve the next stage, or end the soak of this one", false, func(ctx context.Context, r *rollout.Rollouts, _ string) (*rollout.State, error) {
			return r.Promote(ctx)
		}),
		decision("abort", "Return to the former release", true, func(ctx context.Context, r *rollout.Rollouts, reason string) (*rollout.State, error) {
			return r.Abort(ctx, reason)
		}),
	)
	return cmd
}

// releasing opens what a command about rollouts needs of the environment that --env names.
func releasing(cmd *cobra.Command) func(context.Context) (*site, error) {
	name := cmd.Flags().String("env", local.Name, "the environment: local, dev, staging or prod")
	return func(ctx context.Context) (*site, error) { return openSite(ctx, *name, cmd.OutOrStdout()) }
}

func rolloutStart() *cobra.Command {
	cmd := &cobra.Command{Use: "start", Short: "Release a version in stages", Args: cobra.NoArgs}
	open := releasing(cmd)
	image := cmd.Flags().String("image", "", "the release's image by digest, NAME@sha256:…")
	version := cmd.Flags().String("version", "", "the release's version, as its binary tells it")
	binary := cmd.Flags().String("binary", "", "in the local environment: the release's binary, instead of an image and a version")
	follow := cmd.Flags().Bool("follow", false, "tick until it has ended or needs a person")
	every := cmd.Flags().Duration("every", 0, "pause between two ticks; a sixth of rolloutWindow unless told")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := open(cmd.Context())
		if err != nil {
			return err
		}
		release := rollout.Release{Version: *version, Image: *image}
		if *binary != "" {
			if release, err = s.push(cmd.Context(), *binary); err != nil {
				return err
			}
		}
		if release.Image == "" || release.Version == "" {
			return problem.New(nil, "name the release: --image and --version, or --binary in the local environment.")
		}
		if !stacks.ByDigest(release.Image) {
			return problem.New(nil, "--image is %q: name an image by digest, NAME@sha256:…; a tag can change under a running release.", release.Image)
		}
		if err := printable("--version", release.Version); err != nil {
			return err
		}
		plan := rollout.PlanOf(s.settings.Rollout)
		if err := s.gate(cmd.Context(), release); err != nil {
			return err
		}
		var state *rollout.State
		if err := operation(cmd, s.local, func(ctx context.Context) error {
			state, err = s.rollouts.Start(ctx, release, plan)
			return decided(cmd, rolloutTrouble(state), err)
		}); err != nil {
			return err
		}
		return tell(cmd, s, state, *follow, *every)
	}
	return cmd
}

func rolloutTick() *cobra.Command {
	cmd := &cobra.Command{Use: "tick", Short: "Move the rollout on as far as it goes now", Args: cobra.NoArgs}
	open := releasing(cmd)
	follow := cmd.Flags().Bool("follow", false, "go on until it has ended or needs a person")
	every := cmd.Flags().Duration("every", 0, "pause between two ticks; a sixth of rolloutWindow unless told")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := open(cmd.Context())
		if err != nil {
			return err
		}
		state, err := s.rollouts.Tick(cmd.Context())
		if errors.Is(err, rollout.ErrNone) {
			fmt.Fprintf(cmd.OutOrStdout(), "There is no rollout in %s.\n", s.name)
			return nil
		}
		if err := tickError(cmd, rolloutTrouble(state), err); err != nil {
			return err
		}
		if state == nil { // somebody else ticks
			if state, err = s.rollouts.Look(cmd.Context()); err != nil {
				return err
			}
		}
		return tell(cmd, s, state, *follow, *every)
	}
	return cmd
}

// rolloutTrouble is what the last tick of a rollout could not do.
func rolloutTrouble(state *rollout.State) string {
	if state == nil {
		return ""
	}
	return state.Trouble
}

// tell shows the state; following, it ticks and shows until nothing more is to be done by a machine.
func tell(cmd *cobra.Command, s *site, state *rollout.State, follow bool, every time.Duration) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if every <= 0 {
		every = max(s.settings.Rollout.Window/6, time.Second)
	}
	state.Text(out, rollout.Style(terminal()))
	for follow && state.Phase.Under() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
		next, err := s.rollouts.Tick(ctx)
		if err := tickError(cmd, rolloutTrouble(next), err); err != nil {
			return err
		}
		if next == nil {
			continue
		}
		if len(next.Events) != len(state.Events) || next.Phase != state.Phase || next.Attention != state.Attention {
			fmt.Fprintln(out)
			next.Text(out, rollout.Style(terminal()))
		}
		state = next
		if state.Attention != "" && (state.Phase == rollout.Approval || state.Paused != nil || state.Conflict != nil) {
			break
		}
	}
	return wanted(state)
}

// wanted is errFindings where a person is asked, or the release did not stay.
func wanted(state *rollout.State) error {
	switch {
	case state.Attention != "", state.Phase == rollout.RollingBack, state.Phase == rollout.RolledBack, state.Phase == rollout.Abandoned:
		return errFindings
	}
	return nil
}

func rolloutStatus() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show the rollout: stages, split, both slots, what it waits for", Args: cobra.NoArgs}
	open := releasing(cmd)
	asJSON := cmd.Flags().Bool("json", false, "for machines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := open(cmd.Context())
		if err != nil {
			return err
		}
		state, err := s.rollouts.Look(cmd.Context())
		if errors.Is(err, rollout.ErrNone) {
			if *asJSON {
				fmt.Fprintln(cmd.OutOrStdout(), "null")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "There was no rollout in %s yet.\n", s.name)
			return nil
		}
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), state)
		} else {
			state.Text(cmd.OutOrStdout(), rollout.Style(terminal()))
			if age := time.Since(state.Ticked); state.Phase.Under() && age > 3*state.Plan.Limits.Window {
				fmt.Fprintf(cmd.OutOrStdout(), "Nobody has ticked it for %s, so nobody judges it: `coditect rollout tick --env %s --follow` does.\n", age.Round(time.Second), s.name)
			}
		}
		return errors.Join(err, wanted(state))
	}
	return cmd
}

func rolloutReport() *cobra.Command {
	cmd := &cobra.Command{Use: "report", Short: "Write the rollout as a page with plots of both slots", Args: cobra.NoArgs}
	open := releasing(cmd)
	file := cmd.Flags().String("file", "", "where to; without it, below .data/rollout")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := open(cmd.Context())
		if err != nil {
			return err
		}
		state, err := s.rollouts.Look(cmd.Context())
		if errors.Is(err, rollout.ErrNone) {
			return problem.New(err, "there was no rollout in %s yet: there is nothing to report.", s.name)
		}
		if err != nil {
			return err
		}
		path := *file
		if path == "" {
			path = filepath.Join(rolloutDir(s.local, s.name), "report-"+state.ID+".html")
		}
		if err := writePage(path, state.HTML); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), path)
		return nil
	}
	return cmd
}

func rolloutSettings() *cobra.Command {
	cmd := &cobra.Command{
		Use: "settings", Short: "Write what releases have made into the environment's file, to be committed", Args: cobra.NoArgs,
		Long: `Where an environment moves its releases itself, nobody writes their outcome into
Pulumi.ENV.yaml: images and weights of both slots, and whether API v2 is there. This
takes them over from the last update. An update by an older file is refused.`,
	}
	open := releasing(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := open(cmd.Context())
		if err != nil {
			return err
		}
		if s.stack == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Releases of %s leave no settings to take over.\n", s.name)
			return nil
		}
		behind, err := s.stack.TakeOver(cmd.Context())
		if err != nil {
			return err
		}
		if len(behind) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is as releases have left it.\n", engine.File(s.name))
			return nil
		}
		for _, d := range behind {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s → %s\n", d.Key, cmp.Or(d.Committed, "not set"), cmp.Or(d.Last, "not set"))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is as releases have left it: commit that file.\n", engine.File(s.name))
		return nil
	}
	return cmd
}

func writePage(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return errors.Join(write(f), f.Close())
}

// decision is a command by which a person decides.
func decision(name, short string, reasoned bool, do func(context.Context, *rollout.Rollouts, string) (*rollout.State, error)) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs}
	open := releasing(cmd)
	reason := new(string)
	if reasoned {
		reason = cmd.Flags().String("reason", "", "why, for the record")
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := printable("--reason", *reason); err != nil {
			return err
		}
		s, err := open(cmd.Context())
		if err != nil {
			return err
		}
		return operation(cmd, s.local, func(ctx context.Context) error {
			state, err := do(ctx, s.rollouts, *reason)
			if err := decided(cmd, rolloutTrouble(state), err); err != nil {
				return err
			}
			state.Text(cmd.OutOrStdout(), rollout.Style(terminal()))
			return nil
		})
	}
	return cmd
}

func rolloutDir(env *local.Environment, name string) string {
	return filepath.Join(env.Root(), ".data", "rollout", name)
}
