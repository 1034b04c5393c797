// Package preview owns what an environment would become, told without any
// credentials: the real program on the real engine against a simulated cloud
// that lives for the moment, with the rules that the resources break and what
// they would cost.
//
// It shows what the repository makes of an environment's settings, from
// nothing or against what they were at an earlier revision. What really runs
// in a cloud it cannot know; `pulumi preview` with credentials tells that.
package preview

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/policy"
	"coditect.ai/platform/infra/price"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/stacks"
)

// Options of [Run].
type Options struct {
	// Root is the repository's directory.
	Root        string
	Environment string
	// Target stands for the settings that the plan leads to; those of the environment's
	// file where it is nil. With it the plan starts from the file, unless Against says otherwise.
	Target config.Map
	// Against is the git revision whose settings the plan starts from; "" starts from nothing.
	Against string
}

// Plan is what would be made, changed and removed.
type Plan struct {
	Environment string `json:"environment"`
	Against     string `json:"against,omitempty"`
	// StandIns are the settings that only an operator knows and that the plan has made-up values for.
	StandIns  []string         `json:"stand_ins,omitempty"`
	Resources []Resource       `json:"resources"`
	Findings  []policy.Finding `json:"findings"`
	Cost      price.Estimate   `json:"cost"`
	Seconds   float64          `json:"seconds"` // that the engine took
}

// standIns stand for the settings that are an operator's own.
var standIns = []struct{ key, value string }{
	{"project", "your-project"}, {"projectNumber", "1"}, {"clusterAuthorizedNetworks", "203.0.113.1/32"},
}

// Run makes the plan. A [problem.Error] says what the operator can mend.
func Run(ctx context.Context, o Options) (Plan, error) {
	plan := Plan{Environment: o.Environment, Against: o.Against}
	if !stacks.Environment(o.Environment).Known() {
		return plan, problem.New(nil, "there is no environment %q: it is one of %v.", o.Environment, stacks.Environments())
	}
	scratch, err := os.MkdirTemp("", "coditect-preview")
	if err != nil {
		return plan, fmt.Errorf("make a directory for the preview: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	cloud, err := simcloud.Open(simcloud.Options{Directory: filepath.Join(scratch, "cloud")}) //nolint:contextcheck // it lives until it is closed
	if err != nil {
		return plan, err
	}
	defer func() { _ = cloud.Close() }()

	open := func(committed config.Map) (*engine.Stack, error) {
		return engine.Open(ctx, engine.Options{
			Root: o.Root, Environment: o.Environment, Committed: committed, Home: filepath.Join(scratch, "engine"),
			Providers: cloud.Providers(), Program: program.Deploy,
			Overlay: func(_, committed config.Map) config.Map { return complete(o.Environment, committed, &plan) },
		})
	}
	began := time.Now()
	if o.Against == "" && o.Target == nil {
		s, err := open(nil)
		if err != nil {
			return plan, err
		}
		err = plan.follow(func(ch chan<- events.EngineEvent) error {
			_, err := s.Up(ctx, optup.EventStreams(ch), optup.SuppressOutputs(), optup.SuppressProgress())
			return err
		})
		if err != nil {
			return plan, failed(ctx, err)
		}
	} else {
		if err := plan.against(ctx, o, open); err != nil {
			return plan, err
		}
	}
	plan.Seconds = time.Since(began).Seconds()
	return plan, plan.judge()
}

// against applies the settings of the earlier revision, and previews today's.
func (p *Plan) against(ctx context.Context, o Options, open func(config.Map) (*engine.Stack, error)) error {
	var earlier config.Map // those of the file
	if o.Against != "" {
		var err error
		if earlier, err = settingsAt(ctx, o); err != nil {
			return err
		}
	}
	s, err := open(earlier)
	if err != nil {
		return err
	}
	if _, err := s.Up(ctx, optup.SuppressOutputs(), optup.SuppressProgress()); err != nil {
		return failed(ctx, err)
	}
	if s, err = open(o.Target); err != nil {
		return err
	}
	err = p.follow(func(ch chan<- events.EngineEvent) error {
		_, err := s.Preview(ctx, optpreview.EventStreams(ch), optpreview.SuppressOutputs(), optpreview.SuppressProgress())
		return err
	})
	return failed(ctx, err)
}

// follow runs the engine and takes every step that it tells into the plan.
func (p *Plan) follow(run func(chan<- events.EngineEvent) error) error {
	return engine.Follow(run, func(event events.EngineEvent) {
		if event.ResourcePreEvent != nil {
			p.step(event.ResourcePreEvent.Metadata)
		}
	})
}

// settingsAt reads the environment's file as it was.
func settingsAt(ctx context.Context, o Options) (config.Map, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", "-C", o.Root, "show", "--end-of-options", o.Against+":./"+engine.File(o.Environment))
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, problem.New(err, "git cannot show %s at %s (%s): name a revision that has it.",
			engine.File(o.Environment), o.Against, strings.TrimSpace(complaint.String()))
	}
	return engine.Parse(o.Root, o.Environment, out.Bytes())
}

// complete adds what only an operator knows to what is committed.
func complete(environment string, committed config.Map, plan *Plan) config.Map {
	full := config.Map{}
	maps.Copy(full, committed)
	plan.StandIns = nil
	if !stacks.Environment(environment).Cloud() {
		return full
	}
	known := map[string]bool{}
	for _, setting := range stacks.Table() {
		known[setting.Key] = true
	}
	for _, s := range standIns {
		if _, set := full[engine.Key(s.key)]; !set && known[s.key] {
			full[engine.Key(s.key)] = config.NewValue(s.value)
			plan.StandIns = append(plan.StandIns, s.key)
		}
	}
	return full
}

// failed turns an engine's error into what the operator reads; nil stays nil.
func failed(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	err = program.Explain(err)
	if _, told := errors.AsType[*problem.Error](err); told {
		return err
	}
	return problem.New(err, "the plan cannot be made:\n  %v", err)
}

// judge holds the planned resources against the rules and the table of prices.
func (p *Plan) judge() error {
	var held []policy.Resource
	var priced []price.Resource
	for _, r := range p.Resources {
		if r.Op == Delete || r.inputs == nil {
			continue
		}
		held = append(held, policy.Resource{Type: r.Type, Name: r.Name, Inputs: r.inputs, Protect: r.Protected, Secrets: r.secret})
		priced = append(priced, price.Resource{Type: r.Type, Name: r.Name, Inputs: r.inputs})
	}
	p.Findings = policy.Check(policy.Environment{Durable: stacks.Environment(p.Environment).Durable()}, held)
	if !stacks.Environment(p.Environment).Cloud() {
		return nil // a machine of one's own costs nothing more
	}
	var err error
	p.Cost, err = price.Of(priced)
	return err
}
