// Package service owns the API's workloads: two fixed slots, blue and green,
// each with its own Service, Deployment, autoscaler and disruption budget.
//
// A release goes to the slot that carries no traffic, and only the gateway's
// weights move; names and selectors never change. A slot without a release has
// its Service, so that routes can always name both, and no pods.
package service

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"time"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

const (
	// App is the name of the workload and of its service account.
	App = "coditect-api-v5"
	// Port is the port of the slots' Services.
	Port = 80
	// InternalPortName names the pods' port that serves metrics.
	InternalPortName = "internal"

	component = "api"
	// Container serves the API in each pod.
	Container = "api"
)

// Args of [New].
type Args struct {
	Namespace pulumi.StringInput
	// Slots in the order in which they are made.
	Slots []Slot
	// Replicas is the number of pods of a slot, or the floor of its autoscaler
	// where MaxReplicas is greater.
	Replicas, MaxReplicas int
	// CPUTarget is the percentage of requested CPU at which the autoscaler adds pods.
	CPUTarget int
	// InFlightMetric is the name of the gauge of requests under way, as the cluster's
	// custom metrics have it, and InFlightTarget the number of them in each pod at which
	// the autoscaler adds pods; 0: it looks at CPU alone.
	InFlightMetric string
	InFlightTarget int
	Size           pod.Size
	// PreStop is how long a leaving pod goes on as if nothing were, while it is taken out of rotation.
	PreStop time.Duration
	// Parts are what other components add to the pods: secrets, the way to the database.
	Parts []pod.Part
	// Callers may reach the API's port.
	Callers networkingv1.NetworkPolicyPeerArray
	// Hops is how many entries of X-Forwarded-For the callers add.
	Hops int
	// PublicHost is the name that browsers know the API by, and so the domain that
	// passkeys belong to; "" leaves passkeys to localhost.
	PublicHost string
	// Mail is the way to the mail server; without one no letters are sent.
	Mail *Mail
	// OwnAddress makes each process listen on its pod's address alone, where pods share one network.
	OwnAddress bool
}

// Mail is how letters are sent. The password of User is a file of one of the parts.
type Mail struct {
	Server string // host:port, with STARTTLS
	From   string
	User   string
}

// Slot is one of the fixed places of a release.
type Slot struct {
	Name string
	// Image is the release by digest; a slot without one has no pods.
	Image string
}

func (a *Args) check() error {
	var faults []error
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	if a.Replicas < 2 || a.MaxReplicas < a.Replicas {
		faults = append(faults, fmt.Errorf("replicas %d to %d: a slot has at least two pods, because routes do not fail over between slots", a.Replicas, a.MaxReplicas))
	}
	if a.PreStop < time.Second {
		faults = append(faults, fmt.Errorf("PreStop is %s: requests would be lost while the pod is taken out of rotation", a.PreStop))
	}
	if a.InFlightTarget < 0 || a.InFlightTarget > 0 && a.InFlightMetric == "" {
		faults = append(faults, fmt.Errorf("InFlightTarget is %d of the metric %q: requests under way are read from a metric", a.InFlightTarget, a.InFlightMetric))
	}
	if err := a.Size.Fits(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Service is the API in its slots.
type Service struct {
	pulumi.ResourceState

	// Backends are what routes lead to, by slot.
	Backends map[string]Backend
}

// Backend is a slot as routes see it.
type Backend struct {
	// Service is the name of the slot's Service.
	Service pulumi.StringOutput
	// Pods must be ready before the slot may be given requests; none where it has no release.
	Pods []pulumi.Resource
}

// New makes both slots.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Service, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	s := &Service{Backends: map[string]Backend{}}
	if err := ctx.RegisterComponentResource("coditect:service:Service", name, s, opts...); err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	account, err := corev1.NewServiceAccount(ctx, App, &corev1.ServiceAccountArgs{
		Metadata:                     pod.Meta(App, args.Namespace, pod.Labels(App, component, nil), nil),
		AutomountServiceAccountToken: pulumi.Bool(false),
	}, pulumi.Parent(s))
	if err != nil {
		return nil, fmt.Errorf("service %s: service account: %w", name, err)
	}
	if err := admit(ctx, args, s); err != nil {
		return nil, fmt.Errorf("service %s: network policy: %w", name, err)
	}
	outputs := pulumi.Map{}
	for _, place := range args.Slots {
		one := slot{Args: &args, Slot: place, name: SlotName(place.Name), parent: s, account: account}
		backend, err := one.provision(ctx)
		if err != nil {
			return nil, fmt.Errorf("service %s: slot %s: %w", name, place.Name, err)
		}
		s.Backends[place.Name] = backend
		outputs[place.Name] = backend.Service
	}
	if err := ctx.RegisterResourceOutputs(s, outputs); err != nil {
		return nil, fmt.Errorf("service %s: outputs: %w", name, err)
	}
	return s, nil
}

// SlotName is the name of a slot's objects.
func SlotName(slot string) string { return App + "-" + slot }

// slotLabels select a slot's pods. They never change: a selector cannot.
func slotLabels(slot string) map[string]string {
	return map[string]string{pod.LabelName: App, pod.LabelSlot: slot}
}

// admit lets callers reach the API, the metrics collector reach metrics, and pods
// reach what their parts lead to; nothing else.
func admit(ctx *pulumi.Context, args Args, parent pulumi.Resource) error {
	egress := networkingv1.NetworkPolicyEgressRuleArray{pod.NameLookups()}
	for _, part := range args.Parts {
		egress = append(egress, part.Egress...)
	}
	if args.Mail != nil {
		_, text, err := net.SplitHostPort(args.Mail.Server)
		if err != nil {
			return fmt.Errorf("mail server: %w", err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("mail server: %w", err)
		}
		egress = append(egress, networkingv1.NetworkPolicyEgressRuleArgs{
			To:    networkingv1.NetworkPolicyPeerArray{pod.Range("0.0.0.0/0")},
			Ports: networkingv1.NetworkPolicyPortArray{pod.Port("TCP", port)},
		})
	}
	_, err := networkingv1.NewNetworkPolicy(ctx, App, &networkingv1.NetworkPolicyArgs{
		Metadata: pod.Meta(App, args.Namespace, pod.Labels(App, component, nil), nil),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: pod.Selector(map[string]string{pod.LabelName: App}),
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
			Ingress: networkingv1.NetworkPolicyIngressRuleArray{
				networkingv1.NetworkPolicyIngressRuleArgs{
					From:  args.Callers,
					Ports: networkingv1.NetworkPolicyPortArray{pod.Port("TCP", contract.Port)},
				},
				networkingv1.NetworkPolicyIngressRuleArgs{
					From:  networkingv1.NetworkPolicyPeerArray{pod.NamespaceOf("gmp-system")},
					Ports: networkingv1.NetworkPolicyPortArray{pod.Port("TCP", contract.InternalPort)},
				},
			},
			Egress: egress,
		},
	}, pulumi.Parent(parent))
	return err
}

// labels of a slot's objects.
func (s *slot) labels() pulumi.StringMap {
	return pod.Labels(App, component, map[string]string{pod.LabelSlot: s.Name})
}

// podLabels are those of the slot and those that parts ask for.
func (s *slot) podLabels() pulumi.StringMap {
	more := map[string]string{pod.LabelSlot: s.Name}
	for _, part := range s.Parts {
		maps.Copy(more, part.Labels)
	}
	return pod.Labels(App, component, more)
}
