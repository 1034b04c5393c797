// Package network owns the environment's private network: one subnet with ranges
// of its own for nodes, pods and services, the way out through address
// translation, and a firewall whose every rule names its purpose.
//
// Nodes have no public address. What the load balancer and the control plane need
// to reach is let in; all else that comes from outside is refused and logged.
package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/google"
)

// Names of the subnet's secondary ranges.
const (
	PodsRange     = "pods"
	ServicesRange = "services"
)

// Args of [New].
type Args struct {
	ProjectID string
	Region    string
	// Name of the network; what belongs to it begins with it.
	Name string
	// Nodes, Pods and Services are the subnet's ranges.
	Nodes, Pods, Services netip.Prefix
	// Ports are served by pods to the load balancer, besides the API's.
	Ports []int
	// Protect refuses to delete network and subnet.
	Protect bool
}

func (a *Args) check() error {
	var faults []error
	for _, field := range []struct{ name, value string }{{"ProjectID", a.ProjectID}, {"Region", a.Region}, {"Name", a.Name}} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field.name))
		}
	}
	ranges := []netip.Prefix{a.Nodes, a.Pods, a.Services}
	for i, one := range ranges {
		if !one.IsValid() {
			faults = append(faults, errors.New("the ranges of nodes, pods and services are not all set"))
			break
		}
		for _, other := range ranges[:i] {
			if one.Overlaps(other) {
				faults = append(faults, fmt.Errorf("ranges %s and %s overlap", other, one))
			}
		}
	}
	return errors.Join(faults...)
}

// Network is the environment's network.
type Network struct {
	pulumi.ResourceState

	// ID and Subnet are what a cluster is put into.
	ID     pulumi.StringOutput `pulumi:"id"`
	Subnet pulumi.StringOutput `pulumi:"subnet"`
	// Ready is what a node needs before it can start: without the way out it pulls no image.
	Ready []pulumi.Resource
}

// New makes the network.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Network, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	n := &Network{}
	if err := ctx.RegisterComponentResource("coditect:network:Network", name, n, opts...); err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	if err := n.provision(ctx, args); err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	if err := ctx.RegisterResourceOutputs(n, pulumi.Map{"id": n.ID, "subnet": n.Subnet}); err != nil {
		return nil, fmt.Errorf("network %s: outputs: %w", name, err)
	}
	return n, nil
}

func (n *Network) provision(ctx *pulumi.Context, args Args) error {
	// Other words would replace what they are about.
	words := pulumi.IgnoreChanges([]string{"description"})
	network, err := google.New(ctx, google.NetworkType, args.Name, pulumi.Map{
		"project":               pulumi.String(args.ProjectID),
		"name":                  pulumi.String(args.Name),
		"description":           pulumi.String("The Coditect platform's own network"),
		"autoCreateSubnetworks": pulumi.Bool(false),
		"routingMode":           pulumi.String("REGIONAL"),
	}, pulumi.Parent(n), pulumi.Protect(args.Protect), words)
	if err != nil {
		return err
	}
	n.ID = network.ID().ToStringOutput()
	subnet, err := google.New(ctx, google.SubnetworkType, args.Name+"-nodes", pulumi.Map{
		"project":     pulumi.String(args.ProjectID),
		"region":      pulumi.String(args.Region),
		"name":        pulumi.String(args.Name + "-nodes"),
		"description": pulumi.String("Nodes, and in ranges of their own pods and services"),
		"network":     n.ID,
		"ipCidrRange": pulumi.String(args.Nodes.String()),
		"secondaryIpRanges": pulumi.Array{
			pulumi.Map{"rangeName": pulumi.String(PodsRange), "ipCidrRange": pulumi.String(args.Pods.String())},
			pulumi.Map{"rangeName": pulumi.String(ServicesRange), "ipCidrRange": pulumi.String(args.Services.String())},
		},
		// Google's APIs and the registry are reached without a public address.
		"privateIpGoogleAccess": pulumi.Bool(true),
		"logConfig": pulumi.Map{
			"aggregationInterval": pulumi.String("INTERVAL_10_MIN"),
			"flowSampling":        pulumi.Float64(0.1),
			"metadata":            pulumi.String("INCLUDE_ALL_METADATA"),
		},
	}, pulumi.Parent(n), pulumi.Protect(args.Protect), words)
	if err != nil {
		return err
	}
	n.Subnet = subnet.ID().ToStringOutput()
	router, err := google.New(ctx, google.RouterType, args.Name+"-router", pulumi.Map{
		"project": pulumi.String(args.ProjectID),
		"region":  pulumi.String(args.Region),
		"name":    pulumi.String(args.Name + "-router"),
		"network": n.ID,
	}, pulumi.Parent(n))
	if err != nil {
		return err
	}
	nat, err := google.New(ctx, google.NATType, args.Name+"-nat", pulumi.Map{
		"project":                       pulumi.String(args.ProjectID),
		"region":                        pulumi.String(args.Region),
		"name":                          pulumi.String(args.Name + "-nat"),
		"router":                        router.Name,
		"natIpAllocateOption":           pulumi.String("AUTO_ONLY"),
		"sourceSubnetworkIpRangesToNat": pulumi.String("ALL_SUBNETWORKS_ALL_IP_RANGES"),
		// Many pods behind one node's ports: hand them out as they are asked for.
		"enableDynamicPortAllocation":      pulumi.Bool(true),
		"enableEndpointIndependentMapping": pulumi.Bool(false),
		"minPortsPerVm":                    pulumi.Int(64),
		"maxPortsPerVm":                    pulumi.Int(8192),
		"logConfig":                        pulumi.Map{"enable": pulumi.Bool(true), "filter": pulumi.String("ERRORS_ONLY")},
	}, pulumi.Parent(n))
	if err != nil {
		return err
	}
	n.Ready = []pulumi.Resource{subnet, nat}
	return n.guard(ctx, args)
}

// guard makes the firewall. GKE adds its own rules for its control plane; these
// are the platform's, and the last of them puts the refusal that a network begins
// with into the log.
func (n *Network) guard(ctx *pulumi.Context, args Args) error {
	ports := pulumi.StringArray{pulumi.String(strconv.Itoa(contract.Port))}
	for _, port := range args.Ports {
		ports = append(ports, pulumi.String(strconv.Itoa(port)))
	}
	for _, rule := range []struct {
		name, purpose string
		priority      int
		from          []string
		allows        pulumi.Array
		denies        pulumi.Array
	}{
		{
			name: "allow-load-balancer", purpose: "Google's front ends and health checkers reach the pods that serve", priority: 1000,
			from:   LoadBalancers(),
			allows: pulumi.Array{pulumi.Map{"protocol": pulumi.String("tcp"), "ports": ports}},
		},
		{
			name: "allow-inside", purpose: "Nodes and pods of the subnet reach each other; network policies narrow it", priority: 1000,
			from: []string{args.Nodes.String(), args.Pods.String()},
			allows: pulumi.Array{
				pulumi.Map{"protocol": pulumi.String("tcp")}, pulumi.Map{"protocol": pulumi.String("udp")}, pulumi.Map{"protocol": pulumi.String("icmp")},
			},
		},
		{
			name: "deny-rest", purpose: "Everything else from outside is refused, and seen", priority: 65000,
			from:   []string{"0.0.0.0/0"},
			denies: pulumi.Array{pulumi.Map{"protocol": pulumi.String("all")}},
		},
	} {
		arguments := pulumi.Map{
			"project":      pulumi.String(args.ProjectID),
			"name":         pulumi.String(args.Name + "-" + rule.name),
			"description":  pulumi.String(rule.purpose),
			"network":      n.ID,
			"direction":    pulumi.String("INGRESS"),
			"priority":     pulumi.Int(rule.priority),
			"sourceRanges": pulumi.ToStringArray(rule.from),
		}
		if rule.allows != nil {
			arguments["allows"] = rule.allows
		}
		if rule.denies != nil {
			arguments["denies"] = rule.denies
			arguments["logConfig"] = pulumi.Map{"metadata": pulumi.String("EXCLUDE_ALL_METADATA")}
		}
		if _, err := google.New(ctx, google.FirewallType, args.Name+"-"+rule.name, arguments, pulumi.Parent(n)); err != nil {
			return err
		}
	}
	return nil
}

// LoadBalancers are the ranges that Google's front ends and health checkers come from.
func LoadBalancers() []string { return []string{"35.191.0.0/16", "130.211.0.0/22"} }
