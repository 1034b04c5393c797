// Package operator owns who moves releases, and the retirement of API v2, while
// nobody watches: a CronJob in the cluster that calls `coditect tick` every minute,
// and what that may do.
//
// It is in the cluster because nothing else of Google Cloud reaches the control
// plane of a private cluster, and it acts as its own service account there: the
// rights of one Role, for the few kinds that a release or the retirement touches.
package operator

import (
	"errors"
	"fmt"
	"time"

	batchv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/batch/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	rbacv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/rbac/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/google"
	"coditect.ai/platform/infra/pod"
)

const (
	// App is the name of the CronJob and of its service account.
	App       = "coditect-operator"
	component = "operator"
	// user is the image's.
	user = 65532
	// work is where the image's checkout is copied to, and the engine keeps its own:
	// the root file system is read-only.
	work = "/scratch"
	// checkout is where the image has the repository.
	checkout = "/coditect"
	// leave is the time in which an engine that is told to stop gives the stack's lock back.
	leave = 2 * time.Minute
)

// Field is that of a line of the log which tells that a tick ended well, or goes on;
// AskedField is in it where a person is asked for something.
const (
	Field      = "ticked"
	AskedField = "asked"
)

// Size is what a tick is promised and may take: the program, the engine and the
// two providers, one of which knows all of Google Cloud.
var Size = pod.Size{CPURequest: 100, CPULimit: 2 * pod.Core, MemoryRequest: 512 * pod.MiB, MemoryLimit: 2048 * pod.MiB}

// Args of [New].
type Args struct {
	ProjectID, ProjectNumber string
	Namespace                pulumi.StringInput
	// Environment is what is ticked.
	Environment string
	// Image of the operator's command.
	Image string
	// Backend is where Pulumi keeps the state, in the bucket StateBucket.
	Backend, StateBucket string
	// Bucket is the backups', which has the state of releases below the prefix Operations.
	Bucket, Operations string
	// Longest is what a tick may take: the time that a release's pods are given to be ready.
	Longest time.Duration
	// Suspended ticks nothing: while a recovery is under way nothing is released.
	Suspended bool
	// Key is the way to the passphrase, PassphraseFile within it.
	Key            pod.Part
	PassphraseFile string
	// Needs are there before.
	Needs []pulumi.Resource
}

func (a *Args) check() error {
	var faults []error
	for _, field := range []struct{ name, value string }{
		{"ProjectID", a.ProjectID},
		{"ProjectNumber", a.ProjectNumber},
		{"Environment", a.Environment},
		{"Image", a.Image},
		{"Backend", a.Backend},
		{"StateBucket", a.StateBucket},
		{"Bucket", a.Bucket},
		{"Operations", a.Operations},
		{"PassphraseFile", a.PassphraseFile},
	} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field.name))
		}
	}
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	if a.Longest <= 0 {
		faults = append(faults, fmt.Errorf("a tick may take %s", a.Longest))
	}
	return errors.Join(faults...)
}

// Operator moves an environment's releases.
type Operator struct {
	pulumi.ResourceState
}

// New makes the CronJob, its identity, and what keeps it small.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Operator, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("operator %s: %w", name, err)
	}
	o := &Operator{}
	if err := ctx.RegisterComponentResource("coditect:operator:Operator", name, o, opts...); err != nil {
		return nil, fmt.Errorf("operator %s: %w", name, err)
	}
	s := operator{Args: args, parent: o}
	for _, step := range []func(*pulumi.Context) error{s.identity, s.allow, s.grant, s.guard, s.schedule} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("operator %s: %w", name, err)
		}
	}
	if err := ctx.RegisterResourceOutputs(o, pulumi.Map{}); err != nil {
		return nil, fmt.Errorf("operator %s: outputs: %w", name, err)
	}
	return o, nil
}

// operator renders one environment's.
type operator struct {
	Args

	parent pulumi.Resource
	needs  []pulumi.Resource
}

func (o *operator) meta() *metav1.ObjectMetaArgs {
	return pod.Meta(App, o.Namespace, pod.Labels(App, component, nil), nil)
}

func (o *operator) identity(ctx *pulumi.Context) error {
	account, err := corev1.NewServiceAccount(ctx, App, &corev1.ServiceAccountArgs{
		Metadata: o.meta(), AutomountServiceAccountToken: pulumi.Bool(false),
	}, pulumi.Parent(o.parent))
	if err != nil {
		return fmt.Errorf("service account: %w", err)
	}
	o.needs = append(append([]pulumi.Resource{account}, o.Needs...), o.Key.Needs...)
	return nil
}

// touched are the kinds that an update of a slot, of a route or of API v2 makes,
// changes and takes away; seen are those that it waits by.
var (
	touched = []struct {
		group     string
		resources []string
	}{
		{"", []string{"services", "serviceaccounts"}},
		{"apps", []string{"deployments"}},
		{"autoscaling", []string{"horizontalpodautoscalers"}},
		{"policy", []string{"poddisruptionbudgets"}},
		{"networking.k8s.io", []string{"networkpolicies"}},
		{"gateway.networking.k8s.io", []string{"httproutes"}},
		{"networking.gke.io", []string{"healthcheckpolicies", "gcpbackendpolicies"}},
	}
	seen = []struct {
		group     string
		resources []string
	}{
		{"", []string{"pods", "events", "endpoints"}},
		{"apps", []string{"replicasets"}},
		{"discovery.k8s.io", []string{"endpointslices"}},
	}
)

// allow gives the rights on the namespace's objects.
func (o *operator) allow(ctx *pulumi.Context) error {
	read := []string{"get", "list", "watch"}
	var rules rbacv1.PolicyRuleArray
	rule := func(group string, resources, verbs []string) {
		rules = append(rules, rbacv1.PolicyRuleArgs{
			ApiGroups: pulumi.ToStringArray([]string{group}), Resources: pulumi.ToStringArray(resources), Verbs: pulumi.ToStringArray(verbs),
		})
	}
	for _, one := range touched {
		rule(one.group, one.resources, append(read[:3:3], "create", "update", "patch", "delete"))
	}
	for _, one := range seen {
		rule(one.group, one.resources, read)
	}
	role, err := rbacv1.NewRole(ctx, App, &rbacv1.RoleArgs{Metadata: o.meta(), Rules: rules}, pulumi.Parent(o.parent))
	if err != nil {
		return fmt.Errorf("role: %w", err)
	}
	binding, err := rbacv1.NewRoleBinding(ctx, App, &rbacv1.RoleBindingArgs{
		Metadata: o.meta(),
		RoleRef:  rbacv1.RoleRefArgs{ApiGroup: pulumi.String("rbac.authorization.k8s.io"), Kind: pulumi.String("Role"), Name: role.Metadata.Name().Elem()},
		Subjects: rbacv1.SubjectArray{rbacv1.SubjectArgs{Kind: pulumi.String("ServiceAccount"), Name: pulumi.String(App), Namespace: o.Namespace}},
	}, pulumi.Parent(o.parent), pulumi.DependsOn(o.needs))
	if err != nil {
		return fmt.Errorf("role binding: %w", err)
	}
	o.needs = append(o.needs, binding)
	return nil
}

// grant gives the rights in Google Cloud: the state of releases in the backups'
// bucket, and nothing else of it; Pulumi's state; reading URL maps and metrics.
func (o *operator) grant(ctx *pulumi.Context) error {
	member := pulumi.Sprintf("principal://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s.svc.id.goog/subject/ns/%s/sa/%s",
		o.ProjectNumber, o.ProjectID, o.Namespace, App)
	for _, one := range []struct {
		kind, name string
		args       pulumi.Map
	}{
		{google.BucketMemberType, "operations", pulumi.Map{
			"bucket": pulumi.String(o.Bucket), "role": pulumi.String("roles/storage.objectUser"),
			"condition": pulumi.Map{
				"title": pulumi.String("operations"), "description": pulumi.String("The state of releases, and no backup"),
				"expression": pulumi.String(fmt.Sprintf(`resource.name.startsWith("projects/_/buckets/%s/objects/%s/")`, o.Bucket, o.Operations)),
			},
		}},
		{google.BucketMemberType, "state", pulumi.Map{"bucket": pulumi.String(o.StateBucket), "role": pulumi.String("roles/storage.objectUser")}},
		{google.ProjectMemberType, "weights", pulumi.Map{"project": pulumi.String(o.ProjectID), "role": pulumi.String("roles/compute.networkViewer")}},
		{google.ProjectMemberType, "metrics", pulumi.Map{"project": pulumi.String(o.ProjectID), "role": pulumi.String("roles/monitoring.viewer")}},
	} {
		one.args["member"] = member
		grant, err := google.New(ctx, one.kind, App+"-"+one.name, one.args, pulumi.Parent(o.parent), pulumi.DependsOn(o.Needs))
		if err != nil {
			return err
		}
		o.needs = append(o.needs, grant)
	}
	return nil
}

// guard lets the pods reach Google, the metadata server and the control plane, all
// by TLS: the environment's database and service are out of their reach.
func (o *operator) guard(ctx *pulumi.Context) error {
	if _, err := networkingv1.NewNetworkPolicy(ctx, App, &networkingv1.NetworkPolicyArgs{
		Metadata: o.meta(),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: pod.Selector(map[string]string{pod.LabelComponent: component}),
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
			Egress:      pod.ToGoogle(),
		},
	}, pulumi.Parent(o.parent)); err != nil {
		return fmt.Errorf("network policy: %w", err)
	}
	return nil
}

func (o *operator) schedule(ctx *pulumi.Context) error {
	metadata := o.meta()
	metadata.Annotations = pulumi.StringMap{"pulumi.com/skipAwait": pulumi.String("true")}
	_, err := batchv1.NewCronJob(ctx, App, &batchv1.CronJobArgs{
		Metadata: metadata,
		Spec: &batchv1.CronJobSpecArgs{
			Schedule: pulumi.String("* * * * *"), TimeZone: pulumi.String("Etc/UTC"),
			Suspend: pulumi.Bool(o.Suspended),
			// One at a time: that the pod before has ended is what a lock that it has left is judged by.
			ConcurrencyPolicy: pulumi.String("Forbid"), StartingDeadlineSeconds: pulumi.Int(120),
			SuccessfulJobsHistoryLimit: pulumi.Int(1), FailedJobsHistoryLimit: pulumi.Int(3),
			JobTemplate: &batchv1.JobTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(App, component, nil)},
				// The next minute tries again.
				Spec: &batchv1.JobSpecArgs{
					BackoffLimit: pulumi.Int(0), ActiveDeadlineSeconds: pulumi.Int(int((o.Longest + 15*time.Minute).Seconds())), Template: o.template(),
				},
			},
		},
	}, pulumi.Parent(o.parent), pulumi.DependsOn(o.needs))
	if err != nil {
		return fmt.Errorf("cron job: %w", err)
	}
	return nil
}

func (o *operator) template() *corev1.PodTemplateSpecArgs {
	container := func(name string) corev1.ContainerArgs {
		return corev1.ContainerArgs{
			Name: pulumi.String(name), Image: pulumi.String(o.Image),
			WorkingDir:      pulumi.String(work + "/coditect"),
			Resources:       Size.Resources(),
			SecurityContext: pod.ContainerSecurity(),
			VolumeMounts:    corev1.VolumeMountArray{pod.Mount("work", work, false)},
		}
	}
	unpack := container("checkout")
	unpack.Command = pulumi.ToStringArray([]string{"/bin/sh", "-c", "mkdir -p " + work + "/tmp " + work + "/home && cp -R " + checkout + " " + work})
	unpack.WorkingDir, unpack.Resources = pulumi.String("/"), pod.Small.Resources()
	tick := container("tick")
	tick.Args = pulumi.ToStringArray([]string{"tick", "--env", o.Environment, "--scheduled"})
	tick.Env = append(corev1.EnvVarArray{
		pod.Value("HOME", work+"/home"), pod.Value("TMPDIR", work+"/tmp"), pod.Value("PULUMI_HOME", work+"/home/.pulumi"),
		pod.Value("PULUMI_BACKEND_URL", o.Backend), pod.Value("PULUMI_CONFIG_PASSPHRASE_FILE", o.PassphraseFile),
		// What the image lacks is a fault of the image.
		pod.Value("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true"),
	}, o.Key.Env...)
	tick.VolumeMounts = append(tick.VolumeMounts.(corev1.VolumeMountArray), o.Key.Mounts...) //nolint:forcetypeassert // as container has made it
	return &corev1.PodTemplateSpecArgs{
		Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(App, component, o.Key.Labels)},
		Spec: &corev1.PodSpecArgs{
			ServiceAccountName:            pulumi.String(App),
			AutomountServiceAccountToken:  pulumi.Bool(true), // it speaks to the cluster as itself
			EnableServiceLinks:            pulumi.Bool(false),
			RestartPolicy:                 pulumi.String("Never"),
			TerminationGracePeriodSeconds: pulumi.Int(int(leave.Seconds())),
			SecurityContext:               pod.Security(user),
			InitContainers:                corev1.ContainerArray{unpack},
			Containers:                    corev1.ContainerArray{tick},
			Volumes: append(corev1.VolumeArray{corev1.VolumeArgs{
				Name: pulumi.String("work"), EmptyDir: &corev1.EmptyDirVolumeSourceArgs{SizeLimit: pulumi.String("512Mi")},
			}}, o.Key.Volumes...),
		},
	}
}
