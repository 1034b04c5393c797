package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/adoption"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/stacks"
)

func adoptCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "adopt", Short: "Tell whether an environment that is there already can be taken over", Args: cobra.NoArgs,
		Long: `Previews the import of what is there under the environment's names, through the
backend and the credentials that Pulumi uses on this machine, and changes nothing.

Exit code 0: all of it can be taken over, and nothing is replaced; 3: something
stands in the way, which is told; 1: it could not be compared.`,
	}
	name := cmd.Flags().String("env", "", "the environment: dev, staging or prod")
	asJSON := cmd.Flags().Bool("json", false, "for machines")
	timeout := cmd.Flags().Duration("timeout", 20*time.Minute, "time after which it gives up")
	_ = cmd.MarkFlagRequired("env") // the flag exists
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := local.Open(".", cmd.OutOrStdout()) // finds the repository
		if err != nil {
			return err
		}
		if !stacks.Environment(*name).Known() || !stacks.Environment(*name).Cloud() {
			return problem.New(nil, "there is no environment %q in the cloud: it is dev, staging or prod.", *name)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		s, err := engine.Attach(ctx, env.Root(), *name, program.Deploy)
		if err != nil {
			return err
		}
		if !s.Settings.Cloud.Adopt {
			return problem.New(nil, "nothing of %[1]s is taken over as long as its setting says so: `pulumi config set --stack %[1]s adopt true`, then run this again.", *name)
		}
		report, err := adoption.Look(ctx, s)
		if err != nil {
			return engine.Refused(*name, err)
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			report.Text(cmd.OutOrStdout())
		}
		if err == nil && report.InTheWay > 0 {
			err = errFindings
		}
		return err
	}
	return cmd
}
