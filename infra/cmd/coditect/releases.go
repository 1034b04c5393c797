package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/workflow"
)

// fillRollout shows the newest rollout.
func fillRollout(ctx context.Context, env *local.Environment, s *console.Snapshot) error {
	state, err := rollout.New(rollout.Options{Name: local.Name, Store: workflow.In(rolloutDir(env, local.Name))}).Look(ctx)
	if errors.Is(err, rollout.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Rollout = shown(state)
	return nil
}

// shown is a rollout as the page shows it.
func shown(s *rollout.State) *console.Rollout {
	what, until := s.Waiting()
	if what != "" {
		what = "Waits for " + what
	}
	r := &console.Rollout{
		ID: s.ID, Version: s.Release.Version + " " + strings.TrimSuffix(s.Headline(), "."), State: string(s.Phase),
		Waiting: what, Until: until, Attention: s.Attention,
		Canary: console.Series{Slot: string(s.Canary)}, Stable: console.Series{Slot: string(s.Stable)},
	}
	for i, stage := range s.Plan.Stages {
		r.Stages = append(r.Stages, console.Stage{Name: fmt.Sprintf("%d %%", stage.Percent), State: s.StageState(i)})
	}
	for _, j := range s.Judged {
		r.Canary.Points = appendPoint(r.Canary.Points, j, j.Canary)
		r.Stable.Points = appendPoint(r.Stable.Points, j, j.Stable)
	}
	return r
}

func appendPoint(points []console.Point, j rollout.Judgment, sample *rollout.Sample) []console.Point {
	if sample == nil || j.Window <= 0 {
		return points
	}
	p := console.Point{At: j.At, Requests: sample.Requests / j.Window.Seconds(), P99: sample.P99.Seconds()}
	if sample.Requests > 0 {
		p.ErrorRate = min(sample.Errors/sample.Requests, 1)
	}
	return append(points, p)
}

// rolloutActions are what can be decided about a release that is on its way.
func rolloutActions(command func(...string) []string) []console.Action {
	while := func(phases ...rollout.Phase) func(console.Snapshot) bool {
		return func(s console.Snapshot) bool {
			if s.Rollout == nil {
				return false
			}
			for _, phase := range phases {
				if s.Rollout.State == string(phase) {
					return true
				}
			}
			return false
		}
	}
	return []console.Action{
		{
			ID: "promote", Title: "Promote the release", Command: command("rollout", "promote"), When: while(rollout.Approval, rollout.Soaking),
			Consequence: "The next stage is approved, or the soak of this one ends now: more requests go to the release.",
		},
		{
			ID: "pause", Title: "Pause the release", Command: command("rollout", "pause", "--reason", "from the console"), When: while(rollout.Deploying, rollout.Approval, rollout.Shifting, rollout.Soaking),
			Consequence: "No further stage begins until it is resumed. What is judged bad goes back all the same.",
		},
		{
			ID: "resume", Title: "Resume the release", Command: command("rollout", "resume"), When: while(rollout.Deploying, rollout.Approval, rollout.Shifting, rollout.Soaking, rollout.Retaining),
			Consequence: "A pause ends. What another hand has changed of weights or images is put back.",
		},
		{
			ID: "abort", Title: "Return to the former release", Danger: true, Command: command("rollout", "abort", "--reason", "from the console"),
			When:        while(rollout.Deploying, rollout.Approval, rollout.Shifting, rollout.Soaking, rollout.Retaining),
			Consequence: "All requests go to the former release at once.",
		},
	}
}
