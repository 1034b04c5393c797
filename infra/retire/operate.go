package retire

import (
	"context"
	"fmt"
	"time"

	"coditect.ai/platform/infra/problem"
)

// Look returns the newest retirement, or [ErrNone]. It takes no lease.
func (r *Retirements) Look(ctx context.Context) (*State, error) {
	s, err := r.machine().Load(ctx)
	if err == nil && s == nil {
		err = ErrNone
	}
	return s, err
}

// Tick moves the retirement on as far as it goes now and returns how it then is.
// An error of the environment is returned and is part of the saved state; the
// next tick tries again. While another tick is under way it is a
// [workflow.HeldError], and without a retirement [ErrNone].
func (r *Retirements) Tick(ctx context.Context) (*State, error) {
	return r.change(ctx, 0, func(ctx context.Context, m *mover) error {
		if m.State == nil {
			return ErrNone
		}
		return m.run(ctx)
	})
}

// change runs do as the one writer. It waits as long as another is at it.
func (r *Retirements) change(ctx context.Context, wait time.Duration, do func(context.Context, *mover) error) (*State, error) {
	return r.machine().Change(ctx, wait, func(ctx context.Context, t *turn) error { return do(ctx, &mover{r, t}) })
}

// Start begins a retirement and ticks it for the first time.
func (r *Retirements) Start(ctx context.Context, plan Plan) (*State, error) {
	if err := plan.check(); err != nil {
		return nil, problem.New(err, "the times of the retirement are wrong: %v.", err)
	}
	return r.change(ctx, r.Wait, func(ctx context.Context, m *mover) error {
		old := m.State
		if old != nil && old.Ended == nil {
			return problem.New(ErrUnder, "the retirement of API v2 in %s is under way since %s (%s): wait for its end, or `coditect retire abort`.",
				r.Name, old.Began.Format(time.RFC3339), old.Phase)
		}
		configured, err := r.Environment.Configured(ctx)
		if err != nil {
			return fmt.Errorf("read the stack's configuration: %w", err)
		}
		switch {
		case configured.Image == "":
			return problem.New(nil, "there is no API v2 in %s: legacyImage is empty, and nothing is left to retire.", r.Name)
		case !configured.Routed:
			return problem.New(nil, "no request is led to API v2 in %s (legacyRouted is false), so nobody can tell whether it is still used: set legacyRouted to true and update, then run this again.", r.Name)
		}
		if old != nil {
			if err := r.machine().Archive(ctx, old); err != nil {
				return err
			}
		}
		s := &State{Saved: r.machine().Begin(r.Name), Plan: plan, Was: configured, Target: configured, Written: configured}
		m.State = s
		m.enter(Verifying, plan.Verify+plan.Hold)
		s.Event(m.now(), r.Owner.Name, fmt.Sprintf("API v2 shall go: %d pods, %s.", configured.Replicas, configured.Image))
		if err := m.Save(ctx); err != nil {
			return err
		}
		return m.run(ctx)
	})
}

// under runs do on a retirement that has not ended, and then ticks.
func (r *Retirements) under(ctx context.Context, do func(*mover) error) (*State, error) {
	return r.change(ctx, r.Wait, func(ctx context.Context, m *mover) error {
		switch s := m.State; {
		case s == nil:
			return problem.New(ErrNone, "there is no retirement in %s: `coditect retire start` begins one.", r.Name)
		case s.Ended != nil:
			return problem.New(ErrNone, "the retirement has ended (%s): there is nothing to decide.", s.Phase)
		}
		if err := do(m); err != nil {
			return err
		}
		if err := m.Save(ctx); err != nil {
			return err
		}
		return m.run(ctx)
	})
}

// Promote approves that API v2 leaves the route, or goes on with what the phase
// waits for: requests that are still seen or cannot be measured, the rest of a time.
func (r *Retirements) Promote(ctx context.Context) (*State, error) {
	return r.under(ctx, func(m *mover) error {
		s := m.State
		if s.Conflict != nil {
			return problem.New(nil, "the configuration was changed by another hand: set it back, or `coditect retire abort`.")
		}
		what := map[Phase]string{
			Verifying: "Goes on without further proof that nobody uses API v2", Watching: "The watch ends after " + m.elapsed(),
			Approval: "Approved: API v2 leaves the route", Settling: "API v2 goes after " + m.elapsed() + " without a route",
		}[s.Phase]
		if what == "" {
			return problem.New(nil, "the retirement is %s: there is nothing to approve.", s.Phase)
		}
		if s.Looked != nil && (s.Phase == Verifying || s.Phase == Watching) {
			what += "; " + s.Looked.String()
		}
		s.Skip = true
		s.Event(m.now(), r.Owner.Name, what+".")
		return nil
	})
}

// Abort brings back pods and route.
func (r *Retirements) Abort(ctx context.Context, reason string) (*State, error) {
	return r.under(ctx, func(m *mover) error {
		switch m.State.Phase {
		case Restoring:
			return nil
		case Removing:
			return problem.New(nil, "API v2 is being removed: set legacyImage again and update to have it back.")
		default:
		}
		if reason == "" {
			reason = "no reason given"
		}
		m.State.Conflict = nil
		m.giveUp(fmt.Sprintf("aborted by %s: %s", r.Owner.Name, reason))
		return nil
	})
}
