package rollout

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"coditect.ai/platform/infra/workflow"
)

// brief is a plan whose run has few ticks, so that each of their points can be died at.
func brief() Plan {
	p := plan()
	p.Stages = []Stage{{10, 20 * time.Minute}, {50, 20 * time.Minute}, {100, 20 * time.Minute}}
	p.Retain = 20 * time.Minute
	p.Shift, p.Deploy = time.Hour, time.Hour
	return p
}

// outcome is what must be the same however often a process died.
type outcome struct {
	phase  Phase
	stage  int
	images string
	shifts string
	lost   float64
}

// live runs a whole rollout by processes that die at a point; the next goes on.
func live(t *testing.T, w *world, fuse int) outcome {
	t.Helper()
	w.fuse = fuse
	var s *State
	for n := range 2000 {
		died := survive(func() {
			r := w.process(fmt.Sprintf("process%d", n))
			var err error
			if s, _ = r.Look(t.Context()); s == nil {
				s, err = r.Start(t.Context(), release, brief())
			} else {
				s, err = r.Tick(t.Context())
			}
			if err != nil {
				t.Fatalf("point %d: %v", fuse, err)
			}
		})
		if died {
			// A machine that is gone renews no lease.
			w.advance(workflow.LeaseAge + time.Second)
			continue
		}
		if s.Phase.Ended() {
			return outcome{s.Phase, s.Stage, fmt.Sprint(w.split.Images), fmt.Sprint(w.shifts()), w.lost}
		}
		w.advance(10 * time.Minute)
	}
	t.Fatalf("point %d: it never ends", fuse)
	return outcome{}
}

// TestKill: the process dies at every point at which it touches anything, before
// and after. The same end comes of it, by the same weights, and no request more is lost.
func TestKill(t *testing.T) {
	for name, q := range map[string]quality{
		"good":    {errors: 0.001, p99: 95 * time.Millisecond},
		"bad":     {errors: 0.3, p99: 95 * time.Millisecond},
		"crashes": {restarts: 60, p99: 95 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := func() *world {
				w := newWorld()
				w.quality[newImage] = q
				return w
			}
			w := begin()
			want := live(t, w, 0)
			points := w.point
			if points < 50 || want.lost != 0 {
				t.Fatalf("%d points, %+v", points, want)
			}
			for point := 1; point <= points; point++ {
				w := begin()
				if got := live(t, w, point); got != want {
					t.Errorf("died at point %d of %d: %+v, want %+v", point, points, got, want)
				}
				if !maps.Equal(w.asked, w.split.Weights) {
					t.Errorf("died at point %d: the route has %v and the configuration %v", point, w.asked, w.split.Weights)
				}
			}
			t.Logf("%d points, each died at once: %+v", points, want)
		})
	}
}
