package database

import (
	"fmt"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

// EmbeddedVolume is the name of the embedded engine's claim.
const EmbeddedVolume = "coditect-store"

// embedded makes the volume that all pods of one machine share: the engine
// lives inside the service's processes.
func embedded(ctx *pulumi.Context, args Args, parent pulumi.Resource) (pod.Part, error) {
	claim, err := corev1.NewPersistentVolumeClaim(ctx, EmbeddedVolume, &corev1.PersistentVolumeClaimArgs{
		Metadata: pod.Meta(EmbeddedVolume, args.Namespace, pod.Labels(EmbeddedVolume, component, nil), nil),
		Spec: &corev1.PersistentVolumeClaimSpecArgs{
			AccessModes:      pulumi.ToStringArray([]string{"ReadWriteMany"}),
			StorageClassName: pulumi.String(args.StorageClass),
			Resources: &corev1.VolumeResourceRequirementsArgs{
				Requests: pulumi.StringMap{"storage": pulumi.String(args.StorageSize)},
			},
		},
	}, pulumi.Parent(parent), pulumi.Protect(args.Protect))
	if err != nil {
		return pod.Part{}, fmt.Errorf("volume of the embedded engine: %w", err)
	}
	return pod.Part{
		Env: corev1.EnvVarArray{
			pod.Value(contract.EnvStoreEngine, contract.EngineEmbedded),
			pod.Value(contract.EnvStoreDir, contract.StoreMountPath),
		},
		Volumes: corev1.VolumeArray{corev1.VolumeArgs{
			Name:                  pulumi.String("store"),
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSourceArgs{ClaimName: pulumi.String(EmbeddedVolume)},
		}},
		Mounts: corev1.VolumeMountArray{pod.Mount("store", contract.StoreMountPath, false)},
		Needs:  []pulumi.Resource{claim},
	}, nil
}
