package backup

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	batchv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/batch/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/google"
	"coditect.ai/platform/infra/pod"
)

const (
	// DrillApp is the name of the drill and of its service account.
	DrillApp       = "coditect-drill"
	drillComponent = "drill"
	// Proofs begin the names of objects that tell of a restore that was proven.
	Proofs = "proven/"
	// ProofAgeField is the field of a line of the log that tells how old the newest
	// of them is, in seconds.
	ProofAgeField = "provenAgeSeconds"
	// drillDeadline bounds a drill, in seconds.
	drillDeadline = 6 * 3600
)

// DrillArgs of [NewDrill].
type DrillArgs struct {
	ProjectID, ProjectNumber, Region string
	Namespace                        pulumi.StringInput
	Bucket                           string
	// Name of the backup in the bucket, AccessID of the key that reads it.
	Name, AccessID string
	Version        string // FoundationDB's
	Image          string // the service's
	// Schedule is cron's, in UTC.
	Schedule string
	// The scratch cluster's only process, and the volume that it has for as long as its pod lives.
	Size                      pod.Size
	StorageClass, StorageSize string
	// Key is the way to the bucket's key, CredentialsFile within it. There is no way
	// to the environment's database: a drill has one of its own.
	Key             pod.Part
	CredentialsFile string
	// Needs are there before.
	Needs []pulumi.Resource
}

func (a *DrillArgs) check() error {
	var faults []error
	for _, field := range []struct{ name, value string }{
		{"ProjectID", a.ProjectID},
		{"ProjectNumber", a.ProjectNumber},
		{"Region", a.Region},
		{"Bucket", a.Bucket},
		{"Name", a.Name},
		{"AccessID", a.AccessID},
		{"Version", a.Version},
		{"Image", a.Image},
		{"Schedule", a.Schedule},
		{"StorageClass", a.StorageClass},
		{"StorageSize", a.StorageSize},
		{"CredentialsFile", a.CredentialsFile},
	} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field.name))
		}
	}
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	if err := a.Size.Fits(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Drill proves again and again that the backup can be restored.
type Drill struct {
	pulumi.ResourceState
}

// NewDrill makes the scheduled drill, and what tells how old its last proof is. A
// drill is one pod: a FoundationDB of its own that listens on loopback alone and
// is gone with the pod, filled from the bucket and held against what was counted.
func NewDrill(ctx *pulumi.Context, name string, args DrillArgs, opts ...pulumi.ResourceOption) (*Drill, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("drill %s: %w", name, err)
	}
	d := &Drill{}
	if err := ctx.RegisterComponentResource("coditect:backup:Drill", name, d, opts...); err != nil {
		return nil, fmt.Errorf("drill %s: %w", name, err)
	}
	s := drill{DrillArgs: args, parent: d}
	for _, step := range []func(*pulumi.Context) error{s.grant, s.guard, s.schedule} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("drill %s: %w", name, err)
		}
	}
	if err := ctx.RegisterResourceOutputs(d, pulumi.Map{}); err != nil {
		return nil, fmt.Errorf("drill %s: outputs: %w", name, err)
	}
	return d, nil
}

// drill renders one environment's.
type drill struct {
	DrillArgs

	parent pulumi.Resource
	needs  []pulumi.Resource
}

// grant lets the pods' own identity read what was recorded, and add a proof.
func (d *drill) grant(ctx *pulumi.Context) error {
	account, err := corev1.NewServiceAccount(ctx, DrillApp, &corev1.ServiceAccountArgs{
		Metadata: d.meta(DrillApp), AutomountServiceAccountToken: pulumi.Bool(false),
	}, pulumi.Parent(d.parent))
	if err != nil {
		return fmt.Errorf("service account: %w", err)
	}
	d.needs = append(append([]pulumi.Resource{account}, d.Needs...), d.Key.Needs...)
	member := pulumi.Sprintf("principal://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s.svc.id.goog/subject/ns/%s/sa/%s",
		d.ProjectNumber, d.ProjectID, d.Namespace, DrillApp)
	for _, role := range []string{"objectViewer", "objectCreator"} {
		grant, err := google.New(ctx, google.BucketMemberType, DrillApp+"-"+strings.ToLower(role), pulumi.Map{
			"bucket": pulumi.String(d.Bucket), "role": pulumi.String("roles/storage." + role), "member": member,
		}, pulumi.Parent(d.parent), pulumi.DependsOn(d.Needs))
		if err != nil {
			return err
		}
		d.needs = append(d.needs, grant)
	}
	return nil
}

func (d *drill) meta(name string) *metav1.ObjectMetaArgs {
	return pod.Meta(name, d.Namespace, pod.Labels(name, drillComponent, nil), nil)
}

// guard lets the pods reach Google's storage and the metadata server alone: the
// environment's database and service are out of their reach.
func (d *drill) guard(ctx *pulumi.Context) error {
	_, err := networkingv1.NewNetworkPolicy(ctx, DrillApp, &networkingv1.NetworkPolicyArgs{
		Metadata: d.meta(DrillApp),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: pod.Selector(map[string]string{pod.LabelComponent: drillComponent}),
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
			Egress:      pod.ToGoogle(),
		},
	}, pulumi.Parent(d.parent))
	if err != nil {
		return fmt.Errorf("network policy: %w", err)
	}
	return nil
}

func (d *drill) schedule(ctx *pulumi.Context) error {
	for _, job := range []struct {
		name, schedule string
		deadline       int
		template       *corev1.PodTemplateSpecArgs
	}{
		{DrillApp, d.Schedule, drillDeadline, d.template(DrillApp, d.prove(), d.scratch()...)},
		{DrillApp + "-age", "53 * * * *", 600, d.template(DrillApp+"-age", d.tool("age", ageScript))},
	} {
		if _, err := batchv1.NewCronJob(ctx, job.name, &batchv1.CronJobArgs{
			Metadata: pod.Meta(job.name, d.Namespace, pod.Labels(job.name, drillComponent, nil), map[string]string{"pulumi.com/skipAwait": "true"}),
			Spec: &batchv1.CronJobSpecArgs{
				Schedule: pulumi.String(job.schedule), TimeZone: pulumi.String("Etc/UTC"),
				ConcurrencyPolicy: pulumi.String("Forbid"), StartingDeadlineSeconds: pulumi.Int(3600),
				SuccessfulJobsHistoryLimit: pulumi.Int(1), FailedJobsHistoryLimit: pulumi.Int(3),
				JobTemplate: &batchv1.JobTemplateSpecArgs{
					Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(job.name, drillComponent, nil)},
					// A pod that is lost begins anew, with an empty database.
					Spec: &batchv1.JobSpecArgs{BackoffLimit: pulumi.Int(1), ActiveDeadlineSeconds: pulumi.Int(job.deadline), Template: job.template},
				},
			},
		}, pulumi.Parent(d.parent), pulumi.DependsOn(d.needs)); err != nil {
			return fmt.Errorf("%s: %w", job.name, err)
		}
	}
	return nil
}

// Where the containers of a drill find each other's files.
const (
	drillDir  = "/var/drill"
	planDir   = drillDir + "/plan"
	drillFile = drillDir + "/fdb.cluster"
)

// listScript finds the newest object of a prefix that was named after a time
// between two: a prefix has many, and only its end is of interest.
const listScript = identityScript + `newest() {
  google -G --data-urlencode "prefix=$1" --data-urlencode "startOffset=$1$2" --data-urlencode "endOffset=$1$3" --data-urlencode 'fields=items(name)' \
    "https://storage.googleapis.com/storage/v1/b/$BUCKET/o" | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p' | tail -n 1
}
at() { date -u -d "$1" +%Y-%m-%dT%H:%M:%SZ; }
`

// Counts are an hour apart. The newest may lie behind what is restorable yet.
const chooseScript = `set -euo pipefail
` + listScript + `count=$(newest "manifests/$BACKUP_NAME/" "$(at '-36 hours')" "$(at '-15 minutes')")
[ -n "$count" ] || { echo "the store was not counted for 36 hours: nothing can be proven" >&2; exit 1; }
mkdir -p "$PLAN_DIR"
google -o "$PLAN_DIR/manifest.json" \
  "https://storage.googleapis.com/storage/v1/b/$BUCKET/o/$(sed 's|/|%2F|g; s|:|%3A|g' <<<"$count")?alt=media"
version=$(tr -d ' \n' <"$PLAN_DIR/manifest.json" | sed -n 's/.*"inventory":{[^}]*}[^}]*"read_version":\([0-9]*\).*/\1/p')
[ -n "$version" ] || { echo "$count names no version" >&2; exit 1; }
echo "$version" >"$PLAN_DIR/version"
echo "$count" >"$PLAN_DIR/count"
date +%s >"$PLAN_DIR/began"
printf 'drill:drill@127.0.0.1:4500\n' >"$FDB_CLUSTER_FILE"
echo "to be restored: $count, version $version"
`

const formScript = `set -eu
answer=$(fdbcli -C "$FDB_CLUSTER_FILE" --timeout 60 --exec 'configure new single ssd' 2>&1) || true
echo "$answer"
case "$answer" in
*"Database created"* | *"already exists"*) exit 0 ;;
esac
exit 1
`

const proveScript = `set -euo pipefail
` + putScript + `at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
took=$(($(date +%s) - $(cat "$PLAN_DIR/began")))
printf '{"at":"%s","backup":"%s","by":"drill","rto":%s,"ok":true}\n' "$at" "$(cat "$PLAN_DIR/count")" "$took" | put "proven%2F$at.json"
echo "restore proven: $(cat "$PLAN_DIR/count") in $took s"
`

// A line of the log is what an alert goes by: what was never proven is as old as can be.
const ageScript = `set -euo pipefail
` + listScript + `proof=$(newest proven/ "$(at '-400 days')" "$(at '+1 day')")
age=34560000
if [ -n "$proof" ]; then
  proof=${proof#proven/}
  age=$(($(date +%s) - $(date -u -d "${proof%.json}" +%s)))
fi
printf '{"severity":"INFO","message":"last proven restore","` + ProofAgeField + `":%s}\n' "$age"
`

// tool is a container of FoundationDB's image that runs a script.
func (d *drill) tool(name, script string) corev1.ContainerArgs {
	return corev1.ContainerArgs{
		Name:    pulumi.String(name),
		Image:   pulumi.String("docker.io/foundationdb/foundationdb:" + d.Version),
		Command: pulumi.ToStringArray([]string{"/bin/bash", "-c", script}),
		Env: append(corev1.EnvVarArray{
			pod.Value("BUCKET", d.Bucket),
			pod.Value("BACKUP_NAME", d.Name),
			pod.Value("PLAN_DIR", planDir),
			pod.Value(contract.EnvClusterFile, drillFile),
			pod.Value("FDB_BLOB_CREDENTIALS", d.CredentialsFile),
			pod.Value("FDB_TLS_CA_FILE", authorities),
		}, d.Key.Env...),
		Resources:       pod.Small.Resources(),
		SecurityContext: pod.ContainerSecurity(),
		VolumeMounts:    append(corev1.VolumeMountArray{pod.Mount("tmp", "/tmp", false), pod.Mount("drill", drillDir, false)}, d.Key.Mounts...),
	}
}

func (d *drill) prove() corev1.ContainerArgs { return d.tool("prove", proveScript) }

// scratch are the containers that fill and check the scratch cluster, in order.
// The two that always restart are its process and its agent, and end with the pod.
func (d *drill) scratch() []corev1.ContainerInput {
	database := d.tool("database", "")
	database.Command = pulumi.ToStringArray([]string{"/usr/bin/fdbserver"})
	database.Args = pulumi.ToStringArray([]string{
		"--cluster-file=" + drillFile, "--public-address=127.0.0.1:4500", "--listen-address=127.0.0.1:4500",
		"--datadir=" + drillDir + "/data", "--logdir=" + drillDir, "--trace-format=json",
		fmt.Sprintf("--memory=%dMiB", d.Size.MemoryLimit*9/10/pod.MiB), fmt.Sprintf("--cache-memory=%dMiB", d.Size.MemoryLimit/4/pod.MiB),
	})
	database.Resources = d.Size.Resources()
	database.RestartPolicy = pulumi.String("Always")
	// The kubelet is not on the pod's loopback, and so the probe is a command.
	database.StartupProbe = &corev1.ProbeArgs{
		Exec:          &corev1.ExecActionArgs{Command: pulumi.ToStringArray([]string{"/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4500"})},
		PeriodSeconds: pulumi.Int(2), TimeoutSeconds: pulumi.Int(2), FailureThreshold: pulumi.Int(60),
	}
	agent := d.tool("agent", agentScript)
	agent.Resources = size.Resources()
	agent.RestartPolicy = pulumi.String("Always")
	restore := d.tool("restore", `RESTORE_VERSION=$(cat "$PLAN_DIR/version")`+"\n"+restoreScript)
	restore.Env = append(restore.Env.(corev1.EnvVarArray), pod.Value("RESTORE_URL", blobURL(d.AccessID, d.Name, d.Bucket, d.Region))) //nolint:forcetypeassert // as tool has made it
	check := d.tool("check", "")
	check.Image, check.Command = pulumi.String(d.Image), nil
	check.Args = pulumi.ToStringArray([]string{contract.CheckCommand, "--json", "--against=" + planDir})
	check.Env = corev1.EnvVarArray{pod.Value(contract.EnvStoreEngine, contract.EngineFoundationDB), pod.Value(contract.EnvClusterFile, drillFile)}
	check.Resources = checkSize.Resources()
	return []corev1.ContainerInput{d.tool("choose", chooseScript), database, d.tool("form", formScript), agent, restore, check}
}

func (d *drill) template(name string, main corev1.ContainerArgs, first ...corev1.ContainerInput) *corev1.PodTemplateSpecArgs {
	labels := map[string]string{}
	maps.Copy(labels, d.Key.Labels)
	disk := pod.Scratch("drill")
	if len(first) > 0 {
		disk = corev1.VolumeArgs{Name: pulumi.String("drill"), Ephemeral: &corev1.EphemeralVolumeSourceArgs{
			VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplateArgs{Spec: &corev1.PersistentVolumeClaimSpecArgs{
				AccessModes: pulumi.ToStringArray([]string{"ReadWriteOnce"}), StorageClassName: pulumi.String(d.StorageClass),
				Resources: &corev1.VolumeResourceRequirementsArgs{Requests: pulumi.StringMap{"storage": pulumi.String(d.StorageSize)}},
			}},
		}}
	}
	return &corev1.PodTemplateSpecArgs{
		Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(name, drillComponent, labels)},
		Spec: &corev1.PodSpecArgs{
			ServiceAccountName:           pulumi.String(DrillApp),
			AutomountServiceAccountToken: pulumi.Bool(false),
			EnableServiceLinks:           pulumi.Bool(false),
			RestartPolicy:                pulumi.String("Never"),
			SecurityContext:              pod.Security(user),
			InitContainers:               corev1.ContainerArray(first),
			Containers:                   corev1.ContainerArray{main},
			Volumes:                      append(corev1.VolumeArray{pod.Scratch("tmp"), disk}, d.Key.Volumes...),
		},
	}
}
