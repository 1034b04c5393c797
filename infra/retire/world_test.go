package retire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"coditect.ai/platform/infra/workflow"
)

const image = "registry/api-v2@sha256:0000000000000000000000000000000000000000000000000000000000000001"

func plan() Plan {
	return Plan{Verify: 24 * time.Hour, Watch: 7 * 24 * time.Hour, Settle: 24 * time.Hour, Step: 30 * time.Minute, Hold: 48 * time.Hour}
}

// world is an environment with a clock of its own. Every act of it, before and
// after it is done, and every save is a point at which the process may die.
type world struct {
	mu    sync.Mutex
	clock time.Time

	configured, there Configuration
	// lag is how long a change takes to come true, readyAt when the pods are all ready.
	lag     time.Duration
	readyAt time.Time
	// used are the moments of requests; measured is since when they are counted.
	used     []time.Time
	measured time.Time

	writes []string
	fails  map[string]error

	fuse  int // points until the process dies; 0 never
	dead  bool
	point int

	store workflow.Store
}

var epoch = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

func newWorld() *world {
	c := Configuration{Image: image, Replicas: 3, Routed: true}
	return &world{
		clock: epoch, configured: c, there: c, lag: 3 * time.Minute, measured: epoch.Add(-1000 * time.Hour),
		fails: map[string]error{}, store: &memory{documents: map[string][]byte{}},
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

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// Configured implements [Environment].
func (w *world) Configured(context.Context) (c Configuration, err error) {
	err = w.act("configured", func() { c = w.configured })
	return c, err
}

// Configure implements [Environment]: configuration and truth change one after the other.
func (w *world) Configure(_ context.Context, c Configuration) error {
	if err := w.act("configure", func() { w.configured = c }); err != nil {
		return err
	}
	return w.act("update", func() {
		if w.there == c {
			return
		}
		w.there, w.readyAt = c, w.clock.Add(w.lag)
		w.writes = append(w.writes, fmt.Sprintf("%d %t %t", c.Replicas, c.Routed, c.Image != ""))
	})
}

// Present implements [Environment].
func (w *world) Present(context.Context) (p Present, err error) {
	err = w.act("present", func() {
		if w.there.Image == "" {
			return
		}
		p = Present{Routed: w.there.Routed, Accepted: true, Desired: w.there.Replicas, Ready: w.there.Replicas}
		if w.clock.Before(w.readyAt) {
			p.Ready = 0
		}
	})
	return p, err
}

// Requests implements [Environment].
func (w *world) Requests(_ context.Context, window time.Duration) (n float64, err error) {
	if failed := w.act("requests", func() {
		from := w.clock.Add(-window)
		if from.Before(w.measured) {
			err = fmt.Errorf("counted since %s only", w.measured)
			return
		}
		for _, at := range w.used {
			if !at.Before(from) && !at.After(w.clock) {
				n++
			}
		}
	}); failed != nil {
		return 0, failed
	}
	return n, err
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

// process is a new process that works on the retirement.
func (w *world) process(name string) *Retirements {
	w.mu.Lock()
	w.dead = false
	w.mu.Unlock()
	return New(Options{Name: "prod", Environment: w, Store: mortal{w}, Owner: workflow.Owner{Name: name}, Now: w.now})
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

func start(t *testing.T, w *world) *Retirements {
	t.Helper()
	r := w.process("ada@desk")
	if _, err := r.Start(t.Context(), plan()); err != nil {
		t.Fatal(err)
	}
	return r
}

// run ticks every interval until one of the phases is reached, or the end.
func (w *world) run(t *testing.T, r *Retirements, interval time.Duration, until Phase) *State {
	t.Helper()
	for range 20_000 {
		s, err := r.Tick(t.Context())
		if err != nil && w.foreign(err) {
			t.Fatalf("at %s: %v", w.clock, err)
		}
		if s != nil && (s.Ended != nil || s.Phase == until) {
			return s
		}
		w.advance(interval)
	}
	t.Fatal("it never ends")
	return nil
}

// foreign tells whether an error is none that the test has made itself.
func (w *world) foreign(err error) bool {
	for _, own := range w.fails {
		if errors.Is(err, own) {
			return false
		}
	}
	return true
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
