// Package stacks owns the environments: every setting that may differ between
// dev, staging, prod and local, with its key, type, default, meaning and rules.
//
// One struct tag per setting is the only source. Pulumi.yaml's config schema and
// docs/settings.md are written from it, [Load] reads values by it, and what Load
// returns has been checked: fields against their bounds, and fields against each
// other. A refusal names every fault at once, each with the key to change.
//
// The package knows settings only: no SDK, no file, no process environment.
package stacks

//go:generate go test . -run TestGeneratedFiles -update
