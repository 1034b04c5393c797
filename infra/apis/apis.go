// Package apis owns which of Google's APIs the project has turned on: all that
// the platform needs, so that a new project needs no preparation but one.
package apis

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/google"
)

// Needed lists the APIs that the platform uses.
func Needed() []string {
	return []string{
		"artifactregistry.googleapis.com",
		"certificatemanager.googleapis.com",
		"cloudbuild.googleapis.com",
		"compute.googleapis.com",
		"container.googleapis.com",
		"iam.googleapis.com",
		"logging.googleapis.com",
		"monitoring.googleapis.com",
		"secretmanager.googleapis.com",
		"storage.googleapis.com",
	}
}

// Args of [New].
type Args struct {
	ProjectID string
}

func (a *Args) check() error {
	if a.ProjectID == "" {
		return errors.New("ProjectID is empty")
	}
	return nil
}

// APIs are the project's APIs.
type APIs struct {
	pulumi.ResourceState
}

// New turns the APIs on. They stay on when the environment goes: something else
// in the project may use them.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*APIs, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("apis %s: %w", name, err)
	}
	a := &APIs{}
	if err := ctx.RegisterComponentResource("coditect:apis:APIs", name, a, opts...); err != nil {
		return nil, fmt.Errorf("apis %s: %w", name, err)
	}
	for _, api := range Needed() {
		short, _, _ := strings.Cut(api, ".")
		if _, err := google.New(ctx, google.APIType, "api-"+short, pulumi.Map{
			"project":          pulumi.String(args.ProjectID),
			"service":          pulumi.String(api),
			"disableOnDestroy": pulumi.Bool(false),
		}, pulumi.Parent(a)); err != nil {
			return nil, fmt.Errorf("apis %s: %w", name, err)
		}
	}
	if err := ctx.RegisterResourceOutputs(a, pulumi.Map{}); err != nil {
		return nil, fmt.Errorf("apis %s: outputs: %w", name, err)
	}
	return a, nil
}
