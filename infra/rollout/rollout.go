// Package rollout owns how a release goes out: in stages, to the slot that
// carries no traffic, judged against the slot that does, and back by one write
// of weights.
//
// A rollout is a state machine that is moved by ticks. A tick reads the saved
// state, does what is to be done now and saves what it intends before it does
// it, so that it may end at any point, be called again by anybody, and come to
// the same end. Between two ticks nothing of it runs.
//
// It knows neither a cloud nor an engine nor a database of metrics: what it does
// to an environment is behind [Environment], what it learns behind [Metrics].
package rollout

import (
	"context"
	"errors"
	"time"

	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

// Weights are percents of requests by slot.
type Weights map[stacks.Slot]int

// Split is what the stack's configuration says of the slots.
type Split struct {
	Images  map[stacks.Slot]string
	Weights Weights
}

// Traffic is what becomes of requests.
type Traffic struct {
	// Asked are the weights of the route, and Accepted tells that it is in use as it is now.
	Asked    Weights
	Accepted bool
	// Weights are those that the load balancer itself divides by.
	Weights Weights
	// Requests counts what each slot has been given since Weights are in force;
	// nil where the environment does not count it.
	Requests map[stacks.Slot]float64
}

// Pods are a slot's.
type Pods struct {
	// Image is what all of them run; "" while they differ.
	Image          string `json:"image,omitempty"`
	Desired, Ready int
	// Restarts is the sum over the pods that are there now.
	Restarts int
}

// Environment is where a release goes. Each part may be asked for again after it was cut off.
type Environment interface {
	// Configured is what the stack's configuration says.
	Configured(ctx context.Context) (Split, error)
	// Deploy puts an image into a slot, in the configuration and then in truth, and
	// changes no weight. Without an image the slot's pods are taken away.
	Deploy(ctx context.Context, slot stacks.Slot, image string) error
	// Shift writes weights into the configuration and then into the route, and changes nothing else.
	Shift(ctx context.Context, weights Weights) error
	Traffic(ctx context.Context) (Traffic, error)
	Pods(ctx context.Context, slot stacks.Slot) (Pods, error)
}

// Sample is what a slot answered in a window of time.
type Sample struct {
	Requests float64 `json:"requests"`
	// Errors are those of Requests that were answered with a 5xx status.
	Errors float64       `json:"errors"`
	P99    time.Duration `json:"p99"`
}

// Metrics are what the environment measures of itself.
type Metrics interface {
	// Sample is of the window that ends now. Where there is nothing to go by it is
	// an error, and never zero.
	Sample(ctx context.Context, slot stacks.Slot, window time.Duration) (Sample, error)
}

// Release is what goes out.
type Release struct {
	Version string `json:"version"`
	// Image is its reference by digest.
	Image string `json:"image"`
}

// Stage is a share of requests and how long it must go well.
type Stage struct {
	Percent int           `json:"percent"`
	Soak    time.Duration `json:"soak"`
}

// Plan is how a release goes out. It is saved with the rollout, which keeps to it.
type Plan struct {
	// Stages grow to 100 percent.
	Stages []Stage `json:"stages"`
	// Approval asks a person before each stage.
	Approval bool   `json:"approval"`
	Limits   Limits `json:"limits"`
	// Retain is how long the former release is kept for an instant return.
	Retain time.Duration `json:"retain"`
	// Deploy, Shift and Hold bound how long the new pods, new weights, and a
	// decision of a person may be waited for.
	Deploy time.Duration `json:"deploy"`
	Shift  time.Duration `json:"shift"`
	Hold   time.Duration `json:"hold"`
}

// Phase is what a rollout is at.
type Phase string

// The phases. Each but the last two has a deadline.
const (
	Deploying   Phase = "deploying"   // the release comes up in its slot, without traffic
	Approval    Phase = "approval"    // a person decides on the next stage
	Shifting    Phase = "shifting"    // weights are on their way to the load balancer
	Soaking     Phase = "soaking"     // the stage is judged
	RollingBack Phase = "rollingBack" // all weight goes to the former release
	Retaining   Phase = "retaining"   // it is over; the former release is kept
	Retiring    Phase = "retiring"    // the former release's pods go
	Completed   Phase = "completed"
	RolledBack  Phase = "rolledBack"
	// Abandoned is the end of a rollout whose environment was changed by hand and left so.
	Abandoned Phase = "abandoned"
)

// Ended tells whether nothing more comes of it.
func (p Phase) Ended() bool { return p == Completed || p == RolledBack || p == Abandoned }

// Under tells whether the release is on its way: another may not begin.
func (p Phase) Under() bool { return !p.Ended() && p != Retaining && p != Retiring }

// State is a rollout as it is saved.
type State struct {
	tick.Saved

	Release Release `json:"release"`
	Plan    Plan    `json:"plan"`
	// Canary is the slot of the release, Stable that of the former one, whose image is Former.
	Canary stacks.Slot `json:"canary"`
	Stable stacks.Slot `json:"stable"`
	Former string      `json:"former"`
	// Replaced is the image that was in the canary's slot before.
	Replaced string `json:"replaced,omitempty"`

	Phase Phase `json:"phase"`
	Stage int   `json:"stage"` // index of the stage that is entered or soaks
	// Target are the weights that are to be in force, Written those that were before.
	Target  Weights `json:"target"`
	Written Weights `json:"written"`
	// InForce is since when Target is.
	InForce *time.Time `json:"inForce,omitempty"`
	// Soaked is how much of the stage's soak is over: time that could be judged, and was good.
	Soaked time.Duration `json:"soaked"`
	// Good is when it was last judged good.
	Good *time.Time `json:"good,omitempty"`
	// Unready is since when pods of the release are missing.
	Unready *time.Time `json:"unready,omitempty"`
	// Restarts of the release's pods when the stage began.
	Restarts int  `json:"restarts"`
	Approved int  `json:"approved"` // stages that were
	Skip     bool `json:"skip,omitempty"`

	// Paused says who stopped the advance, and when.
	Paused *Order `json:"paused,omitempty"`
	// Reason is why it was rolled back or abandoned.
	Reason string `json:"reason,omitempty"`

	Judged []Judgment `json:"judged,omitempty"` // the newest last; thinned out where there are many
}

// Order is what a person has asked for.
type Order struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Event is a line of the rollout's history.
type Event = tick.Event

// Judgment is one look at both slots.
type Judgment struct {
	At      time.Time `json:"at"`
	Stage   int       `json:"stage"`
	Verdict Verdict   `json:"verdict"`
	// Canary and Stable are of the last minutes; nil where nothing is known.
	Canary *Sample `json:"canary,omitempty"`
	Stable *Sample `json:"stable,omitempty"`
	// Window is what they are of.
	Window time.Duration `json:"window"`
}

// Errors of the operations.
var (
	ErrNone  = errors.New("there is no rollout")
	ErrUnder = errors.New("a rollout is under way")
)

// Options of [New].
type Options struct {
	// Name of the environment.
	Name        string
	Environment Environment
	Metrics     Metrics
	Store       workflow.Store
	Owner       workflow.Owner
	// Now is time.Now if nil.
	Now func() time.Time
	// LeaseAge is workflow.LeaseAge if 0, and Wait how long an operation waits for another's tick to end.
	LeaseAge, Wait time.Duration
}

// Rollouts are those of one environment.
type Rollouts struct{ Options }

// New takes no lease and reads nothing yet.
func New(o Options) *Rollouts {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Rollouts{o}
}

// machine is how they are saved and moved.
func (r *Rollouts) machine() *tick.Machine[State, *State] {
	return &tick.Machine[State, *State]{
		Key: Key, Noun: "rollout", Format: format, Store: r.Store, Owner: r.Owner, Now: r.Now, LeaseAge: r.LeaseAge,
	}
}

// Key is what the state of the newest rollout is saved under.
const Key = "rollout"

// format of the saved state.
const format = 1

// maxJudged bounds what a state keeps.
const maxJudged = 240

// judged keeps a look; where there are too many, every second of the older half goes.
func (s *State) judged(j Judgment) {
	s.Judged = append(s.Judged, j)
	if len(s.Judged) <= maxJudged {
		return
	}
	kept := s.Judged[:0]
	for i, old := range s.Judged {
		if i >= maxJudged/2 || i%2 == 0 {
			kept = append(kept, old)
		}
	}
	s.Judged = kept
}

// Last is the newest look, nil before the first.
func (s *State) Last() *Judgment {
	if len(s.Judged) == 0 {
		return nil
	}
	return &s.Judged[len(s.Judged)-1]
}
