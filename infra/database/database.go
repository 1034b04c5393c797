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

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

// Names by which an operator finds FoundationDB in the cluster: its pods' app, the
// Service that names them, and the ConfigMap and its key that hold the cluster file.
const (
	App             = StatefulSet
	NamesService    = headless
	ClusterFile     = clusterConfig
	ClusterFileName = clusterFileName
)

// Args of [New].
type Args struct {
	Namespace pulumi.StringInput
	// Embedded asks for the embedded engine's volume alone; of what follows, it
	// needs the storage.
	Embedded bool
	// Storage of each pod.
	StorageClass, StorageSize string
	// Identity makes the cluster's own ID. A rebuilt cluster needs another one, and
	// so a Generation of its own: it keeps its files apart from those of earlier
	// ones on the same volumes, which stay as they are.
	Identity   string
	Generation int
	// Halted keeps everything but the processes.
	Halted   bool
	Version  string
	Replicas int
	// Redundancy is FoundationDB's replication mode, Coordinators the number of
	// them that suits it: a mode that survives the loss of a machine with no fewer.
	Redundancy   string
	Coordinators int
	Size         pod.Size
	// ExporterImage turns the cluster's status into metrics; "" for none.
	ExporterImage string
	// Clients are networks outside the cluster that may reach the database, through an internal address.
	Clients []string
	// Protect refuses to delete the database.
	Protect bool
}

func (a *Args) check() error {
	var faults []error
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	if a.StorageClass == "" || a.StorageSize == "" {
		faults = append(faults, errors.New("no StorageClass or StorageSize"))
	}
	if a.Embedded {
		return errors.Join(faults...)
	}
	if a.Identity == "" || a.Version == "" || a.Redundancy == "" {
		faults = append(faults, errors.New("no Identity, Version or Redundancy"))
	}
	if a.Generation < 1 {
		faults = append(faults, fmt.Errorf("the generation is %d: the first is 1", a.Generation))
	}
	if a.Coordinators < 1 || a.Replicas < a.Coordinators {
		faults = append(faults, fmt.Errorf("%d replicas are too few for %d coordinators", a.Replicas, a.Coordinators))
	}
	if err := a.Size.Fits(); err != nil {
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
	provision, engine := foundationDB, contract.EngineFoundationDB
	if args.Embedded {
		provision, engine = embedded, contract.EngineEmbedded
	}
	part, err := provision(ctx, args, d)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", name, err)
	}
	d.Part = part
	if err := ctx.RegisterResourceOutputs(d, pulumi.Map{"engine": pulumi.String(engine)}); err != nil {
		return nil, fmt.Errorf("database %s: outputs: %w", name, err)
	}
	return d, nil
}
