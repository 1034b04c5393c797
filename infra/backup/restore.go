package backup

import (
	"fmt"
	"strconv"

	batchv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/batch/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

// Jobs of a recovery, and the container in each whose log tells what came of it.
const (
	RestoreJob = "foundationdb-restore"
	CheckJob   = "coditect-check"
	// Container is the name of both Jobs' own.
	Container = "backup"
)

// Restore is what the empty database is filled from.
type Restore struct {
	// Name is the backup's within the bucket, of an earlier generation than the database's.
	Name string
	// Version is FoundationDB's, found by the pairs of time and version in the bucket:
	// only the cluster that is gone could turn a time into one.
	Version int64
}

// The agents do the work, and go on with it when this Job's pod is gone: so it
// asks how far they are before it begins anything. To wait is no proof of the
// end, because a restore that was aborted has ended, too.
const restoreScript = `set -euo pipefail
restore() { (exec -a fdbrestore "$(command -v fdbbackup)" "$@"); }
state() {
  restore status --dest-cluster-file "$FDB_CLUSTER_FILE" -t default | sed -n 's/^Tag: .*  State: \([a-z]*\) .*/\1/p' | head -n 1
}
case "$(state)" in
completed) ;;
queued | starting | running) restore wait --dest-cluster-file "$FDB_CLUSTER_FILE" -t default ;;
*)
  restore start --dest-cluster-file "$FDB_CLUSTER_FILE" -t default -r "$RESTORE_URL" -v "$RESTORE_VERSION" -n
  restore start --dest-cluster-file "$FDB_CLUSTER_FILE" -t default -r "$RESTORE_URL" -v "$RESTORE_VERSION" -w
  ;;
esac
ended=$(state)
[ "$ended" = completed ] || { echo "the restore is $ended and not completed" >&2; exit 1; }
echo "restored to version $RESTORE_VERSION"
`

// restoreDeadline bounds the whole Job, in seconds.
const restoreDeadline = 4 * 3600

// restore makes the Job that fills the database. Nobody waits for it while the
// state of the stack is locked: whoever recovers asks the cluster how it stands.
func (w *workloads) restore(ctx *pulumi.Context, needs ...pulumi.Resource) error {
	template := w.template(RestoreJob, "OnFailure", pod.Small, restoreScript,
		pod.Value("RESTORE_URL", w.url(w.Restore.Name)), pod.Value("RESTORE_VERSION", strconv.FormatInt(w.Restore.Version, 10)))
	_, err := batchv1.NewJob(ctx, RestoreJob, &batchv1.JobArgs{
		Metadata: w.meta(RestoreJob, map[string]string{"pulumi.com/skipAwait": "true"}),
		Spec:     &batchv1.JobSpecArgs{BackoffLimit: pulumi.Int(4), ActiveDeadlineSeconds: pulumi.Int(restoreDeadline), Template: template},
	}, pulumi.Parent(w.parent), pulumi.DependsOn(needs))
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// checkSize of the pod: the records are walked, whatever their number.
var checkSize = pod.Size{CPURequest: 100, CPULimit: pod.Core, MemoryRequest: 128 * pod.MiB, MemoryLimit: 512 * pod.MiB}

// check makes the Job that takes stock of the records: the service's own command,
// which prints what it found, and fails where the records disagree. That is an
// answer and no reason to ask again.
func (w *workloads) check(ctx *pulumi.Context) error {
	records := w.Records
	_, err := batchv1.NewJob(ctx, CheckJob, &batchv1.JobArgs{
		Metadata: w.meta(CheckJob, map[string]string{"pulumi.com/skipAwait": "true"}),
		Spec: &batchv1.JobSpecArgs{
			BackoffLimit: pulumi.Int(0), ActiveDeadlineSeconds: pulumi.Int(3600),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(CheckJob, component, records.Labels)},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken: pulumi.Bool(false),
					EnableServiceLinks:           pulumi.Bool(false),
					RestartPolicy:                pulumi.String("Never"),
					SecurityContext:              pod.Security(contract.UserID),
					InitContainers:               records.InitContainers,
					Volumes:                      records.Volumes,
					Containers: corev1.ContainerArray{corev1.ContainerArgs{
						Name:            pulumi.String(Container),
						Image:           pulumi.String(w.Image),
						Args:            pulumi.ToStringArray([]string{contract.CheckCommand, "--json"}),
						Env:             records.Env,
						Resources:       checkSize.Resources(),
						SecurityContext: pod.ContainerSecurity(),
						VolumeMounts:    records.Mounts,
					}},
				},
			},
		},
	}, pulumi.Parent(w.parent), pulumi.DependsOn(records.Needs))
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return nil
}
