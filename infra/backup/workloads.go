package backup

import (
	"fmt"
	"maps"
	"strconv"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	batchv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/batch/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

const (
	agents = 2
	user   = 4059 // the image's own
	// authorities are those that the image trusts, for HTTPS to the bucket.
	authorities = "/etc/pki/tls/certs/ca-bundle.crt"
)

// size of an agent; the Jobs' is pod.Small.
var size = pod.Size{CPURequest: 100, CPULimit: pod.Core, MemoryRequest: 256 * pod.MiB, MemoryLimit: 1024 * pod.MiB}

// The program decides by its own name what it is, wherever the image has it.
const agentScript = `exec -a backup_agent "$(command -v fdbbackup)" -C "$FDB_CLUSTER_FILE" --log --logdir /tmp`

// A backup that runs already is what was asked for.
const startScript = `set -u
answer=$(fdbbackup start -C "$FDB_CLUSTER_FILE" -t default -z -s "$SNAPSHOT_SECONDS" -d "$BACKUP_URL" 2>&1) && { echo "$answer"; exit 0; }
echo "$answer"
case "$answer" in *already*) exit 0 ;; esac
exit 1
`

// Never --force: it would remove what a restore still needs.
const expireScript = `set -euo pipefail
fdbbackup expire -d "$BACKUP_URL" -C "$FDB_CLUSTER_FILE" --delete-before-days "$KEEP_DAYS" --min-restorable-days "$RESTORABLE_DAYS"
`

const describeScript = `set -euo pipefail
description=$(fdbbackup describe -d "$BACKUP_URL" -C "$FDB_CLUSTER_FILE" --version-timestamps)
echo "$description"
grep -q 'Restorable: true' <<<"$description" || { echo "the backup cannot be restored" >&2; exit 1; }
`

// identityScript asks for the pod's own identity.
const identityScript = `token=$(curl -sSf --max-time 30 -H 'Metadata-Flavor: Google' \
  http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
google() { curl -sSf --max-time 60 -H @<(printf 'Authorization: Bearer %s' "$token") "$@"; }
`

// It may add objects; a record is never written over.
const putScript = identityScript + `put() {
  google -H 'Content-Type: application/json' --data-binary @- -o /dev/null \
    "https://storage.googleapis.com/upload/storage/v1/b/$BUCKET/o?uploadType=media&ifGenerationMatch=0&name=$1"
}
`

const recordScript = `set -euo pipefail
` + putScript + `version=$(fdbcli -C "$FDB_CLUSTER_FILE" --timeout 30 --exec getversion)
[[ "$version" =~ ^[0-9]+$ ]] || { echo "no version: $version" >&2; exit 1; }
at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
printf '{"at":"%s","read_version":%s}\n' "$at" "$version" | put "versions%2F$BACKUP_NAME%2F$at.json"
echo "$at is version $version"
`

// The service's own command has counted in a container before.
const countScript = `set -euo pipefail
` + putScript + `at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
put "manifests%2F$BACKUP_NAME%2F$at.json" <"$MANIFEST_DIR/manifest.json"
echo "counted before $at"
`

// workloads render what runs in the cluster.
type workloads struct {
	Args

	parent pulumi.Resource
	needs  []pulumi.Resource
}

// scheduled is a CronJob.
type scheduled struct {
	name, schedule string
	spec           func(name string) *batchv1.JobSpecArgs
}

func (w *workloads) provision(ctx *pulumi.Context) error {
	serviceAccount, err := corev1.NewServiceAccount(ctx, App, &corev1.ServiceAccountArgs{
		Metadata: w.meta(App, nil), AutomountServiceAccountToken: pulumi.Bool(false),
	}, pulumi.Parent(w.parent))
	if err != nil {
		return fmt.Errorf("service account: %w", err)
	}
	w.needs = append(w.needs, serviceAccount)
	for _, part := range w.Parts {
		w.needs = append(w.needs, part.Needs...)
	}
	if err := w.guard(ctx); err != nil {
		return err
	}
	agent, err := appsv1.NewDeployment(ctx, App, &appsv1.DeploymentArgs{
		Metadata: w.meta(App, nil),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(agents),
			Selector: pod.Selector(map[string]string{pod.LabelName: App}),
			Template: w.template(App, "Always", size, agentScript),
		},
	}, pulumi.Parent(w.parent), pulumi.DependsOn(w.needs))
	if err != nil {
		return fmt.Errorf("agents: %w", err)
	}
	switch {
	case w.Restore != nil:
		return w.restore(ctx, agent)
	case w.Check:
		return w.check(ctx)
	case w.Paused:
		return nil
	}
	// A Job that failed never runs again: the next update makes another in its place.
	if _, err := batchv1.NewJob(ctx, App+"-start", &batchv1.JobArgs{
		Metadata: w.meta(App+"-start", map[string]string{"pulumi.com/replaceUnready": "true"}),
		Spec:     w.job(App+"-start", startScript),
	}, pulumi.Parent(w.parent), pulumi.DependsOn([]pulumi.Resource{agent})); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	jobs := []scheduled{
		{"expire", "23 4 * * *", w.script(expireScript)},
		{"describe", "11 * * * *", w.script(describeScript)},
		{"record", "*/5 * * * *", w.script(recordScript)},
	}
	if w.Image != "" {
		jobs = append(jobs, scheduled{"count", "41 * * * *", w.count})
	}
	for _, job := range jobs {
		name := App + "-" + job.name
		if _, err := batchv1.NewCronJob(ctx, name, &batchv1.CronJobArgs{
			Metadata: w.meta(name, map[string]string{"pulumi.com/skipAwait": "true"}),
			Spec: &batchv1.CronJobSpecArgs{
				Schedule: pulumi.String(job.schedule), TimeZone: pulumi.String("Etc/UTC"),
				ConcurrencyPolicy: pulumi.String("Forbid"), StartingDeadlineSeconds: pulumi.Int(240),
				SuccessfulJobsHistoryLimit: pulumi.Int(1), FailedJobsHistoryLimit: pulumi.Int(3),
				JobTemplate: &batchv1.JobTemplateSpecArgs{
					Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(name, component, nil)},
					Spec:     job.spec(name),
				},
			},
		}, pulumi.Parent(w.parent), pulumi.DependsOn(w.needs)); err != nil {
			return fmt.Errorf("%s: %w", job.name, err)
		}
	}
	return nil
}

func (w *workloads) meta(name string, annotations map[string]string) *metav1.ObjectMetaArgs {
	return pod.Meta(name, w.Namespace, pod.Labels(name, component, nil), annotations)
}

// guard lets the pods reach the database, Google's storage and the metadata
// server that gives them their identity; nobody reaches them.
func (w *workloads) guard(ctx *pulumi.Context) error {
	egress := pod.ToGoogle()
	for _, part := range w.Parts {
		egress = append(egress, part.Egress...)
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, App, &networkingv1.NetworkPolicyArgs{
		Metadata: w.meta(App, nil),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: pod.Selector(map[string]string{pod.LabelComponent: component}),
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
			Egress:      egress,
		},
	}, pulumi.Parent(w.parent)); err != nil {
		return fmt.Errorf("network policy: %w", err)
	}
	return nil
}

// script is the Job of one.
func (w *workloads) script(text string) func(name string) *batchv1.JobSpecArgs {
	return func(name string) *batchv1.JobSpecArgs { return w.job(name, text) }
}

// manifests is where the service's command leaves what it counted.
const manifests = "/tmp/manifest"

// count takes the inventory with the service's own command, and then puts it into
// the bucket. It ends with its pod: whoever counts hours later counts anew.
func (w *workloads) count(name string) *batchv1.JobSpecArgs {
	template := w.podOf(name, "Never", pod.Small, countScript, corev1.ContainerArray{corev1.ContainerArgs{
		Name:            pulumi.String("count"),
		Image:           pulumi.String(w.Image),
		Args:            pulumi.ToStringArray([]string{contract.ManifestCommand, "--to=" + manifests}),
		Env:             w.Records.Env,
		Resources:       checkSize.Resources(),
		SecurityContext: pod.ContainerSecurity(),
		VolumeMounts:    append(corev1.VolumeMountArray{pod.Mount("tmp", "/tmp", false)}, w.Records.Mounts...),
	}}, pod.Value("MANIFEST_DIR", manifests))
	return &batchv1.JobSpecArgs{BackoffLimit: pulumi.Int(1), ActiveDeadlineSeconds: pulumi.Int(3000), Template: template}
}

func (w *workloads) job(name, script string) *batchv1.JobSpecArgs {
	return &batchv1.JobSpecArgs{
		BackoffLimit: pulumi.Int(4), ActiveDeadlineSeconds: pulumi.Int(900),
		Template: w.template(name, "OnFailure", pod.Small, script),
	}
}

// url is where FoundationDB finds the backup of a name.
func (w *workloads) url(name string) string { return blobURL(w.AccessID, name, w.Bucket, w.Region) }

func blobURL(accessID, name, bucket, region string) string {
	return fmt.Sprintf("blobstore://%s@storage.googleapis.com/%s?bucket=%s&region=%s&sc=1", accessID, name, bucket, region)
}

func (w *workloads) template(name, restart string, size pod.Size, script string, more ...corev1.EnvVarInput) *corev1.PodTemplateSpecArgs {
	return w.podOf(name, restart, size, script, nil, more...)
}

// podOf runs first before the script.
func (w *workloads) podOf(name, restart string, size pod.Size, script string, first corev1.ContainerArray, more ...corev1.EnvVarInput) *corev1.PodTemplateSpecArgs {
	labels := map[string]string{}
	volumes := corev1.VolumeArray{pod.Scratch("tmp")}
	mounts := corev1.VolumeMountArray{pod.Mount("tmp", "/tmp", false)}
	env := corev1.EnvVarArray{
		pod.Value("BUCKET", w.Bucket),
		pod.Value("BACKUP_NAME", w.Name),
		pod.Value("BACKUP_URL", w.url(w.Name)),
		pod.Value("FDB_BLOB_CREDENTIALS", w.CredentialsFile),
		pod.Value("FDB_TLS_CA_FILE", authorities),
		pod.Value("SNAPSHOT_SECONDS", strconv.Itoa(int(w.SnapshotEvery.Seconds()))),
		pod.Value("KEEP_DAYS", strconv.Itoa(w.KeepDays)),
		pod.Value("RESTORABLE_DAYS", strconv.Itoa(w.RestorableDays)),
	}
	env = append(env, more...)
	var inits corev1.ContainerArray
	for _, part := range w.Parts {
		maps.Copy(labels, part.Labels)
		volumes, mounts = append(volumes, part.Volumes...), append(mounts, part.Mounts...)
		env, inits = append(env, part.Env...), append(inits, part.InitContainers...)
	}
	return &corev1.PodTemplateSpecArgs{
		Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(name, component, labels)},
		Spec: &corev1.PodSpecArgs{
			ServiceAccountName:            pulumi.String(App),
			AutomountServiceAccountToken:  pulumi.Bool(false),
			EnableServiceLinks:            pulumi.Bool(false),
			RestartPolicy:                 pulumi.String(restart),
			TerminationGracePeriodSeconds: pulumi.Int(30),
			SecurityContext:               pod.Security(user),
			InitContainers:                append(inits, first...),
			Containers: corev1.ContainerArray{corev1.ContainerArgs{
				Name:            pulumi.String(Container),
				Image:           pulumi.String("docker.io/foundationdb/foundationdb:" + w.Version),
				Command:         pulumi.ToStringArray([]string{"/bin/bash", "-c", script}),
				Env:             env,
				Resources:       size.Resources(),
				SecurityContext: pod.ContainerSecurity(),
				VolumeMounts:    mounts,
			}},
			Volumes: volumes,
		},
	}
}
