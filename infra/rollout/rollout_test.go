package rollout

import (
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

func start(t *testing.T, w *world, p Plan) *Rollouts {
	t.Helper()
	r := w.process("ada@desk")
	if _, err := r.Start(t.Context(), release, p); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRelease: a good one goes through its stages, each as long as it is to take, and the former one goes after its time.
func TestRelease(t *testing.T) {
	w := newWorld()
	r := start(t, w, plan())
	s := w.run(t, r, 5*time.Minute, Retaining)
	if want := []string{"blue 90, green 10", "blue 50, green 50", "blue 0, green 100"}; !slices.Equal(w.shifts(), want) {
		t.Errorf("weights %v, want %v", w.shifts(), want)
	}
	took := w.clock.Sub(epoch)
	if soaks := 29 * time.Hour; took < soaks || took > soaks+2*time.Hour {
		t.Errorf("it took %s", took)
	}
	if w.pods[stacks.Blue].Image != oldImage {
		t.Error("the former release is gone before its time")
	}
	proof, err := Proven(t.Context(), w.store, newImage)
	if err != nil || proof.Soaked < 24*time.Hour || proof.Skipped || proof.Release != release {
		t.Errorf("record %+v, %v", proof, err)
	}
	if _, err := Proven(t.Context(), w.store, oldImage); !errors.Is(err, workflow.ErrAbsent) {
		t.Errorf("the record of another image: %v", err)
	}
	first := s.ID
	s = w.run(t, r, time.Hour)
	if s.Phase != Completed || s.Ended == nil || w.split.Images[stacks.Blue] != "" || w.pods[stacks.Blue].Desired != 0 {
		t.Errorf("in the end %s, configured %+v", s.Phase, w.split)
	}
	if w.lost != 0 {
		t.Errorf("%.0f requests met no pod", w.lost)
	}
	// The next one goes the other way.
	next := Release{Version: "5.2.0", Image: strings.Replace(newImage, "2", "3", 2)}
	w.quality[next.Image] = w.quality[newImage]
	s, err = r.Start(t.Context(), next, plan())
	if err != nil || s.Canary != stacks.Blue || s.Stable != stacks.Green {
		t.Errorf("the next: %+v, %v", s, err)
	}
	if old, _, err := w.store.Get(t.Context(), Key+"-"+first); err != nil || len(old) == 0 {
		t.Errorf("the former rollout is not kept: %v", err)
	}
}

// TestBad: whatever is wrong with a release, it goes back, by one write in the tick that judges it.
func TestBad(t *testing.T) {
	tests := map[string]struct {
		quality quality
		want    string
	}{
		"errors":              {quality{errors: 0.2, p99: 90 * time.Millisecond}, "failed, more than 5.00 %"},
		"more errors":         {quality{errors: 0.03, p99: 90 * time.Millisecond}, "no chance"},
		"slow":                {quality{errors: 0.001, p99: 700 * time.Millisecond}, "more than 500ms"},
		"slower":              {quality{errors: 0.001, p99: 200 * time.Millisecond}, "more than 1.5 times"},
		"crashes":             {quality{errors: 0.001, p99: 90 * time.Millisecond, restarts: 20}, "restarted"},
		"pods that are short": {quality{errors: 0.001, p99: 90 * time.Millisecond, missing: 1}, "was not ready within"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.quality[newImage] = tt.quality
			r := start(t, w, plan())
			s := w.run(t, r, time.Minute, RollingBack)
			if !strings.Contains(s.Reason, tt.want) {
				t.Errorf("reason %q, want %q", s.Reason, tt.want)
			}
			if w.split.Weights[stacks.Green] != 0 || w.asked[stacks.Green] != 0 {
				t.Errorf("the way back is not written in the tick that decides it: %v", w.asked)
			}
			s = w.run(t, r, time.Minute)
			if s.Phase != RolledBack || w.lost != 0 || len(w.shifts()) > 2 {
				t.Errorf("in the end %s, %.0f requests lost, weights %v", s.Phase, w.lost, w.shifts())
			}
			if _, err := Proven(t.Context(), w.store, newImage); err == nil {
				t.Error("a bad release has a record of being good")
			}
		})
	}
}

// TestBadLater: a release that turns bad at 50 percent, or after all stages, is no safer.
func TestBadLater(t *testing.T) {
	w := newWorld()
	r := start(t, w, plan())
	w.run(t, r, time.Minute, Soaking)
	for s := (&State{}); s.Stage < 1 || s.Phase != Soaking; s = w.run(t, r, time.Minute, Soaking) {
		w.advance(time.Minute)
	}
	w.quality[newImage] = quality{errors: 0.5, p99: time.Second}
	before := w.clock
	s := w.run(t, r, time.Minute)
	if s.Phase != RolledBack || s.Stage != 1 {
		t.Fatalf("%s at stage %d", s.Phase, s.Stage)
	}
	if took := w.clock.Sub(before); took > 10*time.Minute {
		t.Errorf("it took %s", took)
	}
}

// TestDeadlines: every phase in which nothing comes ends.
func TestDeadlines(t *testing.T) {
	tests := map[string]struct {
		set  func(*world, *Plan)
		want string
	}{
		"pods never come":         {func(w *world, _ *Plan) { w.starting = 1000 * time.Hour }, "was not ready within 30m0s"},
		"it cannot be deployed":   {func(w *world, _ *Plan) { w.fails["deploy"] = errors.New("no room") }, "no room"},
		"weights never arrive":    {func(w *world, _ *Plan) { w.lag = 1000 * time.Hour }, "not in force within 15m0s"},
		"nobody approves":         {func(_ *world, p *Plan) { p.Approval = true }, "nobody approved"},
		"nothing can be measured": {func(w *world, _ *Plan) { w.fails["sample"] = errors.New("connection refused") }, "could not be judged"},
		"too few requests":        {func(w *world, _ *Plan) { w.rate = 0.0001 }, "could not be judged"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, p := newWorld(), plan()
			tt.set(w, &p)
			r := w.process("ada@desk")
			if _, err := r.Start(t.Context(), release, p); err != nil && w.lenient(err) {
				t.Fatal(err)
			}
			s := w.run(t, r, 5*time.Minute, RollingBack)
			if !strings.Contains(s.Reason, tt.want) {
				t.Errorf("reason %q, want %q", s.Reason, tt.want)
			}
			w.lag = 0
			w.turned = w.turned[:1]
			if s = w.run(t, r, 5*time.Minute); s.Phase != RolledBack || w.lost != 0 {
				t.Errorf("in the end %s, %.0f requests lost", s.Phase, w.lost)
			}
		})
	}
}

// TestSlowLoadBalancer: a stage begins when the load balancer divides by it, not when it was told.
func TestSlowLoadBalancer(t *testing.T) {
	w := newWorld()
	w.lag = 12 * time.Minute
	r := start(t, w, plan())
	s := w.run(t, r, time.Minute, Soaking)
	in, since := w.weights(w.clock)
	if in[stacks.Green] != 10 || s.InForce.Before(since) {
		t.Errorf("it soaks since %s, and %v are in force since %s", s.InForce, in, since)
	}
}

// TestSplitDisagrees: weights that the load balancer tells and does not keep are not in force.
func TestSplitDisagrees(t *testing.T) {
	target := Weights{stacks.Blue: 90, stacks.Green: 10}
	for _, tt := range []struct {
		blue, green float64
		want        bool
	}{{900, 100, true}, {1000, 0, false}, {500, 500, false}, {20, 0, true}, {880, 120, true}, {700, 300, false}, {0, 0, true}} {
		if got := agrees(target, map[stacks.Slot]float64{stacks.Blue: tt.blue, stacks.Green: tt.green}); got != tt.want {
			t.Errorf("%v of %v: %v", target, tt, got)
		}
	}
	if !agrees(target, nil) {
		t.Error("an environment that counts nothing is not to be waited for")
	}
}

// TestLostMetrics: time in which nothing was measured does not count, and a person is told.
func TestLostMetrics(t *testing.T) {
	w := newWorld()
	r := start(t, w, plan())
	w.run(t, r, time.Minute, Soaking)
	gone := errors.New("connection refused")
	w.blind = func(stacks.Slot) (Sample, error) { return Sample{}, gone }
	for range 120 {
		w.advance(time.Minute)
		s, err := r.Tick(t.Context())
		if err != nil || s.Stage != 0 || s.Phase != Soaking {
			t.Fatalf("without metrics: %s at stage %d, %v", s.Phase, s.Stage, err)
		}
	}
	s, err := r.Look(t.Context())
	if err != nil || !strings.Contains(s.Attention, "connection refused") || s.Soaked > 5*time.Minute {
		t.Errorf("attention %q, soaked %s, %v", s.Attention, s.Soaked, err)
	}
	w.blind = nil
	s = w.run(t, r, 5*time.Minute, Retaining)
	if took := w.clock.Sub(epoch); took < 31*time.Hour || s.Attention != "" {
		t.Errorf("it took %s in all, attention %q", took, s.Attention)
	}
}

// TestContradictingMetrics: what cannot be true is not good.
func TestContradictingMetrics(t *testing.T) {
	for name, sample := range map[string]Sample{
		"no number":                   {Requests: math.NaN()},
		"more errors than requests":   {Requests: 1000, Errors: 5000},
		"negative":                    {Requests: -5},
		"endless":                     {Requests: math.Inf(1), Errors: 1},
		"a duration before its start": {Requests: 1000, P99: -time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			r := start(t, w, plan())
			w.run(t, r, time.Minute, Soaking)
			w.blind = func(stacks.Slot) (Sample, error) { return sample, nil }
			for range 90 {
				w.advance(time.Minute)
				s, err := r.Tick(t.Context())
				if err != nil || s.Phase != Soaking || s.Stage != 0 {
					t.Fatalf("%s at stage %d, %v", s.Phase, s.Stage, err)
				}
			}
		})
	}
}

// TestPause: it holds, what is bad goes back all the same, and a person's decisions are on record.
func TestPause(t *testing.T) {
	w := newWorld()
	r := start(t, w, plan())
	w.run(t, r, time.Minute, Soaking)
	if _, err := r.Pause(t.Context(), "a look at the logs"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pause(t.Context(), "again"); err == nil {
		t.Error("paused twice")
	}
	if _, err := r.Promote(t.Context()); err == nil {
		t.Error("promoted while it is paused")
	}
	for range 180 {
		w.advance(time.Minute)
		if s, err := r.Tick(t.Context()); err != nil || s.Stage != 0 {
			t.Fatalf("paused, and at stage %d: %v", s.Stage, err)
		}
	}
	s, err := r.Resume(t.Context())
	if err != nil || s.Paused != nil || s.Stage != 1 {
		t.Fatalf("resumed: %+v, %v", s, err)
	}
	if _, err := r.Pause(t.Context(), "again"); err != nil {
		t.Fatal(err)
	}
	w.advance(20 * time.Minute)
	w.quality[newImage] = quality{errors: 0.4}
	if s := w.run(t, r, time.Minute); s.Phase != RolledBack {
		t.Errorf("bad while it was paused: %s", s.Phase)
	}
	s, _ = r.Look(t.Context())
	if !slices.ContainsFunc(s.Events, func(e Event) bool {
		return e.By == "ada@desk" && strings.Contains(e.Text, "a look at the logs")
	}) {
		t.Errorf("who paused it is not on record: %v", s.Events)
	}
	if _, err := r.Abort(t.Context(), ""); err == nil {
		t.Error("aborted after its end")
	}
}

// TestApprovalAndPromote: each stage waits for its approval, and a soak can be ended by a person.
func TestApprovalAndPromote(t *testing.T) {
	w, p := newWorld(), plan()
	p.Approval = true
	r := start(t, w, p)
	for stage := range p.Stages {
		s := w.run(t, r, time.Minute, Approval)
		if s.Stage != stage || s.Attention == "" {
			t.Fatalf("asks for stage %d: %q", s.Stage, s.Attention)
		}
		if _, err := r.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.run(t, r, time.Minute, Soaking)
		if _, err := r.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.Look(t.Context())
	if err != nil || s.Phase != Retaining || w.clock.Sub(epoch) > time.Hour {
		t.Errorf("%s after %s, %v", s.Phase, w.clock.Sub(epoch), err)
	}
	proof, err := Proven(t.Context(), w.store, newImage)
	if err != nil || !proof.Skipped || proof.Soaked > time.Hour {
		t.Errorf("the record hides that nothing soaked: %+v, %v", proof, err)
	}
	if s, err = r.Abort(t.Context(), "a customer called"); err != nil || s.Phase != RollingBack || w.asked[stacks.Green] != 0 {
		t.Errorf("back from a finished release: %s, %v, %v", s.Phase, w.asked, err)
	}
}

// TestJudgedWhileItWaits: a release that turns bad while a person is asked goes back without one.
func TestJudgedWhileItWaits(t *testing.T) {
	for _, paused := range []bool{false, true} {
		w, p := newWorld(), plan()
		p.Approval = true
		r := start(t, w, p)
		w.run(t, r, time.Minute, Approval)
		if _, err := r.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.run(t, r, time.Minute, Soaking)
		s := w.run(t, r, 5*time.Minute, Approval)
		if s.Stage != 1 || !strings.Contains(s.Attention, "50 %") {
			t.Fatalf("asks %q at stage %d", s.Attention, s.Stage)
		}
		if paused {
			if _, err := r.Pause(t.Context(), "lunch"); err != nil {
				t.Fatal(err)
			}
		}
		w.quality[newImage] = quality{errors: 0.3, p99: 90 * time.Millisecond}
		before := w.clock
		if s := w.run(t, r, time.Minute); s.Phase != RolledBack || w.clock.Sub(before) > 15*time.Minute {
			t.Errorf("paused %v: %s after %s", paused, s.Phase, w.clock.Sub(before))
		}
	}
}

// TestQuestionStays: after a pause the question is asked again, and the time for it begins anew.
func TestQuestionStays(t *testing.T) {
	w, p := newWorld(), plan()
	p.Approval = true
	r := start(t, w, p)
	w.run(t, r, time.Minute, Approval)
	if _, err := r.Pause(t.Context(), "lunch"); err != nil {
		t.Fatal(err)
	}
	w.advance(p.Hold - time.Minute)
	s, err := r.Resume(t.Context())
	if err != nil || s.Phase != Approval || !strings.Contains(s.Attention, "10 %") {
		t.Fatalf("%s asks %q, %v", s.Phase, s.Attention, err)
	}
	w.advance(time.Hour)
	if s, err = r.Tick(t.Context()); err != nil || s.Phase != Approval {
		t.Errorf("%s, %v", s.Phase, err)
	}
}

// TestConflictInAShift: what stood still because of another hand gets its time anew.
func TestConflictInAShift(t *testing.T) {
	w := newWorld()
	w.lag = 20 * time.Hour
	r := start(t, w, plan())
	w.run(t, r, time.Minute, Shifting)
	own := w.split.Weights
	w.split.Weights = Weights{stacks.Blue: 70, stacks.Green: 30}
	for range 10 {
		w.advance(30 * time.Minute)
		if s, err := r.Tick(t.Context()); err != nil || s.Conflict == nil {
			t.Fatalf("unnoticed: %v", err)
		}
	}
	w.split.Weights = own
	s, err := r.Tick(t.Context())
	if err != nil || s.Phase != Shifting || s.Conflict != nil {
		t.Errorf("%s, %v", s.Phase, err)
	}
}

// TestEditedByHand: what somebody else writes is neither overwritten nor built upon.
func TestEditedByHand(t *testing.T) {
	edits := map[string]func(*world){
		"weights": func(w *world) { w.split.Weights = Weights{stacks.Blue: 70, stacks.Green: 30} },
		"former":  func(w *world) { w.split.Images[stacks.Blue] = "another" },
		"release": func(w *world) { w.split.Images[stacks.Green] = "another" },
	}
	for name, edit := range edits {
		begin := func(t *testing.T) (*world, *Rollouts) {
			t.Helper()
			w := newWorld()
			r := start(t, w, plan())
			w.run(t, r, time.Minute, Soaking)
			edit(w)
			for range 120 {
				w.advance(time.Minute)
				s, err := r.Tick(t.Context())
				if err != nil || s.Stage != 0 || !strings.Contains(s.Attention, "another hand") {
					t.Fatalf("stage %d, attention %q, %v", s.Stage, s.Attention, err)
				}
			}
			if len(w.shifts()) != 1 {
				t.Errorf("weights were written: %v", w.shifts())
			}
			return w, r
		}
		t.Run(name+" and resumed", func(t *testing.T) {
			w, r := begin(t)
			if _, err := r.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := w.run(t, r, 5*time.Minute, Retaining); s.Phase != Retaining || s.Conflict != nil {
				t.Errorf("%s, %v", s.Phase, s.Conflict)
			}
		})
		t.Run(name+" and aborted", func(t *testing.T) {
			w, r := begin(t)
			if _, err := r.Abort(t.Context(), "hands off"); err != nil {
				t.Fatal(err)
			}
			if s := w.run(t, r, time.Minute); s.Phase != RolledBack || w.asked[stacks.Green] != 0 {
				t.Errorf("%s, %v", s.Phase, w.asked)
			}
		})
		t.Run(name+" and left", func(t *testing.T) {
			w, r := begin(t)
			before := len(w.writes)
			if s := w.run(t, r, 10*time.Minute); s.Phase != Abandoned || len(w.writes) != before {
				t.Errorf("%s, written %v", s.Phase, w.writes[before:])
			}
		})
	}
	t.Run("undone", func(t *testing.T) {
		w := newWorld()
		r := start(t, w, plan())
		w.run(t, r, time.Minute, Soaking)
		own := w.split.Weights
		w.split.Weights = Weights{stacks.Blue: 70, stacks.Green: 30}
		if s, _ := r.Tick(t.Context()); s.Conflict == nil {
			t.Fatal("unnoticed")
		}
		w.split.Weights = own
		if s, _ := r.Tick(t.Context()); s.Conflict != nil || s.Attention != "" {
			t.Errorf("still %v: %q", s.Conflict, s.Attention)
		}
	})
	t.Run("and the release is bad", func(t *testing.T) {
		w := newWorld()
		r := start(t, w, plan())
		w.run(t, r, time.Minute, Soaking)
		w.split.Weights = Weights{stacks.Blue: 40, stacks.Green: 60}
		w.quality[newImage] = quality{errors: 0.4}
		w.advance(5 * time.Minute)
		if s := w.run(t, r, time.Minute); s.Phase != RolledBack {
			t.Errorf("%s", s.Phase)
		}
	})
}

// TestStoreUnavailable: without a saved intention nothing is done, and what was cut off goes on.
func TestStoreUnavailable(t *testing.T) {
	w := newWorld()
	r := start(t, w, plan())
	w.run(t, r, time.Minute, Soaking)
	gone := errors.New("the store is unavailable")
	for w.clock.Sub(epoch) < 3*time.Hour { // the stage is long over
		before := len(w.writes)
		w.fails["save"] = gone
		if _, err := r.Tick(t.Context()); !errors.Is(err, gone) {
			t.Fatalf("without a store: %v", err)
		}
		if len(w.writes) != before {
			t.Fatalf("written without a saved intention: %v", w.writes[before:])
		}
		w.advance(10 * time.Minute)
	}
	delete(w.fails, "save")
	if s := w.run(t, r, 5*time.Minute, Retaining); s.Phase != Retaining {
		t.Errorf("with the store back: %s", s.Phase)
	}
}

// TestTwoOperators: of many at once one works; the others are told, or wait.
func TestTwoOperators(t *testing.T) {
	w := newWorld()
	start(t, w, plan())
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r := w.process("operator")
			r.Wait = time.Minute
			for range 5 {
				switch i {
				case 0:
					if _, err := r.Start(t.Context(), release, plan()); !errors.Is(err, ErrUnder) {
						t.Errorf("a second rollout: %v", err)
					}
				default:
					_, err := r.Tick(t.Context())
					if _, held := errors.AsType[*workflow.HeldError](err); err != nil && !held && !errors.Is(err, workflow.ErrChanged) {
						t.Errorf("a tick: %v", err)
					}
				}
				w.advance(time.Second)
			}
		})
	}
	all.Wait()
	if s := w.run(t, w.process("ada@desk"), time.Minute, Retaining); s.Phase != Retaining || len(w.shifts()) != 3 {
		t.Errorf("%s, %v", s.Phase, w.shifts())
	}
}

// TestRefused: what cannot begin says why.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*world, *Release, *Plan)
		want string
	}{
		"weights of another":    {func(w *world, _ *Release, _ *Plan) { w.split.Weights = Weights{stacks.Blue: 60, stacks.Green: 40} }, "no rollout has set them"},
		"no former release":     {func(w *world, _ *Release, _ *Plan) { w.split.Images[stacks.Blue] = "" }, "no release"},
		"a route of its own":    {func(w *world, _ *Release, _ *Plan) { w.asked = Weights{stacks.Blue: 0, stacks.Green: 100} }, "the route divides"},
		"the same release":      {func(_ *world, r *Release, _ *Plan) { r.Image = oldImage }, "serves already"},
		"no version":            {func(_ *world, r *Release, _ *Plan) { r.Version = "" }, "has a version"},
		"stages that shrink":    {func(_ *world, _ *Release, p *Plan) { p.Stages[1].Percent = 5 }, "stages grow to 100"},
		"stages that end early": {func(_ *world, _ *Release, p *Plan) { p.Stages = p.Stages[:2] }, "not 100"},
		"no time":               {func(_ *world, _ *Release, p *Plan) { p.Hold = 0 }, "hold is 0s"},
	} {
		t.Run(name, func(t *testing.T) {
			w, wanted, p := newWorld(), release, plan()
			tt.set(w, &wanted, &p)
			if _, err := w.process("x").Start(t.Context(), wanted, p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if len(w.writes) > 0 {
				t.Errorf("written: %v", w.writes)
			}
		})
	}
	w := newWorld()
	if _, err := w.process("x").Tick(t.Context()); !errors.Is(err, ErrNone) {
		t.Errorf("a tick of nothing: %v", err)
	}
}

// TestJudge: the limits, one by one.
func TestJudge(t *testing.T) {
	limits := plan().Limits
	ms := time.Millisecond
	for name, tt := range map[string]struct {
		canary, stable Sample
		want           Outcome
	}{
		"the same":                     {Sample{1000, 1, 90 * ms}, Sample{9000, 9, 90 * ms}, Good},
		"at the limit of errors":       {Sample{1000, 50, 90 * ms}, Sample{9000, 450, 90 * ms}, Good},
		"above it":                     {Sample{1000, 51, 90 * ms}, Sample{9000, 500, 90 * ms}, Bad},
		"worse by chance":              {Sample{200, 2, 90 * ms}, Sample{1800, 5, 90 * ms}, Good},
		"worse":                        {Sample{2000, 60, 90 * ms}, Sample{18000, 90, 90 * ms}, Bad},
		"worse by nothing that counts": {Sample{1e7, 4000, 90 * ms}, Sample{1e8, 10000, 90 * ms}, Good},
		"better":                       {Sample{1000, 0, 40 * ms}, Sample{9000, 400, 400 * ms}, Good},
		"p99 at the limit":             {Sample{1000, 0, 500 * ms}, Sample{9000, 0, 450 * ms}, Good},
		"p99 above it":                 {Sample{1000, 0, 501 * ms}, Sample{9000, 0, 500 * ms}, Bad},
		"p99 worse":                    {Sample{1000, 0, 160 * ms}, Sample{9000, 0, 100 * ms}, Bad},
		"p99 worse by a little":        {Sample{1000, 0, 40 * ms}, Sample{9000, 0, 10 * ms}, Good},
		"too few":                      {Sample{99, 99, time.Second}, Sample{9000, 0, 10 * ms}, Inconclusive},
		"nothing to compare with":      {Sample{1000, 10, 100 * ms}, Sample{}, Good},
		"no requests":                  {Sample{}, Sample{}, Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			v := Verdict{Outcome: Good}
			limits.compare(&v, "x", tt.canary, tt.stable)
			if v.Outcome != tt.want || (v.Outcome == Good) != (len(v.Reasons) == 0) {
				t.Errorf("%+v, want %s", v, tt.want)
			}
		})
	}
}
