package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/simcloud/daemon"
)

// environment adds --env to cmd and returns what opens the environment.
func environment(cmd *cobra.Command) func() (*local.Environment, error) {
	name := cmd.Flags().String("env", local.Name, "the environment")
	return func() (*local.Environment, error) {
		if *name != local.Name {
			return nil, &problem.Error{Text: fmt.Sprintf("this command is for the environment %s; use `pulumi %s --stack %s` for one in the cloud.", local.Name, cmd.Name(), *name)}
		}
		return local.Open(".", cmd.OutOrStdout())
	}
}

func upCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "up", Short: "Bring an environment up, or to what the repository says", Args: cobra.NoArgs}
	open := environment(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := open()
		if err != nil {
			return err
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
	cmd := &cobra.Command{Use: "status", Short: "Show what of an environment runs", Args: cobra.NoArgs}
	open := environment(cmd)
	asJSON := cmd.Flags().Bool("json", false, "for machines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := open()
		if err != nil {
			return err
		}
		if err := env.Status(cmd.Context(), *asJSON); err != nil || *asJSON {
			return err
		}
		return tellProven(cmd, env)
	}
	return cmd
}

// simcloudCommand is the background process behind the local environment; `up` starts it.
func simcloudCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "simcloud", Short: "Run the simulated cloud", Args: cobra.NoArgs, Hidden: true}
	dir := cmd.Flags().String("dir", "", "where it keeps everything")
	buckets := cmd.Flags().String("buckets", "", "where mounted buckets are")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return daemon.Serve(cmd.Context(), daemon.Options{Directory: *dir, Buckets: *buckets})
	}
	return cmd
}
