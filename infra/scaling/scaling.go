// Package scaling owns what autoscalers read beside CPU: Google's adapter, which
// answers Kubernetes' custom metrics API with what Cloud Monitoring has, Managed
// Prometheus' metrics included.
//
// One adapter serves a whole cluster: it registers itself for the API group, so
// that a second one, or another adapter, cannot be beside it.
package scaling

import (
	"errors"
	"fmt"
	"strconv"

	apiregistrationv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apiregistration/v1"
	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	rbacv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/rbac/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/google"
	"coditect.ai/platform/infra/pod"
)

const (
	// App is the name of the adapter's workload, of its Service and of its service account.
	App = "custom-metrics-stackdriver-adapter"
	// Namespace is the adapter's own.
	Namespace = "custom-metrics"

	component = "scaling"
	group     = "custom.metrics.k8s.io"
	// port is where GKE lets the control plane reach nodes without a rule of our own.
	port = 443
	user = 65532
)

// Size is what the adapter is promised and may take.
var Size = pod.Size{CPURequest: 50, CPULimit: 250, MemoryRequest: 128 * pod.MiB, MemoryLimit: 400 * pod.MiB}

// Args of [New].
type Args struct {
	ProjectID, ProjectNumber string
	// Image of the adapter.
	Image string
	// Protect keeps the namespace from being deleted.
	Protect bool
}

func (a *Args) check() error {
	var faults []error
	if a.ProjectID == "" || a.ProjectNumber == "" {
		faults = append(faults, errors.New("no ProjectID or ProjectNumber"))
	}
	if a.Image == "" {
		faults = append(faults, errors.New("no Image"))
	}
	return errors.Join(faults...)
}

// Scaling is the adapter.
type Scaling struct {
	pulumi.ResourceState

	parts []pulumi.Resource
}

// Gauge is the name by which an autoscaler asks for a gauge of Managed Prometheus.
func Gauge(metric string) string { return "prometheus.googleapis.com|" + metric + "|gauge" }

// New makes the adapter.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Scaling, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("scaling %s: %w", name, err)
	}
	s := &Scaling{}
	if err := ctx.RegisterComponentResource("coditect:scaling:Scaling", name, s, opts...); err != nil {
		return nil, fmt.Errorf("scaling %s: %w", name, err)
	}
	for _, step := range []func(*pulumi.Context, Args) error{s.allow, s.run, s.answer} {
		if err := step(ctx, args); err != nil {
			return nil, fmt.Errorf("scaling %s: %w", name, err)
		}
	}
	if err := ctx.RegisterResourceOutputs(s, pulumi.Map{}); err != nil {
		return nil, fmt.Errorf("scaling %s: outputs: %w", name, err)
	}
	return s, nil
}

func meta(name, namespace string) *metav1.ObjectMetaArgs {
	var in pulumi.StringInput
	if namespace != "" {
		in = pulumi.String(namespace)
	}
	return pod.Meta(name, in, pod.Labels(App, component, nil), nil)
}

// allow lets the adapter read metrics, see which pods there are, and ask the API
// server who asks it; nothing else.
func (s *Scaling) allow(ctx *pulumi.Context, args Args) error {
	labels := pod.Labels(Namespace, component, map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted",
		"pod-security.kubernetes.io/warn":    "restricted",
	})
	namespace, err := corev1.NewNamespace(ctx, Namespace, &corev1.NamespaceArgs{Metadata: pod.Meta(Namespace, nil, labels, nil)},
		pulumi.Parent(s), pulumi.Protect(args.Protect))
	if err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	account, err := corev1.NewServiceAccount(ctx, App, &corev1.ServiceAccountArgs{
		Metadata: meta(App, Namespace),
	}, pulumi.Parent(s), pulumi.DependsOn([]pulumi.Resource{namespace}))
	if err != nil {
		return fmt.Errorf("service account: %w", err)
	}
	grant, err := google.New(ctx, google.ProjectMemberType, App, pulumi.Map{
		"project": pulumi.String(args.ProjectID), "role": pulumi.String("roles/monitoring.viewer"),
		"member": pulumi.Sprintf("principal://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s.svc.id.goog/subject/ns/%s/sa/%s",
			args.ProjectNumber, args.ProjectID, Namespace, App),
	}, pulumi.Parent(s))
	if err != nil {
		return fmt.Errorf("reader of metrics: %w", err)
	}
	subjects := rbacv1.SubjectArray{rbacv1.SubjectArgs{Kind: pulumi.String("ServiceAccount"), Name: pulumi.String(App), Namespace: pulumi.String(Namespace)}}
	role := func(kind, name string) rbacv1.RoleRefArgs {
		return rbacv1.RoleRefArgs{ApiGroup: pulumi.String("rbac.authorization.k8s.io"), Kind: pulumi.String(kind), Name: pulumi.String(name)}
	}
	seer, err := rbacv1.NewClusterRole(ctx, App, &rbacv1.ClusterRoleArgs{
		Metadata: meta(App, ""),
		Rules: rbacv1.PolicyRuleArray{rbacv1.PolicyRuleArgs{
			ApiGroups: pulumi.ToStringArray([]string{""}), Resources: pulumi.ToStringArray([]string{"pods", "nodes"}),
			Verbs: pulumi.ToStringArray([]string{"get", "list", "watch"}),
		}},
	}, pulumi.Parent(s))
	if err != nil {
		return fmt.Errorf("role: %w", err)
	}
	s.parts = []pulumi.Resource{account, grant, seer}
	for _, binding := range []struct{ name, role string }{{App, App}, {App + "-delegator", "system:auth-delegator"}} {
		bound, err := rbacv1.NewClusterRoleBinding(ctx, binding.name, &rbacv1.ClusterRoleBindingArgs{
			Metadata: meta(binding.name, ""), RoleRef: role("ClusterRole", binding.role), Subjects: subjects,
		}, pulumi.Parent(s))
		if err != nil {
			return fmt.Errorf("role: %w", err)
		}
		s.parts = append(s.parts, bound)
	}
	bound, err := rbacv1.NewRoleBinding(ctx, App, &rbacv1.RoleBindingArgs{
		Metadata: meta(App, "kube-system"), RoleRef: role("Role", "extension-apiserver-authentication-reader"), Subjects: subjects,
	}, pulumi.Parent(s))
	if err != nil {
		return fmt.Errorf("role: %w", err)
	}
	s.parts = append(s.parts, bound)
	return nil
}

// run keeps one adapter: while it is away autoscalers add pods by CPU and remove none.
func (s *Scaling) run(ctx *pulumi.Context, args Args) error {
	selector := map[string]string{pod.LabelName: App}
	deployment, err := appsv1.NewDeployment(ctx, App, &appsv1.DeploymentArgs{
		Metadata: meta(App, Namespace),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(1), Selector: pod.Selector(selector), RevisionHistoryLimit: pulumi.Int(3),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(App, component, nil)},
				Spec:     podSpec(args.Image),
			},
		},
	}, pulumi.Parent(s), pulumi.DependsOn(s.parts))
	if err != nil {
		return fmt.Errorf("deployment: %w", err)
	}
	service, err := corev1.NewService(ctx, App, &corev1.ServiceArgs{
		Metadata: meta(App, Namespace),
		Spec: &corev1.ServiceSpecArgs{
			Type: pulumi.String("ClusterIP"), Selector: pulumi.ToStringMap(selector),
			Ports: corev1.ServicePortArray{corev1.ServicePortArgs{
				Name: pulumi.String("https"), Port: pulumi.Int(port), TargetPort: pulumi.Int(port), Protocol: pulumi.String("TCP"),
			}},
		},
	}, pulumi.Parent(s), pulumi.DependsOn(s.parts))
	if err != nil {
		return fmt.Errorf("service: %w", err)
	}
	s.parts = []pulumi.Resource{deployment, service}
	return nil
}

func podSpec(image string) *corev1.PodSpecArgs {
	security := pod.Security(user)
	// An ordinary user may take the port.
	security.Sysctls = corev1.SysctlArray{corev1.SysctlArgs{
		Name: pulumi.String("net.ipv4.ip_unprivileged_port_start"), Value: pulumi.String(strconv.Itoa(port)),
	}}
	probe := func(path string, period, failures int) *corev1.ProbeArgs {
		return &corev1.ProbeArgs{
			HttpGet:       &corev1.HTTPGetActionArgs{Path: pulumi.String(path), Port: pulumi.Int(port), Scheme: pulumi.String("HTTPS")},
			PeriodSeconds: pulumi.Int(period), TimeoutSeconds: pulumi.Int(3), FailureThreshold: pulumi.Int(failures),
		}
	}
	return &corev1.PodSpecArgs{
		ServiceAccountName: pulumi.String(App), // its token is how the adapter reaches the API server
		EnableServiceLinks: pulumi.Bool(false),
		SecurityContext:    security,
		Containers: corev1.ContainerArray{corev1.ContainerArgs{
			Name:    pulumi.String("adapter"),
			Image:   pulumi.String(image),
			Command: pulumi.ToStringArray([]string{"/adapter", "--use-new-resource-model=true", "--secure-port=" + strconv.Itoa(port), "--cert-dir=/tmp"}),
			Ports: corev1.ContainerPortArray{corev1.ContainerPortArgs{
				Name: pulumi.String("https"), ContainerPort: pulumi.Int(port), Protocol: pulumi.String("TCP"),
			}},
			Resources:       Size.Resources(),
			SecurityContext: pod.ContainerSecurity(),
			ReadinessProbe:  probe("/readyz", 5, 3),
			LivenessProbe:   probe("/livez", 10, 6),
			VolumeMounts:    corev1.VolumeMountArray{pod.Mount("tmp", "/tmp", false)},
		}},
		Volumes: corev1.VolumeArray{pod.Scratch("tmp")},
	}
}

// answer registers the adapter for the API group. Its certificate is its own and
// changes with each start, inside the cluster's network.
func (s *Scaling) answer(ctx *pulumi.Context, _ Args) error {
	for i, version := range []string{"v1beta1", "v1beta2"} {
		name := version + "." + group
		if _, err := apiregistrationv1.NewAPIService(ctx, name, &apiregistrationv1.APIServiceArgs{
			Metadata: meta(name, ""),
			Spec: &apiregistrationv1.APIServiceSpecArgs{
				Group: pulumi.String(group), Version: pulumi.String(version),
				GroupPriorityMinimum: pulumi.Int(100), VersionPriority: pulumi.Int(100 * (i + 1)),
				InsecureSkipTLSVerify: pulumi.Bool(true),
				Service: &apiregistrationv1.ServiceReferenceArgs{
					Name: pulumi.String(App), Namespace: pulumi.String(Namespace), Port: pulumi.Int(port),
				},
			},
		}, pulumi.Parent(s), pulumi.DependsOn(s.parts)); err != nil {
			return fmt.Errorf("registration of %s: %w", name, err)
		}
	}
	return nil
}
