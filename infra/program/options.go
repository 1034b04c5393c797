package program

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// extra decides on options of a resource that concern the environment as a whole.
type extra func(*pulumi.ResourceTransformationArgs) []pulumi.ResourceOption

// extras are all of them. The engine's library lets the last of several
// transformations win, so there is one, which asks each.
type extras []extra

func (e *extras) add(one extra) { *e = append(*e, one) }

// register lets the extras, those that are added later included, have their say of every resource from now on.
func (e *extras) register(ctx *pulumi.Context) error {
	err := ctx.RegisterStackTransformation(func(args *pulumi.ResourceTransformationArgs) *pulumi.ResourceTransformationResult {
		opts := args.Opts
		for _, one := range *e {
			opts = append(opts, one(args)...)
		}
		return &pulumi.ResourceTransformationResult{Props: args.Props, Opts: opts}
	})
	if err != nil {
		return fmt.Errorf("set options of all resources: %w", err)
	}
	return nil
}
