package backup

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

const (
	// EmbeddedApp is the name of the workload that backs the embedded engine up.
	EmbeddedApp = "coditect-backup"
	// mountPath is where the bucket is mounted.
	mountPath = "/var/backups/coditect"
	// driver mounts a bucket as a directory.
	driver = "gcsfuse.csi.storage.gke.io"
)

// EmbeddedArgs of [NewEmbedded].
type EmbeddedArgs struct {
	Namespace pulumi.StringInput
	// Image of the service, by digest.
	Image string
	// Records is the way to the database.
	Records pod.Part
	// Bucket exists already and outlives the environment.
	Bucket string
	// Every is the pause between two backups; the newest Keep of them are kept.
	Every time.Duration
	Keep  int
}

func (a *EmbeddedArgs) check() error {
	var faults []error
	if a.Namespace == nil || a.Image == "" || a.Bucket == "" {
		faults = append(faults, errors.New("no Namespace, Image or Bucket"))
	}
	if a.Every < time.Second || a.Keep < 1 {
		faults = append(faults, fmt.Errorf("a backup every %s and %d kept: at least 1s and 1", a.Every, a.Keep))
	}
	return errors.Join(faults...)
}

// NewEmbedded makes the continuous backup of the embedded engine: one pod of the
// service's own image, beside the service on the same volume. Its bucket exists
// already and is not the environment's own, so that it is there when all else is gone.
func NewEmbedded(ctx *pulumi.Context, name string, args EmbeddedArgs, opts ...pulumi.ResourceOption) (*Backup, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("backup %s: %w", name, err)
	}
	b := &Backup{}
	if err := ctx.RegisterComponentResource("coditect:backup:Backup", name, b, opts...); err != nil {
		return nil, fmt.Errorf("backup %s: %w", name, err)
	}
	if err := embedded(ctx, args, b); err != nil {
		return nil, fmt.Errorf("backup %s: %w", name, err)
	}
	if err := ctx.RegisterResourceOutputs(b, pulumi.Map{"bucket": pulumi.String(args.Bucket)}); err != nil {
		return nil, fmt.Errorf("backup %s: outputs: %w", name, err)
	}
	return b, nil
}

// embeddedSize of the pod: a backup is streamed, whatever its length.
var embeddedSize = pod.Size{CPURequest: 50, CPULimit: pod.Core, MemoryRequest: 64 * pod.MiB, MemoryLimit: 256 * pod.MiB}

// embedded runs the service's own command on its volume.
func embedded(ctx *pulumi.Context, args EmbeddedArgs, parent pulumi.Resource) error {
	labels := map[string]string{pod.LabelName: EmbeddedApp}
	mounts := append(corev1.VolumeMountArray{pod.Mount("backups", mountPath, false)}, args.Records.Mounts...)
	volumes := append(corev1.VolumeArray{corev1.VolumeArgs{
		Name: pulumi.String("backups"),
		Csi: &corev1.CSIVolumeSourceArgs{
			Driver:           pulumi.String(driver),
			VolumeAttributes: pulumi.StringMap{"bucketName": pulumi.String(args.Bucket)},
		},
	}}, args.Records.Volumes...)
	_, err := appsv1.NewDeployment(ctx, EmbeddedApp, &appsv1.DeploymentArgs{
		Metadata: pod.Meta(EmbeddedApp, args.Namespace, pod.Labels(EmbeddedApp, component, nil), nil),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(1),
			Selector: pod.Selector(labels),
			// Two at once would only wait for each other.
			Strategy:             &appsv1.DeploymentStrategyArgs{Type: pulumi.String("Recreate")},
			RevisionHistoryLimit: pulumi.Int(3),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{
					Labels:      pod.Labels(EmbeddedApp, component, args.Records.Labels),
					Annotations: pulumi.StringMap{"gke-gcsfuse/volumes": pulumi.String("true")},
				},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken:  pulumi.Bool(false),
					EnableServiceLinks:            pulumi.Bool(false),
					TerminationGracePeriodSeconds: pulumi.Int(30),
					SecurityContext:               pod.Security(contract.UserID),
					InitContainers:                args.Records.InitContainers,
					Volumes:                       volumes,
					Containers: corev1.ContainerArray{corev1.ContainerArgs{
						Name:  pulumi.String(component),
						Image: pulumi.String(args.Image),
						Args: pulumi.ToStringArray([]string{
							contract.BackupCommand, "--to=" + mountPath,
							"--every=" + args.Every.String(), "--keep=" + strconv.Itoa(args.Keep),
						}),
						Env:             args.Records.Env,
						Resources:       embeddedSize.Resources(),
						SecurityContext: pod.ContainerSecurity(),
						VolumeMounts:    mounts,
					}},
				},
			},
		},
	}, pulumi.Parent(parent), pulumi.DependsOn(args.Records.Needs))
	if err != nil {
		return fmt.Errorf("deployment: %w", err)
	}
	return nil
}
