package rehearsal

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"coditect.ai/platform/infra/rollout"
)

// Screen shows a rollout while it goes on: on a terminal as a picture that is drawn
// anew, elsewhere as lines that are added.
type Screen struct {
	Out   io.Writer
	Style rollout.Style
	// Redraw says that what was written can be written over.
	Redraw bool

	drawn  int       // rows of the last picture
	events int       // that were told
	judged time.Time // of the last look that was told
}

// every is how often a look at the slots is told where there is no terminal.
const every = 4 * time.Second

// Show shows the state.
func (s *Screen) Show(state *rollout.State) {
	if s.Redraw {
		var text strings.Builder
		state.Text(&text, s.Style)
		if s.drawn > 0 {
			fmt.Fprintf(s.Out, "\x1b[%dA\x1b[J", s.drawn)
		}
		fmt.Fprint(s.Out, text.String())
		s.drawn = rows(text.String(), s.Style.Width)
		return
	}
	for _, event := range state.Events[min(s.events, len(state.Events)):] {
		fmt.Fprintf(s.Out, "  %s  %s\n", event.At.Local().Format(time.TimeOnly), event.Text)
	}
	s.events = len(state.Events)
	last := state.Last()
	if last == nil || last.Canary == nil || last.Stable == nil || last.At.Sub(s.judged) < every {
		return
	}
	s.judged = last.At
	fmt.Fprintf(s.Out, "            %d %%: release %s, former %s\n", state.Plan.Stages[last.Stage].Percent, numbers(*last.Canary), numbers(*last.Stable))
}

func numbers(s rollout.Sample) string {
	if s.Requests == 0 {
		return "no requests"
	}
	return fmt.Sprintf("%.0f requests, %.1f %% errors, p99 %s", s.Requests, 100*s.Errors/s.Requests, s.P99.Round(time.Millisecond))
}

var colors = regexp.MustCompile("\x1b\\[[0-9;]*m")

// rows is how many rows of a terminal the text takes.
func rows(text string, width int) (n int) {
	for line := range strings.Lines(text) {
		length := utf8.RuneCountInString(colors.ReplaceAllString(strings.TrimSuffix(line, "\n"), ""))
		n += max(1, (length+width-1)/max(width, 1))
	}
	return n
}
