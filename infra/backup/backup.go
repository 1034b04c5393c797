// Package backup owns the copies of the database: the bucket that they are kept
// in, who may write there, and on FoundationDB the agents that write continuously,
// what begins, thins out and inspects a backup, and the record of which version
// the database had when.
//
// The bucket is never emptied by rules of its own: only FoundationDB knows which
// of its files a restore needs. That record is kept there too, because a time can
// be turned into a version only by the cluster that is gone when it is asked.
package backup

import (
	"errors"
	"fmt"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/google"
	"coditect.ai/platform/infra/pod"
)

const (
	// App is the name of the workloads and of their service account.
	App = "foundationdb-backup"
	// account writes the backups with an HMAC key that is made out of band.
	account   = "coditect-backup"
	component = "backup"
)

// What objects of the bucket begin with, before the backup's name.
const (
	Files = "data/" // FoundationDB's own
	// Versions are pairs of time and read version, NAME/TIME.json each, a contract.VersionAt.
	Versions = "versions/"
	// Inventories are what was counted, NAME/TIME.json each, a contract.Manifest; it
	// was counted before that time.
	Inventories = "manifests/"
)

// Args of [New].
type Args struct {
	ProjectID     string
	ProjectNumber string
	Region        string
	Namespace     pulumi.StringInput
	Bucket        string
	// Retention is how long what was deleted can be had back, whoever deleted it.
	Retention time.Duration
	// KeepDays is the age at which backups are thinned out; RestorableDays stay
	// restorable in any case.
	KeepDays, RestorableDays int
	// SnapshotEvery is how long a snapshot of the whole database takes, between which
	// the backup is continuous.
	SnapshotEvery time.Duration
	// AccessID is the HMAC key's name. Without it there is the bucket and no backup.
	AccessID string
	Version  string // FoundationDB's
	// Name is the backup's within the bucket, that of the database's generation.
	Name string
	// A recovery pauses the backup: there are the agents, which also restore, and
	// nothing is begun, thinned out or recorded. Restore and Check are its Jobs, at
	// most one of them.
	Paused  bool
	Restore *Restore
	Check   bool
	// Image is the service's, whose commands count the records; without it nothing is counted.
	Image string
	// Records are the way to the database for a pod of the service's own.
	Records pod.Part
	// Parts are the way to the database and the key's file, CredentialsFile within them.
	Parts           []pod.Part
	CredentialsFile string
	Labels          pulumi.StringMap
	// Protect refuses to delete the bucket.
	Protect bool
}

func (a *Args) check() error {
	var faults []error
	for _, field := range []struct{ name, value string }{
		{"ProjectID", a.ProjectID},
		{"ProjectNumber", a.ProjectNumber},
		{"Region", a.Region},
		{"Bucket", a.Bucket},
		{"Name", a.Name},
		{"Version", a.Version},
		{"CredentialsFile", a.CredentialsFile},
	} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field.name))
		}
	}
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	if a.RestorableDays < 1 || a.KeepDays < a.RestorableDays {
		faults = append(faults, fmt.Errorf("KeepDays is %d, RestorableDays %d: what must be restorable must be kept", a.KeepDays, a.RestorableDays))
	}
	if a.Retention < 7*24*time.Hour || a.Retention > 90*24*time.Hour {
		faults = append(faults, fmt.Errorf("retention is %s: Google takes from 7 to 90 days", a.Retention))
	}
	if a.Check && a.Image == "" {
		faults = append(faults, errors.New("no Image to check with"))
	}
	if a.SnapshotEvery < time.Hour {
		faults = append(faults, fmt.Errorf("SnapshotEvery is %s: a snapshot is given an hour or more", a.SnapshotEvery))
	}
	return errors.Join(faults...)
}

// Backup is the environment's backup.
type Backup struct {
	pulumi.ResourceState

	// URL is the bucket.
	URL pulumi.StringOutput `pulumi:"url"`
	// Writer is the account whose HMAC key writes the backups.
	Writer pulumi.StringOutput `pulumi:"writer"`
}

// New makes the bucket and, where there is a key, the backup.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Backup, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("backup %s: %w", name, err)
	}
	b := &Backup{}
	if err := ctx.RegisterComponentResource("coditect:backup:Backup", name, b, opts...); err != nil {
		return nil, fmt.Errorf("backup %s: %w", name, err)
	}
	needs, err := b.store(ctx, args)
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", name, err)
	}
	if args.AccessID != "" {
		w := &workloads{Args: args, parent: b, needs: needs}
		if err := w.provision(ctx); err != nil {
			return nil, fmt.Errorf("backup %s: %w", name, err)
		}
	}
	if err := ctx.RegisterResourceOutputs(b, pulumi.Map{"url": b.URL, "writer": b.Writer}); err != nil {
		return nil, fmt.Errorf("backup %s: outputs: %w", name, err)
	}
	return b, nil
}

// store makes the bucket and who may use it: the writer reads, writes and removes
// objects; the recorder only adds some.
func (b *Backup) store(ctx *pulumi.Context, args Args) ([]pulumi.Resource, error) {
	bucket, err := google.New(ctx, google.BucketType, args.Bucket, pulumi.Map{
		"project":                  pulumi.String(args.ProjectID),
		"name":                     pulumi.String(args.Bucket),
		"location":                 pulumi.String(args.Region),
		"labels":                   args.Labels,
		"uniformBucketLevelAccess": pulumi.Bool(true),
		"publicAccessPrevention":   pulumi.String("enforced"),
		"forceDestroy":             pulumi.Bool(false),
		// What is deleted or written over can be had back for a while. A retention policy
		// would refuse it instead, and a backup writes its own marks over as it goes on.
		"versioning":       pulumi.Map{"enabled": pulumi.Bool(true)},
		"softDeletePolicy": pulumi.Map{"retentionDurationSeconds": pulumi.Int(int(args.Retention.Seconds()))},
		// Only versions that are current no more go by age; the backup's own files never do.
		"lifecycleRules": pulumi.Array{pulumi.Map{
			"action":    pulumi.Map{"type": pulumi.String("Delete")},
			"condition": pulumi.Map{"daysSinceNoncurrentTime": pulumi.Int(args.KeepDays), "withState": pulumi.String("ARCHIVED")},
		}},
	}, pulumi.Parent(b), pulumi.Protect(args.Protect))
	if err != nil {
		return nil, err
	}
	b.URL = pulumi.Sprintf("gs://%s", bucket.Name)
	writer, err := google.New(ctx, google.AccountType, account, pulumi.Map{
		"project": pulumi.String(args.ProjectID), "accountId": pulumi.String(account),
		"displayName": pulumi.String("Writer of the database's backups"),
	}, pulumi.Parent(b))
	if err != nil {
		return nil, err
	}
	b.Writer = writer.Email
	recorder := pulumi.Sprintf("principal://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s.svc.id.goog/subject/ns/%s/sa/%s",
		args.ProjectNumber, args.ProjectID, args.Namespace, App)
	var needs []pulumi.Resource
	for _, grant := range []struct {
		name, role string
		member     pulumi.StringInput
	}{
		// FoundationDB asks whether the bucket is there before it writes.
		{"bucket", "roles/storage.legacyBucketReader", writer.Member},
		{"objects", "roles/storage.objectUser", writer.Member},
		{"records", "roles/storage.objectCreator", recorder},
	} {
		member, err := google.New(ctx, google.BucketMemberType, account+"-"+grant.name, pulumi.Map{
			"bucket": bucket.Name, "role": pulumi.String(grant.role), "member": grant.member,
		}, pulumi.Parent(b))
		if err != nil {
			return nil, err
		}
		needs = append(needs, member)
	}
	return needs, nil
}
