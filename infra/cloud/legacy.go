package cloud

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"coditect.ai/platform/infra/companion"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/infra/slots"
)

// Reached counts requests, as [metrics.Prometheus] does.
type Reached interface {
	Reached(ctx context.Context, service, other string, window time.Duration) (float64, error)
}

// Legacy is an environment of the cloud as the retirement of API v2 sees it.
type Legacy struct {
	*Releases

	Counts Reached
}

var _ retire.Environment = (*Legacy)(nil)

// Configured implements [retire.Environment].
func (l *Legacy) Configured(ctx context.Context) (retire.Configuration, error) {
	last, err := l.Stack.Last(ctx)
	if err != nil {
		return retire.Configuration{}, err
	}
	value := func(key string) string {
		if text := last[key]; text != "" {
			return text
		}
		return defaultOf(key)
	}
	c := retire.Configuration{Image: value("legacyImage")}
	var notNumber, notBool error
	c.Replicas, notNumber = strconv.Atoi(value("legacyReplicas"))
	c.Routed, notBool = strconv.ParseBool(value("legacyRouted"))
	if err := errors.Join(notNumber, notBool); err != nil {
		return c, fmt.Errorf("read the settings of API v2: %w", err)
	}
	return c, nil
}

// Configure implements [retire.Environment].
func (l *Legacy) Configure(ctx context.Context, c retire.Configuration) error {
	return l.Stack.Apply(ctx, slots.Legacy(c), slots.LegacyTargets()...)
}

// Present implements [retire.Environment].
func (l *Legacy) Present(ctx context.Context) (retire.Present, error) {
	cluster, namespace, err := l.cluster(ctx)
	if err != nil {
		return retire.Present{}, err
	}
	p := retire.Present{}
	var route gatewayv1.HTTPRoute
	err = cluster.Get(ctx, kube.HTTPRoutes, namespace, companion.LegacyApp, &route)
	switch {
	case err == nil:
		p.Routed, p.Accepted = true, accepted(route)
	case !errors.Is(err, kube.ErrAbsent):
		return retire.Present{}, err
	}
	var deployment appsv1.Deployment
	err = cluster.Get(ctx, kube.Deployments, namespace, companion.LegacyApp, &deployment)
	switch {
	case err == nil:
		p.Ready = int(deployment.Status.ReadyReplicas)
		if deployment.Spec.Replicas != nil {
			p.Desired = int(*deployment.Spec.Replicas)
		}
	case !errors.Is(err, kube.ErrAbsent):
		return retire.Present{}, err
	}
	return p, nil
}

// Requests implements [retire.Environment]. That the load balancer's counts are
// there at all is known from the slot that has most of the API's requests.
func (l *Legacy) Requests(ctx context.Context, window time.Duration) (float64, error) {
	last, err := l.Stack.Last(ctx)
	if err != nil {
		return 0, err
	}
	other := service.SlotName(string(slots.Active(func(key string) string { return last[key] })))
	return l.Counts.Reached(ctx, companion.LegacyApp, other, window)
}
