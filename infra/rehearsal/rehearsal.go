// Package rehearsal owns the rehearsal of a release: requests that come all the
// while, a rollout with shortened soaks, and what must have become of both.
//
// It does what an operator would do and judges by what clients were answered.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coditect.ai/platform/infra/rollout"
)

// longest is how long a rehearsal may take before something is wrong with it.
const longest = 4 * time.Minute

// Plan is production's with soaks of seconds. Durations are held to limits that a
// small machine keeps which does everything at once: one request in a hundred is a
// single one here.
func Plan() rollout.Plan {
	const soak = 8 * time.Second
	return rollout.Plan{
		Stages: []rollout.Stage{{Percent: 10, Soak: soak}, {Percent: 50, Soak: soak}, {Percent: 100, Soak: soak}},
		Limits: rollout.Limits{
			Requests: 30, Errors: 0.05, P99: 5 * time.Second, P99Ratio: 1000,
			Restarts: 1, Unready: 20 * time.Second, Window: 10 * time.Second,
		},
		Retain: 6 * time.Second, Deploy: 90 * time.Second, Shift: time.Minute, Hold: 90 * time.Second,
	}
}

// Run releases and ticks every second until the rollout has ended, and hands each
// state to show.
func Run(ctx context.Context, r *rollout.Rollouts, release rollout.Release, plan rollout.Plan, show func(*rollout.State)) (*rollout.State, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("the rollout has not ended after %s", longest))
	defer cancel()
	state, err := r.Start(ctx, release, plan)
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		if err != nil && (state == nil || state.Trouble == "" || ctx.Err() != nil) {
			return state, fmt.Errorf("rehearse the release: %w", errors.Join(err, context.Cause(ctx)))
		}
		show(state)
		if state.Phase.Ended() {
			return state, nil
		}
		select {
		case <-ctx.Done():
			return state, fmt.Errorf("rehearse the release: %w", context.Cause(ctx))
		case <-ticks.C:
		}
		state, err = r.Tick(ctx)
	}
}
