package main

import (
	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/preview"
)

func previewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "preview", Short: "Show what the repository makes of an environment, without credentials", Args: cobra.NoArgs,
		Long: `Runs the real program on the real engine against a simulated cloud, and shows
every resource, the rules that are broken, and what the environment would cost.

Exit code 0: planned; 1: it could not be; 3: planned, and rules are broken.`,
	}
	name := cmd.Flags().String("env", "", "the environment: local, dev, staging or prod")
	against := cmd.Flags().String("against", "", "git revision whose settings the plan starts from; without it, it starts from nothing")
	asJSON := cmd.Flags().Bool("json", false, "for machines")
	asMarkdown := cmd.Flags().Bool("markdown", false, "for a pull request")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
	_ = cmd.MarkFlagRequired("env") // the flag exists
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := local.Open(".", cmd.OutOrStdout()) // finds the repository
		if err != nil {
			return err
		}
		plan, err := preview.Run(cmd.Context(), preview.Options{Root: env.Root(), Environment: *name, Against: *against})
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		switch {
		case *asJSON:
			err = printJSON(out, plan)
		case *asMarkdown:
			plan.Markdown(out)
		default:
			plan.Tree(out, terminal())
		}
		if err == nil && len(plan.Findings) > 0 {
			err = errFindings
		}
		return err
	}
	return cmd
}
