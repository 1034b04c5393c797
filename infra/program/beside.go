package program

import (
	"strconv"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/companion"
	"coditect.ai/platform/infra/database"
	"coditect.ai/platform/infra/delivery"
	"coditect.ai/platform/infra/gateway"
	"coditect.ai/platform/infra/monitoring"
	"coditect.ai/platform/infra/operator"
	"coditect.ai/platform/infra/pod"
	"coditect.ai/platform/infra/scaling"
	"coditect.ai/platform/infra/secrets"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/stacks"
)

// Names of what runs beside the API, and of its routes. The frontend has the whole
// host; API v2 what is below /api, except what the API's own longer prefix takes.
const (
	FrontendApp  = "coditect-frontend"
	legacyPrefix = "/api"
	// companionUser runs containers that bring no user of their own.
	companionUser = 65532
)

// apiTarget is where the API tells its metrics.
var apiTarget = monitoring.Target{App: service.App, PortName: service.InternalPortName, Path: contract.MetricsPath}

// LocalInterval is the pause between two scrapes on this machine, where a rehearsal has no time to lose.
const LocalInterval = time.Second

// makePages makes what is served beside the API, where there is an image of it.
func makePages(ctx *pulumi.Context, s stacks.Settings, namespace pulumi.StringInput, records pod.Part, providers pulumi.ResourceOption) ([]gateway.Page, error) {
	var pages []gateway.Page
	for _, one := range []struct {
		name, prefix string
		routed       bool
		companion.Args
	}{
		{"frontend", "/", true, companion.Args{
			App: FrontendApp, Image: s.Frontend.Image, Replicas: s.Frontend.Replicas,
			ListenPort: s.Frontend.Port, HealthPath: s.Frontend.HealthPath,
			Size: pod.Size{CPURequest: 100, CPULimit: 500, MemoryRequest: 128 * pod.MiB, MemoryLimit: 256 * pod.MiB},
		}},
		{"legacy", legacyPrefix, s.Legacy.Routed, companion.Args{
			App: companion.LegacyApp, Image: s.Legacy.Image, Replicas: s.Legacy.Replicas,
			ListenPort: s.Legacy.Port, HealthPath: s.Legacy.HealthPath, Parts: []pod.Part{records},
			Size: pod.Size{CPURequest: 200, CPULimit: pod.Core, MemoryRequest: 256 * pod.MiB, MemoryLimit: 512 * pod.MiB},
		}},
	} {
		if one.Image == "" {
			continue
		}
		one.Namespace, one.User, one.PreStop = namespace, companionUser, s.Service.PreStop
		one.Callers = gateway.Callers(!s.Environment.Cloud())
		made, err := companion.New(ctx, one.name, one.Args, providers)
		if err != nil {
			return nil, err
		}
		if !one.routed {
			continue
		}
		pages = append(pages, gateway.Page{
			Name: one.App, Prefix: one.prefix, Service: made.Service, Port: companion.Port,
			ListenPort: one.ListenPort, HealthPath: one.HealthPath, Pods: made.Pods,
		})
	}
	return pages, nil
}

// keptParts give the pods of [lookAfter] what they need: the way to the database, the
// bucket's key, Pulumi's passphrase, and the service's image.
type keptParts struct {
	records, key, drillKey, passphrase pod.Part
	image                              string
}

// lookAfter makes what a cloud's environment is kept with: backups, monitoring and
// the delivery of images.
func lookAfter(ctx *pulumi.Context, s stacks.Settings, namespace pulumi.StringInput, labels pulumi.StringMap, on ground, parts keptParts) error {
	args := backup.Args{
		ProjectID: s.Cloud.ProjectID, ProjectNumber: s.Cloud.ProjectNumber, Region: s.Cloud.Region, Namespace: namespace,
		Bucket: s.BackupBucket(), Retention: s.Backup.Retention, KeepDays: s.Backup.KeepDays, RestorableDays: s.Backup.RestorableDays,
		SnapshotEvery: s.Backup.SnapshotEvery, AccessID: s.Backup.AccessID, Version: s.Database.Version,
		Name: s.BackupName(), Paused: s.Recovery.Phase != stacks.PhaseNone, Records: parts.records, Image: parts.image,
		Parts: []pod.Part{parts.records, parts.key}, CredentialsFile: secrets.BackupKeyFile, Labels: labels, Protect: s.Cloud.DeletionProtection,
	}
	switch s.Recovery.Phase {
	case stacks.PhaseRestore:
		from, version := s.Recovery.Backup()
		args.Restore = &backup.Restore{Name: from, Version: version}
	case stacks.PhaseCheck:
		args.Check = true
	default:
	}
	copies, err := backup.New(ctx, "backup", args, on.providers)
	if err != nil {
		return err
	}
	ctx.Export(OutputBackups, copies.URL)
	if drilled(s) && parts.image != "" {
		if err := makeDrill(ctx, s, namespace, on, copies, parts); err != nil {
			return err
		}
	}
	if s.Operated() {
		if err := makeOperator(ctx, s, namespace, on, copies, parts.passphrase); err != nil {
			return err
		}
	}
	availability, err := strconv.ParseFloat(s.Monitoring.Availability, 64)
	if err != nil {
		return err
	}
	if s.ScalesByRequests() {
		if _, err := scaling.New(ctx, "scaling", scaling.Args{
			ProjectID: s.Cloud.ProjectID, ProjectNumber: s.Cloud.ProjectNumber, Image: s.Monitoring.AdapterImage,
			Protect: s.Cloud.DeletionProtection,
		}, on.providers); err != nil {
			return err
		}
	}
	targets := []monitoring.Target{apiTarget}
	if s.Database.ExporterImage != "" {
		targets = append(targets, monitoring.Target{App: database.Exporter, PortName: database.ExporterPort, Path: database.ExporterPath})
	}
	if _, err := monitoring.New(ctx, "monitoring", monitoring.Args{
		ProjectID: s.Cloud.ProjectID, Region: s.Cloud.Region, Namespace: namespace, NamespaceName: s.Cloud.Namespace, Host: s.Gateway.Host,
		Emails: s.Monitoring.Emails, Runbooks: s.Monitoring.Runbooks, LogDays: s.Monitoring.LogDays, Availability: availability,
		Exporter: s.Database.ExporterImage != "", Machines: s.Database.Replicas, Backups: s.Backup.AccessID != "",
		ProvenAge: provenAge(s, parts.image), ProofField: backup.ProofAgeField, Targets: targets, Labels: labels,
		Operated: s.Operated() && s.Recovery.Phase == stacks.PhaseNone, TickedField: operator.Field, AskedField: operator.AskedField,
	}, on.providers); err != nil {
		return err
	}
	owner, name, wanted := strings.Cut(s.Delivery.Repository, "/")
	if !wanted {
		return nil
	}
	_, err = delivery.New(ctx, "delivery", delivery.Args{
		ProjectID: s.Cloud.ProjectID, Region: s.Cloud.Region, Owner: owner, Name: name, Tag: s.Delivery.Tag,
		Repository: on.images.Repository, RepositoryLocation: on.images.Location, URL: on.images.URL,
		ClientVersion: s.Database.Version, ClientSum: s.Delivery.ClientSum,
	}, on.providers)
	return err
}

// drilled tells whether restores are rehearsed: not while one is in earnest.
func drilled(s stacks.Settings) bool {
	return s.Backup.AccessID != "" && s.Backup.DrillSchedule != "" && s.Recovery.Phase == stacks.PhaseNone
}

// provenAge is the age of the last proven restore that somebody is told of, 0 for none.
func provenAge(s stacks.Settings, image string) time.Duration {
	if !drilled(s) || image == "" {
		return 0
	}
	return s.Backup.ProvenAge
}

// makeDrill makes the scheduled drill, whose only process is of the size of one of the database's.
func makeDrill(ctx *pulumi.Context, s stacks.Settings, namespace pulumi.StringInput, on ground, copies *backup.Backup, parts keptParts) error {
	d := s.Database
	_, err := backup.NewDrill(ctx, "drill", backup.DrillArgs{
		ProjectID: s.Cloud.ProjectID, ProjectNumber: s.Cloud.ProjectNumber, Region: s.Cloud.Region, Namespace: namespace,
		Bucket: s.BackupBucket(), Name: s.BackupName(), AccessID: s.Backup.AccessID, Version: d.Version, Image: parts.image,
		Schedule: s.Backup.DrillSchedule, StorageClass: d.StorageClass, StorageSize: d.StorageSize.String(),
		Size:  pod.Size{CPURequest: d.CPURequest, CPULimit: d.CPULimit, MemoryRequest: d.MemoryRequest, MemoryLimit: d.MemoryLimit},
		Needs: []pulumi.Resource{copies}, Key: parts.drillKey, CredentialsFile: secrets.BackupKeyFile,
	}, on.providers)
	return err
}

// makeOperator makes what ticks releases. A tick may have to wait for whatever takes longest of what one can do.
func makeOperator(ctx *pulumi.Context, s stacks.Settings, namespace pulumi.StringInput, on ground, copies *backup.Backup, passphrase pod.Part) error {
	_, err := operator.New(ctx, "operator", operator.Args{
		ProjectID: s.Cloud.ProjectID, ProjectNumber: s.Cloud.ProjectNumber, Namespace: namespace, Environment: string(s.Environment),
		Image: s.Operator.Image, Backend: s.Operator.Backend, StateBucket: s.Operator.Bucket(),
		Bucket: s.BackupBucket(), Operations: stacks.Operations,
		Suspended: s.Recovery.Phase != stacks.PhaseNone, Longest: max(s.Rollout.Deploy, s.Rollout.Shift, s.Retirement.Step),
		Key: passphrase, PassphraseFile: secrets.PassphraseFile, Needs: []pulumi.Resource{copies},
	}, on.providers)
	return err
}
