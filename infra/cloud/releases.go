package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"coditect.ai/platform/infra/gateway"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/pod"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/infra/slots"
	"coditect.ai/platform/stacks"
)

// ReleaseStack is the stack as releases change it.
type ReleaseStack interface {
	Settings() stacks.Settings
	Outputs(ctx context.Context) (Outputs, error)
	// Last are the settings of the stack's last update, whoever has run it, from
	// whichever machine.
	Last(ctx context.Context) (map[string]string, error)
	// Apply commits settings, "" for one that is taken out, and updates the
	// resources that the targets match, and no others.
	Apply(ctx context.Context, settings map[string]string, targets ...string) error
}

// Balancer is what the load balancer itself tells.
type Balancer interface {
	// Weights are those by which requests are divided now, by Service.
	Weights(ctx context.Context, services []string) (map[string]int, error)
}

// Releases is an environment of the cloud as a rollout sees it.
type Releases struct {
	Stack    ReleaseStack
	Balancer Balancer
	Connect  func(kubeconfig []byte) (Cluster, error)
}

var _ rollout.Environment = (*Releases)(nil)

// Configured implements [rollout.Environment].
func (r *Releases) Configured(ctx context.Context) (rollout.Split, error) {
	last, err := r.last(ctx)
	if err != nil {
		return rollout.Split{}, err
	}
	return slots.Read(func(key string) string { return last[key] })
}

// Deploy implements [rollout.Environment].
func (r *Releases) Deploy(ctx context.Context, slot stacks.Slot, image string) error {
	return r.apply(ctx, slots.Hold(slot, image), slots.Targets(slot)...)
}

// Shift implements [rollout.Environment].
func (r *Releases) Shift(ctx context.Context, weights rollout.Weights) error {
	return r.apply(ctx, slots.Weigh(weights), slots.RouteTarget)
}

// apply changes settings of releases from what they were at the last update: the
// file of this checkout may be older.
func (r *Releases) apply(ctx context.Context, change func(slots.Get, slots.Set), targets ...string) error {
	last, err := r.last(ctx)
	if err != nil {
		return err
	}
	settings := map[string]string{}
	change(func(key string) string { return last[key] }, func(key, value string) { settings[key] = value })
	return r.Stack.Apply(ctx, settings, targets...)
}

// last are the settings of the last update, unless that was one of a recovery: its
// database and its route are nothing to release to.
func (r *Releases) last(ctx context.Context) (map[string]string, error) {
	last, err := r.Stack.Last(ctx)
	if err != nil {
		return nil, err
	}
	return last, unhalted(last)
}

// unhalted refuses settings of a recovery that is under way.
func unhalted(last map[string]string) error {
	if phase := last[keyPhase]; phase != "" && phase != string(stacks.PhaseNone) {
		return problem.New(nil, "a recovery is under way (%s), and nothing is released before it has ended: `coditect recover` goes on with it.", phase)
	}
	return nil
}

func (r *Releases) cluster(ctx context.Context) (Cluster, string, error) {
	out, err := r.Stack.Outputs(ctx)
	if err != nil {
		return nil, "", err
	}
	cluster, err := r.Connect([]byte(out.Kubeconfig))
	return cluster, r.Stack.Settings().Cloud.Namespace, err
}

// Traffic implements [rollout.Environment]. Requests are not counted here; both
// slots' metrics count them.
func (r *Releases) Traffic(ctx context.Context) (rollout.Traffic, error) {
	cluster, namespace, err := r.cluster(ctx)
	if err != nil {
		return rollout.Traffic{}, err
	}
	var route gatewayv1.HTTPRoute
	if err := cluster.Get(ctx, kube.HTTPRoutes, namespace, gateway.Route, &route); err != nil {
		return rollout.Traffic{}, err
	}
	t := rollout.Traffic{Accepted: accepted(route), Asked: weights(route), Weights: rollout.Weights{}}
	names := map[string]stacks.Slot{}
	var services []string
	for _, slot := range stacks.Slots() {
		name := service.SlotName(string(slot))
		names[name], services = slot, append(services, name)
	}
	divided, err := r.Balancer.Weights(ctx, services)
	if err != nil {
		return rollout.Traffic{}, fmt.Errorf("ask the load balancer for its weights: %w", err)
	}
	for name, weight := range divided {
		t.Weights[names[name]] = weight
	}
	return t, nil
}

// accepted tells whether the route is in use as it is now. GKE says by a condition
// of its own, Reconciled, that the load balancer was told.
func accepted(route gatewayv1.HTTPRoute) bool {
	for _, parent := range route.Status.Parents {
		for _, kind := range []string{string(gatewayv1.RouteConditionAccepted), string(gatewayv1.RouteConditionResolvedRefs), "Reconciled"} {
			i := slices.IndexFunc(parent.Conditions, func(c metav1.Condition) bool { return c.Type == kind })
			if i < 0 && kind == "Reconciled" {
				continue
			}
			if i < 0 || parent.Conditions[i].Status != metav1.ConditionTrue || parent.Conditions[i].ObservedGeneration < route.Generation && kind != "Reconciled" {
				return false
			}
		}
	}
	return len(route.Status.Parents) > 0
}

// Pods implements [rollout.Environment].
func (r *Releases) Pods(ctx context.Context, slot stacks.Slot) (rollout.Pods, error) {
	cluster, namespace, err := r.cluster(ctx)
	if err != nil {
		return rollout.Pods{}, err
	}
	var deployment appsv1.Deployment
	err = cluster.Get(ctx, kube.Deployments, namespace, service.SlotName(string(slot)), &deployment)
	if errors.Is(err, kube.ErrAbsent) {
		return rollout.Pods{}, nil
	}
	if err != nil {
		return rollout.Pods{}, err
	}
	pods := podsOf(deployment)
	var list corev1.PodList
	if err := cluster.List(ctx, kube.Pods, namespace, fmt.Sprintf("%s=%s,%s=%s", pod.LabelName, service.App, pod.LabelSlot, slot), &list); err != nil {
		return rollout.Pods{}, err
	}
	var images []string
	for _, p := range list.Items {
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			continue // it leaves, or has left and is kept to be looked at
		}
		for _, c := range p.Spec.Containers {
			images = append(images, c.Image)
		}
		for _, c := range p.Status.ContainerStatuses {
			pods.Restarts += int(c.RestartCount)
		}
	}
	slices.Sort(images)
	if images = slices.Compact(images); len(images) == 1 {
		pods.Image = images[0]
	}
	return pods, nil
}
