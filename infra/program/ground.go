package program

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/apis"
	"coditect.ai/platform/infra/cluster"
	"coditect.ai/platform/infra/network"
	"coditect.ai/platform/infra/registry"
	"coditect.ai/platform/stacks"
)

// ground is what everything else stands on.
type ground struct {
	// providers name the clouds explicitly: no resource may fall back to whatever
	// project or cluster the machine happens to point at.
	providers  pulumi.ResourceOption
	kubernetes *kubernetes.Provider
	images     *registry.Registry
}

// lay makes the ground: the project's APIs, images, network and cluster. The local
// environment has no cluster of its own.
func lay(ctx *pulumi.Context, s stacks.Settings, labels pulumi.StringMap, all *extras) (ground, error) {
	cloud, err := gcp.NewProvider(ctx, "gcp", &gcp.ProviderArgs{
		Project: pulumi.String(s.Cloud.ProjectID), Region: pulumi.String(s.Cloud.Region),
	})
	if err != nil {
		return ground{}, fmt.Errorf("provider of Google Cloud: %w", err)
	}
	in := []pulumi.ResourceOption{pulumi.Providers(cloud)}
	if s.Environment.Cloud() {
		on, err := apis.New(ctx, "apis", apis.Args{ProjectID: s.Cloud.ProjectID}, in...)
		if err != nil {
			return ground{}, err
		}
		in = append(in, pulumi.DependsOn([]pulumi.Resource{on}))
	}
	images, err := registry.New(ctx, "registry", registry.Args{
		ProjectID: s.Cloud.ProjectID, Region: s.Cloud.Region, Repository: s.Registry.Repository,
		KeepVersions: s.Registry.KeepVersions, UntaggedAge: s.Registry.UntaggedAge,
		Labels: labels, Protect: s.Cloud.DeletionProtection,
	}, in...)
	if err != nil {
		return ground{}, err
	}
	kubeconfig := pulumi.String(nowhere).ToStringOutput()
	var pods []pulumi.Resource
	if s.Environment.Cloud() {
		made, err := makeCluster(ctx, s, images, labels, in)
		if err != nil {
			return ground{}, err
		}
		kubeconfig, pods = made.Kubeconfig, []pulumi.Resource{made.Pool}
		ctx.Export(OutputKubeconfig, kubeconfig)
		all.add(dieWith(made.Resource))
	}
	reach, err := kubernetes.NewProvider(ctx, "kubernetes", &kubernetes.ProviderArgs{
		EnableServerSideApply: pulumi.Bool(true), Kubeconfig: kubeconfig,
	}, pulumi.DependsOn(pods))
	if err != nil {
		return ground{}, fmt.Errorf("provider of Kubernetes: %w", err)
	}
	return ground{providers: pulumi.Providers(cloud, reach), kubernetes: reach, images: images}, nil
}

// nowhere is a kubeconfig without a cluster: the local environment's simulated
// provider needs none, and a real one attached by mistake must reach none.
const nowhere = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n"

func makeCluster(ctx *pulumi.Context, s stacks.Settings, images *registry.Registry, labels pulumi.StringMap, in []pulumi.ResourceOption) (*cluster.Cluster, error) {
	net, err := network.New(ctx, "network", network.Args{
		ProjectID: s.Cloud.ProjectID, Region: s.Cloud.Region, Name: s.Cluster.Name,
		Nodes: s.Network.Nodes.Prefix, Pods: s.Network.Pods.Prefix, Services: s.Network.Services.Prefix,
		Ports: companionPorts(s), Protect: s.Cloud.DeletionProtection,
	}, in...)
	if err != nil {
		return nil, err
	}
	args := cluster.Args{
		ProjectID: s.Cloud.ProjectID, Name: s.Cluster.Name, Location: s.Cluster.Location,
		Network: net.ID, Subnet: net.Subnet, PodsRange: network.PodsRange, ServicesRange: network.ServicesRange,
		ControlPlane: s.Cluster.ControlPlane.Prefix, Authorized: prefixes(s.Cluster.Authorized),
		Repository: images.Repository, RepositoryLocation: images.Location,
		Channel: s.Cluster.Channel, Days: s.Cluster.MaintenanceDays, Hour: s.Cluster.MaintenanceHour,
		Nodes: s.Cluster.Nodes, MaxNodes: s.Cluster.MaxNodes, MachineType: s.Cluster.MachineType,
		DiskType: s.Cluster.DiskType, DiskGB: int(s.Cluster.DiskSize / stacks.GiB),
		Labels: labels, Protect: s.Cloud.DeletionProtection, Needs: net.Ready,
	}
	for _, freeze := range s.Cluster.Freezes {
		args.Freezes = append(args.Freezes, cluster.Freeze(freeze))
	}
	return cluster.New(ctx, "cluster", args, in...)
}

// companionPorts are served to the load balancer besides the API's.
func companionPorts(s stacks.Settings) []int {
	var ports []int
	for image, port := range map[string]int{s.Frontend.Image: s.Frontend.Port, s.Legacy.Image: s.Legacy.Port} {
		if image != "" && port != contract.Port && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return ports
}

// addresses are ranges as Kubernetes reads them.
func addresses(ranges stacks.Ranges) []string {
	var found []string
	for _, one := range ranges {
		found = append(found, one.String())
	}
	return found
}

func prefixes(ranges stacks.Ranges) []netip.Prefix {
	var found []netip.Prefix
	for _, one := range ranges {
		found = append(found, one.Prefix)
	}
	return found
}

// dieWith lets what lives in the cluster go with it: where the cluster is gone,
// nothing is left to ask for each object's deletion.
func dieWith(cluster pulumi.Resource) extra {
	return func(args *pulumi.ResourceTransformationArgs) []pulumi.ResourceOption {
		if !strings.HasPrefix(args.Type, "kubernetes:") {
			return nil
		}
		return []pulumi.ResourceOption{pulumi.DeletedWith(cluster)}
	}
}
