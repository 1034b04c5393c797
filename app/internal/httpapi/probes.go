package httpapi

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Health answers GET /health.
type Health struct {
	Service string `json:"service"`
	Status  string `json:"status"`
}

// Ready answers GET /ready.
type Ready struct {
	Status string `json:"status"`
}

func ready(ctx context.Context, c *call) (Ready, error) {
	if err := c.api.Ready(ctx); err != nil {
		return Ready{}, err
	}
	return Ready{Status: "ready"}, nil
}

// Ready tells why the API is not ready for traffic, nil when it is.
func (a *API) Ready(ctx context.Context) error {
	if a.draining.Load() {
		return errDraining
	}
	b := a.backend.Load()
	if b == nil {
		return errNotOpen
	}
	return a.ready.ask(ctx, b.Probe, a.opts.Now)
}

const (
	// readyDeadline is how long the store may take to answer a probe.
	readyDeadline = 1500 * time.Millisecond
	// readyFresh is how long one answer serves everyone who asks.
	readyFresh = time.Second
)

// readiness remembers the last answer of the store and has at most one
// question under way, however many ask.
type readiness struct {
	mu     sync.Mutex
	asked  time.Time     // when the last answer came
	answer error         // that answer
	flight chan struct{} // closed when the question under way has been answered; nil without one
}

// ask returns a fresh answer, within readyDeadline even if the store hangs.
func (p *readiness) ask(ctx context.Context, probe func(context.Context) error, now func() time.Time) error {
	p.mu.Lock()
	if p.flight == nil {
		if age := now().Sub(p.asked); !p.asked.IsZero() && age < readyFresh {
			defer p.mu.Unlock()
			return p.answer
		}
		p.flight = make(chan struct{})
		go p.fly(context.WithoutCancel(ctx), p.flight, probe, now) // ends when the store answers; nobody starts another before
	}
	flight := p.flight
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, readyDeadline)
	defer cancel()
	select {
	case <-flight:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.answer
	case <-ctx.Done():
		return errUnreachable.Because(ctx.Err())
	}
}

func (p *readiness) fly(ctx context.Context, flight chan struct{}, probe func(context.Context) error, now func() time.Time) {
	ctx, cancel := context.WithTimeout(ctx, readyDeadline)
	defer cancel()
	err := probe(ctx)
	if err != nil {
		err = errUnreachable.Because(fmt.Errorf("probe the store: %w", err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.answer, p.flight = now(), err, nil
	close(flight)
}
