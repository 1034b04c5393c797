package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/rehearsal"
	"coditect.ai/platform/infra/rollout"
)

// measuredWithin bounds how long Prometheus may take to come up.
const measuredWithin = 30 * time.Second

func rolloutRehearse() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rehearse", Short: "Release another build on this machine under load, with soaks of seconds", Args: cobra.NoArgs,
		Long: `Brings the local environment up, sends it requests all the while, and releases
the binary in stages. A good release must go through, a bad one must go back, and no
request may get lost because weights moved or pods went away.`,
	}
	binary := cmd.Flags().String("binary", "", "the release: another build of the service")
	bad := cmd.Flags().String("bad", "", "what is wrong with it: "+strings.Join(rehearsal.Kinds(), ", "))
	_ = cmd.MarkFlagRequired("binary") // the flag exists
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *bad != "" && !slices.Contains(rehearsal.Kinds(), *bad) {
			return problem.New(nil, "there is no bad release %q: it is one of %s.", *bad, strings.Join(rehearsal.Kinds(), ", "))
		}
		told := &mutable{cmd.OutOrStdout()}
		s, err := openSite(cmd.Context(), local.Name, told)
		if err != nil {
			return err
		}
		return operation(cmd, s.local, func(ctx context.Context) error { return rehearse(ctx, cmd, s, told, *binary, *bad) })
	}
	return cmd
}

// mutable is a writer until it is muted.
type mutable struct{ io.Writer }

func rehearse(ctx context.Context, cmd *cobra.Command, s *site, told *mutable, binary, bad string) error {
	out := cmd.OutOrStdout()
	if state, err := s.rollouts.Look(ctx); err == nil && !state.Phase.Ended() {
		return problem.New(rollout.ErrUnder, "the rollout of %s has not ended (%s): go on with `coditect rollout tick --follow`, or `coditect rollout abort`.", state.Release.Version, state.Phase)
	} else if err != nil && !errors.Is(err, rollout.ErrNone) {
		return err
	}
	tool, err := local.ServiceBinary()
	if err != nil {
		return err
	}
	former, err := versionOf(ctx, tool)
	if err != nil {
		return err
	}
	url, err := s.local.Raise(ctx)
	if err != nil {
		return err
	}
	told.Writer = io.Discard // from here on the rollout is shown, not each resource that it changes
	release, err := s.push(ctx, binary)
	if err != nil {
		return err
	}
	if release.Version == former {
		return problem.New(nil, "both builds say that they are %s, and answers could not be told apart: build the release with another version.", former)
	}
	if err := awaitMetrics(ctx, s.local); err != nil {
		return err
	}
	kind := ""
	if bad != "" {
		kind = ", which is bad (" + bad + "),"
	}
	fmt.Fprintf(out, "\nReleasing %s%s in the place of %s, while %d users a second begin their lives at %s\n\n", release.Version, kind, former, rehearsal.Lives, url)
	load, err := rehearsal.Begin(ctx, tool, url)
	if err != nil {
		return err
	}
	screen := &rehearsal.Screen{Out: out, Style: rollout.Style(terminal())}
	screen.Redraw = screen.Style.Width > 0 && os.Getenv("TERM") != "dumb"
	began := time.Now()
	state, failed := rehearsal.Run(ctx, s.rollouts, release, rehearsal.Plan(), screen.Show)
	answers, err := load.End()
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	if !screen.Redraw {
		fmt.Fprintln(out)
		state.Text(out, screen.Style)
	}
	fmt.Fprintf(out, "\nWhat clients were answered in %.0f s:\n\n%s\n\n", time.Since(began).Seconds(), strings.Join(answers.Table(), "\n"))
	if faults := rehearsal.Faults(bad, state, former, answers); len(faults) > 0 {
		return problem.New(nil, "the rehearsal failed:\n  - %s\nSee `coditect rollout status` and the pods' logs below .data/local/simcloud/logs.", strings.Join(faults, "\n  - "))
	}
	if bad != "" {
		fmt.Fprintf(out, "As it must be: the bad release went back (%s), and the former one failed nobody.\n", state.Reason)
		return nil
	}
	fmt.Fprintln(out, "As it must be: the release has all requests, the former one is gone, and not one request was lost.")
	return nil
}

// awaitMetrics returns when the environment is measured.
func awaitMetrics(ctx context.Context, env *local.Environment) error {
	for deadline := time.Now().Add(measuredWithin); ; {
		status, err := env.Look(ctx)
		if err != nil || status.Metrics.Address != "" {
			return err
		}
		if time.Now().After(deadline) {
			return problem.New(nil, "nothing is measured, and so no release can be judged: %s.", status.Metrics.Trouble)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
