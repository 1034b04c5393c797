package gateway

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/google"
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
		made, err := e.policies(ctx, Route+"-"+b.Slot, b.Service, contract.Port, contract.ReadyPath)
		if err != nil {
			return nil, err
		}
		policies = append(policies, made...)
	}
	return policies, nil
}

// policies make the health check and the policy of one Service.
func (e *entry) policies(ctx *pulumi.Context, name string, service pulumi.StringInput, port int, path string) ([]pulumi.Resource, error) {
	target := pulumi.Map{"group": pulumi.String(""), "kind": pulumi.String("Service"), "name": service}
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
				"port":              pulumi.Int(port),
				"requestPath":       pulumi.String(path),
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
	return []pulumi.Resource{check, policy}, nil
}

// identity makes what the host is reached and known by: the address, and a
// certificate that is issued once the host's name servers show that it is ours.
// It returns the records that they must have.
func (e *entry) identity(ctx *pulumi.Context) ([]pulumi.Resource, pulumi.StringArrayOutput, error) {
	none := pulumi.StringArrayOutput{}
	keep := []pulumi.ResourceOption{pulumi.Parent(e.parent), pulumi.Protect(e.TLS.Protect)}
	project := pulumi.String(e.TLS.ProjectID)
	address, err := google.New(ctx, google.GlobalAddressType, e.TLS.AddressName, pulumi.Map{
		"project": project, "name": pulumi.String(e.TLS.AddressName), "addressType": pulumi.String("EXTERNAL"), "ipVersion": pulumi.String("IPV4"),
		"description": pulumi.String("The entry of " + e.TLS.Host),
		// Other words would replace the address.
	}, append([]pulumi.ResourceOption{pulumi.IgnoreChanges([]string{"description"})}, keep...)...)
	if err != nil {
		return nil, none, err
	}
	authorization, err := google.New(ctx, google.AuthorizationType, e.TLS.CertificateMap, pulumi.Map{
		"project": project, "name": pulumi.String(e.TLS.CertificateMap), "domain": pulumi.String(e.TLS.Host), "labels": e.TLS.Labels,
	}, keep...)
	if err != nil {
		return nil, none, err
	}
	certificate, err := google.New(ctx, google.CertificateType, e.TLS.CertificateMap, pulumi.Map{
		"project": project, "name": pulumi.String(e.TLS.CertificateMap), "labels": e.TLS.Labels,
		"managed": pulumi.Map{
			"domains":           pulumi.StringArray{pulumi.String(e.TLS.Host)},
			"dnsAuthorizations": pulumi.StringArray{authorization.ID().ToStringOutput()},
		},
	}, keep...)
	if err != nil {
		return nil, none, err
	}
	certificates, err := google.New(ctx, google.CertificateMapType, e.TLS.CertificateMap, pulumi.Map{
		"project": project, "name": pulumi.String(e.TLS.CertificateMap), "labels": e.TLS.Labels,
	}, keep...)
	if err != nil {
		return nil, none, err
	}
	entry, err := google.New(ctx, google.CertificateEntryType, e.TLS.CertificateMap, pulumi.Map{
		"project": project, "name": pulumi.String(e.TLS.CertificateMap), "map": certificates.Name,
		"hostname": pulumi.String(e.TLS.Host), "certificates": pulumi.StringArray{certificate.ID().ToStringOutput()}, "labels": e.TLS.Labels,
	}, keep...)
	if err != nil {
		return nil, none, err
	}
	records := pulumi.All(address.Address, authorization.Records).ApplyT(func(known []any) []string {
		found := []string{fmt.Sprintf("%s. A %s", e.TLS.Host, known[0])}
		more, _ := known[1].([]any)
		for _, one := range more {
			if record, ok := one.(map[string]any); ok {
				found = append(found, fmt.Sprintf("%s %s %s", record["name"], record["type"], record["data"]))
			}
		}
		return found
	}).(pulumi.StringArrayOutput)
	return []pulumi.Resource{address, entry}, records, nil
}
