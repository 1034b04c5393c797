package rollout

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/stacks"
)

// Tick moves the newest rollout on as far as it goes now and returns how it
// then is. An error of the environment or of its metrics is returned and is
// part of the saved state; the next tick tries again. While another tick is
// under way it is a [workflow.HeldError], and without a rollout [ErrNone].
func (r *Rollouts) Tick(ctx context.Context) (*State, error) {
	return r.change(ctx, 0, func(ctx context.Context, t *mover) error {
		if t.State == nil {
			return ErrNone
		}
		return t.run(ctx)
	})
}

// mover is one holder of the lease at work on the state.
type mover struct {
	*Rollouts
	*tick.Turn[State, *State]
}

func (t *mover) now() time.Time { return t.Now().UTC() }

func (t *mover) run(ctx context.Context) error { return t.Run(ctx, t.move) }

// move does what the phase asks for, and tells whether the next move can be made at once.
func (t *mover) move(ctx context.Context) (moved bool, err error) {
	s := t.State
	if s.Phase == RollingBack {
		return t.rollBack(ctx)
	}
	configured, err := t.Environment.Configured(ctx)
	if err != nil {
		err = fmt.Errorf("read the stack's configuration: %w", err)
	} else if foreign := s.foreign(configured); foreign != "" {
		return t.conflict(ctx, configured, foreign)
	}
	if s.Conflict != nil && err == nil {
		s.Conflict, s.Attention = nil, ""
		t.extend()
		s.Event(t.now(), "", "The configuration is the rollout's own again.")
	}
	if s.Late(t.now()) {
		if moved := t.late(err); moved {
			return true, nil
		}
	}
	if err != nil {
		return false, err
	}
	switch s.Phase {
	case Deploying:
		return t.deploy(ctx, configured)
	case Approval:
		return t.await(ctx), nil
	case Shifting:
		return t.shift(ctx, configured)
	case Soaking:
		return t.soak(ctx)
	case Retaining:
		return false, nil // until it is late
	case Retiring:
		return t.retire(ctx)
	case RollingBack, Completed, RolledBack, Abandoned:
	}
	return false, nil
}

// await waits for approval. What has requests meanwhile is judged as ever.
func (t *mover) await(ctx context.Context) (moved bool) {
	s := t.State
	if s.InForce != nil {
		if j, _ := t.look(ctx); j.Verdict.Outcome == Bad {
			s.judged(j)
			t.giveUp(strings.Join(j.Verdict.Reasons, "; "))
			return true
		}
	}
	if s.Approved > s.Stage {
		t.shiftTo(s.Stage)
		return true
	}
	s.Attention = fmt.Sprintf("Shall the release get %d %% of requests? `promote` says yes, `abort` no; without a word it goes back at %s.",
		s.Plan.Stages[s.Stage].Percent, s.Deadline.Format(time.RFC3339))
	if s.Paused != nil {
		s.Attention = pausedText
	}
	return false
}

// extend gives a phase that has stood still its whole time again.
func (t *mover) extend() {
	s, bound := t.State, time.Duration(0)
	switch s.Phase {
	case Deploying:
		bound = s.Plan.Deploy
	case Shifting:
		bound = s.Plan.Shift
	case Approval:
		bound = s.Plan.Hold
	case Soaking:
		bound = max(s.Plan.Stages[s.Stage].Soak-s.Soaked, 0) + s.Plan.Hold
	case RollingBack, Retaining, Retiring, Completed, RolledBack, Abandoned:
		return
	}
	s.Deadline = t.now().Add(bound)
}

// late ends a phase whose deadline is over, if anything can be done about it.
func (t *mover) late(cause error) (moved bool) {
	s, because := t.State, ""
	switch {
	case cause != nil:
		because = ": " + cause.Error()
	case s.Trouble != "":
		because = ": " + s.Trouble
	}
	switch s.Phase {
	case Deploying:
		t.giveUp(fmt.Sprintf("the release was not ready within %s%s", s.Plan.Deploy, because))
	case Approval:
		t.giveUp(fmt.Sprintf("nobody approved the next stage within %s", s.Plan.Hold))
	case Shifting:
		t.giveUp(fmt.Sprintf("the weights were not in force within %s%s", s.Plan.Shift, because))
	case Soaking:
		reason := "the stage could not be judged"
		if s.Paused != nil {
			reason = "it was paused"
		}
		t.giveUp(fmt.Sprintf("%s, and nobody decided within %s%s", reason, s.Plan.Hold, because))
	case Retaining:
		if cause != nil {
			return false
		}
		t.enter(Retiring, s.Plan.Deploy)
		s.Event(t.now(), "", fmt.Sprintf("The former release was kept for %s and goes now.", s.Plan.Retain))
	case Retiring:
		s.Attention = fmt.Sprintf("The pods of the former release in slot %s do not go away%s. Traffic is not affected: see the slot's Deployment.", s.Stable, because)
		return false
	case RollingBack, Completed, RolledBack, Abandoned:
		return false
	}
	return true
}

// enter begins a phase.
func (t *mover) enter(phase Phase, bound time.Duration) {
	t.State.Phase = phase
	t.State.Enter(t.now(), bound)
}

// giveUp returns to the former release. The write follows in the same tick.
func (t *mover) giveUp(reason string) {
	s := t.State
	s.Reason, s.Paused, s.Conflict = reason, nil, nil
	s.Written = s.Target
	s.Target = Weights{s.Stable: 100, s.Canary: 0}
	t.enter(RollingBack, s.Plan.Shift)
	s.Event(t.now(), "", "Back to the former release: "+reason+".")
}

// foreign says what in the configuration is not this rollout's doing; "" if nothing.
func (s *State) foreign(c Split) string {
	var faults []string
	former := c.Images[s.Stable] == s.Former || s.Phase == Retiring && c.Images[s.Stable] == ""
	if !former {
		faults = append(faults, fmt.Sprintf("slot %s is to hold %s and not the former release", s.Stable, named(c.Images[s.Stable])))
	}
	if own := c.Images[s.Canary]; own != s.Release.Image && (s.Phase != Deploying || own != s.Replaced) {
		faults = append(faults, fmt.Sprintf("slot %s is to hold %s and not the release", s.Canary, named(own)))
	}
	if !maps.Equal(c.Weights, s.Target) && !maps.Equal(c.Weights, s.Written) {
		faults = append(faults, fmt.Sprintf("the weights are %s and not %s", c.Weights, s.Target))
	}
	return strings.Join(faults, "; ")
}

func named(image string) string {
	if image == "" {
		return "no image"
	}
	return image
}

// String is a split as people write it: blue 90, green 10.
func (w Weights) String() string {
	var parts []string
	for _, name := range stacks.Slots() {
		if weight, there := w[name]; there {
			parts = append(parts, fmt.Sprintf("%s %d", name, weight))
		}
	}
	return strings.Join(parts, ", ")
}

// conflict holds everything while somebody else has changed the configuration,
// and in the end leaves it to them. A bad release goes back all the same, as
// long as both slots hold what the rollout knows.
func (t *mover) conflict(ctx context.Context, c Split, foreign string) (moved bool, err error) {
	s, now := t.State, t.now()
	if s.Conflict == nil {
		s.Conflict = &now
		s.Event(now, "", "The configuration was changed by another hand: "+foreign+".")
	}
	s.Attention = fmt.Sprintf("The configuration was changed by another hand: %s. Nothing moves until that is decided: `resume` puts back what the rollout has written, `abort` returns to the former release; otherwise the rollout is given up at %s and everything stays as it then is.",
		foreign, s.Conflict.Add(s.Plan.Hold).Format(time.RFC3339))
	if now.After(s.Conflict.Add(s.Plan.Hold)) {
		s.Reason = "the configuration was changed by another hand and nobody decided: " + foreign
		t.enter(Abandoned, 0)
		s.Ended = &now
		s.Event(now, "", "Given up: "+s.Reason+".")
		return false, nil
	}
	known := c.Images[s.Stable] == s.Former && c.Images[s.Canary] == s.Release.Image
	judged := s.Phase == Soaking || s.Phase == Approval && s.InForce != nil
	if !judged || !known || c.Weights[s.Canary] == 0 {
		return false, nil
	}
	s.Good = nil // what soaks is not the stage
	if j, _ := t.look(ctx); j.Verdict.Outcome == Bad {
		s.judged(j)
		t.giveUp(strings.Join(j.Verdict.Reasons, "; "))
		return true, nil
	}
	return false, nil
}

func (t *mover) deploy(ctx context.Context, c Split) (moved bool, err error) {
	s := t.State
	pods, err := t.Environment.Pods(ctx, s.Canary)
	if err != nil {
		return false, fmt.Errorf("ask for the pods of slot %s: %w", s.Canary, err)
	}
	if c.Images[s.Canary] != s.Release.Image || pods.Image != s.Release.Image {
		bounded, cancel := s.Within(ctx, t.now())
		defer cancel()
		if err := t.Environment.Deploy(bounded, s.Canary, s.Release.Image); err != nil {
			return false, fmt.Errorf("deploy the release to slot %s: %w", s.Canary, err)
		}
		if pods, err = t.Environment.Pods(ctx, s.Canary); err != nil {
			return false, fmt.Errorf("ask for the pods of slot %s: %w", s.Canary, err)
		}
	}
	if !s.complete(pods) {
		return false, nil
	}
	s.Event(t.now(), "", fmt.Sprintf("%s is ready in slot %s with %d pods.", s.Release.Version, s.Canary, pods.Ready))
	t.next(0)
	return true, nil
}

// complete tells whether all pods of the release are there. One alone would lose its
// share of requests when it leaves: nothing fails over between slots.
func (s *State) complete(p Pods) bool {
	return p.Image == s.Release.Image && p.Desired >= 2 && p.Ready >= p.Desired
}

// next goes to a stage, or first asks for its approval.
func (t *mover) next(stage int) {
	s := t.State
	s.Stage, s.Skip = stage, false
	if s.Plan.Approval && s.Approved <= stage {
		t.enter(Approval, s.Plan.Hold)
		return
	}
	t.shiftTo(stage)
}

// shiftTo intends the stage's weights; they are written by the next move.
func (t *mover) shiftTo(stage int) {
	s := t.State
	percent := s.Plan.Stages[stage].Percent
	s.Written = s.Target
	s.Target = Weights{s.Canary: percent, s.Stable: 100 - percent}
	s.InForce = nil
	t.enter(Shifting, s.Plan.Shift)
	s.Event(t.now(), "", fmt.Sprintf("Stage %d of %d: %s.", stage+1, len(s.Plan.Stages), s.Target))
}

func (t *mover) shift(ctx context.Context, c Split) (moved bool, err error) {
	s := t.State
	pods, err := t.Environment.Pods(ctx, s.Canary)
	if err != nil {
		return false, fmt.Errorf("ask for the pods of slot %s: %w", s.Canary, err)
	}
	traffic, err := t.Environment.Traffic(ctx)
	if err != nil {
		return false, fmt.Errorf("ask the load balancer: %w", err)
	}
	if !maps.Equal(c.Weights, s.Target) || !maps.Equal(traffic.Asked, s.Target) {
		if !s.complete(pods) {
			return false, nil // no more requests to a slot that is short
		}
		bounded, cancel := s.Within(ctx, t.now())
		defer cancel()
		if err := t.Environment.Shift(bounded, s.Target); err != nil {
			return false, fmt.Errorf("write the weights %s: %w", s.Target, err)
		}
		if traffic, err = t.Environment.Traffic(ctx); err != nil {
			return false, fmt.Errorf("ask the load balancer: %w", err)
		}
	}
	if !s.inForce(traffic) || !agrees(s.Target, traffic.Requests) {
		return false, nil
	}
	now := t.now()
	t.enter(Soaking, s.Plan.Stages[s.Stage].Soak+s.Plan.Hold)
	s.Written, s.InForce, s.Good = s.Target, &now, &now
	s.Soaked, s.Restarts, s.Unready = 0, pods.Restarts, nil
	if s.Paused != nil {
		s.Attention = pausedText
	}
	s.Event(now, "", fmt.Sprintf("The load balancer divides %s.", s.Target))
	return false, nil // nothing is measured yet
}

const pausedText = "It is paused: `resume` goes on, `abort` returns to the former release."

func (s *State) inForce(traffic Traffic) bool {
	return traffic.Accepted && maps.Equal(traffic.Asked, s.Target) && maps.Equal(traffic.Weights, s.Target)
}

func (t *mover) soak(ctx context.Context) (moved bool, err error) {
	s := t.State
	j, missing := t.look(ctx)
	now := j.At
	if j.Verdict.Outcome != Good || j.Canary != nil {
		s.judged(j)
	}
	stage := s.Plan.Stages[s.Stage]
	switch j.Verdict.Outcome {
	case Bad:
		t.giveUp(strings.Join(j.Verdict.Reasons, "; "))
		return true, nil
	case Inconclusive:
		if missing {
			s.Good = nil // what nobody has measured does not count
		}
		if missing || now.Sub(*s.InForce) >= stage.Soak {
			s.Attention = fmt.Sprintf("The stage cannot be judged: %s. It holds until that is over; `promote` goes on without, `abort` returns to the former release, which happens by itself at %s.",
				strings.Join(j.Verdict.Reasons, "; "), s.Deadline.Format(time.RFC3339))
		}
	case Good:
		if s.Good != nil {
			s.Soaked += now.Sub(*s.Good)
		}
		s.Good, s.Attention = &now, ""
	}
	if s.Paused != nil {
		s.Attention = pausedText
		return false, nil
	}
	if !s.Skip && (j.Verdict.Outcome != Good || s.Soaked < stage.Soak) {
		return false, nil
	}
	if s.Stage+1 < len(s.Plan.Stages) {
		t.next(s.Stage + 1)
		return true, nil
	}
	if err := t.prove(ctx); err != nil {
		return false, err
	}
	t.enter(Retaining, s.Plan.Retain)
	s.Event(now, "", fmt.Sprintf("%s is the stable release. The former one is kept in slot %s until %s.", s.Release.Version, s.Stable, s.Deadline.Format(time.RFC3339)))
	return false, nil
}

// look judges the stage by its last minutes and as a whole. missing says that
// something could not be measured, not merely that there is too little of it.
func (t *mover) look(ctx context.Context) (j Judgment, missing bool) {
	s := t.State
	limits := s.Plan.Limits
	j = Judgment{At: t.now(), Stage: s.Stage, Verdict: Verdict{Outcome: Good}}
	missing = t.lookAtPods(ctx, &j)
	whole := j.At.Sub(*s.InForce)
	j.Window = min(whole, limits.Window)
	if j.Window < limits.Window/4 && j.Window < s.Plan.Stages[s.Stage].Soak {
		if j.Verdict.Outcome == Good {
			j.Verdict.unknown("the stage has just begun")
		}
		return j, missing
	}
	compare := func(of string, window time.Duration) (canary, stable *Sample) {
		a, err := t.Metrics.Sample(ctx, s.Canary, window)
		if err != nil {
			missing = true
			j.Verdict.unknown("no measurements of the release: %v", err)
			return nil, nil
		}
		b, err := t.Metrics.Sample(ctx, s.Stable, window)
		if err != nil && s.Target[s.Stable] > 0 {
			missing = true
			j.Verdict.unknown("no measurements of the former release: %v", err)
			return &a, nil
		}
		if !limits.compare(&j.Verdict, of, a, b) {
			return nil, nil // what contradicts itself is not kept
		}
		return &a, &b
	}
	j.Canary, j.Stable = compare(fmt.Sprintf("the last %s", j.Window.Round(time.Second)), j.Window)
	if whole > j.Window {
		// Few requests in the last minutes say nothing against a stage that has had enough.
		if j.Verdict.Outcome == Inconclusive && !missing {
			j.Verdict = Verdict{Outcome: Good}
			t.lookAtPods(ctx, &j)
		}
		compare("the whole stage", whole)
	}
	return j, missing
}

func (t *mover) lookAtPods(ctx context.Context, j *Judgment) (missing bool) {
	s := t.State
	pods, err := t.Environment.Pods(ctx, s.Canary)
	if err != nil {
		j.Verdict.unknown("the release's pods: %v", err)
		return true
	}
	s.Restarts = min(s.Restarts, pods.Restarts) // pods that were replaced begin at 0
	if n := pods.Restarts - s.Restarts; n > s.Plan.Limits.Restarts {
		j.Verdict.bad("the release's pods restarted %d times in this stage, more than %d", n, s.Plan.Limits.Restarts)
	}
	switch {
	case s.complete(pods):
		s.Unready = nil
		return false
	case s.Unready == nil:
		s.Unready = &j.At
	}
	switch age := j.At.Sub(*s.Unready); {
	case pods.Ready == 0 && s.Target[s.Canary] > 0:
		j.Verdict.bad("no pod of the release is ready")
	case age > s.Plan.Limits.Unready:
		j.Verdict.bad("%d of %d pods of the release have been ready for %s", pods.Ready, pods.Desired, age.Round(time.Second))
	default:
		j.Verdict.unknown("%d of %d pods of the release are ready", pods.Ready, pods.Desired)
	}
	return false
}

// rollBack writes the weights of the former release until they are in force.
// It asks nothing that could keep it from writing.
func (t *mover) rollBack(ctx context.Context) (moved bool, err error) {
	s := t.State
	configured, err := t.Environment.Configured(ctx)
	traffic, unknown := t.Environment.Traffic(ctx)
	if err != nil || unknown != nil || !maps.Equal(configured.Weights, s.Target) || !maps.Equal(traffic.Asked, s.Target) {
		bounded, cancel := s.Within(ctx, t.now())
		defer cancel()
		if err = t.Environment.Shift(bounded, s.Target); err == nil {
			traffic, err = t.Environment.Traffic(ctx)
		}
	}
	now := t.now()
	if err == nil && s.inForce(traffic) {
		t.enter(RolledBack, 0)
		s.Ended, s.Written = &now, s.Target
		s.Event(now, "", fmt.Sprintf("All requests go to the former release in slot %s. What was released stays in slot %s without traffic, to be looked at.", s.Stable, s.Canary))
		return false, nil
	}
	if now.After(s.Deadline) {
		s.Attention = fmt.Sprintf("The way back is not in force after %s: requests may still reach the release. It is tried at every tick; see the route and the load balancer.", now.Sub(s.Since).Round(time.Second))
	}
	if err != nil {
		return false, fmt.Errorf("return to the former release: %w", err)
	}
	return false, nil
}

func (t *mover) retire(ctx context.Context) (moved bool, err error) {
	s := t.State
	bounded, cancel := s.Within(ctx, t.now())
	defer cancel()
	if err := t.Environment.Deploy(bounded, s.Stable, ""); err != nil {
		return false, fmt.Errorf("take the former release away: %w", err)
	}
	pods, err := t.Environment.Pods(ctx, s.Stable)
	if err != nil {
		return false, fmt.Errorf("ask for the pods of slot %s: %w", s.Stable, err)
	}
	if pods.Desired > 0 {
		return false, nil
	}
	now := t.now()
	t.enter(Completed, 0)
	s.Ended = &now
	s.Event(now, "", "The former release is gone.")
	return false, nil
}
