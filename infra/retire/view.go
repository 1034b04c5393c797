package retire

import (
	"fmt"
	"io"
	"strings"
	"time"

	"coditect.ai/platform/infra/tick"
)

// Headline says in a line what the retirement is at.
func (s *State) Headline() string {
	switch s.Phase {
	case Verifying:
		return "is verified to be unused"
	case Scaling:
		return "goes to one pod"
	case Watching:
		return "has one pod, which is watched"
	case Approval:
		return "waits for approval to leave the route"
	case Unrouting:
		return "leaves the route"
	case Settling:
		return "has no route; its pod is kept"
	case Removing:
		return "is removed"
	case Restoring:
		return "comes back: " + s.Reason
	case Completed:
		return "is retired"
	case Restored:
		return "stays: " + s.Reason
	case Abandoned:
		return "is left as it is: " + s.Reason
	}
	return string(s.Phase)
}

// Waiting says what moves the retirement next, and until when that is waited for;
// "" and zero once it has ended.
func (s *State) Waiting() (what string, until time.Time) {
	switch {
	case s.Ended != nil:
		return "", time.Time{}
	case s.Conflict != nil:
		return "a decision about the configuration", s.Conflict.Add(s.Plan.Hold)
	}
	switch s.Phase {
	case Verifying:
		return tick.Short(s.Plan.Verify) + " without a request", s.Deadline
	case Scaling:
		return "its last pod", s.Deadline
	case Watching:
		return "the end of the watch", s.Since.Add(s.Plan.Watch)
	case Approval:
		return "approval", s.Deadline
	case Unrouting:
		return "the route to go", s.Deadline
	case Settling:
		return "the end of the time in which it can come back at once", s.Deadline
	case Removing:
		return "its pods to go", s.Deadline
	case Restoring:
		return "its pods and its route", s.Deadline
	case Completed, Restored, Abandoned:
	}
	return "", s.Deadline
}

// steps are those of a retirement that goes well, in order.
var steps = []struct {
	phases []Phase
	text   string
}{
	{[]Phase{Verifying}, "verify that nobody uses it"},
	{[]Phase{Scaling}, "scale to one pod"},
	{[]Phase{Watching}, "watch"},
	{[]Phase{Approval, Unrouting}, "take it out of the route"},
	{[]Phase{Settling}, "keep it for an instant return"},
	{[]Phase{Removing}, "remove it"},
}

// Text writes the state for people.
func (s *State) Text(w io.Writer, style tick.Style) {
	style.Write(w, fmt.Sprintf("API v2 in %s %s.", s.Environment, strings.TrimSuffix(s.Headline(), ".")))
	lengths := map[Phase]time.Duration{Verifying: s.Plan.Verify, Watching: s.Plan.Watch, Settling: s.Plan.Settle}
	switch s.Phase {
	case Restoring, Restored, Abandoned: // the steps are over
	default:
		state, code := "done", "32"
		for _, step := range steps {
			for _, phase := range step.phases {
				if phase == s.Phase {
					state, code = "now", "36"
				}
			}
			length := ""
			if d := lengths[step.phases[0]]; d > 0 {
				length = tick.Short(d)
			}
			fmt.Fprintf(w, "  %-30s  %-7s  %s\n", step.text, length, style.Paint(code, state))
			if state == "now" {
				state, code = "next", "2"
			}
		}
	}
	if s.Looked != nil && s.Attention == "" {
		style.Write(w, sentence(s.Looked.String())+".")
	}
	what, until := s.Waiting()
	s.Tell(w, style, what, until)
}
