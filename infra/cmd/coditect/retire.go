package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

func retireCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "retire", Short: "Retire API v2: verify, scale to one pod, watch, take out of the route, remove",
		Long: `API v2 goes step by step: nobody has used it for a time, it is scaled to one pod,
that is watched, a person approves that it leaves the route, and it is removed.
Until the removal has begun, abort brings everything back at once.

A retirement is moved by ticks: a scheduler calls ` + "`tick`" + `, or ` + "`tick --follow`" + ` runs.

Exit code 0: it is as it should be; 3: a person is asked to decide, or API v2
stays; 1: the command failed.`,
	}
	group(cmd)
	cmd.AddCommand(
		retireStart(), retireTick(), retireStatus(),
		retireDecision("promote", "Approve that API v2 leaves the route, or go on with what the retirement waits for", false,
			func(ctx context.Context, r *retire.Retirements, _ string) (*retire.State, error) {
				return r.Promote(ctx)
			}),
		retireDecision("abort", "Bring back pods and route", true,
			func(ctx context.Context, r *retire.Retirements, reason string) (*retire.State, error) {
				return r.Abort(ctx, reason)
			}),
	)
	return cmd
}

// retiring opens what a command about the retirement needs of the environment that --env names.
func retiring(cmd *cobra.Command) func() (*retire.Retirements, *local.Environment, stacks.Retirement, error) {
	name := cmd.Flags().String("env", local.Name, "the environment")
	return func() (*retire.Retirements, *local.Environment, stacks.Retirement, error) {
		s, err := openSite(cmd.Context(), *name, cmd.OutOrStdout())
		if err != nil {
			return nil, nil, stacks.Retirement{}, err
		}
		return s.retirements(), s.local, s.settings.Retirement, nil
	}
}

// retirements are those of API v2 in the environment.
func (s *site) retirements() *retire.Retirements {
	o := retire.Options{Name: s.name, Store: s.rollouts.Store, Owner: workflow.Self(), Wait: waitForTick}
	if s.legacy != nil {
		o.Environment = s.legacy
	} else {
		o.Environment = s.local.Legacy()
	}
	return retire.New(o)
}

func retireStart() *cobra.Command {
	cmd := &cobra.Command{Use: "start", Short: "Begin the retirement of API v2", Args: cobra.NoArgs}
	open := retiring(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, env, settings, err := open()
		if err != nil {
			return err
		}
		var state *retire.State
		if err := operation(cmd, env, func(ctx context.Context) error {
			state, err = r.Start(ctx, retire.PlanOf(settings))
			return decided(cmd, retireTrouble(state), err)
		}); err != nil {
			return err
		}
		return told(cmd, state)
	}
	return cmd
}

func retireTick() *cobra.Command {
	cmd := &cobra.Command{Use: "tick", Short: "Move the retirement on as far as it goes now", Args: cobra.NoArgs}
	open := retiring(cmd)
	follow := cmd.Flags().Bool("follow", false, "go on until it has ended or needs a person")
	every := cmd.Flags().Duration("every", time.Minute, "pause between two ticks")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, _, _, err := open()
		if err != nil {
			return err
		}
		for {
			state, err := r.Tick(cmd.Context())
			if errors.Is(err, retire.ErrNone) {
				fmt.Fprintln(cmd.OutOrStdout(), "There is no retirement of API v2.")
				return nil
			}
			if err := tickError(cmd, retireTrouble(state), err); err != nil {
				return err
			}
			if err := told(cmd, state); err != nil || !*follow || state != nil && state.Ended != nil {
				return err
			}
			select {
			case <-cmd.Context().Done():
				return cmd.Context().Err()
			case <-time.After(max(*every, time.Second)):
			}
		}
	}
	return cmd
}

func retireStatus() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show the retirement: steps, requests that are left, what it waits for", Args: cobra.NoArgs}
	open := retiring(cmd)
	asJSON := cmd.Flags().Bool("json", false, "for machines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, _, _, err := open()
		if err != nil {
			return err
		}
		state, err := r.Look(cmd.Context())
		none := errors.Is(err, retire.ErrNone)
		switch {
		case err != nil && !none:
			return err
		case *asJSON: // null without one
			if err := printJSON(cmd.OutOrStdout(), state); err != nil || none {
				return err
			}
			return stays(state)
		case none:
			fmt.Fprintln(cmd.OutOrStdout(), "There was no retirement of API v2 yet.")
			return nil
		}
		return told(cmd, state)
	}
	return cmd
}

// retireDecision is a command by which a person decides.
func retireDecision(name, short string, reasoned bool, do func(context.Context, *retire.Retirements, string) (*retire.State, error)) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs}
	open := retiring(cmd)
	reason := new(string)
	if reasoned {
		reason = cmd.Flags().String("reason", "", "why, for the record")
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := printable("--reason", *reason); err != nil {
			return err
		}
		r, env, _, err := open()
		if err != nil {
			return err
		}
		return operation(cmd, env, func(ctx context.Context) error {
			state, err := do(ctx, r, *reason)
			if err := decided(cmd, retireTrouble(state), err); err != nil {
				return err
			}
			state.Text(cmd.OutOrStdout(), tick.Style(terminal()))
			return nil
		})
	}
	return cmd
}

// retireTrouble is what the last tick of a retirement could not do.
func retireTrouble(state *retire.State) string {
	if state == nil {
		return ""
	}
	return state.Trouble
}

// told shows the state that an operation came to, if it came to any.
func told(cmd *cobra.Command, state *retire.State) error {
	if state == nil {
		return nil
	}
	state.Text(cmd.OutOrStdout(), tick.Style(terminal()))
	return stays(state)
}

// stays is errFindings where a person is asked, or API v2 did not go.
func stays(state *retire.State) error {
	if state.Attention != "" || state.Phase == retire.Restoring || state.Phase == retire.Restored || state.Phase == retire.Abandoned {
		return errFindings
	}
	return nil
}
