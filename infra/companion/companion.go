// Package companion owns what runs beside the API: the frontend, and API v2 until
// it is retired. Each is one Deployment behind one Service, by the same rules as
// the API; one without an image has neither.
package companion

import (
	"errors"
	"fmt"
	"maps"
	"time"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	policyv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/policy/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/pod"
)

// Port is the port of a companion's Service.
const Port = 80

// LegacyApp is the name of API v2 and of all of its objects, its route included.
const LegacyApp = "coditect-api-v2"

// shutdown is what a companion is given to finish after its pause, before it is killed.
const shutdown = 30 * time.Second

// Args of [New].
type Args struct {
	Namespace pulumi.StringInput
	// App is the name of the workload and of all of its objects.
	App string
	// Image by digest.
	Image    string
	Replicas int
	// ListenPort is what the container serves, and HealthPath answers 200 there as long as it does.
	ListenPort int
	HealthPath string
	Size       pod.Size
	// User runs the container.
	User int
	// PreStop is how long a leaving pod goes on as if nothing were, while it is taken out of rotation.
	PreStop time.Duration
	// Parts are what other components add to the pods.
	Parts []pod.Part
	// Callers may reach the port.
	Callers networkingv1.NetworkPolicyPeerArray
}

func (a *Args) check() error {
	var faults []error
	for _, field := range []struct{ name, value string }{{"App", a.App}, {"Image", a.Image}, {"HealthPath", a.HealthPath}} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field.name))
		}
	}
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	if a.Replicas < 1 || a.ListenPort < 1024 || a.User < 1 {
		faults = append(faults, fmt.Errorf("%d replicas on port %d as user %d: one replica at least, on a port that an ordinary user may take", a.Replicas, a.ListenPort, a.User))
	}
	if err := a.Size.Fits(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Companion is one workload beside the API.
type Companion struct {
	pulumi.ResourceState

	// Service is the name of its Service.
	Service pulumi.StringOutput `pulumi:"service"`
	// Pods must be ready before routes lead there.
	Pods []pulumi.Resource
}

// New makes a companion.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Companion, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("companion %s: %w", name, err)
	}
	c := &Companion{}
	if err := ctx.RegisterComponentResource("coditect:companion:Companion", name, c, opts...); err != nil {
		return nil, fmt.Errorf("companion %s: %w", name, err)
	}
	if err := c.provision(ctx, args); err != nil {
		return nil, fmt.Errorf("companion %s: %w", name, err)
	}
	if err := ctx.RegisterResourceOutputs(c, pulumi.Map{"service": c.Service}); err != nil {
		return nil, fmt.Errorf("companion %s: outputs: %w", name, err)
	}
	return c, nil
}

func (c *Companion) provision(ctx *pulumi.Context, args Args) error {
	meta := func() *metav1.ObjectMetaArgs {
		return pod.Meta(args.App, args.Namespace, pod.Labels(args.App, args.App, nil), nil)
	}
	selector := map[string]string{pod.LabelName: args.App}
	account, err := corev1.NewServiceAccount(ctx, args.App, &corev1.ServiceAccountArgs{
		Metadata: meta(), AutomountServiceAccountToken: pulumi.Bool(false),
	}, pulumi.Parent(c))
	if err != nil {
		return fmt.Errorf("service account: %w", err)
	}
	egress := networkingv1.NetworkPolicyEgressRuleArray{pod.NameLookups()}
	needs := []pulumi.Resource{account}
	for _, part := range args.Parts {
		egress = append(egress, part.Egress...)
		needs = append(needs, part.Needs...)
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, args.App, &networkingv1.NetworkPolicyArgs{
		Metadata: meta(),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: pod.Selector(selector),
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
			Ingress: networkingv1.NetworkPolicyIngressRuleArray{networkingv1.NetworkPolicyIngressRuleArgs{
				From: args.Callers, Ports: networkingv1.NetworkPolicyPortArray{pod.Port("TCP", args.ListenPort)},
			}},
			Egress: egress,
		},
	}, pulumi.Parent(c)); err != nil {
		return fmt.Errorf("network policy: %w", err)
	}
	service, err := corev1.NewService(ctx, args.App, &corev1.ServiceArgs{
		Metadata: pod.Meta(args.App, args.Namespace, pod.Labels(args.App, args.App, nil), map[string]string{"pulumi.com/skipAwait": "true"}),
		Spec: &corev1.ServiceSpecArgs{
			Type:     pulumi.String("ClusterIP"),
			Selector: pulumi.ToStringMap(selector),
			Ports: corev1.ServicePortArray{corev1.ServicePortArgs{
				Name: pulumi.String("http"), Port: pulumi.Int(Port), TargetPort: pulumi.Int(args.ListenPort), Protocol: pulumi.String("TCP"),
			}},
		},
	}, pulumi.Parent(c))
	if err != nil {
		return fmt.Errorf("service: %w", err)
	}
	c.Service = service.Metadata.Name().Elem()
	deployment, err := appsv1.NewDeployment(ctx, args.App, &appsv1.DeploymentArgs{
		Metadata: meta(),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(args.Replicas),
			Selector: pod.Selector(selector),
			Strategy: &appsv1.DeploymentStrategyArgs{
				Type:          pulumi.String("RollingUpdate"),
				RollingUpdate: &appsv1.RollingUpdateDeploymentArgs{MaxUnavailable: pulumi.Int(0), MaxSurge: pulumi.Int(1)},
			},
			MinReadySeconds: pulumi.Int(2), ProgressDeadlineSeconds: pulumi.Int(600), RevisionHistoryLimit: pulumi.Int(3),
			Template: args.template(),
		},
	}, pulumi.Parent(c), pulumi.DependsOn(needs))
	if err != nil {
		return fmt.Errorf("deployment: %w", err)
	}
	c.Pods = []pulumi.Resource{deployment}
	if _, err := policyv1.NewPodDisruptionBudget(ctx, args.App, &policyv1.PodDisruptionBudgetArgs{
		Metadata: meta(),
		Spec: &policyv1.PodDisruptionBudgetSpecArgs{
			MaxUnavailable: pulumi.Int(1), Selector: pod.Selector(selector), UnhealthyPodEvictionPolicy: pulumi.String("AlwaysAllow"),
		},
	}, pulumi.Parent(c)); err != nil {
		return fmt.Errorf("disruption budget: %w", err)
	}
	return nil
}

func (a *Args) template() *corev1.PodTemplateSpecArgs {
	labels := map[string]string{}
	volumes := corev1.VolumeArray{pod.Scratch("tmp")}
	mounts := corev1.VolumeMountArray{pod.Mount("tmp", "/tmp", false)}
	var env corev1.EnvVarArray
	var inits corev1.ContainerArray
	for _, part := range a.Parts {
		maps.Copy(labels, part.Labels)
		volumes, mounts = append(volumes, part.Volumes...), append(mounts, part.Mounts...)
		env, inits = append(env, part.Env...), append(inits, part.InitContainers...)
	}
	probe := func(period, failures int) *corev1.ProbeArgs {
		return &corev1.ProbeArgs{
			HttpGet:       &corev1.HTTPGetActionArgs{Path: pulumi.String(a.HealthPath), Port: pulumi.Int(a.ListenPort)},
			PeriodSeconds: pulumi.Int(period), TimeoutSeconds: pulumi.Int(3), FailureThreshold: pulumi.Int(failures),
		}
	}
	spec := &corev1.PodSpecArgs{
		ServiceAccountName:            pulumi.String(a.App),
		AutomountServiceAccountToken:  pulumi.Bool(false),
		EnableServiceLinks:            pulumi.Bool(false),
		TerminationGracePeriodSeconds: pulumi.Int(int((a.PreStop + shutdown).Seconds())),
		SecurityContext:               pod.Security(a.User),
		TopologySpreadConstraints: corev1.TopologySpreadConstraintArray{corev1.TopologySpreadConstraintArgs{
			MaxSkew: pulumi.Int(1), TopologyKey: pulumi.String("kubernetes.io/hostname"), WhenUnsatisfiable: pulumi.String("ScheduleAnyway"),
			LabelSelector: pod.Selector(map[string]string{pod.LabelName: a.App}),
		}},
		Containers: corev1.ContainerArray{corev1.ContainerArgs{
			Name:  pulumi.String(a.App),
			Image: pulumi.String(a.Image),
			Env:   env,
			Ports: corev1.ContainerPortArray{corev1.ContainerPortArgs{
				Name: pulumi.String("http"), ContainerPort: pulumi.Int(a.ListenPort), Protocol: pulumi.String("TCP"),
			}},
			Resources: a.Size.Resources(), SecurityContext: pod.ContainerSecurity(),
			StartupProbe: probe(1, 60), LivenessProbe: probe(10, 3), ReadinessProbe: probe(3, 2),
			Lifecycle: &corev1.LifecycleArgs{PreStop: &corev1.LifecycleHandlerArgs{
				Sleep: &corev1.SleepActionArgs{Seconds: pulumi.Int(int(a.PreStop.Seconds()))},
			}},
			VolumeMounts: mounts,
		}},
		Volumes: volumes,
	}
	if len(inits) > 0 {
		spec.InitContainers = inits
	}
	return &corev1.PodTemplateSpecArgs{
		Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(a.App, a.App, labels)}, Spec: spec,
	}
}
