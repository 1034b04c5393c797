// Package retire owns how API v2 goes: verified that nobody uses it, scaled to
// one pod, watched, taken out of the route, and removed; and back, in one tick,
// until the removal has begun.
//
// A retirement is a machine of ticks (package tick). It knows neither a cloud nor
// an engine: what it does to an environment, and what it learns, is behind
// [Environment]. What cannot be measured is never taken for no requests.
package retire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

// Configuration is what the stack's configuration says of API v2.
type Configuration struct {
	// Image by digest; "" where there is no API v2.
	Image    string `json:"image"`
	Replicas int    `json:"replicas"`
	// Routed tells whether requests are led to it.
	Routed bool `json:"routed"`
}

// Present is what is there in truth.
type Present struct {
	// Routed tells whether a route leads to it, and Accepted whether that is in use.
	Routed, Accepted bool
	Desired, Ready   int // pods
}

// Environment is where API v2 runs. Each part may be asked for again after it was cut off.
type Environment interface {
	// Configured is what the stack's configuration says.
	Configured(ctx context.Context) (Configuration, error)
	// Configure writes that into the configuration and then makes it true, and changes nothing else.
	Configure(ctx context.Context, c Configuration) error
	Present(ctx context.Context) (Present, error)
	// Requests is how many have reached API v2 in the window that ends now. Where
	// that is not known for all of the window it is an error, and never zero; where
	// it is counted no finer, it is more than there were, and never less.
	Requests(ctx context.Context, window time.Duration) (float64, error)
}

// Plan is how API v2 goes. It is saved with the retirement, which keeps to it.
type Plan struct {
	// Verify is how long nobody may have used it before anything is done.
	Verify time.Duration `json:"verify"`
	// Watch is how long nobody may use its last pod.
	Watch time.Duration `json:"watch"`
	// Settle is how long it is kept without a route, for an instant return.
	Settle time.Duration `json:"settle"`
	// Step and Hold bound how long a change, and a decision of a person, may be waited for.
	Step time.Duration `json:"step"`
	Hold time.Duration `json:"hold"`
}

// PlanOf is the plan that an environment's settings ask for.
func PlanOf(s stacks.Retirement) Plan {
	return Plan{Verify: s.Verify, Watch: s.Watch, Settle: s.Settle, Step: s.Step, Hold: s.Hold}
}

// check names every fault of a plan at once.
func (p Plan) check() error {
	var faults []error
	for _, part := range []struct {
		name string
		d    time.Duration
	}{{"verify", p.Verify}, {"watch", p.Watch}, {"settle", p.Settle}, {"step", p.Step}, {"hold", p.Hold}} {
		if part.d <= 0 {
			faults = append(faults, fmt.Errorf("%s is %s", part.name, part.d))
		}
	}
	return errors.Join(faults...)
}

// Phase is what a retirement is at.
type Phase string

// The phases. Each but the last three has a deadline.
const (
	Verifying Phase = "verifying" // is anybody left who uses it?
	Scaling   Phase = "scaling"   // to one pod
	Watching  Phase = "watching"  // is anybody left?
	Approval  Phase = "approval"  // a person decides that it leaves the route
	Unrouting Phase = "unrouting" // the route goes
	Settling  Phase = "settling"  // its pod is kept, without a route
	Removing  Phase = "removing"  // everything of it goes
	Restoring Phase = "restoring" // pods and route come back
	Completed Phase = "completed"
	Restored  Phase = "restored"
	// Abandoned is the end of a retirement whose configuration was changed by hand and left so.
	Abandoned Phase = "abandoned"
)

// State is a retirement as it is saved.
type State struct {
	tick.Saved

	Plan  Plan  `json:"plan"`
	Phase Phase `json:"phase"`
	// Was is what API v2 was, and becomes again if it is to stay.
	Was Configuration `json:"was"`
	// Target is what is to be true, Written what was before.
	Target  Configuration `json:"target"`
	Written Configuration `json:"written"`
	// Skip says that a person goes on with what the phase waits for.
	Skip bool `json:"skip,omitempty"`
	// Reason is why API v2 stays, or why the retirement was given up.
	Reason string `json:"reason,omitempty"`
	// Looked is the newest look at its requests, nil before the first.
	Looked *Look `json:"looked,omitempty"`
}

// Look is what was learned of requests.
type Look struct {
	At     time.Time     `json:"at"`
	Window time.Duration `json:"window"`
	// Requests is nil where they are not known, and Why says why.
	Requests *float64 `json:"requests"`
	Why      string   `json:"why,omitempty"`
}

// Errors of the operations.
var (
	ErrNone  = errors.New("there is no retirement")
	ErrUnder = errors.New("a retirement is under way")
)

// Options of [New].
type Options struct {
	// Name of the environment.
	Name        string
	Environment Environment
	Store       workflow.Store
	Owner       workflow.Owner
	// Now is time.Now if nil.
	Now func() time.Time
	// LeaseAge is workflow.LeaseAge if 0, and Wait how long an operation waits for another's tick to end.
	LeaseAge, Wait time.Duration
}

// Retirements are those of one environment: one, and those before it from which API v2 came back.
type Retirements struct{ Options }

// New takes no lease and reads nothing yet.
func New(o Options) *Retirements {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Retirements{o}
}

// Key is what the state of the newest retirement is saved under.
const Key = "retirement"

// format of the saved state.
const format = 1

type (
	machine = tick.Machine[State, *State]
	turn    = tick.Turn[State, *State]
)

func (r *Retirements) machine() *machine {
	return &machine{Key: Key, Noun: "retirement", Format: format, Store: r.Store, Owner: r.Owner, Now: r.Now, LeaseAge: r.LeaseAge}
}
