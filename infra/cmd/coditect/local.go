package main

import (
	"context"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/stacks"
)

// environment adds --env to cmd and returns what opens the environment.
func environment(cmd *cobra.Command) func() (*local.Environment, error) {
	name := cmd.Flags().String("env", local.Name, "the environment")
	return func() (*local.Environment, error) {
		if *name != local.Name {
			return nil, elsewhere(cmd.Name(), *name)
		}
		return local.Open(".", cmd.OutOrStdout())
	}
}

// elsewhere refuses a command that is for the local environment alone, with what does
// the same in another.
func elsewhere(command, name string) error {
	if e := stacks.Environment(name); !e.Known() {
		return unknown(name)
	}
	there := map[string]string{
		"up": "`pulumi up --stack " + name + "` does it there", "down": "`pulumi destroy --stack " + name + "` does it there",
		"drill": "there a CronJob rehearses it each week, see docs/recovery.md",
	}[command]
	return problem.New(nil, "`coditect %s` is for the environment %s: %s.", command, local.Name, there)
}

// unknown refuses a name that is no environment's.
func unknown(name string) error {
	return problem.New(nil, "there is no environment %q: it is one of %v.", name, stacks.Environments())
}

func upCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "up", Short: "Bring an environment up, or to what the repository says", Args: cobra.NoArgs}
	open := environment(cmd)
	refresh := cmd.Flags().Bool("refresh", false, "compare the state with what is there first, and mend what drifted")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := open()
		if err != nil {
			return err
		}
		if *refresh {
			env.Doubt()
		}
		if err := halfRecovered(cmd.Context(), env); err != nil {
			return err
		}
		return operation(cmd, env, env.Up)
	}
	return cmd
}

func downCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "down", Short: "Take an environment away", Args: cobra.NoArgs}
	open := environment(cmd)
	keep := cmd.Flags().Bool("keep-data", false, "keep volumes and the values of secrets for the next up")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := open()
		if err != nil {
			return err
		}
		return operation(cmd, env, func(ctx context.Context) error { return env.Down(ctx, *keep) })
	}
	return cmd
}

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show how an environment is", Args: cobra.NoArgs,
		Long: `Shows what of the local environment runs; of one in the cloud how it serves, its
release, the retirement of API v2, and the last proven restore.

Exit code 0: it is as it should be; 3: an environment of the cloud is not healthy,
something could not be read, or a person is asked to decide; 1: the command failed.`,
	}
	open := viewing(cmd)
	asJSON := cmd.Flags().Bool("json", false, "for machines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v, err := open()
		if err != nil {
			return err
		}
		if v.Environment != local.Name {
			snapshot := console.New(v.Options).Look(cmd.Context())
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			return tellSnapshot(cmd.OutOrStdout(), snapshot, *asJSON)
		}
		if err := v.local.Status(cmd.Context(), *asJSON, terminal().Width); err != nil || *asJSON {
			return err
		}
		return tellProven(cmd, v.local)
	}
	return cmd
}
