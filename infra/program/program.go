// Package program composes an environment: it reads the settings, makes the
// components in order, hands each one what the others put out, and states the
// outputs. It is the only package that knows more than one component.
package program

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/database"
	"coditect.ai/platform/infra/gateway"
	"coditect.ai/platform/infra/monitoring"
	"coditect.ai/platform/infra/operator"
	"coditect.ai/platform/infra/pod"
	"coditect.ai/platform/infra/scaling"
	"coditect.ai/platform/infra/secrets"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/stacks"
)

// Project is the name of the Pulumi project.
const Project = stacks.Project

// Names of the program's outputs. None is secret.
const (
	OutputAddress    = "address"    // URL below which the API answers
	OutputSplit      = "split"      // percent of requests by slot
	OutputImages     = "images"     // image by slot, "" where there is none
	OutputRepository = "repository" // what image names begin with
	OutputSecrets    = "secrets"    // names of the secrets that need a value
	OutputNamespace  = "namespace"
	OutputServices   = "services" // name of each slot's Service
	OutputEngine     = "engine"   // database engine
	OutputDNS        = "dns"      // records that the host's name servers must have
	OutputBackups    = "backups"  // URL of the backups' bucket
	OutputFixed      = "fixed"    // settings that cannot change any more, as they were at the last update
	OutputKubeconfig = "kubeconfig"
	OutputReleased   = "released" // settings that releases decide, as they were at the last update
	OutputProgram    = "program"  // [Source] of what made the environment, releases apart
)

//go:generate go test . -run TestPlans|TestPhases -update

// purpose is what a run is for.
type purpose int

const (
	whole   purpose = iota
	release         // moves a release, by targets
	rebuild         // rebuilds the environment
)

// Deploy makes the environment that the stack is named after.
func Deploy(ctx *pulumi.Context) error { return run(ctx, whole) }

// Release is as Deploy, for who moves a release: what releases have made may change.
func Release(ctx *pulumi.Context) error { return run(ctx, release) }

// Rebuild is as Deploy, for who has looked at what releases have made: that may change.
func Rebuild(ctx *pulumi.Context) error { return run(ctx, rebuild) }

func run(ctx *pulumi.Context, to purpose) error {
	values, err := configuration(ctx)
	if err != nil {
		return err
	}
	settings, err := stacks.Load(ctx.Stack(), values)
	if err != nil {
		return err
	}
	may := allowed(os.Getenv(EnvAllowReplace))
	if err := may.settled(ctx, settings, to); err != nil {
		return err
	}
	all := &extras{may.lift}
	if settings.Cloud.Adopt {
		all.add(adopt(settings))
	}
	if err := all.register(ctx); err != nil {
		return err
	}
	if err := deploy(ctx, settings, all); err != nil {
		return err
	}
	return may.used()
}

// configuration collects what the stack sets. The SDK answers for one key at a
// time; the keys that it was handed, which shows misspelt ones, are in the
// environment of a program that Pulumi's language host runs.
func configuration(ctx *pulumi.Context) (map[string]string, error) {
	values := map[string]string{}
	if handed := os.Getenv(pulumi.EnvConfig); handed != "" {
		all := map[string]string{}
		if err := json.Unmarshal([]byte(handed), &all); err != nil {
			return nil, fmt.Errorf("read the stack's configuration: %w", err)
		}
		for key, value := range all {
			if name, ours := strings.CutPrefix(key, Project+":"); ours {
				values[name] = value
			} else if !strings.HasPrefix(key, "pulumi:") { // nothing here reads it, and that is told
				values[key] = value
			}
		}
	}
	for _, setting := range stacks.Table() {
		if value, ok := ctx.GetConfig(Project + ":" + setting.Key); ok {
			values[setting.Key] = value
		}
	}
	return values, nil
}

// deploy makes the components, from what others need to what needs others.
func deploy(ctx *pulumi.Context, s stacks.Settings, all *extras) error {
	checkImage := serving(s)
	s = atPhase(s)
	labels := pulumi.StringMap{"platform": pulumi.String(Project), "environment": pulumi.String(string(s.Environment))}
	ground, err := lay(ctx, s, labels, all)
	if err != nil {
		return err
	}
	providers, images := ground.providers, ground.images
	namespace, err := makeNamespace(ctx, s, ground.kubernetes)
	if err != nil {
		return err
	}
	backedUp := s.Environment.Cloud() && s.Backup.AccessID != ""
	grants := secrets.Args{
		ProjectID: s.Cloud.ProjectID, ProjectNumber: s.Cloud.ProjectNumber,
		Namespace: namespace, Reader: service.App, Mail: s.Mail.Server != "" && s.Mail.User != "", Labels: labels, Protect: s.Cloud.DeletionProtection,
	}
	if backedUp {
		grants.BackupReader = backup.App
		if drilled(s) {
			grants.DrillReader = backup.DrillApp
		}
	}
	if s.Operated() {
		grants.OperatorReader = operator.App
	}
	secret, err := secrets.New(ctx, "secrets", grants, providers)
	if err != nil {
		return err
	}
	records, err := database.New(ctx, "database", databaseArgs(s, namespace), providers)
	if err != nil {
		return err
	}
	api, err := service.New(ctx, "service", serviceArgs(s, namespace, secret.Part, records.Part), providers)
	if err != nil {
		return err
	}
	if args, wanted := embeddedBackupArgs(s, namespace, records.Part); wanted {
		if _, err := backup.NewEmbedded(ctx, "backup", args, providers); err != nil {
			return err
		}
	}
	pages, err := makePages(ctx, s, namespace, records.Part, providers)
	if err != nil {
		return err
	}
	entry, err := gateway.New(ctx, "gateway", gatewayArgs(s, namespace, labels, api, pages), providers)
	if err != nil {
		return err
	}
	if s.Environment.Cloud() {
		if err := lookAfter(ctx, s, namespace, labels, ground, keptParts{records.Part, secret.BackupPart, secret.DrillPart, secret.OperatorPart, checkImage}); err != nil {
			return err
		}
		ctx.Export(OutputDNS, entry.DNS)
	} else if _, err := monitoring.NewCollection(ctx, "monitoring", monitoring.CollectionArgs{
		Namespace: namespace, Interval: LocalInterval, Targets: []monitoring.Target{apiTarget},
	}, providers); err != nil {
		return err
	}

	split, releases, backends := pulumi.IntMap{}, pulumi.StringMap{}, pulumi.StringMap{}
	for _, slot := range stacks.Slots() {
		split[string(slot)] = pulumi.Int(s.Weight(slot))
		releases[string(slot)] = pulumi.String(s.Image(slot))
		backends[string(slot)] = api.Backends[string(slot)].Service
	}
	ctx.Export(OutputAddress, entry.URL)
	ctx.Export(OutputSplit, split)
	ctx.Export(OutputImages, releases)
	ctx.Export(OutputRepository, images.URL)
	ctx.Export(OutputSecrets, secret.IDs)
	ctx.Export(OutputNamespace, namespace)
	ctx.Export(OutputServices, backends)
	ctx.Export(OutputEngine, pulumi.String(string(s.Database.Engine)))
	return nil
}

// atPhase is what the settings make while a recovery is under way: no service
// before its records are proven, and nothing beside it before traffic is let in.
func atPhase(s stacks.Settings) stacks.Settings {
	if s.Recovery.Phase == stacks.PhaseNone {
		return s
	}
	if s.Recovery.Phase != stacks.PhaseRehearse {
		s.Service.ImageBlue, s.Service.ImageGreen = "", ""
	}
	s.Frontend.Image, s.Legacy.Image = "", ""
	return s
}

// serving is the image of the slot that has most requests.
func serving(s stacks.Settings) string {
	slot := stacks.Blue
	if s.Weight(stacks.Green) > s.Weight(slot) {
		slot = stacks.Green
	}
	return s.Image(slot)
}

// makeNamespace makes the namespace of every workload, which admits only pods
// that run without privileges, and returns its name.
func makeNamespace(ctx *pulumi.Context, s stacks.Settings, cluster *kubernetes.Provider) (pulumi.StringOutput, error) {
	labels := pod.Labels(s.Cloud.Namespace, "namespace", map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted",
		"pod-security.kubernetes.io/warn":    "restricted",
	})
	namespace, err := corev1.NewNamespace(ctx, "namespace", &corev1.NamespaceArgs{
		Metadata: &metav1.ObjectMetaArgs{Name: pulumi.String(s.Cloud.Namespace), Labels: labels},
	}, pulumi.Provider(cluster), pulumi.Protect(s.Cloud.DeletionProtection))
	if err != nil {
		return pulumi.StringOutput{}, fmt.Errorf("namespace: %w", err)
	}
	return namespace.Metadata.Name().Elem(), nil
}

func databaseArgs(s stacks.Settings, namespace pulumi.StringInput) database.Args {
	d := s.Database
	return database.Args{
		Namespace:    namespace,
		Embedded:     d.Engine == stacks.Embedded,
		StorageClass: d.StorageClass, StorageSize: d.StorageSize.String(),
		Identity:   fmt.Sprintf("%s/%s/%s", s.Cloud.ProjectID, s.Environment, s.Cloud.Namespace),
		Generation: d.Generation, Halted: s.Recovery.Phase == stacks.PhaseHalt,
		Version: d.Version, Replicas: d.Replicas,
		Redundancy: string(d.Redundancy), Coordinators: d.Redundancy.Machines(),
		Size: pod.Size{
			CPURequest: d.CPURequest, CPULimit: d.CPULimit,
			MemoryRequest: d.MemoryRequest, MemoryLimit: d.MemoryLimit,
		},
		ExporterImage: d.ExporterImage,
		Clients:       addresses(d.Clients),
		Protect:       s.Cloud.DeletionProtection,
	}
}

func serviceArgs(s stacks.Settings, namespace pulumi.StringInput, parts ...pod.Part) service.Args {
	var slots []service.Slot
	for _, slot := range stacks.Slots() {
		slots = append(slots, service.Slot{Name: string(slot), Image: s.Image(slot)})
	}
	local := !s.Environment.Cloud()
	var letters *service.Mail
	if s.Mail.Server != "" {
		letters = &service.Mail{Server: s.Mail.Server, From: s.Mail.From, User: s.Mail.User}
	}
	inFlight := 0
	if s.ScalesByRequests() {
		inFlight = s.Service.InFlightTarget
	}
	return service.Args{
		Namespace: namespace,
		Slots:     slots,
		Replicas:  s.Service.Replicas, MaxReplicas: s.Service.MaxReplicas, CPUTarget: s.Service.CPUTarget,
		InFlightTarget: inFlight, InFlightMetric: scaling.Gauge(contract.MetricInFlight),
		Size: pod.Size{
			CPURequest: s.Service.CPURequest, CPULimit: s.Service.CPULimit,
			MemoryRequest: s.Service.MemoryRequest, MemoryLimit: s.Service.MemoryLimit,
		},
		PreStop:    s.Service.PreStop,
		Parts:      parts,
		Callers:    gateway.Callers(local),
		Hops:       gateway.Hops(local),
		PublicHost: s.Gateway.Host,
		Mail:       letters,
		OwnAddress: local,
	}
}

// embeddedBackupArgs say how the embedded engine is backed up; wanted is false while there is nothing to do it with.
func embeddedBackupArgs(s stacks.Settings, namespace pulumi.StringInput, records pod.Part) (args backup.EmbeddedArgs, wanted bool) {
	args = backup.EmbeddedArgs{
		Namespace: namespace, Image: serving(s), Records: records,
		Bucket: s.BackupBucket(), Every: s.Backup.Every, Keep: s.Backup.Keep,
	}
	return args, s.Database.Engine == stacks.Embedded && args.Image != "" && args.Every > 0
}

func gatewayArgs(s stacks.Settings, namespace pulumi.StringInput, labels pulumi.StringMap, api *service.Service, pages []gateway.Page) gateway.Args {
	args := gateway.Args{Namespace: namespace, Pages: pages, LocalPort: s.Gateway.LocalPort}
	if s.Recovery.Phase == stacks.PhaseRehearse {
		args.Key = s.Recovery.Key
	}
	for _, slot := range stacks.Slots() {
		backend := api.Backends[string(slot)]
		args.Backends = append(args.Backends, gateway.Backend{
			Slot: string(slot), Service: backend.Service, Port: service.Port, Weight: s.Weight(slot), Pods: backend.Pods,
		})
	}
	if s.Environment.Cloud() {
		args.TLS = &gateway.TLS{
			ProjectID: s.Cloud.ProjectID, Labels: labels, Protect: s.Cloud.DeletionProtection,
			Host: s.Gateway.Host, AddressName: s.Gateway.AddressName, CertificateMap: s.Gateway.CertificateMap,
			Timeout: s.Gateway.Timeout, DrainTimeout: s.Gateway.DrainTimeout, LogPercent: s.Gateway.LogPercent,
		}
	}
	return args
}
