package database

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	batchv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/batch/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	policyv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/policy/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

// Names and places of the FoundationDB cluster.
const (
	component = "database"
	// StatefulSet is the name of the one whose pods are the database.
	StatefulSet     = "foundationdb"
	headless        = "fdb-cluster"
	proxy           = "fdb-proxy-service"
	clusterConfig   = "fdb-cluster-file"
	clusterFileName = "fdb.cluster"
	port            = 4500
	user            = 4059 // the image's own
	dataPath        = "/var/fdb/data"
	configPath      = "/etc/foundationdb-seed"
	// clientLabel admits a pod to the database's port.
	clientLabel = "coditect.ai/foundationdb-client"
)

var selector = map[string]string{pod.LabelName: StatefulSet}

// cluster renders one FoundationDB cluster's objects.
type cluster struct {
	Args

	image string
	// connection is the cluster file's line.
	connection pulumi.StringOutput
	// coordinators are their names in DNS.
	coordinators pulumi.StringArray
	parent       pulumi.Resource
}

// foundationDB makes the cluster: Services and cluster file, pods, first
// configuration, and who may reach and who may disturb them.
func foundationDB(ctx *pulumi.Context, args Args, parent pulumi.Resource) (pod.Part, error) {
	c := &cluster{Args: args, image: "docker.io/foundationdb/foundationdb:" + args.Version, parent: parent}
	addresses := pulumi.String("").ToStringOutput()
	for i := range args.Coordinators {
		name := pulumi.Sprintf("%s-%d.%s.%s.svc.cluster.local", StatefulSet, i, headless, args.Namespace)
		c.coordinators = append(c.coordinators, name)
		separator := ","
		if i == 0 {
			separator = ""
		}
		addresses = pulumi.Sprintf("%s%s%s:%d", addresses, separator, name, port)
	}
	c.connection = pulumi.Sprintf("%s:%s@%s", pod.Platform, clusterID(args), addresses)

	if err := c.serve(ctx); err != nil {
		return pod.Part{}, err
	}
	config, err := c.clusterFile(ctx)
	if err != nil {
		return pod.Part{}, err
	}
	set, err := c.pods(ctx)
	if err != nil {
		return pod.Part{}, err
	}
	needs := []pulumi.Resource{config}
	if !c.Halted {
		configured, err := c.configure(ctx, set, config)
		if err != nil {
			return pod.Part{}, err
		}
		needs = append(needs, configured)
	}
	if err := c.guard(ctx); err != nil {
		return pod.Part{}, err
	}
	part := c.client()
	part.Needs = needs
	if c.ExporterImage != "" {
		if err := c.export(ctx, part); err != nil {
			return pod.Part{}, err
		}
	}
	return part, nil
}

// clusterID is the cluster's ID: the same for the life of a cluster.
func clusterID(a Args) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", a.Identity, a.Generation))
	return hex.EncodeToString(sum[:8])
}

// own is a name on the volumes that the generation has to itself.
func (c *cluster) own(name, ending string) string {
	if c.Generation > 1 {
		name = fmt.Sprintf("%s-%d", name, c.Generation)
	}
	return path.Join(dataPath, name+ending)
}

// generation marks pods that must begin anew with another generation.
func (c *cluster) generation() corev1.EnvVarArgs {
	return pod.Value("DATABASE_GENERATION", strconv.Itoa(c.Generation))
}

// serve gives the pods their names, from the moment that they exist: coordinators
// must find each other before any of them can be ready.
func (c *cluster) serve(ctx *pulumi.Context) error {
	_, err := corev1.NewService(ctx, headless, &corev1.ServiceArgs{
		Metadata: pod.Meta(headless, c.Namespace, pod.Labels(StatefulSet, component, nil), nil),
		Spec: &corev1.ServiceSpecArgs{
			ClusterIP:                pulumi.String("None"),
			PublishNotReadyAddresses: pulumi.Bool(true),
			Selector:                 pulumi.ToStringMap(selector),
			Ports: corev1.ServicePortArray{corev1.ServicePortArgs{
				Name: pulumi.String("fdb"), Port: pulumi.Int(port), TargetPort: pulumi.Int(port), Protocol: pulumi.String("TCP"),
			}},
		},
	}, pulumi.Parent(c.parent))
	if err != nil {
		return fmt.Errorf("headless service: %w", err)
	}
	if len(c.Clients) == 0 {
		return nil
	}
	// The coordinators' address inside the network, for clients outside the cluster;
	// its balancer is never public. The other processes they find at their pods' own.
	_, err = corev1.NewService(ctx, proxy, &corev1.ServiceArgs{
		Metadata: pod.Meta(proxy, c.Namespace, pod.Labels(StatefulSet, component, nil), map[string]string{
			"networking.gke.io/load-balancer-type": "Internal", "pulumi.com/skipAwait": "true",
		}),
		Spec: &corev1.ServiceSpecArgs{
			Type:                  pulumi.String("LoadBalancer"),
			ExternalTrafficPolicy: pulumi.String("Local"), LoadBalancerSourceRanges: pulumi.ToStringArray(c.Clients),
			Selector: pulumi.ToStringMap(selector),
			Ports: corev1.ServicePortArray{corev1.ServicePortArgs{
				Name: pulumi.String("fdb"), Port: pulumi.Int(port), TargetPort: pulumi.Int(port), Protocol: pulumi.String("TCP"),
			}},
		},
	}, pulumi.Parent(c.parent))
	if err != nil {
		return fmt.Errorf("internal service of the coordinators: %w", err)
	}
	return nil
}

func (c *cluster) clusterFile(ctx *pulumi.Context) (*corev1.ConfigMap, error) {
	config, err := corev1.NewConfigMap(ctx, clusterConfig, &corev1.ConfigMapArgs{
		Metadata: pod.Meta(clusterConfig, c.Namespace, pod.Labels(StatefulSet, component, nil), nil),
		Data:     pulumi.StringMap{clusterFileName: pulumi.Sprintf("%s\n", c.connection)},
	}, pulumi.Parent(c.parent))
	if err != nil {
		return nil, fmt.Errorf("cluster file: %w", err)
	}
	return config, nil
}

func (c *cluster) pods(ctx *pulumi.Context) (*appsv1.StatefulSet, error) {
	meta := pod.Meta(StatefulSet, c.Namespace, pod.Labels(StatefulSet, component, nil), nil)
	replicas := c.Replicas
	if c.Halted {
		replicas = 0
	}
	set, err := appsv1.NewStatefulSet(ctx, StatefulSet, &appsv1.StatefulSetArgs{
		Metadata: meta,
		Spec: &appsv1.StatefulSetSpecArgs{
			ServiceName: pulumi.String(headless),
			Replicas:    pulumi.Int(replicas),
			Selector:    pod.Selector(selector),
			// A cluster forms from a majority of coordinators: one after the other would never begin.
			PodManagementPolicy: pulumi.String("Parallel"),
			// Which pod restarts when is an operator's step: maintenance mode first, or all at once for 7.1 to 7.3.
			UpdateStrategy: &appsv1.StatefulSetUpdateStrategyArgs{Type: pulumi.String("OnDelete")},
			PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicyArgs{
				WhenDeleted: pulumi.String("Retain"), WhenScaled: pulumi.String("Retain"),
			},
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(StatefulSet, component, map[string]string{clientLabel: "true"})},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken:  pulumi.Bool(false),
					EnableServiceLinks:            pulumi.Bool(false),
					TerminationGracePeriodSeconds: pulumi.Int(60),
					SecurityContext:               pod.Security(user),
					Affinity:                      apart(),
					Containers:                    corev1.ContainerArray{c.server()},
					Volumes:                       corev1.VolumeArray{pod.Scratch("tmp")},
				},
			},
			VolumeClaimTemplates: corev1.PersistentVolumeClaimTypeArray{corev1.PersistentVolumeClaimTypeArgs{
				Metadata: &metav1.ObjectMetaArgs{Name: pulumi.String("data")},
				Spec: &corev1.PersistentVolumeClaimSpecArgs{
					AccessModes:      pulumi.ToStringArray([]string{"ReadWriteOnce"}),
					StorageClassName: pulumi.String(c.StorageClass),
					Resources: &corev1.VolumeResourceRequirementsArgs{
						Requests: pulumi.StringMap{"storage": pulumi.String(c.StorageSize)},
					},
				},
			}},
		},
	}, pulumi.Parent(c.parent), pulumi.Protect(c.Protect))
	if err != nil {
		return nil, fmt.Errorf("pods: %w", err)
	}
	return set, nil
}

// server is the fdbserver process. The image's own start script is not used: it
// rewrites the cluster file at every start and keeps it off the volume.
func (c *cluster) server() corev1.ContainerArgs {
	limit := c.Size.MemoryLimit
	probe := func(period, failures int) *corev1.ProbeArgs {
		return &corev1.ProbeArgs{
			TcpSocket:        &corev1.TCPSocketActionArgs{Port: pulumi.Int(port)},
			PeriodSeconds:    pulumi.Int(period),
			TimeoutSeconds:   pulumi.Int(3),
			FailureThreshold: pulumi.Int(failures),
		}
	}
	return corev1.ContainerArgs{
		Name:    pulumi.String("foundationdb"),
		Image:   pulumi.String(c.image),
		Command: pulumi.ToStringArray([]string{"/usr/bin/fdbserver"}),
		Args: pulumi.StringArray{
			pulumi.String("--cluster-file=" + c.own("fdb", ".cluster")),
			pulumi.Sprintf("--seed-connection-string=%s", c.connection),
			pulumi.String(fmt.Sprintf("--public-address=$(POD_IP):%d", port)),
			pulumi.String(fmt.Sprintf("--listen-address=0.0.0.0:%d", port)),
			pulumi.String("--datadir=" + c.own("data", "")),
			// It makes its data directory, but never its log directory, which so must exist.
			pulumi.String("--logdir=" + dataPath),
			pulumi.String("--locality-zoneid=$(NODE_NAME)"),
			pulumi.String("--locality-machineid=$(NODE_NAME)"),
			pulumi.String("--trace-format=json"),
			// The process must notice that it is too large before the kernel does.
			pulumi.String(fmt.Sprintf("--memory=%dMiB", limit*9/10/pod.MiB)),
			pulumi.String(fmt.Sprintf("--cache-memory=%dMiB", limit/4/pod.MiB)),
		},
		Env: corev1.EnvVarArray{
			pod.Field("POD_IP", "status.podIP"),
			pod.Field("NODE_NAME", "spec.nodeName"),
		},
		Ports: corev1.ContainerPortArray{corev1.ContainerPortArgs{
			Name: pulumi.String("fdb"), ContainerPort: pulumi.Int(port), Protocol: pulumi.String("TCP"),
		}},
		Resources:       c.Size.Resources(),
		SecurityContext: pod.ContainerSecurity(),
		StartupProbe:    probe(5, 60),
		ReadinessProbe:  probe(10, 3),
		VolumeMounts:    corev1.VolumeMountArray{pod.Mount("data", dataPath, false), pod.Mount("tmp", "/tmp", false)},
	}
}

// configureScript makes the database once; a later run only brings an existing
// one to the redundancy that is asked for.
const configureScript = `set -eu
cp "$SEED" "$CLUSTER_FILE"
ask() { fdbcli -C "$CLUSTER_FILE" --timeout 60 --exec "$1" 2>&1 || true; }
answer=$(ask "configure new $REDUNDANCY ssd")
echo "$answer"
case "$answer" in
*"Database created"*) exit 0 ;;
*"already exists"*) ;;
*) exit 1 ;;
esac
answer=$(ask "configure $REDUNDANCY ssd")
echo "$answer"
case "$answer" in
*"Configuration changed"*) exit 0 ;;
*) exit 1 ;;
esac
`

func (c *cluster) configure(ctx *pulumi.Context, needs ...pulumi.Resource) (*batchv1.Job, error) {
	name := StatefulSet + "-configure"
	job, err := batchv1.NewJob(ctx, name, &batchv1.JobArgs{
		// A Job that failed never runs again: the next update makes another in its place.
		Metadata: pod.Meta(name, c.Namespace, pod.Labels(name, component, nil), map[string]string{"pulumi.com/replaceUnready": "true"}),
		Spec: &batchv1.JobSpecArgs{
			BackoffLimit:          pulumi.Int(10),
			ActiveDeadlineSeconds: pulumi.Int(900),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(name, component, map[string]string{clientLabel: "true"})},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken: pulumi.Bool(false),
					EnableServiceLinks:           pulumi.Bool(false),
					RestartPolicy:                pulumi.String("OnFailure"),
					SecurityContext:              pod.Security(user),
					Containers: corev1.ContainerArray{corev1.ContainerArgs{
						Name:    pulumi.String("configure"),
						Image:   pulumi.String(c.image),
						Command: pulumi.ToStringArray([]string{"/bin/bash", "-c", configureScript}),
						Env: corev1.EnvVarArray{
							pod.Value("SEED", path.Join(configPath, clusterFileName)),
							pod.Value("CLUSTER_FILE", path.Join("/tmp", clusterFileName)),
							pod.Value("REDUNDANCY", c.Redundancy),
							c.generation(),
						},
						Resources:       pod.Small.Resources(),
						SecurityContext: pod.ContainerSecurity(),
						VolumeMounts:    corev1.VolumeMountArray{pod.Mount("seed", configPath, true), pod.Mount("tmp", "/tmp", false)},
					}},
					Volumes: corev1.VolumeArray{seed(), pod.Scratch("tmp")},
				},
			},
		},
	}, pulumi.Parent(c.parent), pulumi.DependsOn(needs))
	if err != nil {
		return nil, fmt.Errorf("first configuration: %w", err)
	}
	return job, nil
}

// toDatabase leads to the database's pods.
func toDatabase() networkingv1.NetworkPolicyEgressRuleArgs {
	return networkingv1.NetworkPolicyEgressRuleArgs{
		To:    networkingv1.NetworkPolicyPeerArray{networkingv1.NetworkPolicyPeerArgs{PodSelector: pod.Selector(selector)}},
		Ports: networkingv1.NetworkPolicyPortArray{pod.Port("TCP", port)},
	}
}

// guard keeps strangers out and lets nodes take one pod at a time.
func (c *cluster) guard(ctx *pulumi.Context) error {
	clients := networkingv1.NetworkPolicyPeerArray{networkingv1.NetworkPolicyPeerArgs{
		PodSelector: pod.Selector(map[string]string{clientLabel: "true"}),
	}}
	for _, network := range c.Clients {
		clients = append(clients, pod.Range(network))
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, StatefulSet, &networkingv1.NetworkPolicyArgs{
		Metadata: pod.Meta(StatefulSet, c.Namespace, pod.Labels(StatefulSet, component, nil), nil),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: pod.Selector(selector),
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
			Ingress: networkingv1.NetworkPolicyIngressRuleArray{networkingv1.NetworkPolicyIngressRuleArgs{
				From: clients, Ports: networkingv1.NetworkPolicyPortArray{pod.Port("TCP", port)},
			}},
			Egress: networkingv1.NetworkPolicyEgressRuleArray{toDatabase(), pod.NameLookups()},
		},
	}, pulumi.Parent(c.parent)); err != nil {
		return fmt.Errorf("network policy: %w", err)
	}
	if _, err := policyv1.NewPodDisruptionBudget(ctx, StatefulSet, &policyv1.PodDisruptionBudgetArgs{
		Metadata: pod.Meta(StatefulSet, c.Namespace, pod.Labels(StatefulSet, component, nil), nil),
		Spec: &policyv1.PodDisruptionBudgetSpecArgs{
			MaxUnavailable: pulumi.Int(1),
			Selector:       pod.Selector(selector),
		},
	}, pulumi.Parent(c.parent)); err != nil {
		return fmt.Errorf("disruption budget: %w", err)
	}
	return nil
}

// waitScript starts a client only where some coordinator has a name: without any
// the client library gives up at once. The copy is the client's own to rewrite.
const waitScript = `set -eu
cp "$SEED" "$FDB_CLUSTER_FILE"
for attempt in $(seq 1 60); do
  for name in $COORDINATORS; do
    if getent hosts "$name" >/dev/null; then exit 0; fi
  done
  sleep 2
done
echo "no coordinator has a name: $COORDINATORS" >&2
exit 1
`

// client is what a pod needs to use the database.
func (c *cluster) client() pod.Part {
	file := pod.Value(contract.EnvClusterFile, path.Join(contract.ClusterFileMountPath, clusterFileName))
	writable := pod.Mount("cluster-file", contract.ClusterFileMountPath, false)
	names := pulumi.String("").ToStringOutput()
	for _, name := range c.coordinators {
		names = pulumi.Sprintf("%s%s ", names, name)
	}
	return pod.Part{
		Labels:  map[string]string{clientLabel: "true"},
		Env:     corev1.EnvVarArray{pod.Value(contract.EnvStoreEngine, contract.EngineFoundationDB), file},
		Volumes: corev1.VolumeArray{seed(), pod.Scratch("cluster-file")},
		Mounts:  corev1.VolumeMountArray{writable},
		Egress:  networkingv1.NetworkPolicyEgressRuleArray{toDatabase()},
		InitContainers: corev1.ContainerArray{corev1.ContainerArgs{
			Name:    pulumi.String("cluster-file"),
			Image:   pulumi.String(c.image),
			Command: pulumi.ToStringArray([]string{"/bin/bash", "-c", waitScript}),
			Env: corev1.EnvVarArray{
				pod.Value("SEED", path.Join(configPath, clusterFileName)),
				corev1.EnvVarArgs{Name: pulumi.String("COORDINATORS"), Value: names},
				file,
				c.generation(),
			},
			Resources:       pod.Small.Resources(),
			SecurityContext: pod.ContainerSecurity(),
			VolumeMounts:    corev1.VolumeMountArray{pod.Mount("seed", configPath, true), writable},
		}},
	}
}

// apart puts each pod on a node of its own: two on one would be one zone lost together.
func apart() *corev1.AffinityArgs {
	return &corev1.AffinityArgs{PodAntiAffinity: &corev1.PodAntiAffinityArgs{
		RequiredDuringSchedulingIgnoredDuringExecution: corev1.PodAffinityTermArray{corev1.PodAffinityTermArgs{
			TopologyKey:   pulumi.String("kubernetes.io/hostname"),
			LabelSelector: pod.Selector(selector),
		}},
	}}
}

func seed() corev1.VolumeArgs {
	return corev1.VolumeArgs{
		Name:      pulumi.String("seed"),
		ConfigMap: &corev1.ConfigMapVolumeSourceArgs{Name: pulumi.String(clusterConfig)},
	}
}
