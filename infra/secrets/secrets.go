// Package secrets owns the platform's secrets: that they exist, who may read
// them, and how pods receive them.
//
// Values never pass through here, so none is ever in state: versions are added
// out of band. Pods receive them as files from Secret Manager's CSI driver,
// which reads with the pod's own workload identity.
package secrets

import (
	"errors"
	"fmt"
	"path"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apiextensions"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/google"
	"coditect.ai/platform/infra/pod"
)

// IDs of the secrets.
const (
	// JWT holds the keys that sign access tokens, one base64 key a line, the signing one first.
	JWT = "jwt-secret"
	// ClusterFile holds FoundationDB's cluster file for clients outside the cluster.
	ClusterFile = "fdb-cluster-file"
)

const (
	driver = "secrets-store-gke.csi.k8s.io"
	volume = "secrets"
	// className is the SecretProviderClass of the service's pods.
	className = "coditect-api-v5"
)

// Args of [New].
type Args struct {
	ProjectID     string
	ProjectNumber string
	Namespace     pulumi.StringInput
	// Reader is the Kubernetes service account whose pods read the JWT keys.
	Reader string
	Labels pulumi.StringMap
	// Protect refuses to delete the secrets.
	Protect bool
}

func (a *Args) check() error {
	var faults []error
	for field, value := range map[string]string{
		"ProjectID": a.ProjectID, "ProjectNumber": a.ProjectNumber, "Reader": a.Reader,
	} {
		if value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field))
		}
	}
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	return errors.Join(faults...)
}

// Secrets are the environment's secrets.
type Secrets struct {
	pulumi.ResourceState

	// IDs are the secrets' names in Secret Manager.
	IDs pulumi.StringArrayOutput `pulumi:"ids"`
	// Part gives a pod of Args.Reader the JWT keys as a file.
	Part pod.Part
}

// New makes the secrets, without a value, and lets the reader read.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Secrets, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("secrets %s: %w", name, err)
	}
	s := &Secrets{}
	if err := ctx.RegisterComponentResource("coditect:secrets:Secrets", name, s, opts...); err != nil {
		return nil, fmt.Errorf("secrets %s: %w", name, err)
	}
	made := map[string]*google.Resource{}
	var ids pulumi.StringArray
	for _, id := range []string{JWT, ClusterFile} {
		secret, err := google.New(ctx, google.SecretType, id, pulumi.Map{
			"project":     pulumi.String(args.ProjectID),
			"secretId":    pulumi.String(id),
			"labels":      args.Labels,
			"replication": pulumi.Map{"auto": pulumi.Map{}},
		}, pulumi.Parent(s), pulumi.Protect(args.Protect))
		if err != nil {
			return nil, fmt.Errorf("secrets %s: %s: %w", name, id, err)
		}
		made[id] = secret
		ids = append(ids, secret.SecretID)
	}
	reader, err := google.New(ctx, google.SecretMemberType, JWT+"-reader", pulumi.Map{
		"project":  pulumi.String(args.ProjectID),
		"secretId": made[JWT].SecretID,
		"role":     pulumi.String("roles/secretmanager.secretAccessor"),
		"member":   principal(args),
	}, pulumi.Parent(s))
	if err != nil {
		return nil, fmt.Errorf("secrets %s: reader of %s: %w", name, JWT, err)
	}
	class, err := apiextensions.NewCustomResource(ctx, className+"-secrets", &apiextensions.CustomResourceArgs{
		ApiVersion: pulumi.String("secrets-store.csi.x-k8s.io/v1"),
		Kind:       pulumi.String("SecretProviderClass"),
		Metadata:   pod.Meta(className, args.Namespace, pod.Labels(className, "secrets", nil), nil),
		OtherFields: kubernetes.UntypedArgs{"spec": pulumi.Map{
			"provider": pulumi.String("gke"),
			// The newest version is right here: the file is a ring of keys, and
			// rotation adds a version in which the old key goes on verifying.
			"parameters": pulumi.Map{"secrets": pulumi.Sprintf(
				"- resourceName: projects/%s/secrets/%s/versions/latest\n  path: %s\n",
				args.ProjectID, made[JWT].SecretID, contract.JWTSecretFile)},
		}},
	}, pulumi.Parent(s))
	if err != nil {
		return nil, fmt.Errorf("secrets %s: provider class: %w", name, err)
	}
	s.Part = pod.Part{
		Env: corev1.EnvVarArray{
			pod.Value(contract.EnvJWTSecretFile, path.Join(contract.SecretsMountPath, contract.JWTSecretFile)),
		},
		Volumes: corev1.VolumeArray{corev1.VolumeArgs{
			Name: pulumi.String(volume),
			Csi: &corev1.CSIVolumeSourceArgs{
				Driver:           pulumi.String(driver),
				ReadOnly:         pulumi.Bool(true),
				VolumeAttributes: pulumi.StringMap{"secretProviderClass": pulumi.String(className)},
			},
		}},
		Mounts: corev1.VolumeMountArray{pod.Mount(volume, contract.SecretsMountPath, true)},
		Needs:  []pulumi.Resource{reader, class},
	}
	s.IDs = ids.ToStringArrayOutput()
	if err := ctx.RegisterResourceOutputs(s, pulumi.Map{"ids": s.IDs}); err != nil {
		return nil, fmt.Errorf("secrets %s: outputs: %w", name, err)
	}
	return s, nil
}

// principal names the pods of one Kubernetes service account in IAM, without a
// Google service account between.
func principal(a Args) pulumi.StringOutput {
	return pulumi.Sprintf("principal://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s.svc.id.goog/subject/ns/%s/sa/%s",
		a.ProjectNumber, a.ProjectID, a.Namespace, a.Reader)
}
