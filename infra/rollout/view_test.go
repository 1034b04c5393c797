package rollout

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestViews: in each phase people are told what it is at, on a narrow terminal too, and the page carries no text of others unescaped.
func TestViews(t *testing.T) {
	w, p := newWorld(), plan()
	p.Approval = true
	wanted := release
	wanted.Version = "5.1.0<script>"
	r := w.process("ada@desk")
	s, err := r.Start(t.Context(), wanted, p)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Phase]bool{}
	for !s.Phase.Ended() {
		seen[s.Phase] = true
		var wide, narrow, page strings.Builder
		s.Text(&wide, Style{Color: true, Width: 120})
		s.Text(&narrow, Style{Width: 60})
		if err := s.HTML(&page); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(page.String(), "<script>") {
			t.Fatal("the page runs what a version is called")
		}
		if !strings.Contains(wide.String(), "\x1b[") || strings.Contains(narrow.String(), "\x1b[") {
			t.Errorf("%s: colours where none are wanted, or none where they are", s.Phase)
		}
		for line := range strings.Lines(narrow.String()) {
			if utf8.RuneCountInString(line) > 61 { // its end included
				t.Errorf("%s: the line %q is too long", s.Phase, line)
			}
		}
		if s.Attention != "" && !strings.Contains(strings.Join(strings.Fields(narrow.String()), " "), "Needs you: "+strings.Fields(s.Attention)[0]) {
			t.Errorf("%s: nobody is asked: %s", s.Phase, narrow.String())
		}
		if what, until := s.Waiting(); what == "" || until.IsZero() {
			t.Errorf("%s waits for %q until %s", s.Phase, what, until)
		}
		if s.Phase == Approval {
			if s, err = r.Promote(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		w.advance(10 * time.Minute)
		if s, err = r.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.Phase == Retaining {
			w.advance(p.Retain)
		}
	}
	for _, phase := range []Phase{Approval, Shifting, Soaking, Retaining} {
		if !seen[phase] {
			t.Errorf("%s was not seen", phase)
		}
	}
}

// TestSparkline: from nothing to the top, and never beyond.
func TestSparkline(t *testing.T) {
	if got := Sparkline([]float64{0, 0.5, 1, 2}, 1); got != "▁▃▅█" {
		t.Errorf("drawn as %s", got)
	}
	if got := Sparkline(nil, 0); got != "" {
		t.Errorf("nothing drawn as %q", got)
	}
}
