package retire

import (
	"context"
	"fmt"
	"strings"
	"time"

	"coditect.ai/platform/infra/tick"
)

// mover is one holder of the lease at work on the state.
type mover struct {
	*Retirements
	*turn
}

func (m *mover) now() time.Time { return m.Now().UTC() }

func (m *mover) elapsed() string { return tick.Short(m.now().Sub(m.State.Since)) }

func (m *mover) run(ctx context.Context) error { return m.Run(ctx, m.move) }

// move goes on from where the state is, and tells whether the next move can be made at once.
func (m *mover) move(ctx context.Context) (moved bool, err error) {
	s := m.State
	if s.Phase == Restoring {
		return false, m.restore(ctx)
	}
	configured, err := m.Environment.Configured(ctx)
	if err != nil {
		err = fmt.Errorf("read the stack's configuration: %w", err)
	} else if foreign := s.foreign(configured); foreign != "" {
		m.conflict(foreign)
		return false, nil
	}
	if s.Conflict != nil && err == nil {
		s.Conflict, s.Attention = nil, ""
		s.Event(m.now(), "", "The configuration is the retirement's own again.")
	}
	before := s.Phase
	if err == nil {
		moved, err = m.step(ctx, configured)
	}
	// What has come true is not late, however seldom somebody looks.
	if s.Phase == before && !moved && s.Late(m.now()) && m.late(err) {
		return true, nil
	}
	return moved, err
}

// step does what the phase asks for.
func (m *mover) step(ctx context.Context, configured Configuration) (moved bool, err error) {
	switch s := m.State; s.Phase {
	case Verifying:
		return m.verify(ctx)
	case Scaling:
		return m.scale(ctx, configured)
	case Watching:
		return m.watch(ctx)
	case Approval:
		return m.approve(ctx), nil
	case Unrouting:
		return m.unroute(ctx, configured)
	case Settling:
		if !s.Skip {
			return false, nil // until it is late
		}
		m.remove()
		return true, nil
	case Removing:
		return false, m.removal(ctx)
	case Restoring, Completed, Restored, Abandoned:
	}
	return false, nil
}

// late ends a phase whose deadline is over, if anything can be done about it.
func (m *mover) late(cause error) (moved bool) {
	s, because := m.State, ""
	switch {
	case cause != nil:
		because = ": " + cause.Error()
	case s.Trouble != "":
		because = ": " + s.Trouble
	}
	switch s.Phase {
	case Verifying, Watching:
		seen := "nothing could be measured"
		if s.Looked != nil {
			seen = s.Looked.String()
		}
		m.giveUp(fmt.Sprintf("%s, and nobody decided within %s%s", seen, tick.Short(s.Plan.Hold), because))
	case Scaling:
		m.giveUp(fmt.Sprintf("the last pod was not alone and ready within %s%s", tick.Short(s.Plan.Step), because))
	case Approval:
		m.giveUp(fmt.Sprintf("nobody approved within %s that it leaves the route", tick.Short(s.Plan.Hold)))
	case Unrouting:
		m.giveUp(fmt.Sprintf("the route was not gone within %s%s", tick.Short(s.Plan.Step), because))
	case Settling:
		if cause != nil {
			return false
		}
		m.remove()
	case Removing:
		s.Attention = fmt.Sprintf("What is left of API v2 does not go away%s. No request is led there: see its Deployment. It is tried at every tick.", because)
		return false
	case Restoring, Completed, Restored, Abandoned:
		return false
	}
	return true
}

// enter begins a phase.
func (m *mover) enter(phase Phase, bound time.Duration) {
	m.State.Phase, m.State.Skip, m.State.Looked = phase, false, nil
	m.State.Enter(m.now(), bound)
}

// intend intends a configuration; it is written by the next move.
func (m *mover) intend(phase Phase, next Configuration) {
	m.State.Written, m.State.Target = m.State.Target, next
	m.enter(phase, m.State.Plan.Step)
}

// giveUp brings back what was. The write follows in the same tick.
func (m *mover) giveUp(reason string) {
	m.State.Reason = reason
	m.intend(Restoring, m.State.Was)
	m.State.Event(m.now(), "", "API v2 stays: "+reason+".")
}

func (m *mover) end(phase Phase, text string) {
	now := m.now()
	m.enter(phase, 0)
	m.State.Ended, m.State.Written = &now, m.State.Target
	m.State.Event(now, "", text)
}

// foreign says what in the configuration is not this retirement's doing; "" if nothing.
func (s *State) foreign(c Configuration) string {
	if c == s.Target || c == s.Written {
		return ""
	}
	var faults []string
	if c.Image != s.Target.Image {
		faults = append(faults, fmt.Sprintf("legacyImage is %q and not %q", c.Image, s.Target.Image))
	}
	if c.Replicas != s.Target.Replicas {
		faults = append(faults, fmt.Sprintf("legacyReplicas is %d and not %d", c.Replicas, s.Target.Replicas))
	}
	if c.Routed != s.Target.Routed {
		faults = append(faults, fmt.Sprintf("legacyRouted is %t and not %t", c.Routed, s.Target.Routed))
	}
	return strings.Join(faults, "; ")
}

// conflict holds everything while somebody else has changed the configuration, and in the end leaves it to them.
func (m *mover) conflict(foreign string) {
	s, now := m.State, m.now()
	if s.Conflict == nil {
		s.Conflict = &now
		s.Event(now, "", "The configuration was changed by another hand: "+foreign+".")
	}
	until := s.Conflict.Add(s.Plan.Hold)
	back := "`abort` brings back pods and route; "
	if s.Phase == Removing {
		back = ""
	}
	s.Attention = fmt.Sprintf("The configuration was changed by another hand: %s. Nothing moves until it is set back; %sotherwise the retirement is given up at %s and everything stays as it then is.",
		foreign, back, until.Format(time.RFC3339))
	if now.After(until) {
		s.Reason = "the configuration was changed by another hand and nobody decided: " + foreign
		m.end(Abandoned, "Given up: "+s.Reason+".")
	}
}

// String says what a look has come to.
func (l *Look) String() string {
	switch {
	case l.Requests == nil:
		return fmt.Sprintf("the requests of the last %s cannot be measured (%s)", tick.Short(l.Window), l.Why)
	case *l.Requests == 0:
		return "no request reached API v2 in the last " + tick.Short(l.Window)
	case *l.Requests < 1.5:
		return "a request reached API v2 in the last " + tick.Short(l.Window)
	}
	return fmt.Sprintf("%.0f requests reached API v2 in the last %s", *l.Requests, tick.Short(l.Window))
}

// look asks for the requests of a window.
func (m *mover) look(ctx context.Context, window time.Duration) *Look {
	look := &Look{At: m.now(), Window: window}
	n, err := m.Environment.Requests(ctx, window)
	switch {
	case err != nil:
		look.Why = err.Error()
	case !(n >= 0): // or no number at all
		look.Why = fmt.Sprintf("the measurements say %v", n)
	default:
		look.Requests = &n
	}
	m.State.Looked = look
	return look
}

// quiet tells whether no request was in the window. Otherwise a person is asked.
func (m *mover) quiet(ctx context.Context, window, need time.Duration) bool {
	s, look := m.State, m.look(ctx, window)
	if look.Requests != nil && *look.Requests == 0 {
		s.Attention = ""
		return true
	}
	s.Attention = fmt.Sprintf("%s. It goes on by itself once %s have gone by without one; `promote` goes on all the same, `abort` keeps API v2, which happens by itself at %s.",
		sentence(look.String()), tick.Short(need), s.Deadline.Format(time.RFC3339))
	return false
}

func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func (m *mover) verify(ctx context.Context) (moved bool, err error) {
	s := m.State
	if !m.quiet(ctx, s.Plan.Verify, s.Plan.Verify) && !s.Skip {
		return false, nil
	}
	next := s.Target
	next.Replicas = 1
	text := fmt.Sprintf("To one pod: %s.", s.Looked)
	m.intend(Scaling, next)
	s.Event(m.now(), "", text)
	return true, nil
}

// put makes the target true where it is not, and returns what is there.
func (m *mover) put(ctx context.Context, configured Configuration) (Present, error) {
	s := m.State
	there, err := m.Environment.Present(ctx)
	if err != nil {
		return there, fmt.Errorf("ask what is there of API v2: %w", err)
	}
	if configured == s.Target && there.Routed == s.Target.Routed && there.Desired == s.Target.Replicas {
		return there, nil
	}
	bounded, cancel := s.Within(ctx, m.now())
	defer cancel()
	if err := m.Environment.Configure(bounded, s.Target); err != nil {
		return there, fmt.Errorf("configure API v2: %w", err)
	}
	if there, err = m.Environment.Present(ctx); err != nil {
		return there, fmt.Errorf("ask what is there of API v2: %w", err)
	}
	return there, nil
}

// inForce tells whether what is there is the target, with all of its pods ready.
func (s *State) inForce(there Present) bool {
	return there.Routed == s.Target.Routed && (there.Accepted || !there.Routed) && there.Desired == s.Target.Replicas && there.Ready >= there.Desired
}

func (m *mover) scale(ctx context.Context, configured Configuration) (moved bool, err error) {
	there, err := m.put(ctx, configured)
	if err != nil || !m.State.inForce(there) {
		return false, err
	}
	m.enter(Watching, m.State.Plan.Watch+m.State.Plan.Hold)
	m.State.Written = m.State.Target
	m.State.Event(m.now(), "", "One pod is left, and it is watched.")
	return false, nil // nothing was seen yet
}

func (m *mover) watch(ctx context.Context) (moved bool, err error) {
	s := m.State
	window := min(m.now().Sub(s.Since), s.Plan.Watch)
	if window <= 0 {
		return false, nil
	}
	quiet := m.quiet(ctx, window, s.Plan.Watch)
	if !s.Skip && (!quiet || window < s.Plan.Watch) {
		return false, nil
	}
	text := fmt.Sprintf("Watched for %s: %s.", m.elapsed(), s.Looked)
	m.enter(Approval, s.Plan.Hold)
	s.Event(m.now(), "", text)
	return true, nil
}

func (m *mover) approve(ctx context.Context) (moved bool) {
	s := m.State
	if s.Skip {
		next := s.Target
		next.Routed = false
		m.intend(Unrouting, next)
		return true
	}
	look := m.look(ctx, s.Plan.Watch)
	s.Attention = fmt.Sprintf("Shall API v2 leave the route? %s. `promote` says yes, `abort` no; without a word it stays, at %s.",
		sentence(look.String()), s.Deadline.Format(time.RFC3339))
	return false
}

func (m *mover) unroute(ctx context.Context, configured Configuration) (moved bool, err error) {
	s := m.State
	there, err := m.put(ctx, configured)
	if err != nil || there.Routed {
		return false, err
	}
	m.enter(Settling, s.Plan.Settle)
	s.Written = s.Target
	s.Event(m.now(), "", fmt.Sprintf("No route leads to API v2. Its pod is kept until %s.", s.Deadline.Format(time.RFC3339)))
	return false, nil
}

// remove intends the removal.
func (m *mover) remove() {
	next := m.State.Target
	next.Image = ""
	text := fmt.Sprintf("API v2 was without a route for %s and is removed.", m.elapsed())
	m.intend(Removing, next)
	m.State.Event(m.now(), "", text)
}

func (m *mover) removal(ctx context.Context) error {
	s := m.State
	bounded, cancel := s.Within(ctx, m.now())
	defer cancel()
	if err := m.Environment.Configure(bounded, s.Target); err != nil {
		return fmt.Errorf("remove API v2: %w", err)
	}
	there, err := m.Environment.Present(ctx)
	if err != nil {
		return fmt.Errorf("ask what is there of API v2: %w", err)
	}
	if there.Desired == 0 && !there.Routed {
		m.end(Completed, "API v2 is gone.")
	}
	return nil
}

// restore writes what was until it is true again. It asks nothing that could keep
// it from writing. An image that another hand has set meanwhile stays.
func (m *mover) restore(ctx context.Context) error {
	s, now := m.State, m.now()
	configured, err := m.Environment.Configured(ctx)
	if err == nil && configured.Image != "" {
		s.Target.Image = configured.Image
	}
	there, unknown := m.Environment.Present(ctx)
	if err != nil || unknown != nil || configured != s.Target || there.Routed != s.Target.Routed || there.Desired != s.Target.Replicas {
		bounded, cancel := s.Within(ctx, now)
		defer cancel()
		if err = m.Environment.Configure(bounded, s.Target); err == nil {
			there, err = m.Environment.Present(ctx)
		}
	}
	if err == nil && s.inForce(there) {
		m.end(Restored, fmt.Sprintf("API v2 is as it was: %d pods, and the route leads there.", there.Ready))
		return nil
	}
	if s.Late(now) {
		s.Attention = fmt.Sprintf("API v2 is not as it was after %s: its users may find nothing. It is tried at every tick; see its route and its Deployment.", m.elapsed())
	}
	if err != nil {
		return fmt.Errorf("bring API v2 back: %w", err)
	}
	return nil
}
