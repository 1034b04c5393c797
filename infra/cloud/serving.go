package cloud

import (
	"context"
	"errors"

	appsv1 "k8s.io/api/apps/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"coditect.ai/platform/infra/gateway"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/stacks"
)

// Serving is what the cluster says of the service at this moment.
type Serving struct {
	// Routed tells whether a route leads to the service, and Accepted whether that is
	// in use as it is now.
	Routed, Accepted bool
	Weights          rollout.Weights
	Pods             map[stacks.Slot]rollout.Pods // ready and desired ones alone
}

// Look asks the cluster how the service is. It asks few things, so that it can be
// asked every few seconds.
func Look(ctx context.Context, cluster Cluster, namespace string) (Serving, error) {
	s := Serving{Weights: rollout.Weights{}, Pods: map[stacks.Slot]rollout.Pods{}}
	var route gatewayv1.HTTPRoute
	switch err := cluster.Get(ctx, kube.HTTPRoutes, namespace, gateway.Route, &route); {
	case errors.Is(err, kube.ErrAbsent):
	case err != nil:
		return s, err
	default:
		s.Routed, s.Accepted, s.Weights = true, accepted(route), weights(route)
	}
	for _, slot := range stacks.Slots() {
		var deployment appsv1.Deployment
		switch err := cluster.Get(ctx, kube.Deployments, namespace, service.SlotName(string(slot)), &deployment); {
		case errors.Is(err, kube.ErrAbsent):
		case err != nil:
			return s, err
		default:
			s.Pods[slot] = podsOf(deployment)
		}
	}
	return s, nil
}

// weights are those by which a route asks for requests to be divided.
func weights(route gatewayv1.HTTPRoute) rollout.Weights {
	names := map[string]stacks.Slot{}
	for _, slot := range stacks.Slots() {
		names[service.SlotName(string(slot))] = slot
	}
	asked := rollout.Weights{}
	for _, rule := range route.Spec.Rules {
		for _, backend := range rule.BackendRefs {
			if slot, ours := names[string(backend.Name)]; ours && backend.Weight != nil {
				asked[slot] = int(*backend.Weight)
			}
		}
	}
	return asked
}

func podsOf(deployment appsv1.Deployment) rollout.Pods {
	pods := rollout.Pods{Ready: int(deployment.Status.ReadyReplicas)}
	if deployment.Spec.Replicas != nil {
		pods.Desired = int(*deployment.Spec.Replicas)
	}
	return pods
}
