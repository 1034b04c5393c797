package retire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/infra/workflow"
)

// TestRetirement: step by step, each as long as it is to take, and only with approval out of the route.
func TestRetirement(t *testing.T) {
	w := newWorld()
	r := start(t, w)
	s := w.run(t, r, time.Hour, Approval)
	if took := w.clock.Sub(epoch); s.Phase != Approval || took < plan().Watch || took > plan().Watch+3*time.Hour {
		t.Fatalf("%s after %s", s.Phase, took)
	}
	w.advance(40 * time.Hour)
	if s, err := r.Tick(t.Context()); err != nil || s.Phase != Approval || !w.there.Routed || !strings.Contains(s.Attention, "Shall API v2") {
		t.Fatalf("without approval: %s, %q, %v", s.Phase, s.Attention, err)
	}
	s, err := r.Promote(t.Context())
	if err != nil || s.Phase != Settling || w.there.Routed || w.there.Image == "" {
		t.Fatalf("approved: %s, %+v, %v", s.Phase, w.there, err)
	}
	approved := w.clock
	s = w.run(t, r, time.Hour, "")
	if s.Phase != Completed || w.clock.Sub(approved) < plan().Settle || w.configured.Image != "" {
		t.Errorf("%s after %s, %+v", s.Phase, w.clock.Sub(approved), w.configured)
	}
	if want := []string{"1 true true", "1 false true", "1 false false"}; !slices.Equal(w.writes, want) {
		t.Errorf("written %v, want %v", w.writes, want)
	}
	if _, err := r.Start(t.Context(), plan()); err == nil || !strings.Contains(err.Error(), "no API v2") {
		t.Errorf("once more: %v", err)
	}
	if !slices.ContainsFunc(s.Events, func(e tick.Event) bool { return e.By == "ada@desk" && strings.Contains(e.Text, "Approved") }) {
		t.Errorf("who approved is not on record: %v", s.Events)
	}
}

// TestUsed: while anybody uses it, or nobody knows, nothing moves; a person is told how many, and may go on.
func TestUsed(t *testing.T) {
	recent := func(w *world) {
		for i := range 7 {
			w.used = append(w.used, w.clock.Add(-time.Duration(i)*time.Minute))
		}
	}
	for name, tt := range map[string]struct {
		set  func(*world)
		want string
	}{
		"used":               {recent, "7 requests reached API v2 in the last 24h"},
		"not measured":       {func(w *world) { w.fails["requests"] = errors.New("connection refused") }, "connection refused"},
		"measured too short": {func(w *world) { w.measured = w.clock.Add(-time.Hour) }, "counted since"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			tt.set(w)
			r := start(t, w)
			w.advance(10 * time.Minute)
			s, err := r.Tick(t.Context())
			if err != nil || s.Phase != Verifying || !strings.Contains(s.Attention, tt.want) || len(w.writes) > 0 {
				t.Fatalf("%s, %q, written %v, %v", s.Phase, s.Attention, w.writes, err)
			}
			if s, err = r.Promote(t.Context()); err != nil || s.Phase != Scaling {
				t.Fatalf("promoted: %s, %v", s.Phase, err)
			}
			if last := s.Events[len(s.Events)-2]; !strings.Contains(last.Text, "Goes on without further proof") || last.By != "ada@desk" {
				t.Errorf("on record is %+v", s.Events)
			}
		})
		t.Run(name+" until its end", func(t *testing.T) {
			w := newWorld()
			tt.set(w)
			r := start(t, w)
			w.fails["requests"] = errors.New("connection refused")
			if s := w.run(t, r, time.Hour, ""); s.Phase != Restored || len(w.writes) > 0 || !strings.Contains(s.Reason, "nobody decided") {
				t.Errorf("%s: %q, written %v", s.Phase, s.Reason, w.writes)
			}
		})
	}
	t.Run("no number", func(t *testing.T) {
		m := &mover{&Retirements{Options{Now: time.Now, Environment: nan{}}}, &turn{State: &State{}}}
		if m.quiet(t.Context(), time.Hour, time.Hour) || m.State.Looked.Requests != nil {
			t.Error("what is no number is no request")
		}
	})
	t.Run("and then no more", func(t *testing.T) {
		w := newWorld()
		r := start(t, w)
		w.run(t, r, time.Hour, Watching)
		w.advance(2 * 24 * time.Hour)
		w.used = append(w.used, w.clock)
		w.advance(time.Hour)
		s, err := r.Tick(t.Context())
		if err != nil || s.Phase != Watching || !strings.Contains(s.Attention, "A request reached") {
			t.Fatalf("%s, %q, %v", s.Phase, s.Attention, err)
		}
		used := w.clock
		if s = w.run(t, r, 30*time.Minute, Approval); s.Phase != Restored && w.clock.Sub(used) < plan().Watch-time.Hour {
			t.Errorf("%s only %s after the last request", s.Phase, w.clock.Sub(used))
		}
	})
}

// TestBack: in one tick from each phase until removal has begun.
func TestBack(t *testing.T) {
	for _, phase := range []Phase{Verifying, Scaling, Watching, Approval, Settling} {
		t.Run(string(phase), func(t *testing.T) {
			w := newWorld()
			if phase == Verifying {
				w.used = append(w.used, w.clock)
			}
			r := start(t, w)
			if phase == Settling {
				w.run(t, r, time.Hour, Approval)
				if _, err := r.Promote(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if s := w.run(t, r, 10*time.Minute, phase); s.Phase != phase {
				t.Fatal(s.Phase)
			}
			if _, err := r.Abort(t.Context(), "a customer called"); err != nil {
				t.Fatal(err)
			}
			if want := (Configuration{image, 3, true}); w.there != want || w.configured != want {
				t.Errorf("not back in the tick that decides it: %+v", w.there)
			}
			if s := w.run(t, r, time.Minute, ""); s.Phase != Restored || !strings.Contains(s.Reason, "a customer called") {
				t.Errorf("%s: %q", s.Phase, s.Reason)
			}
			if s, err := r.Start(t.Context(), plan()); err != nil || s.Ended != nil {
				t.Errorf("the next: %+v, %v", s, err)
			}
		})
	}
	t.Run("not from removal", func(t *testing.T) {
		w := newWorld()
		r := start(t, w)
		w.run(t, r, time.Hour, Approval)
		if _, err := r.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.fails["update"] = errors.New("no way")
		w.run(t, r, time.Hour, Removing)
		if _, err := r.Abort(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "is being removed") {
			t.Errorf("aborted: %v", err)
		}
		w.advance(time.Hour)
		if s, _ := r.Tick(t.Context()); s.Phase != Removing || !strings.Contains(s.Attention, "no way") {
			t.Errorf("nobody is told: %s %q", s.Phase, s.Attention)
		}
		delete(w.fails, "update")
		if s := w.run(t, r, time.Hour, ""); s.Phase != Completed {
			t.Error(s.Phase)
		}
	})
}

// TestDeadlines: what never comes true goes back.
func TestDeadlines(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*world)
		want string
	}{
		"the pod is never ready": {func(w *world) { w.lag = 1000 * time.Hour }, "not alone and ready within 30m"},
		"it cannot be scaled":    {func(w *world) { w.fails["update"] = errors.New("no room") }, "no room"},
		"nobody approves":        {func(*world) {}, "nobody approved"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			tt.set(w)
			r := w.process("ada@desk")
			if _, err := r.Start(t.Context(), plan()); err != nil && w.foreign(err) {
				t.Fatal(err)
			}
			s := w.run(t, r, 10*time.Minute, Restoring)
			if !strings.Contains(s.Reason, tt.want) {
				t.Errorf("reason %q, want %q", s.Reason, tt.want)
			}
			w.lag, w.readyAt = 0, time.Time{}
			clear(w.fails)
			if s = w.run(t, r, 10*time.Minute, ""); s.Phase != Restored || w.there != (Configuration{image, 3, true}) {
				t.Errorf("%s, %+v", s.Phase, w.there)
			}
		})
	}
}

// TestEditedByHand: what somebody else writes is neither overwritten nor built upon.
func TestEditedByHand(t *testing.T) {
	begin := func(t *testing.T) (*world, *Retirements) {
		t.Helper()
		w := newWorld()
		r := start(t, w)
		w.run(t, r, time.Hour, Watching)
		w.configured.Image = strings.Replace(image, "01", "02", 1)
		w.advance(time.Hour)
		s, err := r.Tick(t.Context())
		if err != nil || s.Phase != Watching || !strings.Contains(s.Attention, "legacyImage") {
			t.Fatalf("%s, %q, %v", s.Phase, s.Attention, err)
		}
		if _, err := r.Promote(t.Context()); err == nil {
			t.Error("promoted all the same")
		}
		return w, r
	}
	t.Run("undone", func(t *testing.T) {
		w, r := begin(t)
		w.configured.Image = image
		if s, err := r.Tick(t.Context()); err != nil || s.Conflict != nil || strings.Contains(s.Attention, "hand") {
			t.Errorf("still %q, %v", s.Attention, err)
		}
	})
	t.Run("aborted", func(t *testing.T) {
		w, r := begin(t)
		changed := w.configured.Image
		if s, err := r.Abort(t.Context(), ""); err != nil || s.Conflict != nil || w.there != (Configuration{changed, 3, true}) {
			t.Errorf("the image set by hand is lost, or pods are: %+v, %v", w.there, err)
		}
	})
	t.Run("left", func(t *testing.T) {
		w, r := begin(t)
		before := len(w.writes)
		if s := w.run(t, r, time.Hour, ""); s.Phase != Abandoned || len(w.writes) != before {
			t.Errorf("%s, written %v", s.Phase, w.writes)
		}
	})
}

// TestRefused: what cannot begin says why, and nothing is written.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*world, *Plan)
		want string
	}{
		"none":       {func(w *world, _ *Plan) { w.configured.Image = "" }, "no API v2"},
		"no route":   {func(w *world, _ *Plan) { w.configured.Routed = false }, "legacyRouted"},
		"no time":    {func(_ *world, p *Plan) { p.Watch = 0 }, "watch is 0s"},
		"not to see": {func(w *world, _ *Plan) { w.fails["configured"] = errors.New("no stack") }, "no stack"},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := newWorld(), plan()
			tt.set(w, &p)
			r := w.process("x")
			if _, err := r.Start(t.Context(), p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, err := r.Look(t.Context()); !errors.Is(err, ErrNone) || len(w.writes) > 0 {
				t.Errorf("%v, written %v", err, w.writes)
			}
		})
	}
	w := newWorld()
	if _, err := w.process("x").Tick(t.Context()); !errors.Is(err, ErrNone) {
		t.Errorf("a tick of nothing: %v", err)
	}
	r := start(t, w)
	if _, err := r.Start(t.Context(), plan()); !errors.Is(err, ErrUnder) {
		t.Errorf("a second: %v", err)
	}
}

// TestStoreUnavailable: without a saved intention nothing is done.
func TestStoreUnavailable(t *testing.T) {
	w := newWorld()
	w.measured = w.clock
	r := start(t, w)
	w.measured = epoch.Add(-1000 * time.Hour) // it would go on now
	w.fails["save"] = errors.New("the store is unavailable")
	if _, err := r.Tick(t.Context()); err == nil || len(w.writes) > 0 {
		t.Errorf("%v, written %v", err, w.writes)
	}
	delete(w.fails, "save")
	w.advance(workflow.LeaseAge + time.Second)
	if s := w.run(t, r, time.Hour, Watching); s.Phase != Watching {
		t.Error(s.Phase)
	}
}

// TestKill: the process dies at every point at which it touches anything, before
// and after. The same end comes of it, by the same changes.
func TestKill(t *testing.T) {
	type outcome struct {
		phase  Phase
		there  Configuration
		writes string
	}
	live := func(t *testing.T, w *world, fuse int, decide func(*Retirements) (*State, error)) outcome {
		t.Helper()
		w.fuse = fuse
		for n := range 2000 {
			var s *State
			if survive(func() {
				r := w.process(fmt.Sprintf("process%d", n))
				var err error
				if s, _ = r.Look(t.Context()); s == nil {
					s, err = r.Start(t.Context(), plan())
				} else if s.Phase == Approval {
					s, err = decide(r)
				} else {
					s, err = r.Tick(t.Context())
				}
				if err != nil {
					t.Fatalf("point %d: %v", fuse, err)
				}
			}) {
				w.advance(workflow.LeaseAge + time.Second) // a machine that is gone renews no lease
				continue
			}
			if s.Ended != nil {
				if w.there != w.configured {
					t.Errorf("died at point %d: there is %+v and configured %+v", fuse, w.there, w.configured)
				}
				return outcome{s.Phase, w.there, fmt.Sprint(w.writes)}
			}
			w.advance(24 * time.Hour)
		}
		t.Fatalf("point %d: it never ends", fuse)
		return outcome{}
	}
	for name, decide := range map[string]func(*Retirements) (*State, error){
		"approved": func(r *Retirements) (*State, error) { return r.Promote(t.Context()) },
		"aborted":  func(r *Retirements) (*State, error) { return r.Abort(t.Context(), "it stays") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := func() *world {
				w := newWorld()
				w.lag = 2 * time.Minute
				return w
			}
			w := begin()
			want := live(t, w, 0, decide)
			points := w.point
			if points < 50 || (want.phase != Completed && want.phase != Restored) {
				t.Fatalf("%d points, %+v", points, want)
			}
			for point := 1; point <= points; point++ {
				if got := live(t, begin(), point, decide); got != want {
					t.Errorf("died at point %d of %d: %+v, want %+v", point, points, got, want)
				}
			}
			t.Logf("%d points, each died at once: %+v", points, want)
		})
	}
}

// TestViews: in each phase people are told what it is at.
func TestViews(t *testing.T) {
	w := newWorld()
	r := start(t, w)
	for range 400 {
		s, err := r.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var wide, narrow strings.Builder
		s.Text(&wide, tick.Style{Color: true, Width: 120})
		s.Text(&narrow, tick.Style{Width: 60})
		if !strings.HasPrefix(narrow.String(), "API v2 in prod ") || s.Ended == nil && !strings.Contains(wide.String(), "\x1b[") {
			t.Errorf("%s: %s", s.Phase, wide.String())
		}
		if s.Ended != nil {
			return
		}
		if what, until := s.Waiting(); what == "" || until.IsZero() {
			t.Errorf("%s waits for %q until %s", s.Phase, what, until)
		}
		if s.Phase == Approval {
			_, err = r.Promote(t.Context())
		} else {
			w.advance(time.Hour)
			_, err = r.Tick(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("it never ends")
}

type nan struct{ Environment }

func (nan) Requests(context.Context, time.Duration) (float64, error) { return math.NaN(), nil }
