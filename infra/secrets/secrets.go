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
	// BackupKey holds the HMAC key that writes backups, in FoundationDB's own form of JSON.
	BackupKey = "fdb-backup-credentials"
	// MailPassword is that of the user who sends the service's letters.
	MailPassword = "mail-password"
	// Passphrase is that of the secrets in Pulumi's state, for who ticks releases.
	Passphrase = "pulumi-passphrase" //nolint:gosec // a name
)

const (
	driver = "secrets-store-gke.csi.k8s.io"
	volume = "secrets"
)

// Args of [New].
type Args struct {
	ProjectID     string
	ProjectNumber string
	Namespace     pulumi.StringInput
	// Reader is the Kubernetes service account whose pods read the JWT keys, and
	// BackupReader and DrillReader those of pods that read the backup's key, and
	// OperatorReader that of pods that read Pulumi's passphrase; "" where there are none.
	Reader, BackupReader, DrillReader, OperatorReader string
	// Mail tells that the reader reads the password of its mail server too.
	Mail   bool
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
	// BackupPart and DrillPart give pods of Args.BackupReader and Args.DrillReader the
	// backup's key as BackupKeyFile.
	BackupPart, DrillPart pod.Part
	// OperatorPart gives pods of Args.OperatorReader Pulumi's passphrase as PassphraseFile.
	OperatorPart pod.Part
}

// BackupKeyFile is where pods with [Secrets.BackupPart] find the backup's key.
var BackupKeyFile = path.Join(contract.SecretsMountPath, BackupKey)

// PassphraseFile is where pods with [Secrets.OperatorPart] find Pulumi's passphrase.
var PassphraseFile = path.Join(contract.SecretsMountPath, Passphrase)

// New makes the secrets, without a value, and lets the reader read.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Secrets, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("secrets %s: %w", name, err)
	}
	s := &Secrets{}
	if err := ctx.RegisterComponentResource("coditect:secrets:Secrets", name, s, opts...); err != nil {
		return nil, fmt.Errorf("secrets %s: %w", name, err)
	}
	held := []string{JWT, ClusterFile}
	if args.BackupReader != "" {
		held = append(held, BackupKey)
	}
	if args.OperatorReader != "" {
		held = append(held, Passphrase)
	}
	// The newest version is right here: the file is a ring of keys, and rotation adds
	// a version in which the old key goes on verifying.
	files := []file{{JWT, contract.JWTSecretFile}}
	if args.Mail {
		held = append(held, MailPassword)
		files = append(files, file{MailPassword, contract.MailPasswordFile})
	}
	made := map[string]pulumi.StringOutput{}
	var ids pulumi.StringArray
	for _, id := range held {
		secret, err := google.New(ctx, google.SecretType, id, pulumi.Map{
			"project":     pulumi.String(args.ProjectID),
			"secretId":    pulumi.String(id),
			"labels":      args.Labels,
			"replication": pulumi.Map{"auto": pulumi.Map{}},
		}, pulumi.Parent(s), pulumi.Protect(args.Protect))
		if err != nil {
			return nil, fmt.Errorf("secrets %s: %w", name, err)
		}
		made[id] = secret.SecretID
		ids = append(ids, secret.SecretID)
	}
	var err error
	if s.Part, err = mount(ctx, args, s, args.Reader, made, files); err != nil {
		return nil, fmt.Errorf("secrets %s: %w", name, err)
	}
	s.Part.Env = corev1.EnvVarArray{
		pod.Value(contract.EnvJWTSecretFile, path.Join(contract.SecretsMountPath, contract.JWTSecretFile)),
	}
	for _, one := range []struct {
		reader, id string
		part       *pod.Part
	}{
		{args.BackupReader, BackupKey, &s.BackupPart},
		{args.DrillReader, BackupKey, &s.DrillPart},
		{args.OperatorReader, Passphrase, &s.OperatorPart},
	} {
		if one.reader == "" {
			continue
		}
		if *one.part, err = mount(ctx, args, s, one.reader, made, []file{{one.id, one.id}}); err != nil {
			return nil, fmt.Errorf("secrets %s: %w", name, err)
		}
	}
	s.IDs = ids.ToStringArrayOutput()
	if err := ctx.RegisterResourceOutputs(s, pulumi.Map{"ids": s.IDs}); err != nil {
		return nil, fmt.Errorf("secrets %s: outputs: %w", name, err)
	}
	return s, nil
}

// file is a secret as pods find it.
type file struct{ id, name string }

// mount lets the pods of one service account read secrets, as files: by grants on
// those alone, and a class of the driver's that is named after the account.
func mount(ctx *pulumi.Context, args Args, parent pulumi.Resource, reader string, made map[string]pulumi.StringOutput, files []file) (pod.Part, error) {
	var needs []pulumi.Resource
	listed := pulumi.String("").ToStringOutput()
	for _, f := range files {
		name := f.id + "-reader"
		if reader == args.DrillReader { // the other reader of the same
			name = f.id + "-drill"
		}
		grant, err := google.New(ctx, google.SecretMemberType, name, pulumi.Map{
			"project":  pulumi.String(args.ProjectID),
			"secretId": made[f.id],
			"role":     pulumi.String("roles/secretmanager.secretAccessor"),
			"member":   principal(args, reader),
		}, pulumi.Parent(parent))
		if err != nil {
			return pod.Part{}, fmt.Errorf("reader of %s: %w", f.id, err)
		}
		needs = append(needs, grant)
		listed = pulumi.Sprintf("%s- resourceName: projects/%s/secrets/%s/versions/latest\n  path: %s\n", listed, args.ProjectID, made[f.id], f.name)
	}
	class, err := apiextensions.NewCustomResource(ctx, reader+"-secrets", &apiextensions.CustomResourceArgs{
		ApiVersion: pulumi.String("secrets-store.csi.x-k8s.io/v1"),
		Kind:       pulumi.String("SecretProviderClass"),
		Metadata:   pod.Meta(reader, args.Namespace, pod.Labels(reader, "secrets", nil), nil),
		OtherFields: kubernetes.UntypedArgs{"spec": pulumi.Map{
			"provider":   pulumi.String("gke"),
			"parameters": pulumi.Map{"secrets": listed},
		}},
	}, pulumi.Parent(parent))
	if err != nil {
		return pod.Part{}, fmt.Errorf("provider class of %s: %w", reader, err)
	}
	return pod.Part{
		Volumes: corev1.VolumeArray{corev1.VolumeArgs{
			Name: pulumi.String(volume),
			Csi: &corev1.CSIVolumeSourceArgs{
				Driver:           pulumi.String(driver),
				ReadOnly:         pulumi.Bool(true),
				VolumeAttributes: pulumi.StringMap{"secretProviderClass": pulumi.String(reader)},
			},
		}},
		Mounts: corev1.VolumeMountArray{pod.Mount(volume, contract.SecretsMountPath, true)},
		Needs:  append(needs, class),
	}, nil
}

// principal names the pods of one Kubernetes service account in IAM, without a
// Google service account between.
func principal(a Args, reader string) pulumi.StringOutput {
	return pulumi.Sprintf("principal://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s.svc.id.goog/subject/ns/%s/sa/%s",
		a.ProjectNumber, a.ProjectID, a.Namespace, reader)
}
