package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

// Look returns the newest rollout, or [ErrNone]. It takes no lease.
func (r *Rollouts) Look(ctx context.Context) (*State, error) {
	s, err := r.machine().Load(ctx)
	if err == nil && s == nil {
		err = ErrNone
	}
	return s, err
}

// change runs do as the one writer. It waits as long as another is at it.
func (r *Rollouts) change(ctx context.Context, wait time.Duration, do func(context.Context, *mover) error) (*State, error) {
	return r.machine().Change(ctx, wait, func(ctx context.Context, t *tick.Turn[State, *State]) error { return do(ctx, &mover{r, t}) })
}

// under runs do on a rollout that has not ended, and then ticks.
func (r *Rollouts) under(ctx context.Context, do func(*mover) error) (*State, error) {
	return r.change(ctx, r.Wait, func(ctx context.Context, t *mover) error {
		if t.State == nil {
			return problem.New(ErrNone, "there is no rollout in %s.", r.Name)
		}
		if t.State.Phase.Ended() {
			return problem.New(ErrNone, "the rollout of %s has ended (%s): there is nothing to decide.", t.State.Release.Version, t.State.Phase)
		}
		if err := do(t); err != nil {
			return err
		}
		if err := t.Save(ctx); err != nil {
			return err
		}
		return t.run(ctx)
	})
}

// Start begins a rollout and ticks it for the first time.
func (r *Rollouts) Start(ctx context.Context, release Release, plan Plan) (*State, error) {
	if err := plan.check(); err != nil {
		return nil, problem.New(err, "the plan of the rollout is wrong: %v.", err)
	}
	if release.Version == "" || release.Image == "" {
		return nil, problem.New(nil, "a release has a version and an image.")
	}
	return r.change(ctx, r.Wait, func(ctx context.Context, t *mover) error {
		now := t.now()
		if old := t.State; old != nil && old.Phase.Under() {
			return problem.New(ErrUnder, "%s is on its way in %s since %s (%s): wait for its end, or `coditect rollout abort`.",
				old.Release.Version, r.Name, old.Began.Format(time.RFC3339), old.Phase)
		}
		configured, err := t.Environment.Configured(ctx)
		if err != nil {
			return fmt.Errorf("read the stack's configuration: %w", err)
		}
		s := &State{
			Saved: r.machine().Begin(r.Name), Release: release, Plan: plan, Phase: Deploying,
		}
		s.Enter(now, plan.Deploy)
		if err := s.place(configured); err != nil {
			return err
		}
		traffic, err := t.Environment.Traffic(ctx)
		if err != nil {
			return fmt.Errorf("ask the load balancer: %w", err)
		}
		if !maps.Equal(traffic.Asked, s.Target) {
			return problem.New(nil, "the route divides %s and the configuration says %s: bring the environment to its configuration first (`up`), or the release would go where requests are.", traffic.Asked, s.Target)
		}
		if old := t.State; old != nil {
			if !old.Phase.Ended() {
				old.Event(now, r.Owner.Name, "The next release takes the slot of the former one.")
				old.Phase, old.Ended, old.Since, old.Deadline = Completed, &now, now, time.Time{}
			}
			if err := r.machine().Archive(ctx, old); err != nil {
				return err
			}
		}
		s.Event(now, r.Owner.Name, fmt.Sprintf("%s goes to slot %s.", release.Version, s.Canary))
		t.State = s
		if err := t.Save(ctx); err != nil {
			return err
		}
		return t.run(ctx)
	})
}

// place finds the slots of the release and of the former one.
func (s *State) place(c Split) error {
	for _, name := range stacks.Slots() {
		switch c.Weights[name] {
		case 100:
			s.Stable = name
		case 0:
			s.Canary = name
		}
	}
	if s.Stable == "" || s.Canary == "" {
		return problem.New(nil, "the weights are %s and no rollout has set them: give one slot all requests first, gatewayWeightBlue and gatewayWeightGreen of Pulumi.%s.yaml, by `pulumi up`.", c.Weights, s.Environment)
	}
	s.Former, s.Replaced = c.Images[s.Stable], c.Images[s.Canary]
	if s.Former == "" {
		return problem.New(nil, "slot %s has all requests and no release: the first release is deployed by `up`, not by a rollout.", s.Stable)
	}
	if s.Former == s.Release.Image {
		return problem.New(nil, "%s is what slot %s serves already: there is nothing to roll out.", s.Release.Version, s.Stable)
	}
	s.Target = Weights{s.Stable: 100, s.Canary: 0}
	s.Written = s.Target
	return nil
}

// Pause stops the advance. What is bad goes back all the same.
func (r *Rollouts) Pause(ctx context.Context, reason string) (*State, error) {
	return r.under(ctx, func(t *mover) error {
		s, now := t.State, t.now()
		if !s.Phase.Under() || s.Phase == RollingBack {
			return problem.New(nil, "the rollout is %s: there is no advance to pause.", s.Phase)
		}
		if s.Paused != nil {
			return problem.New(nil, "it is paused already, by %s since %s.", s.Paused.By, s.Paused.At.Format(time.RFC3339))
		}
		s.Paused = &Order{By: r.Owner.Name, At: now, Reason: reason}
		if s.Phase != Deploying && s.Phase != Shifting {
			s.Deadline = now.Add(s.Plan.Hold)
		}
		s.Event(now, r.Owner.Name, "Paused. "+reason)
		return nil
	})
}

// Resume ends a pause, and puts back what another hand has changed.
func (r *Rollouts) Resume(ctx context.Context) (*State, error) {
	return r.change(ctx, r.Wait, func(ctx context.Context, t *mover) error {
		s := t.State
		if s == nil || s.Phase.Ended() || s.Paused == nil && s.Conflict == nil {
			return problem.New(nil, "nothing is paused in %s, and nothing waits for a decision of this kind.", r.Name)
		}
		now := t.now()
		if s.Conflict != nil {
			if err := t.putBack(ctx); err != nil {
				return err
			}
			s.Conflict = nil
			s.Event(now, r.Owner.Name, "What the rollout has written was put back.")
		}
		if s.Paused != nil {
			s.Paused = nil
			s.Event(now, r.Owner.Name, "Goes on.")
		}
		s.Attention = ""
		t.extend()
		if err := t.Save(ctx); err != nil {
			return err
		}
		return t.run(ctx)
	})
}

// putBack makes the configuration the rollout's own again.
func (t *mover) putBack(ctx context.Context) error {
	s := t.State
	c, err := t.Environment.Configured(ctx)
	if err != nil {
		return fmt.Errorf("read the stack's configuration: %w", err)
	}
	// Pods first: weights to a slot without any lose requests.
	for slot, image := range map[stacks.Slot]string{s.Stable: s.Former, s.Canary: s.Release.Image} {
		if c.Images[slot] == image || slot == s.Canary && s.Phase == Deploying {
			continue
		}
		if err := t.Environment.Deploy(ctx, slot, image); err != nil {
			return fmt.Errorf("put the image of slot %s back: %w", slot, err)
		}
	}
	if err := t.Environment.Shift(ctx, s.Target); err != nil {
		return fmt.Errorf("put the weights back: %w", err)
	}
	return nil
}

// Promote approves the next stage, or ends the soak of this one.
func (r *Rollouts) Promote(ctx context.Context) (*State, error) {
	return r.under(ctx, func(t *mover) error {
		s, now := t.State, t.now()
		switch {
		case s.Paused != nil || s.Conflict != nil:
			return problem.New(nil, "it is paused, or the configuration was changed by another hand: `coditect rollout resume` comes first.")
		case s.Phase == Approval:
			s.Approved = s.Stage + 1
			s.Event(now, r.Owner.Name, fmt.Sprintf("Stage %d is approved.", s.Stage+1))
		case s.Phase == Soaking:
			s.Skip = true
			s.Event(now, r.Owner.Name, fmt.Sprintf("Stage %d ends after %s of %s.", s.Stage+1, s.Soaked.Round(time.Second), s.Plan.Stages[s.Stage].Soak))
		default:
			return problem.New(nil, "the rollout is %s: there is nothing to approve.", s.Phase)
		}
		return nil
	})
}

// Abort returns to the former release.
func (r *Rollouts) Abort(ctx context.Context, reason string) (*State, error) {
	return r.under(ctx, func(t *mover) error {
		switch t.State.Phase {
		case RollingBack:
			return nil
		case Retiring:
			return problem.New(nil, "the former release is being taken away: roll it out again instead.")
		case Deploying, Approval, Shifting, Soaking, Retaining, Completed, RolledBack, Abandoned:
		}
		if reason == "" {
			reason = "no reason given"
		}
		t.giveUp(fmt.Sprintf("aborted by %s: %s", r.Owner.Name, reason))
		return nil
	})
}

// Proof is the record of a release that went through all stages of an environment.
type Proof struct {
	Release     Release   `json:"release"`
	Environment string    `json:"environment"`
	At          time.Time `json:"at"`
	// Soaked is how long it had all requests and was judged good.
	Soaked time.Duration `json:"soaked"`
	// Skipped says that a person has ended a soak before its time.
	Skipped bool `json:"skipped,omitempty"`
}

// proofKey is the same in every environment: digests are, and repositories are not.
func proofKey(image string) (string, error) {
	_, digest, found := strings.Cut(image, "@sha256:")
	if !found || len(digest) != 64 {
		return "", fmt.Errorf("%s is no image by digest", image)
	}
	return "proven-" + digest, nil
}

// prove records that the release went through all stages.
func (t *mover) prove(ctx context.Context) error {
	s := t.State
	key, err := proofKey(s.Release.Image)
	if err != nil {
		return err
	}
	content, err := json.MarshalIndent(Proof{Release: s.Release, Environment: s.Environment, At: t.now(), Soaked: s.Soaked, Skipped: s.Skip}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the record of the release: %w", err)
	}
	return t.machine().Keep(ctx, key, content)
}

// Proven returns the record of an image in the environment whose store it is, or [workflow.ErrAbsent].
func Proven(ctx context.Context, store workflow.Store, image string) (Proof, error) {
	var p Proof
	key, err := proofKey(image)
	if err != nil {
		return p, err
	}
	content, _, err := store.Get(ctx, key)
	if err != nil {
		return p, fmt.Errorf("read the record of %s: %w", image, err)
	}
	if err := json.Unmarshal(content, &p); err != nil {
		return p, fmt.Errorf("understand the record of %s: %w", image, err)
	}
	return p, nil
}

// check names every fault of a plan at once.
func (p Plan) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	last := 0
	for i, stage := range p.Stages {
		if stage.Percent <= last || stage.Percent > 100 {
			fault("stage %d has %d %%, and stages grow to 100", i+1, stage.Percent)
		}
		if stage.Soak <= 0 {
			fault("stage %d soaks for %s", i+1, stage.Soak)
		}
		last = stage.Percent
	}
	if last != 100 {
		fault("the last stage has %d %%, not 100", last)
	}
	for name, d := range map[string]time.Duration{"deploy": p.Deploy, "shift": p.Shift, "hold": p.Hold, "retain": p.Retain, "window": p.Limits.Window} {
		if d <= 0 {
			fault("%s is %s", name, d)
		}
	}
	if l := p.Limits; l.Requests < 1 || l.Errors <= 0 || l.Errors >= 1 || l.P99 <= 0 || l.P99Ratio < 1 || l.Restarts < 0 || l.Unready < 0 {
		fault("limits %+v: at least one request, a share of errors between 0 and 1, a p99 above 0 and a ratio of 1 or more", l)
	}
	return errors.Join(faults...)
}

// PlanOf is the plan that an environment's settings ask for.
func PlanOf(s stacks.Rollout) Plan {
	p := Plan{
		Approval: s.Approval,
		Limits: Limits{
			Requests: float64(s.Requests), Errors: float64(s.Errors) / 100, P99: time.Duration(s.P99) * time.Millisecond, P99Ratio: float64(s.P99Ratio) / 100,
			Restarts: s.Restarts, Unready: s.Unready, Window: s.Window,
		},
		Retain: s.Retain, Deploy: s.Deploy, Shift: s.Shift, Hold: s.Hold,
	}
	for _, stage := range s.Stages {
		p.Stages = append(p.Stages, Stage(stage))
	}
	return p
}
