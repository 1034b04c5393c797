package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

const (
	oldImage = "registry/api@sha256:0000000000000000000000000000000000000000000000000000000000000001"
	newImage = "registry/api@sha256:0000000000000000000000000000000000000000000000000000000000000002"
)

var release = Release{Version: "5.1.0", Image: newImage}

// plan is the default of production, without approval.
func plan() Plan {
	return Plan{
		Stages: []Stage{{10, time.Hour}, {50, 4 * time.Hour}, {100, 24 * time.Hour}},
		Limits: Limits{
			Requests: 100, Errors: 0.05, P99: 500 * time.Millisecond, P99Ratio: 1.5,
			Restarts: 1, Unready: 5 * time.Minute, Window: 5 * time.Minute,
		},
		Retain: 7 * 24 * time.Hour, Deploy: 30 * time.Minute, Shift: 15 * time.Minute, Hold: 12 * time.Hour,
	}
}

// quality is how a release answers: requests per second of all traffic, share of errors, p99.
type quality struct {
	errors float64
	p99    time.Duration
	// restarts an hour, and pods that never become ready.
	restarts, missing int
}

// world is an environment with a clock of its own. Every act of it, before and
// after it is done, and every save is a point at which the process may die.
type world struct {
	mu    sync.Mutex
	clock time.Time

	split Split
	asked Weights
	// turned are the weights of the load balancer since their times: new ones take lag to arrive.
	turned []turn
	lag    time.Duration
	pods   map[stacks.Slot]Pods
	// upAt is when a slot's pods are ready; starting is how long they take.
	upAt     map[stacks.Slot]time.Time
	starting time.Duration
	quality  map[string]quality // by image
	rate     float64            // requests a second

	lost   float64 // requests that met no pod
	writes []string
	fails  map[string]error
	// blind is what the metrics answer, if not the truth.
	blind func(slot stacks.Slot) (Sample, error)

	fuse  int // points until the process dies; 0 never
	dead  bool
	point int

	store workflow.Store
}

type turn struct {
	at      time.Time
	weights Weights
}

var epoch = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

func newWorld() *world {
	start := Weights{stacks.Blue: 100, stacks.Green: 0}
	return &world{
		clock: epoch,
		split: Split{Images: map[stacks.Slot]string{stacks.Blue: oldImage, stacks.Green: ""}, Weights: start},
		asked: start, turned: []turn{{epoch, start}},
		pods:     map[stacks.Slot]Pods{stacks.Blue: {Image: oldImage, Desired: 3, Ready: 3}},
		upAt:     map[stacks.Slot]time.Time{},
		starting: 2 * time.Minute, lag: 3 * time.Minute, rate: 10,
		quality: map[string]quality{
			oldImage: {errors: 0.001, p99: 90 * time.Millisecond},
			newImage: {errors: 0.001, p99: 95 * time.Millisecond},
		},
		fails: map[string]error{},
		store: &memory{documents: map[string][]byte{}},
	}
}

// killed is what a process that died at a point leaves behind.
type killed struct{}

// at is one point; the caller holds mu.
func (w *world) at() {
	if w.dead {
		panic(killed{})
	}
	w.point++
	if w.fuse > 0 {
		if w.fuse--; w.fuse == 0 {
			w.dead = true
			panic(killed{})
		}
	}
}

// act is an act with a point on either side.
func (w *world) act(name string, do func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at()
	if err := w.fails[name]; err != nil {
		return err
	}
	do()
	w.at()
	return nil
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) weights(at time.Time) (in Weights, since time.Time) {
	for _, t := range w.turned {
		if !t.at.After(at) {
			in, since = t.weights, t.at
		}
	}
	return in, since
}

// advance lets time go by, in which requests come.
func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for left := d; left > 0; left -= 10 * time.Second {
		step := min(left, 10*time.Second)
		w.clock = w.clock.Add(step)
		in, _ := w.weights(w.clock)
		for slot, weight := range in {
			if weight > 0 && w.slot(slot).Ready == 0 {
				w.lost += w.rate * step.Seconds() * float64(weight) / 100
			}
		}
	}
}

// slot is a slot's pods now; the caller holds mu.
func (w *world) slot(name stacks.Slot) Pods {
	p := w.pods[name]
	q := w.quality[p.Image]
	up := w.upAt[name]
	if w.clock.Before(up) {
		p.Ready = 0
	}
	p.Ready = max(0, p.Ready-q.missing)
	p.Restarts = int(w.clock.Sub(up).Hours() * float64(q.restarts))
	return p
}

// Configured implements [Environment].
func (w *world) Configured(context.Context) (s Split, err error) {
	err = w.act("configured", func() {
		s = Split{Images: maps.Clone(w.split.Images), Weights: maps.Clone(w.split.Weights)}
	})
	return s, err
}

// Deploy implements [Environment]: configuration and truth change one after the other.
func (w *world) Deploy(_ context.Context, slot stacks.Slot, image string) error {
	if err := w.act("configure", func() { w.split.Images[slot] = image }); err != nil {
		return err
	}
	return w.act("deploy", func() {
		if w.pods[slot].Image == image {
			return
		}
		w.writes = append(w.writes, fmt.Sprintf("deploy %s %s", slot, image))
		if image == "" {
			delete(w.pods, slot)
			return
		}
		w.pods[slot] = Pods{Image: image, Desired: 3, Ready: 3}
		w.upAt[slot] = w.clock.Add(w.starting)
	})
}

// Shift implements [Environment].
func (w *world) Shift(_ context.Context, weights Weights) error {
	if err := w.act("configure", func() { w.split.Weights = maps.Clone(weights) }); err != nil {
		return err
	}
	return w.act("shift", func() {
		if maps.Equal(w.asked, weights) {
			return
		}
		w.asked = maps.Clone(weights)
		w.turned = append(w.turned, turn{w.clock.Add(w.lag), w.asked})
		w.writes = append(w.writes, "shift "+weights.String())
	})
}

// Traffic implements [Environment].
func (w *world) Traffic(context.Context) (tr Traffic, err error) {
	err = w.act("traffic", func() {
		in, since := w.weights(w.clock)
		tr = Traffic{Asked: maps.Clone(w.asked), Accepted: true, Weights: maps.Clone(in), Requests: map[stacks.Slot]float64{}}
		for slot, weight := range in {
			tr.Requests[slot] = w.rate * w.clock.Sub(since).Seconds() * float64(weight) / 100
		}
	})
	return tr, err
}

// Pods implements [Environment].
func (w *world) Pods(_ context.Context, slot stacks.Slot) (p Pods, err error) {
	err = w.act("pods", func() { p = w.slot(slot) })
	return p, err
}

// Sample implements [Metrics].
func (w *world) Sample(_ context.Context, slot stacks.Slot, window time.Duration) (s Sample, err error) {
	if failed := w.act("sample", func() {
		if w.blind != nil {
			s, err = w.blind(slot)
			return
		}
		q := w.quality[w.pods[slot].Image]
		end := w.clock
		for _, turn := range slices.Backward(w.turned) {
			begin := turn.at
			if oldest := w.clock.Add(-window); begin.Before(oldest) {
				begin = oldest
			}
			if begin.Before(end) {
				s.Requests += w.rate * end.Sub(begin).Seconds() * float64(turn.weights[slot]) / 100
				end = begin
			}
		}
		s.Errors = s.Requests * q.errors
		if s.Requests > 0 {
			s.P99 = q.p99
		}
	}); failed != nil {
		return Sample{}, failed
	}
	return s, err
}

// mortal is the store of a process that may die.
type mortal struct{ w *world }

func (m mortal) Get(ctx context.Context, key string) (content []byte, version workflow.Version, err error) {
	if failed := m.w.act("load", func() { content, version, err = m.w.store.Get(ctx, key) }); failed != nil {
		return nil, "", failed
	}
	return content, version, err
}

func (m mortal) Put(ctx context.Context, key string, content []byte, was workflow.Version) (version workflow.Version, err error) {
	if failed := m.w.act("save", func() { version, err = m.w.store.Put(ctx, key, content, was) }); failed != nil {
		return "", failed
	}
	return version, err
}

// process is a new process that works on the rollouts.
func (w *world) process(name string) *Rollouts {
	w.mu.Lock()
	w.dead = false
	w.mu.Unlock()
	return New(Options{
		Name: "prod", Environment: w, Metrics: w, Store: mortal{w}, Owner: workflow.Owner{Name: name}, Now: w.now,
	})
}

// survive runs do in a process that may die, and tells whether it did.
func survive(do func()) (died bool) {
	defer func() {
		if failure := recover(); failure != nil {
			if _, ok := failure.(killed); !ok {
				panic(failure)
			}
			died = true
		}
	}()
	do()
	return false
}

// run ticks every interval until the phase is reached or the rollout has ended.
func (w *world) run(t *testing.T, r *Rollouts, interval time.Duration, until ...Phase) *State {
	t.Helper()
	for range 20_000 {
		s, err := r.Tick(t.Context())
		if err != nil && w.lenient(err) {
			t.Fatalf("at %s: %v", w.clock, err)
		}
		if s != nil && (s.Phase.Ended() || len(until) > 0 && s.Phase == until[0]) {
			return s
		}
		w.advance(interval)
	}
	t.Fatal("it never ends")
	return nil
}

// lenient tells whether an error is none that the test has made itself.
func (w *world) lenient(err error) bool {
	for _, own := range w.fails {
		if errors.Is(err, own) {
			return false
		}
	}
	return true
}

func (w *world) shifts() []string {
	var list []string
	for _, write := range w.writes {
		if text, ok := strings.CutPrefix(write, "shift "); ok {
			list = append(list, text)
		}
	}
	return list
}

// memory is a store without a disk; package workflow has the real one under test.
type memory struct {
	mu        sync.Mutex
	documents map[string][]byte
}

func (m *memory) Get(_ context.Context, key string) ([]byte, workflow.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, there := m.documents[key]
	if !there {
		return nil, "", workflow.ErrAbsent
	}
	return content, workflow.Version(content), nil
}

func (m *memory) Put(_ context.Context, key string, content []byte, was workflow.Version) (workflow.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if workflow.Version(m.documents[key]) != was {
		return "", workflow.ErrChanged
	}
	m.documents[key] = content
	return workflow.Version(content), nil
}
