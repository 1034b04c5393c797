package gateway

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
)

// gkeAPI is the version of GKE's own policies.
const gkeAPI = "networking.gke.io/v1"

// cloud makes what only the load balancer of Google Cloud knows: the redirect of
// plain HTTP, and for each backend a health check and a policy, which it returns.
// Their defaults would ask for "/", give up after 30 seconds, drain nothing and
// log nothing.
func (e *entry) cloud(ctx *pulumi.Context, gateway pulumi.Resource) ([]pulumi.Resource, error) {
	redirect := e.rules("http", pulumi.Map{"filters": pulumi.Array{pulumi.Map{
		"type": pulumi.String("RequestRedirect"),
		"requestRedirect": pulumi.Map{
			"scheme": pulumi.String("https"), "statusCode": pulumi.Int(301),
		},
	}}})
	if _, err := e.object(ctx, gatewayAPI, "HTTPRoute", Name+"-redirect", accepted, redirect, gateway); err != nil {
		return nil, err
	}
	var policies []pulumi.Resource
	for _, b := range e.Backends {
		name := Route + "-" + b.Slot
		target := pulumi.Map{"group": pulumi.String(""), "kind": pulumi.String("Service"), "name": b.Service}
		health := pulumi.Map{"targetRef": target, "default": pulumi.Map{
			"checkIntervalSec":   pulumi.Int(5),
			"timeoutSec":         pulumi.Int(3),
			"healthyThreshold":   pulumi.Int(1),
			"unhealthyThreshold": pulumi.Int(2),
			"logConfig":          pulumi.Map{"enabled": pulumi.Bool(true)},
			"config": pulumi.Map{
				"type": pulumi.String("HTTP"),
				"httpHealthCheck": pulumi.Map{
					"portSpecification": pulumi.String("USE_FIXED_PORT"),
					"port":              pulumi.Int(contract.Port),
					"requestPath":       pulumi.String(contract.ReadyPath),
				},
			},
		}}
		check, err := e.object(ctx, gkeAPI, "HealthCheckPolicy", name, nil, health)
		if err != nil {
			return nil, err
		}
		backend := pulumi.Map{"targetRef": target, "default": pulumi.Map{
			"timeoutSec":         pulumi.Int(int(e.TLS.Timeout.Seconds())),
			"connectionDraining": pulumi.Map{"drainingTimeoutSec": pulumi.Int(int(e.TLS.DrainTimeout.Seconds()))},
			// The rate counts in millionths.
			"logging": pulumi.Map{"enabled": pulumi.Bool(e.TLS.LogPercent > 0), "sampleRate": pulumi.Int(e.TLS.LogPercent * 10_000)},
		}}
		policy, err := e.object(ctx, gkeAPI, "GCPBackendPolicy", name, nil, backend)
		if err != nil {
			return nil, err
		}
		policies = append(policies, check, policy)
	}
	return policies, nil
}
