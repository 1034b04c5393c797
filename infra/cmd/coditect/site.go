package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/bucket"
	"coditect.ai/platform/infra/cloud"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/metrics"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

// site is an environment as commands about rollouts see it.
type site struct {
	name     string
	local    *local.Environment // finds the repository, whatever the environment
	settings stacks.Settings
	rollouts *rollout.Rollouts
	// stack and legacy are those of an environment in the cloud.
	stack  *cloud.EngineStack
	legacy *cloud.Legacy
	// outputs are those of the last update of an environment in the cloud.
	outputs func(context.Context) (cloud.Outputs, error)
	// before is the store of the environment that a release must have gone through, nil without one.
	before func(context.Context) (workflow.Store, error)
}

// openSite opens the environment of the name; the parts that it needs of a cloud are reached when they are used.
func openSite(ctx context.Context, name string, out io.Writer) (*site, error) {
	env, err := local.Open(".", out)
	if err != nil {
		return nil, err
	}
	if name != local.Name {
		return openCloudSite(ctx, env, name, out)
	}
	s := &site{name: name, local: env}
	if s.settings, err = env.Settled(); err != nil {
		return nil, err
	}
	s.rollouts = rollout.New(rollout.Options{
		Name: name, Environment: env.Releases(), Store: workflow.In(rolloutDir(env, name)), Owner: workflow.Self(), Wait: waitForTick,
		Metrics: measured{env.Metrics},
	})
	if after := s.settings.Rollout.After; after != "" {
		s.before = func(context.Context) (workflow.Store, error) { return workflow.In(rolloutDir(env, after)), nil }
	}
	return s, nil
}

// measured are the metrics of an environment, as a rollout sees them.
type measured struct {
	client func(context.Context) (*metrics.Prometheus, error)
}

// Sample implements [rollout.Metrics].
func (m measured) Sample(ctx context.Context, slot stacks.Slot, window time.Duration) (rollout.Sample, error) {
	client, err := m.client(ctx)
	if err != nil {
		return rollout.Sample{}, err
	}
	s, err := client.Sample(ctx, string(slot), window)
	return rollout.Sample{Requests: s.Requests, Errors: s.Errors, P99: s.P99}, err
}

// push puts a binary of the service into the local environment's registry.
func (s *site) push(ctx context.Context, binary string) (rollout.Release, error) {
	if s.name != local.Name {
		return rollout.Release{}, problem.New(nil, "--binary is for the local environment: elsewhere name the image that was built, by --image and --version.")
	}
	version, err := versionOf(ctx, binary)
	if err != nil {
		return rollout.Release{}, err
	}
	image, err := s.local.PushRelease(ctx, binary)
	return rollout.Release{Version: version, Image: image}, err
}

// versionOf asks a binary of the service for its version.
func versionOf(ctx context.Context, binary string) (string, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", binary, err)
	}
	if _, err := os.Stat(path); err != nil {
		return "", problem.New(err, "there is no %s: `make build` builds the service.", binary)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, path, "version").Output()
	words := strings.Fields(string(output))
	if err != nil || len(words) < 2 {
		return "", problem.New(err, "%s does not tell a version: it is no build of the service.", binary)
	}
	return words[1], nil
}

// gate refuses a release that has not gone through the environment before this one.
func (s *site) gate(ctx context.Context, release rollout.Release) error {
	if s.before == nil {
		return nil
	}
	after, long := s.settings.Rollout.After, s.settings.Rollout.AfterFor
	store, err := s.before(ctx)
	if err != nil {
		return err
	}
	proof, err := rollout.Proven(ctx, store, release.Image)
	switch {
	case errors.Is(err, workflow.ErrAbsent):
		return problem.New(err, "%s has not gone through %s: release the same image there first (coditect rollout start --env %s).", release.Version, after, after)
	case err != nil:
		return fmt.Errorf("read whether %s has gone through %s: %w", release.Version, after, err)
	case proof.Soaked < long:
		return problem.New(nil, "%s had all requests of %s for %s only, and %s asks for %s (rolloutAfterFor).", release.Version, after, proof.Soaked.Round(time.Second), s.name, long)
	}
	return nil
}

// openCloudSite opens an environment in the cloud: its stack in the operator's own
// backend, its bucket, its load balancer and its metrics.
func openCloudSite(ctx context.Context, env *local.Environment, name string, out io.Writer) (*site, error) {
	if e := stacks.Environment(name); !e.Known() {
		return nil, unknown(name)
	}
	stack, err := cloudStack(ctx, env, name, out, program.Release)
	if err != nil {
		return nil, err
	}
	s := &site{name: name, local: env, settings: stack.Settings(), stack: stack, outputs: stack.Outputs}
	project := s.settings.Cloud.ProjectID
	store, err := rolloutBucket(ctx, s.settings)
	if err != nil {
		return nil, err
	}
	balancer, err := cloud.NewURLMaps(ctx, project)
	if err != nil {
		return nil, err
	}
	token, err := cloud.MetricsToken(ctx)
	if err != nil {
		return nil, err
	}
	measures, err := metrics.New(metrics.Options{
		Address:   "https://monitoring.googleapis.com/v1/projects/" + project + "/location/global/prometheus",
		Namespace: s.settings.Cloud.Namespace, Token: token,
	})
	if err != nil {
		return nil, err
	}
	releases := &cloud.Releases{Stack: stack, Balancer: balancer, Connect: connect}
	s.legacy = &cloud.Legacy{Releases: releases, Counts: measures}
	s.rollouts = rollout.New(rollout.Options{
		Name: name, Store: store, Owner: workflow.Self(), Wait: waitForTick, Environment: releases,
		Metrics: measured{func(context.Context) (*metrics.Prometheus, error) { return measures, nil }},
	})
	if after := s.settings.Rollout.After; after != "" {
		s.before = func(ctx context.Context) (workflow.Store, error) {
			other, err := engine.Committed(env.Root(), after)
			if err != nil {
				return nil, err
			}
			return rolloutBucket(ctx, other)
		}
	}
	return s, nil
}

// rolloutBucket keeps the rollouts of an environment of the cloud.
func rolloutBucket(ctx context.Context, s stacks.Settings) (workflow.Store, error) {
	backups, err := bucket.Open(ctx, s.BackupBucket())
	if err != nil {
		return nil, err
	}
	return backups.Store(stacks.Operations), nil
}

func connect(config []byte) (cloud.Cluster, error) { return kube.New(config) }

// cloudStack opens the stack of an environment of the cloud in the operator's own backend.
func cloudStack(ctx context.Context, env *local.Environment, name string, out io.Writer, run pulumi.RunFunc) (*cloud.EngineStack, error) {
	stack := &cloud.EngineStack{
		Open: func(ctx context.Context) (*engine.Stack, error) {
			return engine.Attach(ctx, env.Root(), name, run)
		},
		Dir:     env.Root(),
		Address: program.OutputAddress, Kubeconfig: program.OutputKubeconfig, Program: program.OutputProgram,
		Say: func(format string, args ...any) { fmt.Fprintf(out, "        "+format+"\n", args...) },
	}
	return stack, stack.Load(ctx)
}
