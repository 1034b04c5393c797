// Package delivery owns how an image comes to be: the trigger that builds and
// verifies one where a tag is pushed, and the identity that the build runs as.
//
// A build may write images into the one repository and its own log, nothing else;
// what is then released is the operator's decision.
package delivery

import (
	"errors"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/google"
)

// file is the build's description, in the repository.
const file = "app/cloudbuild.yaml"

// Args of [New].
type Args struct {
	ProjectID string
	Region    string
	// Owner and Name are the source's repository on GitHub.
	Owner, Name string
	// Tag is a regular expression; a tag that matches is built.
	Tag string
	// Repository is the Artifact Registry repository, in RepositoryLocation, and
	// URL what image names in it begin with.
	Repository, RepositoryLocation, URL pulumi.StringInput
	// ClientVersion and ClientSum are FoundationDB's client library in the image and its SHA-256.
	ClientVersion, ClientSum string
}

func (a *Args) check() error {
	var faults []error
	for _, field := range []struct{ name, value string }{
		{"ProjectID", a.ProjectID},
		{"Region", a.Region},
		{"Owner", a.Owner},
		{"Name", a.Name},
		{"Tag", a.Tag},
		{"ClientVersion", a.ClientVersion},
		{"ClientSum", a.ClientSum},
	} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field.name))
		}
	}
	if a.Repository == nil || a.RepositoryLocation == nil || a.URL == nil {
		faults = append(faults, errors.New("no Repository, RepositoryLocation or URL"))
	}
	return errors.Join(faults...)
}

// Delivery makes images.
type Delivery struct {
	pulumi.ResourceState

	// Builder is the account that builds run as.
	Builder pulumi.StringOutput `pulumi:"builder"`
}

// New makes trigger and identity.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Delivery, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("delivery %s: %w", name, err)
	}
	d := &Delivery{}
	if err := ctx.RegisterComponentResource("coditect:delivery:Delivery", name, d, opts...); err != nil {
		return nil, fmt.Errorf("delivery %s: %w", name, err)
	}
	if err := d.provision(ctx, args); err != nil {
		return nil, fmt.Errorf("delivery %s: %w", name, err)
	}
	if err := ctx.RegisterResourceOutputs(d, pulumi.Map{"builder": d.Builder}); err != nil {
		return nil, fmt.Errorf("delivery %s: outputs: %w", name, err)
	}
	return d, nil
}

func (d *Delivery) provision(ctx *pulumi.Context, args Args) error {
	const builder = "coditect-build"
	account, err := google.New(ctx, google.AccountType, builder, pulumi.Map{
		"project": pulumi.String(args.ProjectID), "accountId": pulumi.String(builder),
		"displayName": pulumi.String("Builds of images"),
	}, pulumi.Parent(d))
	if err != nil {
		return err
	}
	d.Builder = account.Email
	images, err := google.New(ctx, google.RepositoryMemberType, builder+"-images", pulumi.Map{
		"project": pulumi.String(args.ProjectID), "location": args.RepositoryLocation, "repository": args.Repository,
		"role": pulumi.String("roles/artifactregistry.writer"), "member": account.Member,
	}, pulumi.Parent(d))
	if err != nil {
		return err
	}
	logs, err := google.New(ctx, google.ProjectMemberType, builder+"-logs", pulumi.Map{
		"project": pulumi.String(args.ProjectID), "role": pulumi.String("roles/logging.logWriter"), "member": account.Member,
	}, pulumi.Parent(d))
	if err != nil {
		return err
	}
	_, err = google.New(ctx, google.TriggerType, "coditect-api-v5", pulumi.Map{
		"project":        pulumi.String(args.ProjectID),
		"location":       pulumi.String(args.Region),
		"name":           pulumi.String("coditect-api-v5"),
		"description":    pulumi.String("Builds, verifies and pushes the API's image where a tag is pushed"),
		"github":         pulumi.Map{"owner": pulumi.String(args.Owner), "name": pulumi.String(args.Name), "push": pulumi.Map{"tag": pulumi.String(args.Tag)}},
		"filename":       pulumi.String(file),
		"serviceAccount": account.ID().ToStringOutput(),
		"substitutions": pulumi.StringMap{
			"_REPOSITORY":  args.URL.ToStringOutput(),
			"_FDB_VERSION": pulumi.String(args.ClientVersion),
			"_FDB_SHA256":  pulumi.String(args.ClientSum),
		},
	}, pulumi.Parent(d), pulumi.DependsOn([]pulumi.Resource{images, logs}))
	return err
}
