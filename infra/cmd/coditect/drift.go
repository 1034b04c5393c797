package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/drift"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/stacks"
)

func driftCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drift", Short: "Tell whether an environment is still what its last update made", Args: cobra.NoArgs,
		Long: `Compares each resource of the state with what is there and with what the program
makes, and changes nothing. An environment in the cloud is read through the
backend and the credentials that Pulumi uses on this machine.

Exit code 0: no drift; 3: drift, which is told; 1: it could not be compared.`,
	}
	name := cmd.Flags().String("env", local.Name, "the environment: local, dev, staging or prod")
	asJSON := cmd.Flags().Bool("json", false, "for machines")
	timeout := cmd.Flags().Duration("timeout", 20*time.Minute, "time after which it gives up")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := local.Open(".", cmd.OutOrStdout()) // finds the repository
		if err != nil {
			return err
		}
		if *timeout <= 0 {
			return problem.New(nil, "--timeout is %s: give it more than nothing.", *timeout)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		report, err := compare(ctx, env, *name)
		if ctx.Err() != nil && cmd.Context().Err() == nil {
			return problem.New(err, "%s was not compared within %s: give it more with --timeout.", *name, *timeout)
		}
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			report.Text(cmd.OutOrStdout())
		}
		if err == nil && report.Drifted > 0 {
			err = errFindings
		}
		return err
	}
	return cmd
}

// compare looks at the environment of the name.
func compare(ctx context.Context, env *local.Environment, name string) (drift.Report, error) {
	switch e := stacks.Environment(name); {
	case !e.Known():
		return drift.Report{}, unknown(name)
	case !e.Cloud():
		return env.Drift(ctx)
	}
	s, err := engine.Attach(ctx, env.Root(), name, program.Deploy)
	if err != nil {
		return drift.Report{}, err
	}
	report, err := drift.Look(ctx, s, nil)
	if err != nil {
		return report, engine.Refused(name, err)
	}
	return report, nil
}
