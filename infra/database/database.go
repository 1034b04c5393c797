// Package database owns the records' home: a FoundationDB cluster on Kubernetes,
// or, in the local environment, the volume of the embedded engine. Either way it
// hands the service a [pod.Part] and nothing else is to be known about it.
//
// FoundationDB's shape follows from how it recovers: coordinators are named by
// DNS because pods change address, each pod's zone is its node, the cluster file
// lives on the volume because processes rewrite it, and no probe looks at the
// cluster's status, since a restart would make a sick cluster sicker.
package database

import (
	"errors"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/pod"
	"coditect.ai/platform/stacks"
)

// Args of [New].
type Args struct {
	Namespace pulumi.StringInput
	// Identity makes the cluster's own ID; a rebuilt cluster needs another one.
	Identity string
	Settings stacks.Database
	// Protect refuses to delete the database.
	Protect bool
}

func (a *Args) check() error {
	var faults []error
	if a.Namespace == nil {
		faults = append(faults, errors.New("Namespace is not set"))
	}
	if a.Identity == "" {
		faults = append(faults, errors.New("Identity is empty"))
	}
	if a.Settings.Engine != stacks.FoundationDB {
		return errors.Join(faults...)
	}
	if need := a.Settings.Redundancy.Machines(); need == 0 || a.Settings.Replicas < need {
		faults = append(faults, fmt.Errorf("%d replicas are too few for %q redundancy", a.Settings.Replicas, a.Settings.Redundancy))
	}
	if err := size(a.Settings).Fits(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Database is the environment's database.
type Database struct {
	pulumi.ResourceState

	// Part gives a pod its way to the database.
	Part pod.Part
}

// New makes the database of the engine that the settings name.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Database, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("database %s: %w", name, err)
	}
	d := &Database{}
	if err := ctx.RegisterComponentResource("coditect:database:Database", name, d, opts...); err != nil {
		return nil, fmt.Errorf("database %s: %w", name, err)
	}
	provision := foundationDB
	if args.Settings.Engine == stacks.Embedded {
		provision = embedded
	}
	part, err := provision(ctx, args, d)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", name, err)
	}
	d.Part = part
	if err := ctx.RegisterResourceOutputs(d, pulumi.Map{"engine": pulumi.String(string(args.Settings.Engine))}); err != nil {
		return nil, fmt.Errorf("database %s: outputs: %w", name, err)
	}
	return d, nil
}
