package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/workflow"
)

// fillReleases shows the newest rollout and the retirement of API v2, which a store
// keeps: the one though the other cannot be read.
func fillReleases(ctx context.Context, name string, store workflow.Store, s *console.Snapshot) error {
	state, err := rollout.New(rollout.Options{Name: name, Store: store}).Look(ctx)
	if err == nil {
		s.Rollout = shown(state)
	} else if errors.Is(err, rollout.ErrNone) {
		err = nil
	}
	legacy, unread := retire.New(retire.Options{Name: name, Store: store}).Look(ctx)
	if unread == nil {
		s.Retirement = leaving(legacy)
	} else if errors.Is(unread, retire.ErrNone) {
		unread = nil
	}
	return errors.Join(err, unread)
}

// leaving is a retirement as the page shows it.
func leaving(s *retire.State) *console.Retirement {
	what, until := s.Waiting()
	if what != "" {
		what = "Waits for " + what
	}
	return &console.Retirement{State: string(s.Phase), Text: s.Headline(), Waiting: what, Until: until, Attention: s.Attention}
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

// retireActions are what can be decided about the retirement of API v2.
func retireActions(command func(...string) []string) []console.Action {
	while := func(phases ...retire.Phase) func(console.Snapshot) bool {
		return func(s console.Snapshot) bool {
			return s.Retirement != nil && slices.Contains(phases, retire.Phase(s.Retirement.State))
		}
	}
	return []console.Action{
		{
			ID: "retire-promote", Title: "Go on with the retirement of API v2", Danger: true, Command: command("retire", "promote"),
			When:        while(retire.Verifying, retire.Watching, retire.Approval, retire.Settling),
			Consequence: "What the retirement waits for is over, or approved: API v2 goes one step further out of service. The step after its time without a route is its removal, which is not taken back.",
		},
		{
			ID: "retire-abort", Title: "Bring API v2 back", Command: command("retire", "abort", "--reason", "from the console"),
			When:        while(retire.Verifying, retire.Scaling, retire.Watching, retire.Approval, retire.Unrouting, retire.Settling),
			Consequence: "The retirement ends. Pods and route of API v2 come back as they were.",
		},
	}
}
