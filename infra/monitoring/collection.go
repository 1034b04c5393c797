package monitoring

import (
	"errors"
	"fmt"
	"time"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apiextensions"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/metrics"
	"coditect.ai/platform/infra/pod"
)

// cloudInterval is the pause between two scrapes where every sample is paid for.
const cloudInterval = 15 * time.Second

// CollectionArgs of [NewCollection].
type CollectionArgs struct {
	Namespace pulumi.StringInput
	// Interval is the pause between two scrapes, in whole seconds.
	Interval time.Duration
	Targets  []Target
}

// Target is a workload whose metrics are collected.
type Target struct {
	App      string
	PortName string
	Path     string
}

// NewCollection makes what collects metrics and nothing else of what watches: for an
// environment without Google's monitoring.
func NewCollection(ctx *pulumi.Context, name string, args CollectionArgs, opts ...pulumi.ResourceOption) (*Monitoring, error) {
	if args.Namespace == nil || args.Interval < time.Second || args.Interval%time.Second != 0 {
		return nil, fmt.Errorf("monitoring %s: %w", name, errors.New("no Namespace, or an Interval that is not in whole seconds"))
	}
	m := &Monitoring{}
	if err := ctx.RegisterComponentResource("coditect:monitoring:Monitoring", name, m, opts...); err != nil {
		return nil, fmt.Errorf("monitoring %s: %w", name, err)
	}
	if err := collect(ctx, args, m); err != nil {
		return nil, fmt.Errorf("monitoring %s: %w", name, err)
	}
	if err := ctx.RegisterResourceOutputs(m, pulumi.Map{}); err != nil {
		return nil, fmt.Errorf("monitoring %s: outputs: %w", name, err)
	}
	return m, nil
}

// collect scrapes the workloads. Every series tells the slot of its pod, also that
// of a process which is down and tells nothing itself.
func collect(ctx *pulumi.Context, args CollectionArgs, parent pulumi.Resource) error {
	for _, target := range args.Targets {
		_, err := apiextensions.NewCustomResource(ctx, target.App+"-podmonitoring", &apiextensions.CustomResourceArgs{
			ApiVersion: pulumi.String("monitoring.googleapis.com/v1"),
			Kind:       pulumi.String("PodMonitoring"),
			Metadata:   pod.Meta(target.App, args.Namespace, pod.Labels(target.App, "monitoring", nil), nil),
			OtherFields: kubernetes.UntypedArgs{"spec": pulumi.Map{
				"selector": pulumi.Map{"matchLabels": pulumi.StringMap{pod.LabelName: pulumi.String(target.App)}},
				"endpoints": pulumi.Array{pulumi.Map{
					"port": pulumi.String(target.PortName), "path": pulumi.String(target.Path),
					"interval": pulumi.String(fmt.Sprintf("%ds", int(args.Interval.Seconds()))),
				}},
				"targetLabels": pulumi.Map{"fromPod": pulumi.Array{pulumi.Map{
					"from": pulumi.String(pod.LabelSlot), "to": pulumi.String(metrics.SlotLabel),
				}}},
			}},
		}, pulumi.Parent(parent))
		if err != nil {
			return fmt.Errorf("collect metrics of %s: %w", target.App, err)
		}
	}
	return nil
}
