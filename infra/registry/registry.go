// Package registry owns the repository of the platform's images.
//
// Tags are immutable there, and cleanup removes only what nothing can refer to
// any more: untagged images past an age, never one of the most recent versions.
// Releases are referred to by digest.
package registry

import (
	"errors"
	"fmt"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/google"
)

// Args of [New].
type Args struct {
	ProjectID  string
	Region     string
	Repository string
	// KeepVersions is the number of most recent versions of an image that stay whatever their age.
	KeepVersions int
	// UntaggedAge is the age at which an untagged image goes.
	UntaggedAge time.Duration
	Labels      pulumi.StringMap
	// Protect refuses to delete the repository.
	Protect bool
}

func (a *Args) check() error {
	var faults []error
	for field, value := range map[string]string{"ProjectID": a.ProjectID, "Region": a.Region, "Repository": a.Repository} {
		if value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field))
		}
	}
	if a.KeepVersions < 1 {
		faults = append(faults, fmt.Errorf("KeepVersions is %d: at least one version stays", a.KeepVersions))
	}
	if a.UntaggedAge < time.Hour {
		faults = append(faults, fmt.Errorf("UntaggedAge is %s: a push needs an hour", a.UntaggedAge))
	}
	return errors.Join(faults...)
}

// Registry is the repository.
type Registry struct {
	pulumi.ResourceState

	// URL is what image names in the repository begin with, without a slash at the end.
	URL pulumi.StringOutput `pulumi:"url"`
	// Repository and Location name the repository to who grants access to it.
	Repository, Location pulumi.StringOutput
}

// New makes the repository.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Registry, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("registry %s: %w", name, err)
	}
	r := &Registry{}
	if err := ctx.RegisterComponentResource("coditect:registry:Registry", name, r, opts...); err != nil {
		return nil, fmt.Errorf("registry %s: %w", name, err)
	}
	repository, err := google.New(ctx, google.RepositoryType, name, pulumi.Map{
		"project":      pulumi.String(args.ProjectID),
		"location":     pulumi.String(args.Region),
		"repositoryId": pulumi.String(args.Repository),
		"description":  pulumi.String("Images of the Coditect platform"),
		"format":       pulumi.String("DOCKER"),
		"labels":       args.Labels,
		"dockerConfig": pulumi.Map{"immutableTags": pulumi.Bool(true)},
		"cleanupPolicies": pulumi.Array{
			pulumi.Map{
				"id":                 pulumi.String("keep-recent"),
				"action":             pulumi.String("KEEP"),
				"mostRecentVersions": pulumi.Map{"keepCount": pulumi.Int(args.KeepVersions)},
			},
			pulumi.Map{
				"id":     pulumi.String("remove-untagged"),
				"action": pulumi.String("DELETE"),
				"condition": pulumi.Map{
					"tagState":  pulumi.String("UNTAGGED"),
					"olderThan": pulumi.String(fmt.Sprintf("%ds", int64(args.UntaggedAge.Seconds()))),
				},
			},
		},
	}, pulumi.Parent(r), pulumi.Protect(args.Protect))
	if err != nil {
		return nil, fmt.Errorf("registry %s: repository: %w", name, err)
	}
	r.Repository, r.Location = repository.RepositoryID, repository.Location
	r.URL = pulumi.Sprintf("%s-docker.pkg.dev/%s/%s", repository.Location, repository.Project, repository.RepositoryID)
	if err := ctx.RegisterResourceOutputs(r, pulumi.Map{"url": r.URL}); err != nil {
		return nil, fmt.Errorf("registry %s: outputs: %w", name, err)
	}
	return r, nil
}
