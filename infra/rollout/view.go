package rollout

import (
	"fmt"
	"io"
	"strings"
	"time"

	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/stacks"
)

// Style is how a state is written to a terminal.
type Style = tick.Style

// States of a stage.
const (
	StageDone   = "done"
	StageNow    = "now"
	StageNext   = "next"
	StageFailed = "failed"
)

// StageState is how far the rollout is with a stage.
func (s *State) StageState(stage int) string {
	switch {
	case s.Phase == Retaining || s.Phase == Retiring || s.Phase == Completed:
		return StageDone
	case s.Phase == Deploying || stage > s.Stage:
		return StageNext
	case stage < s.Stage:
		return StageDone
	case s.Phase == RollingBack || s.Phase == RolledBack || s.Phase == Abandoned:
		return StageFailed
	case s.Phase == Approval:
		return StageNext
	}
	return StageNow
}

// Headline says in a line what the rollout is at.
func (s *State) Headline() string {
	stage := s.Plan.Stages[s.Stage]
	switch s.Phase {
	case Deploying:
		return fmt.Sprintf("coming up in slot %s, without requests", s.Canary)
	case Approval:
		return fmt.Sprintf("waits for approval of %d %%", stage.Percent)
	case Shifting:
		return fmt.Sprintf("%d %% of requests are on their way to it", stage.Percent)
	case Soaking:
		return fmt.Sprintf("has %d %% of requests, good for %s of %s", stage.Percent, short(s.Soaked), short(stage.Soak))
	case RollingBack:
		return "goes back: " + s.Reason
	case Retaining:
		return "is the stable release; the former one is kept until " + s.Deadline.Format(time.RFC3339)
	case Retiring:
		return "is the stable release; the former one goes"
	case Completed:
		return "is the stable release"
	case RolledBack:
		return "was taken back: " + s.Reason
	case Abandoned:
		return "was given up: " + s.Reason
	}
	return string(s.Phase)
}

// Waiting says what moves the rollout next, and until when that is waited for;
// "" and zero once it has ended.
func (s *State) Waiting() (what string, until time.Time) {
	switch {
	case s.Phase.Ended():
		return "", time.Time{}
	case s.Conflict != nil:
		return "a decision about the configuration", s.Conflict.Add(s.Plan.Hold)
	case s.Paused != nil:
		return "a person to resume it", s.Deadline
	}
	switch s.Phase {
	case Deploying:
		what = "the release's pods"
	case Approval:
		what = "approval"
	case Shifting:
		what = "the load balancer"
	case Soaking:
		what = "the end of the stage"
		if last := s.Last(); last != nil && last.Verdict.Outcome == Inconclusive {
			what = "measurements (" + strings.Join(last.Verdict.Reasons, "; ") + ")"
		}
	case RollingBack:
		what = "the load balancer"
	case Retaining:
		what = "the end of the time in which the former release is kept"
	case Retiring:
		what = "the former release's pods to go"
	case Completed, RolledBack, Abandoned:
	}
	return what, s.Deadline
}

func short(d time.Duration) string { return tick.Short(d) }

// sparks are the points of a line of text, from the least to the most.
const sparks = "▁▂▃▄▅▆▇█"

// Sparkline draws values between 0 and their greatest, or top if that is more.
func Sparkline(values []float64, top float64) string {
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	levels := []rune(sparks)
	for _, v := range values {
		level := 0
		if top > 0 && v > 0 {
			level = min(int(v/top*float64(len(levels))), len(levels)-1)
		}
		b.WriteRune(levels[level])
	}
	return b.String()
}

// history is how many looks a sparkline shows.
const history = 24

// Text writes the state for people.
func (s *State) Text(w io.Writer, style Style) {
	style.Write(w, fmt.Sprintf("Release %s in %s %s.", s.Release.Version, s.Environment, strings.TrimSuffix(s.Headline(), ".")))
	for i, stage := range s.Plan.Stages {
		state := s.StageState(i)
		code := map[string]string{StageDone: "32", StageNow: "36", StageFailed: "31", StageNext: "2"}[state]
		line := fmt.Sprintf("  %3d %%  %-6s  ", stage.Percent, short(stage.Soak))
		if state == StageNow && s.Phase == Soaking {
			line += bar(float64(s.Soaked)/float64(stage.Soak), 10) + " "
		}
		fmt.Fprintln(w, line+style.Paint(code, state))
	}
	s.slot(w, "release", s.Canary, style, func(j Judgment) *Sample { return j.Canary })
	s.slot(w, "former", s.Stable, style, func(j Judgment) *Sample { return j.Stable })
	what, until := s.Waiting()
	s.Tell(w, style, what, until)
}

// slot is one slot's line, and what was measured of it.
func (s *State) slot(w io.Writer, role string, name stacks.Slot, style Style, of func(Judgment) *Sample) {
	line := fmt.Sprintf("  %-7s  %-5s  %3d %%", role, name, s.Target[name])
	var shares, tails []float64
	for _, j := range s.Judged[max(0, len(s.Judged)-history):] {
		if sample := of(j); sample != nil {
			shares, tails = append(shares, sample.share()), append(tails, sample.P99.Seconds())
		}
	}
	if last := s.Last(); last != nil && of(*last) != nil {
		sample := of(*last)
		measured := fmt.Sprintf("  %6.0f requests  %6.2f %% errors  p99 %s", sample.Requests, 100*sample.share(), sample.P99.Round(time.Millisecond))
		if style.Width > 0 && len(line)+len(measured) > style.Width {
			measured = "\n  " + measured
		}
		line += measured
	} else if s.Target[name] > 0 && s.Phase == Soaking {
		line += "  not measured"
	}
	fmt.Fprintln(w, line)
	if len(shares) > 1 && (style.Width == 0 || style.Width >= 40+2*history) {
		fmt.Fprintf(w, "           errors %s  p99 %s\n", Sparkline(shares, s.Plan.Limits.Errors), Sparkline(tails, s.Plan.Limits.P99.Seconds()))
	}
}

func bar(part float64, width int) string {
	full := min(max(int(part*float64(width)), 0), width)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
