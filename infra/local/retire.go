package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coditect.ai/platform/infra/companion"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/infra/slots"
)

// Legacy is the environment as the retirement of API v2 sees it.
func (e *Environment) Legacy() retire.Environment { return legacy{e} }

type legacy struct{ *Environment }

// Configured implements [retire.Environment]: as in the cloud, the settings of API
// v2 are those of the environment's file.
func (l legacy) Configured(context.Context) (retire.Configuration, error) {
	s, err := l.Settled()
	return slots.ReadLegacy(s.Legacy), err
}

// Configure implements [retire.Environment].
func (l legacy) Configure(ctx context.Context, c retire.Configuration) error {
	if err := engine.Commit(l.root, Name, slots.Legacy(c)); err != nil {
		return err
	}
	return l.reconfigure(ctx, slots.Keep, slots.LegacyTargets()...)
}

// Present implements [retire.Environment].
func (l legacy) Present(ctx context.Context) (retire.Present, error) {
	status, err := l.Look(ctx)
	if err != nil {
		return retire.Present{}, err
	}
	p := retire.Present{}
	for _, route := range status.Routes {
		if route.Name == companion.LegacyApp {
			p.Routed, p.Accepted = true, true
		}
	}
	for _, workload := range status.Workloads {
		if workload.Name == companion.LegacyApp {
			p.Desired, p.Ready = workload.Desired, workload.Ready
		}
	}
	return p, nil
}

// Requests implements [retire.Environment]. The simulated gateway counts since the
// route was made or it was started itself, and knows when the newest request came:
// where that is in the window, older ones may be counted in.
func (l legacy) Requests(ctx context.Context, window time.Duration) (float64, error) {
	status, err := l.Look(ctx)
	if err != nil {
		return 0, err
	}
	from := time.Now().Add(-window)
	for _, route := range status.Routes {
		if route.Name != companion.LegacyApp {
			continue
		}
		if route.Since.After(from) {
			return 0, fmt.Errorf("the gateway counts since %s only", route.Since.UTC().Format(time.RFC3339))
		}
		var n float64
		for _, backend := range route.Backends {
			if backend.Last.After(from) {
				n += float64(backend.Recent)
			}
		}
		return n, nil
	}
	return 0, errors.New("no route leads to API v2")
}
