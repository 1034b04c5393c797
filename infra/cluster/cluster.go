// Package cluster owns the Kubernetes cluster that everything runs in, its nodes,
// and the identity that they run as.
//
// Nodes are private, shielded and in a pool of their own: a pool inside the
// cluster's own resource would replace the cluster with every change of a node.
// Whether it spans one zone or a region is decided by its location, for good.
package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/google"
)

// Args of [New].
type Args struct {
	ProjectID string
	// Name of the cluster; what belongs to it begins with it.
	Name string
	// Location is a zone, or a region for nodes and control planes in several zones.
	Location string
	// Network and Subnet are their IDs, PodsRange and ServicesRange the names of the subnet's ranges.
	Network, Subnet          pulumi.StringInput
	PodsRange, ServicesRange string
	// ControlPlane is the control plane's own range of 16 addresses.
	ControlPlane netip.Prefix
	// Authorized are the networks from which the control plane answers.
	Authorized []netip.Prefix
	// Repository is the Artifact Registry repository that nodes pull images from, in RepositoryLocation.
	Repository, RepositoryLocation pulumi.StringInput
	// Channel is the release channel: RAPID, REGULAR or STABLE.
	Channel string
	// Days (SU … SA) and Hour (UTC) begin the weekly windows of maintenance.
	Days []string
	Hour int
	// Freezes are times without upgrades of nodes or minor versions.
	Freezes []Freeze
	// Nodes and MaxNodes bound the pool's autoscaler, over all zones.
	Nodes, MaxNodes int
	MachineType     string
	DiskType        string
	DiskGB          int
	Labels          pulumi.StringMap
	// Protect refuses to delete cluster and nodes.
	Protect bool
	// Needs must be there before a node can start.
	Needs []pulumi.Resource
}

// Freeze is a time without upgrades.
type Freeze struct {
	Name       string
	Start, End time.Time
}

// Zones is the number of zones that a cluster in the location has nodes in.
func Zones(location string) int {
	if strings.Count(location, "-") == 2 {
		return 1
	}
	return 3
}

func (a *Args) check() error {
	var faults []error
	for _, field := range []struct{ name, value string }{
		{"ProjectID", a.ProjectID},
		{"Name", a.Name},
		{"Location", a.Location},
		{"PodsRange", a.PodsRange},
		{"ServicesRange", a.ServicesRange},
		{"Channel", a.Channel},
		{"MachineType", a.MachineType},
		{"DiskType", a.DiskType},
	} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field.name))
		}
	}
	if a.Network == nil || a.Subnet == nil || a.Repository == nil || a.RepositoryLocation == nil {
		faults = append(faults, errors.New("no Network, Subnet, Repository or RepositoryLocation"))
	}
	if a.ControlPlane.Bits() != 28 {
		faults = append(faults, fmt.Errorf("ControlPlane is %s: the control plane takes a range of 16 addresses (/28)", a.ControlPlane))
	}
	if len(a.Authorized) == 0 {
		faults = append(faults, errors.New("no Authorized network: nobody could reach the control plane"))
	}
	if len(a.Days) < 2 {
		faults = append(faults, errors.New("fewer than two Days: GKE wants 48 hours of maintenance windows in 32 days"))
	}
	if zones := Zones(a.Location); a.Nodes < zones || a.MaxNodes < a.Nodes || a.Nodes%zones != 0 {
		faults = append(faults, fmt.Errorf("nodes %d to %d: they must rise, and divide among zones, of which there are %d", a.Nodes, a.MaxNodes, zones))
	}
	if a.DiskGB < 30 {
		faults = append(faults, fmt.Errorf("DiskGB is %d: images need 30 or more", a.DiskGB))
	}
	return errors.Join(faults...)
}

// Cluster is the environment's cluster.
type Cluster struct {
	pulumi.ResourceState

	Name pulumi.StringOutput `pulumi:"name"`
	// Kubeconfig reaches the cluster with the caller's own Google credentials; it holds none.
	Kubeconfig pulumi.StringOutput `pulumi:"kubeconfig"`
	// Resource is the cluster itself: what lives in it is deleted with it.
	Resource pulumi.Resource
	// Pool must be there before a pod can be ready.
	Pool pulumi.Resource
}

// New makes the cluster and its nodes.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Cluster, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	c := &Cluster{}
	if err := ctx.RegisterComponentResource("coditect:cluster:Cluster", name, c, opts...); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	if err := c.provision(ctx, args); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	if err := ctx.RegisterResourceOutputs(c, pulumi.Map{"name": c.Name, "kubeconfig": c.Kubeconfig}); err != nil {
		return nil, fmt.Errorf("cluster %s: outputs: %w", name, err)
	}
	return c, nil
}

func (c *Cluster) provision(ctx *pulumi.Context, args Args) error {
	account, needs, err := c.identity(ctx, args)
	if err != nil {
		return err
	}
	made, err := google.New(ctx, google.ClusterType, args.Name, args.cluster(account),
		pulumi.Parent(c), pulumi.Protect(args.Protect), pulumi.DependsOn(args.Needs),
		// The pool that the cluster begins with is removed at once; what it was made of says
		// nothing. Other words would replace the cluster.
		pulumi.IgnoreChanges([]string{"initialNodeCount", "nodeConfig", "description"}))
	if err != nil {
		return err
	}
	c.Name, c.Resource, c.Kubeconfig = made.Name, made, kubeconfig(made)
	pool, err := google.New(ctx, google.NodePoolType, args.Name+"-nodes", args.pool(made.ID().ToStringOutput(), account),
		pulumi.Parent(c), pulumi.Protect(args.Protect), pulumi.DependsOn(needs),
		// From its first moment the number of nodes is the autoscaler's own.
		pulumi.IgnoreChanges([]string{"initialNodeCount"}))
	if err != nil {
		return err
	}
	c.Pool = pool
	return nil
}

// identity makes the account that nodes run as: it may write logs and metrics and
// pull images, where the default account may edit the project.
func (c *Cluster) identity(ctx *pulumi.Context, args Args) (*google.Resource, []pulumi.Resource, error) {
	account, err := google.New(ctx, google.AccountType, args.Name+"-nodes", pulumi.Map{
		"project":     pulumi.String(args.ProjectID),
		"accountId":   pulumi.String(args.Name + "-nodes"),
		"displayName": pulumi.String("Nodes of the cluster " + args.Name),
	}, pulumi.Parent(c))
	if err != nil {
		return nil, nil, err
	}
	telemetry, err := google.New(ctx, google.ProjectMemberType, args.Name+"-nodes-telemetry", pulumi.Map{
		"project": pulumi.String(args.ProjectID),
		"role":    pulumi.String("roles/container.defaultNodeServiceAccount"),
		"member":  account.Member,
	}, pulumi.Parent(c))
	if err != nil {
		return nil, nil, err
	}
	images, err := google.New(ctx, google.RepositoryMemberType, args.Name+"-nodes-images", pulumi.Map{
		"project":    pulumi.String(args.ProjectID),
		"location":   args.RepositoryLocation,
		"repository": args.Repository,
		"role":       pulumi.String("roles/artifactregistry.reader"),
		"member":     account.Member,
	}, pulumi.Parent(c))
	if err != nil {
		return nil, nil, err
	}
	return account, []pulumi.Resource{telemetry, images}, nil
}

func (a *Args) cluster(account *google.Resource) pulumi.Map {
	networks := pulumi.Array{}
	for _, network := range a.Authorized {
		networks = append(networks, pulumi.Map{"cidrBlock": pulumi.String(network.String())})
	}
	enabled := pulumi.Map{"enabled": pulumi.Bool(true)}
	return pulumi.Map{
		"project":        pulumi.String(a.ProjectID),
		"name":           pulumi.String(a.Name),
		"location":       pulumi.String(a.Location),
		"description":    pulumi.String("The Coditect platform"),
		"resourceLabels": a.Labels,
		// GKE's own guard beside Pulumi's: it holds against the console as well.
		"deletionProtection": pulumi.Bool(a.Protect),

		"network":        a.Network,
		"subnetwork":     a.Subnet,
		"networkingMode": pulumi.String("VPC_NATIVE"),
		"ipAllocationPolicy": pulumi.Map{
			"clusterSecondaryRangeName": pulumi.String(a.PodsRange), "servicesSecondaryRangeName": pulumi.String(a.ServicesRange),
		},
		"datapathProvider": pulumi.String("ADVANCED_DATAPATH"),
		"privateClusterConfig": pulumi.Map{
			"enablePrivateNodes": pulumi.Bool(true), "enablePrivateEndpoint": pulumi.Bool(false),
			"masterIpv4CidrBlock": pulumi.String(a.ControlPlane.String()),
		},
		"masterAuthorizedNetworksConfig": pulumi.Map{"cidrBlocks": networks, "gcpPublicCidrsAccessEnabled": pulumi.Bool(false)},
		"gatewayApiConfig":               pulumi.Map{"channel": pulumi.String("CHANNEL_STANDARD")},

		// No node of its own: see the package's words.
		"removeDefaultNodePool": pulumi.Bool(true),
		"initialNodeCount":      pulumi.Int(1),
		"nodeConfig": pulumi.Map{
			"serviceAccount":         account.Email,
			"shieldedInstanceConfig": pulumi.Map{"enableSecureBoot": pulumi.Bool(true), "enableIntegrityMonitoring": pulumi.Bool(true)},
		},
		"enableShieldedNodes":    pulumi.Bool(true),
		"enableLegacyAbac":       pulumi.Bool(false),
		"workloadIdentityConfig": pulumi.Map{"workloadPool": pulumi.String(a.ProjectID + ".svc.id.goog")},
		"securityPostureConfig":  pulumi.Map{"mode": pulumi.String("BASIC"), "vulnerabilityMode": pulumi.String("VULNERABILITY_BASIC")},
		"secretManagerConfig":    enabled,
		"costManagementConfig":   enabled,
		"addonsConfig": pulumi.Map{
			"httpLoadBalancing":                pulumi.Map{"disabled": pulumi.Bool(false)},
			"horizontalPodAutoscaling":         pulumi.Map{"disabled": pulumi.Bool(false)},
			"dnsCacheConfig":                   enabled,
			"gcePersistentDiskCsiDriverConfig": enabled,
		},

		"releaseChannel":    pulumi.Map{"channel": pulumi.String(a.Channel)},
		"maintenancePolicy": a.maintenance(),
		"loggingConfig":     pulumi.Map{"enableComponents": pulumi.ToStringArray([]string{"SYSTEM_COMPONENTS", "WORKLOADS"})},
		"monitoringConfig": pulumi.Map{
			"enableComponents": pulumi.ToStringArray([]string{
				"SYSTEM_COMPONENTS", "STORAGE", "POD", "DEPLOYMENT", "STATEFULSET", "HPA", "CADVISOR", "KUBELET",
			}),
			"managedPrometheus": enabled,
		},
	}
}

// window is how long each time of maintenance lasts. Two of them a week are more
// than the 48 hours in 32 days that GKE asks for.
const window = 8 * time.Hour

// maintenance repeats weekly from a day long past: what counts is the time of day.
func (a *Args) maintenance() pulumi.Map {
	start := time.Date(2025, time.January, 4, a.Hour, 0, 0, 0, time.UTC)
	policy := pulumi.Map{"recurringWindow": pulumi.Map{
		"startTime":  pulumi.String(start.Format(time.RFC3339)),
		"endTime":    pulumi.String(start.Add(window).Format(time.RFC3339)),
		"recurrence": pulumi.String("FREQ=WEEKLY;BYDAY=" + strings.Join(a.Days, ",")),
	}}
	var freezes pulumi.Array
	for _, freeze := range a.Freezes {
		freezes = append(freezes, pulumi.Map{
			"exclusionName": pulumi.String(freeze.Name),
			"startTime":     pulumi.String(freeze.Start.UTC().Format(time.RFC3339)),
			"endTime":       pulumi.String(freeze.End.UTC().Format(time.RFC3339)),
			// Patches of the control plane go on: a freeze must not keep a hole open.
			"exclusionOptions": pulumi.Map{"scope": pulumi.String("NO_MINOR_OR_NODE_UPGRADES")},
		})
	}
	if len(freezes) > 0 {
		policy["maintenanceExclusions"] = freezes
	}
	return policy
}

func (a *Args) pool(cluster pulumi.StringOutput, account *google.Resource) pulumi.Map {
	return pulumi.Map{
		"project":          pulumi.String(a.ProjectID),
		"name":             pulumi.String(a.Name + "-nodes"),
		"cluster":          cluster,
		"location":         pulumi.String(a.Location),
		"initialNodeCount": pulumi.Int(a.Nodes / Zones(a.Location)),
		"autoscaling": pulumi.Map{
			"totalMinNodeCount": pulumi.Int(a.Nodes), "totalMaxNodeCount": pulumi.Int(a.MaxNodes),
			"locationPolicy": pulumi.String("BALANCED"),
		},
		"management": pulumi.Map{"autoRepair": pulumi.Bool(true), "autoUpgrade": pulumi.Bool(true)},
		// A new node comes before an old one goes: the database has a pod on each.
		"upgradeSettings": pulumi.Map{
			"strategy": pulumi.String("SURGE"), "maxSurge": pulumi.Int(1), "maxUnavailable": pulumi.Int(0),
		},
		"networkConfig": pulumi.Map{"enablePrivateNodes": pulumi.Bool(true)},
		"nodeConfig": pulumi.Map{
			"machineType":    pulumi.String(a.MachineType),
			"diskType":       pulumi.String(a.DiskType),
			"diskSizeGb":     pulumi.Int(a.DiskGB),
			"imageType":      pulumi.String("COS_CONTAINERD"),
			"serviceAccount": account.Email,
			// What the account may do is decided by IAM alone.
			"oauthScopes":            pulumi.ToStringArray([]string{"https://www.googleapis.com/auth/cloud-platform"}),
			"metadata":               pulumi.StringMap{"disable-legacy-endpoints": pulumi.String("true")},
			"workloadMetadataConfig": pulumi.Map{"mode": pulumi.String("GKE_METADATA")},
			"shieldedInstanceConfig": pulumi.Map{"enableSecureBoot": pulumi.Bool(true), "enableIntegrityMonitoring": pulumi.Bool(true)},
			"resourceLabels":         a.Labels,
		},
	}
}

// kubeconfig asks Google's plugin for a token at each use, so it is no secret.
func kubeconfig(cluster *google.Resource) pulumi.StringOutput {
	authority := cluster.MasterAuth.ApplyT(func(auth map[string]any) string {
		certificate, _ := auth["clusterCaCertificate"].(string)
		return certificate
	})
	return pulumi.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: coditect
  cluster:
    server: https://%s
    certificate-authority-data: %s
contexts:
- name: coditect
  context: {cluster: coditect, user: coditect}
current-context: coditect
users:
- name: coditect
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: gke-gcloud-auth-plugin
      installHint: gcloud components install gke-gcloud-auth-plugin
      provideClusterInfo: true
`, cluster.Endpoint, authority)
}
