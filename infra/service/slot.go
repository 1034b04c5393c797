package service

import (
	"fmt"
	"path"
	"strconv"
	"time"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	autoscalingv2 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/autoscaling/v2"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	policyv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/policy/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

// leaveMargin is what the kubelet adds to a pod's own time to leave before it kills.
const leaveMargin = 5 * time.Second

// slot is one of the two fixed places of a release.
type slot struct {
	*Args
	Slot

	name    string // of its objects
	parent  pulumi.Resource
	account pulumi.Resource
}

// provision makes the slot's Service and, where the slot has a release, its
// pods and what keeps them at their number.
func (s *slot) provision(ctx *pulumi.Context) (Backend, error) {
	service, err := corev1.NewService(ctx, s.name, &corev1.ServiceArgs{
		// Nothing waits for endpoints: a slot without a release has none.
		Metadata: pod.Meta(s.name, s.Namespace, s.labels(), map[string]string{"pulumi.com/skipAwait": "true"}),
		Spec: &corev1.ServiceSpecArgs{
			Type:     pulumi.String("ClusterIP"),
			Selector: pulumi.ToStringMap(slotLabels(s.Name)),
			Ports: corev1.ServicePortArray{corev1.ServicePortArgs{
				Name: pulumi.String("http"), Port: pulumi.Int(Port), TargetPort: pulumi.Int(contract.Port), Protocol: pulumi.String("TCP"),
			}},
		},
	}, pulumi.Parent(s.parent))
	if err != nil {
		return Backend{}, fmt.Errorf("service: %w", err)
	}
	backend := Backend{Service: service.Metadata.Name().Elem()}
	if s.Image == "" {
		return backend, nil
	}
	deployment, err := s.deploy(ctx)
	if err != nil {
		return Backend{}, err
	}
	backend.Pods = []pulumi.Resource{deployment}
	return backend, nil
}

func (s *slot) deploy(ctx *pulumi.Context) (*appsv1.Deployment, error) {
	needs := []pulumi.Resource{s.account}
	for _, part := range s.Parts {
		needs = append(needs, part.Needs...)
	}
	spec := &appsv1.DeploymentSpecArgs{
		Selector: pod.Selector(slotLabels(s.Name)),
		// No pod goes before its successor has been ready for a while.
		Strategy: &appsv1.DeploymentStrategyArgs{
			Type: pulumi.String("RollingUpdate"),
			RollingUpdate: &appsv1.RollingUpdateDeploymentArgs{
				MaxUnavailable: pulumi.Int(0), MaxSurge: pulumi.Int(1),
			},
		},
		MinReadySeconds:         pulumi.Int(2),
		ProgressDeadlineSeconds: pulumi.Int(600),
		RevisionHistoryLimit:    pulumi.Int(3),
		Template:                s.template(),
		Replicas:                pulumi.Int(s.Replicas),
	}
	options := []pulumi.ResourceOption{pulumi.Parent(s.parent), pulumi.DependsOn(needs)}
	scaled := s.MaxReplicas > s.Replicas
	if scaled {
		// From its first moment the number of pods is the autoscaler's own. Only a new
		// Deployment is told its floor: left out, it would be ready with a single pod.
		options = append(options, pulumi.IgnoreChanges([]string{"spec.replicas"}))
	}
	deployment, err := appsv1.NewDeployment(ctx, s.name, &appsv1.DeploymentArgs{
		Metadata: pod.Meta(s.name, s.Namespace, s.labels(), nil),
		Spec:     spec,
	}, options...)
	if err != nil {
		return nil, fmt.Errorf("deployment: %w", err)
	}
	if scaled {
		if err := s.autoscale(ctx, deployment); err != nil {
			return nil, fmt.Errorf("autoscaler: %w", err)
		}
	}
	if _, err := policyv1.NewPodDisruptionBudget(ctx, s.name, &policyv1.PodDisruptionBudgetArgs{
		Metadata: pod.Meta(s.name, s.Namespace, s.labels(), nil),
		Spec: &policyv1.PodDisruptionBudgetSpecArgs{
			MaxUnavailable:             pulumi.Int(1),
			Selector:                   pod.Selector(slotLabels(s.Name)),
			UnhealthyPodEvictionPolicy: pulumi.String("AlwaysAllow"),
		},
	}, pulumi.Parent(s.parent)); err != nil {
		return nil, fmt.Errorf("disruption budget: %w", err)
	}
	return deployment, nil
}

func (s *slot) template() *corev1.PodTemplateSpecArgs {
	leave := s.PreStop + contract.DrainPause + contract.ShutdownGrace + leaveMargin
	var volumes corev1.VolumeArray
	var inits corev1.ContainerArray
	for _, part := range s.Parts {
		volumes = append(volumes, part.Volumes...)
		inits = append(inits, part.InitContainers...)
	}
	spread := func(key string) corev1.TopologySpreadConstraintArgs {
		return corev1.TopologySpreadConstraintArgs{
			MaxSkew:           pulumi.Int(1),
			TopologyKey:       pulumi.String(key),
			WhenUnsatisfiable: pulumi.String("ScheduleAnyway"),
			LabelSelector:     pod.Selector(slotLabels(s.Name)),
			MatchLabelKeys:    pulumi.ToStringArray([]string{"pod-template-hash"}),
		}
	}
	spec := &corev1.PodSpecArgs{
		ServiceAccountName:            pulumi.String(App),
		AutomountServiceAccountToken:  pulumi.Bool(false),
		EnableServiceLinks:            pulumi.Bool(false),
		TerminationGracePeriodSeconds: pulumi.Int(int(leave.Seconds())),
		SecurityContext:               pod.Security(contract.UserID),
		TopologySpreadConstraints: corev1.TopologySpreadConstraintArray{
			spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone"),
		},
		Containers: corev1.ContainerArray{s.container()},
		Volumes:    volumes,
	}
	if len(inits) > 0 {
		spec.InitContainers = inits
	}
	return &corev1.PodTemplateSpecArgs{
		Metadata: &metav1.ObjectMetaArgs{Labels: s.podLabels()},
		Spec:     spec,
	}
}

func (s *slot) container() corev1.ContainerArgs {
	env, mounts := s.environment(), corev1.VolumeMountArray{}
	for _, part := range s.Parts {
		env = append(env, part.Env...)
		mounts = append(mounts, part.Mounts...)
	}
	probe := func(path string, period, timeout, failures int) *corev1.ProbeArgs {
		return &corev1.ProbeArgs{
			HttpGet:          &corev1.HTTPGetActionArgs{Path: pulumi.String(path), Port: pulumi.Int(contract.Port)},
			PeriodSeconds:    pulumi.Int(period),
			TimeoutSeconds:   pulumi.Int(timeout),
			FailureThreshold: pulumi.Int(failures),
		}
	}
	port := func(name string, number int) corev1.ContainerPortArgs {
		return corev1.ContainerPortArgs{Name: pulumi.String(name), ContainerPort: pulumi.Int(number), Protocol: pulumi.String("TCP")}
	}
	return corev1.ContainerArgs{
		Name:            pulumi.String(Container),
		Image:           pulumi.String(s.Image),
		Args:            pulumi.ToStringArray([]string{contract.ServeCommand}),
		Env:             env,
		Ports:           corev1.ContainerPortArray{port("http", contract.Port), port(InternalPortName, contract.InternalPort)},
		Resources:       s.Size.Resources(),
		SecurityContext: pod.ContainerSecurity(),
		// Liveness never asks the database: restarting the service mends none.
		StartupProbe:   probe(contract.HealthPath, 1, 2, 60),
		LivenessProbe:  probe(contract.HealthPath, 10, 3, 3),
		ReadinessProbe: probe(contract.ReadyPath, 3, 3, 2),
		Lifecycle: &corev1.LifecycleArgs{PreStop: &corev1.LifecycleHandlerArgs{
			Sleep: &corev1.SleepActionArgs{Seconds: pulumi.Int(int(s.PreStop.Seconds()))},
		}},
		VolumeMounts: mounts,
	}
}

// environment is the service's own; parts add theirs. How many passwords it hashes
// at once, and how far its heap may grow, the service tells from the pod's limits.
func (s *slot) environment() corev1.EnvVarArray {
	host := ""
	var env corev1.EnvVarArray
	if s.OwnAddress {
		host = "$(POD_IP)"
		env = append(env, pod.Field("POD_IP", "status.podIP"))
	}
	if s.PublicHost != "" {
		env = append(env,
			pod.Value(contract.EnvPasskeyDomain, s.PublicHost),
			pod.Value(contract.EnvPasskeyOrigins, "https://"+s.PublicHost))
	}
	if s.Mail != nil {
		env = append(env,
			pod.Value(contract.EnvMail, "smtp"),
			pod.Value(contract.EnvMailServer, s.Mail.Server),
			pod.Value(contract.EnvMailFrom, s.Mail.From),
			pod.Value(contract.EnvMailLinks, "https://"+s.PublicHost))
		if s.Mail.User != "" {
			env = append(env,
				pod.Value(contract.EnvMailUser, s.Mail.User),
				pod.Value(contract.EnvMailPasswordFile, path.Join(contract.SecretsMountPath, contract.MailPasswordFile)))
		}
	}
	return append(env,
		pod.Value(contract.EnvListen, fmt.Sprintf("%s:%d", host, contract.Port)),
		pod.Value(contract.EnvInternalListen, fmt.Sprintf("%s:%d", host, contract.InternalPort)),
		pod.Value(contract.EnvSlot, s.Name),
		pod.Value(contract.EnvTrustedProxies, strconv.Itoa(s.Hops)),
		pod.Value(contract.EnvDrainPause, contract.DrainPause.String()),
		pod.Value(contract.EnvShutdownGrace, contract.ShutdownGrace.String()),
	)
}

func (s *slot) autoscale(ctx *pulumi.Context, deployment *appsv1.Deployment) error {
	_, err := autoscalingv2.NewHorizontalPodAutoscaler(ctx, s.name, &autoscalingv2.HorizontalPodAutoscalerArgs{
		Metadata: pod.Meta(s.name, s.Namespace, s.labels(), nil),
		Spec: &autoscalingv2.HorizontalPodAutoscalerSpecArgs{
			ScaleTargetRef: &autoscalingv2.CrossVersionObjectReferenceArgs{
				ApiVersion: pulumi.String("apps/v1"),
				Kind:       pulumi.String("Deployment"),
				Name:       deployment.Metadata.Name().Elem(),
			},
			MinReplicas: pulumi.Int(s.Replicas),
			MaxReplicas: pulumi.Int(s.MaxReplicas),
			Metrics:     s.metrics(),
			// Up at once, down slowly: a lull is not the end of a day.
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehaviorArgs{
				ScaleDown: &autoscalingv2.HPAScalingRulesArgs{StabilizationWindowSeconds: pulumi.Int(300)},
			},
		},
	}, pulumi.Parent(s.parent))
	return err
}

// metrics are what the autoscaler looks at; it takes the largest number of pods
// that one of them asks for. CPU tells of work, requests under way of waiting.
func (s *slot) metrics() autoscalingv2.MetricSpecArray {
	metrics := autoscalingv2.MetricSpecArray{autoscalingv2.MetricSpecArgs{
		Type: pulumi.String("Resource"),
		Resource: &autoscalingv2.ResourceMetricSourceArgs{
			Name: pulumi.String("cpu"),
			Target: &autoscalingv2.MetricTargetArgs{
				Type: pulumi.String("Utilization"), AverageUtilization: pulumi.Int(s.CPUTarget),
			},
		},
	}}
	if s.InFlightTarget > 0 {
		metrics = append(metrics, autoscalingv2.MetricSpecArgs{
			Type: pulumi.String("Pods"),
			Pods: &autoscalingv2.PodsMetricSourceArgs{
				Metric: &autoscalingv2.MetricIdentifierArgs{Name: pulumi.String(s.InFlightMetric)},
				Target: &autoscalingv2.MetricTargetArgs{
					Type: pulumi.String("AverageValue"), AverageValue: pulumi.String(strconv.Itoa(s.InFlightTarget)),
				},
			},
		})
	}
	return metrics
}
