// Package workflow owns long operator work: named steps in a fixed order whose
// progress survives the death of the process, the machine and the network at
// any point. Whoever runs the same workflow again goes on at the step that was
// cut off.
//
// It rests on two promises of its callers. A step is idempotent: it may begin
// anew after having done any part of its work. And what one step hands to a
// later one is in the data that is saved with the progress, never in memory
// alone.
//
// One process works at a time: it holds a [Lease] in the same [Store], and
// every save compares versions, so that one which has lost its lease without
// noticing cannot overwrite what its successor has saved.
//
// It knows nothing of what the steps do and imports nothing of the project.
package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Step is one part of a workflow.
type Step[D any] struct {
	// Name is what progress is saved under; Title says to people what it does.
	Name, Title string
	// Deadline bounds one attempt.
	Deadline time.Duration
	// Run does the step. It may be called again after any part of it was done.
	Run func(ctx context.Context, at *At[D]) error
}

// Workflow is an ordered list of steps over data of type D, which is saved as JSON.
type Workflow[D any] struct {
	// Name is the key of the saved progress.
	Name  string
	Steps []Step[D]
}

// At is where a step finds itself.
type At[D any] struct {
	// Data is the run's own. It is saved when the step ends, however it ends.
	Data *D
	// Began is when the run began, in whichever process that was.
	Began time.Time
	// Attempt counts the step's attempts, from 1.
	Attempt int

	save func(context.Context) error
	say  func(string)
}

// Save makes the data durable in the middle of a step: before an act that must
// be known of afterwards.
func (a *At[D]) Save(ctx context.Context) error { return a.save(ctx) }

// Say tells whoever watches what the step does.
func (a *At[D]) Say(format string, args ...any) { a.say(fmt.Sprintf(format, args...)) }

// States of a step and of a run.
const (
	Waiting = "waiting"
	Running = "running"
	Done    = "done"
	Failed  = "failed" // it is tried again by whoever runs the workflow next
)

// Progress is the saved state of a run.
type Progress[D any] struct {
	Format int        `json:"format"`
	Began  time.Time  `json:"began"`
	Ended  *time.Time `json:"ended,omitempty"` // set once every step is done
	Steps  []Record   `json:"steps"`
	Data   D          `json:"data"`
}

// Record is what is saved about a step.
type Record struct {
	Name     string     `json:"name"`
	Title    string     `json:"title"`
	State    string     `json:"state"`
	Attempts int        `json:"attempts"`
	Began    *time.Time `json:"began,omitempty"` // its first attempt
	Ended    *time.Time `json:"ended,omitempty"`
	Failure  string     `json:"failure,omitempty"` // of the last attempt
}

// Finished tells whether every step is done.
func (p *Progress[D]) Finished() bool { return p.Ended != nil }

// Event is one piece of news for whoever watches.
type Event struct {
	At    time.Time
	Step  Record
	Index int // from 0
	Of    int
	// Text is what the step says; empty where its state has changed.
	Text string
}

// Options of [Workflow.Execute].
type Options[D any] struct {
	Store Store
	Owner Owner
	// LeaseAge is how long a lease holds without being renewed, [LeaseAge] if 0.
	LeaseAge time.Duration
	// Now is the clock of what is saved, time.Now if nil.
	Now func() time.Time
	// Watch is told of progress, in the goroutine that executes; it may be nil.
	Watch func(Event)
	// Resume is asked before an unfinished run goes on, with its data: an error
	// leaves that run as it is and is returned. Nil resumes whatever there is.
	Resume func(*D) error
	// Abandon begins anew where there is an unfinished run.
	Abandon bool
}

// format of the saved progress.
const format = 1

// DeadlineError says that a step took longer than it may.
type DeadlineError struct {
	Step     string
	Deadline time.Duration
}

func (e *DeadlineError) Error() string {
	return fmt.Sprintf("the step %s has not ended within %s", e.Step, e.Deadline)
}

// StepError says which step failed.
type StepError struct {
	Step, Title string
	Err         error
}

func (e *StepError) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Err) }

// Unwrap gives the cause.
func (e *StepError) Unwrap() error { return e.Err }

// Peek returns the saved progress of the workflow, or [ErrAbsent]. It takes no lease.
func (w Workflow[D]) Peek(ctx context.Context, store Store) (*Progress[D], error) {
	p, _, err := w.load(ctx, store)
	return p, err
}

func (w Workflow[D]) load(ctx context.Context, store Store) (*Progress[D], Version, error) {
	content, version, err := store.Get(ctx, w.Name)
	if err != nil {
		return nil, "", err
	}
	p := &Progress[D]{}
	if err := json.Unmarshal(content, p); err != nil {
		return nil, "", fmt.Errorf("understand the saved progress of %s: %w", w.Name, err)
	}
	if p.Format != format {
		return nil, "", fmt.Errorf("the saved progress of %s has format %d and this build reads %d", w.Name, p.Format, format)
	}
	return p, version, nil
}

// Execute runs the workflow to its end: an unfinished run goes on at the step
// that was cut off, otherwise a new one begins with data. The progress is
// returned as it was last saved, with the error of the step that failed
// ([StepError]), of the lease ([HeldError], [ErrLost]) or of the store.
func (w Workflow[D]) Execute(ctx context.Context, o Options[D], data D) (p *Progress[D], err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	lease, err := Acquire(ctx, o.Store, w.Name, o.Owner, o.LeaseAge, o.Now)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	ctx, stop := lease.Keep(ctx)
	defer stop()

	r := &run[D]{Workflow: w, Options: o}
	r.progress, r.version, err = w.load(ctx, o.Store)
	switch {
	case errors.Is(err, ErrAbsent), err == nil && (o.Abandon || r.progress.Finished()):
		r.begin(data)
	case err != nil:
		return nil, err
	case o.Resume != nil:
		if err := o.Resume(&r.progress.Data); err != nil {
			return r.progress, err
		}
	}
	if !slices.EqualFunc(r.progress.Steps, w.Steps, func(a Record, b Step[D]) bool { return a.Name == b.Name }) {
		return r.progress, fmt.Errorf("the unfinished run of %s was begun by another version of this command, with other steps: go on with that version, or abandon the run", w.Name)
	}
	// The first save makes this process known to a predecessor that still lives: its next save fails.
	if err := r.save(ctx); err != nil {
		return r.progress, err
	}
	for i := range w.Steps {
		if r.progress.Steps[i].State == Done {
			continue
		}
		if err := r.step(ctx, i); err != nil {
			return r.progress, err
		}
	}
	if r.progress.Ended == nil {
		now := r.now()
		r.progress.Ended = &now
		if err := r.save(ctx); err != nil {
			r.progress.Ended = nil
			return r.progress, err
		}
	}
	return r.progress, nil
}

// run is one execution.
type run[D any] struct {
	Workflow[D]
	Options[D]

	progress *Progress[D]
	version  Version
}

func (r *run[D]) now() time.Time { return r.Now().UTC() }

func (r *run[D]) begin(data D) {
	r.progress = &Progress[D]{Format: format, Began: r.now(), Data: data}
	for _, s := range r.Steps {
		r.progress.Steps = append(r.progress.Steps, Record{Name: s.Name, Title: s.Title, State: Waiting})
	}
}

func (r *run[D]) save(ctx context.Context) error {
	content, err := json.MarshalIndent(r.progress, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the progress of %s: %w", r.Name, err)
	}
	version, err := r.Store.Put(ctx, r.Name, content, r.version)
	if errors.Is(err, ErrChanged) {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	if err != nil {
		return fmt.Errorf("save the progress of %s: %w", r.Name, err)
	}
	r.version = version
	return nil
}

func (r *run[D]) tell(i int, text string) {
	if r.Watch != nil {
		r.Watch(Event{At: r.now(), Step: r.progress.Steps[i], Index: i, Of: len(r.Steps), Text: text})
	}
}

// saveGrace bounds the last save of a run whose context has ended.
const saveGrace = 10 * time.Second

// step runs one step and saves how it ended.
func (r *run[D]) step(ctx context.Context, i int) error {
	step, record := r.Steps[i], &r.progress.Steps[i]
	now := r.now()
	record.State, record.Attempts, record.Failure = Running, record.Attempts+1, ""
	if record.Began == nil {
		record.Began = &now
	}
	if err := r.save(ctx); err != nil {
		return err
	}
	r.tell(i, "")
	at := &At[D]{
		Data: &r.progress.Data, Began: r.progress.Began, Attempt: record.Attempts,
		save: r.save, say: func(text string) { r.tell(i, text) },
	}
	bounded, cancel := context.WithTimeoutCause(ctx, step.Deadline, &DeadlineError{step.Name, step.Deadline})
	err := step.Run(bounded, at)
	if cause := context.Cause(bounded); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	cancel()
	ended := r.now()
	record.State, record.Ended = Done, &ended
	if err != nil {
		record.State, record.Ended, record.Failure = Failed, nil, err.Error()
	}
	saving, done := context.WithTimeout(context.WithoutCancel(ctx), saveGrace)
	defer done()
	saved := r.save(saving)
	if err == nil && saved != nil {
		record.State, record.Ended = Running, nil
		return saved
	}
	r.tell(i, "")
	if err != nil {
		return errors.Join(&StepError{step.Name, step.Title, err}, saved)
	}
	return nil
}
