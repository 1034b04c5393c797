// Package tick owns how a state machine is moved that outlives whoever moves it:
// one document of state, one lease, and ticks. A tick reads the state, makes the
// moves that can be made now, and saves the state after each, so that an intention
// is saved before anything comes of it. It may end at any point, be called again
// by anybody, and come to the same end. Between two ticks nothing of it runs.
//
// What the states are, and what a move does, is the machine's own.
package tick

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/workflow"
)

// maxMoves bounds how many moves one tick makes.
const maxMoves = 16

// poll is the pause between two attempts to get the lease.
const poll = 500 * time.Millisecond

// Machine is one kind of state machine in one environment; S is its state, which embeds [Saved].
type Machine[S any, P state[S]] struct {
	// Key is what the newest one's state is saved under, Noun what people call it.
	Key, Noun string
	// Format of the saved state; another is refused.
	Format int
	Store  workflow.Store
	Owner  workflow.Owner
	Now    func() time.Time
	// LeaseAge is workflow.LeaseAge if 0.
	LeaseAge time.Duration
}

// state is what embeds [Saved].
type state[S any] interface {
	*S
	saved() *Saved
}

// Turn is the one holder of the lease at work on the state.
type Turn[S any, P state[S]] struct {
	// State is nil before the first.
	State *S

	machine *Machine[S, P]
	version workflow.Version
}

// Load reads the newest state, nil if there is none. It takes no lease.
func (m *Machine[S, P]) Load(ctx context.Context) (*S, error) {
	s, _, err := m.load(ctx)
	return s, err
}

func (m *Machine[S, P]) load(ctx context.Context) (*S, workflow.Version, error) {
	content, version, err := m.Store.Get(ctx, m.Key)
	if errors.Is(err, workflow.ErrAbsent) {
		return nil, version, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the state of the %s: %w", m.Noun, err)
	}
	s := new(S)
	if err := json.Unmarshal(content, s); err != nil {
		return nil, "", fmt.Errorf("understand the state of the %s: %w", m.Noun, err)
	}
	if format := P(s).saved().Format; format != m.Format {
		return nil, "", problem.New(nil, "the %s was begun by a version of this command that saves format %d, and this one reads %d: use that version.", m.Noun, format, m.Format)
	}
	return s, version, nil
}

// Change runs do as the one writer. It waits as long as another is at it; if
// that is too long, the error is a [workflow.HeldError].
func (m *Machine[S, P]) Change(ctx context.Context, wait time.Duration, do func(context.Context, *Turn[S, P]) error) (s *S, err error) {
	lease, err := m.acquire(ctx, wait)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	ctx, stop := lease.Keep(ctx)
	defer stop()
	current, version, err := m.load(ctx)
	if err != nil {
		return nil, err
	}
	t := &Turn[S, P]{State: current, machine: m, version: version}
	err = do(ctx, t)
	return t.State, err
}

func (m *Machine[S, P]) acquire(ctx context.Context, wait time.Duration) (*workflow.Lease, error) {
	for deadline := m.Now().Add(wait); ; {
		lease, err := workflow.Acquire(ctx, m.Store, m.Key, m.Owner, m.LeaseAge, m.Now)
		_, held := errors.AsType[*workflow.HeldError](err)
		if err == nil || !held && !errors.Is(err, workflow.ErrChanged) || !m.Now().Before(deadline) {
			return lease, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(poll):
		}
	}
}

// Save saves the state, unless another has saved a newer one: then it is [workflow.ErrLost].
func (t *Turn[S, P]) Save(ctx context.Context) error {
	m := t.machine
	content, err := json.MarshalIndent(t.State, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the state of the %s: %w", m.Noun, err)
	}
	next, err := m.Store.Put(ctx, m.Key, content, t.version)
	if errors.Is(err, workflow.ErrChanged) {
		return fmt.Errorf("%w: %w", workflow.ErrLost, err)
	}
	if err != nil {
		return fmt.Errorf("save the state of the %s: %w", m.Noun, err)
	}
	t.version = next
	return nil
}

// Run moves until nothing is left to be done now. Every move is saved before the
// next begins. An error of a move is part of the saved state, and is returned.
func (t *Turn[S, P]) Run(ctx context.Context, move func(context.Context) (moved bool, err error)) error {
	for range maxMoves {
		s := P(t.State).saved()
		if s.Ended != nil {
			return nil
		}
		moved, err := move(ctx)
		s.Ticked, s.Trouble = t.machine.Now().UTC(), ""
		if err != nil {
			s.Trouble = err.Error()
		}
		if failed := t.Save(ctx); failed != nil {
			return errors.Join(err, failed)
		}
		if err != nil || !moved {
			return err
		}
	}
	return nil
}

// Archive keeps what an earlier one came to, beside the newest.
func (m *Machine[S, P]) Archive(ctx context.Context, s *S) error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the state of the former %s: %w", m.Noun, err)
	}
	return m.Keep(ctx, m.Key+"-"+P(s).saved().ID, content)
}

// Keep saves what nobody else writes, whatever was there.
func (m *Machine[S, P]) Keep(ctx context.Context, key string, content []byte) error {
	_, version, err := m.Store.Get(ctx, key)
	if err == nil || errors.Is(err, workflow.ErrAbsent) {
		_, err = m.Store.Put(ctx, key, content, version)
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", key, err)
	}
	return nil
}

// Saved is what all machines save of themselves.
type Saved struct {
	Format      int    `json:"format"`
	ID          string `json:"id"`
	Environment string `json:"environment"`

	Began    time.Time  `json:"began"`
	Ended    *time.Time `json:"ended,omitempty"`
	Since    time.Time  `json:"since"` // of the phase
	Deadline time.Time  `json:"deadline,omitzero"`

	// Attention is what a person is asked to look at or decide; "" if nothing.
	Attention string `json:"attention,omitempty"`
	// Trouble is the error of the last tick; "" if it had none.
	Trouble string `json:"trouble,omitempty"`

	Ticked time.Time `json:"ticked,omitzero"`
	Events []Event   `json:"events"`
	// Conflict is since when the configuration is not the machine's own.
	Conflict *time.Time `json:"conflict,omitempty"`
}

func (s *Saved) saved() *Saved { return s }

// Begin is what is saved of one that begins now.
func (m *Machine[S, P]) Begin(environment string) Saved {
	now := m.Now().UTC()
	return Saved{Format: m.Format, ID: strings.ToLower(rand.Text()[:12]), Environment: environment, Began: now, Since: now}
}

// Enter begins a phase; one without a bound has no deadline.
func (s *Saved) Enter(now time.Time, bound time.Duration) {
	s.Since, s.Attention, s.Deadline = now, "", time.Time{}
	if bound > 0 {
		s.Deadline = now.Add(bound)
	}
}

// Late tells whether the phase's deadline is over.
func (s *Saved) Late(now time.Time) bool { return !s.Deadline.IsZero() && now.After(s.Deadline) }

// atLeast is what an act is given even where the deadline is near or over: an
// engine that is cut off in an update leaves its lock behind.
const atLeast = 10 * time.Minute

// Within bounds an act by the phase's deadline, with [atLeast] at the least.
func (s *Saved) Within(ctx context.Context, now time.Time) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(s.Deadline.Sub(now), atLeast))
}

// maxEvents bounds what a state keeps.
const maxEvents = 500

// Event is a line of the history.
type Event struct {
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"` // the person, if it was one
	Text string    `json:"text"`
}

// Event adds a line to the history.
func (s *Saved) Event(at time.Time, by, text string) {
	s.Events = append(s.Events, Event{At: at, By: by, Text: text})
	if len(s.Events) > maxEvents {
		s.Events = append(s.Events[:1], s.Events[len(s.Events)-maxEvents+1:]...) // the beginning stays
	}
}
