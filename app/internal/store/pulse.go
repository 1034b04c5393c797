package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

const (
	// pulseFresh is how long a write that succeeded speaks for the next ones.
	pulseFresh = 10 * time.Second
	// pulseTime is how long a write that is tried to find out may take.
	pulseTime = kv.MaxTransactionAge
)

// pulse knows whether the database takes writes: from those of requests, and
// where there are none, or one has failed, from one of its own that changes nothing.
type pulse struct {
	mu      sync.Mutex
	last    time.Time     // of a write that succeeded
	suspect bool          // one failed since: worth a try before the last is stale
	failed  error         // of the latest try; nil after a success
	flight  chan struct{} // closed at the end of the try under way; nil without one
}

// note takes up how a transaction ended that would have written.
func (p *pulse) note(outcome string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch outcome {
	case outcomeOK:
		p.last, p.suspect, p.failed = at, false, nil
	case outcomeUnknown, outcomeUnavailable:
		p.suspect = true
	}
}

// Probe tells whether the database answers and takes writes. It reads at each
// call; however many there are, it writes only where no write of a request has
// succeeded for a while, or one has failed, and then one at a time. As long as
// such a try is under way the verdict before it stands: a slow commit is no outage.
func (s *Store) Probe(ctx context.Context) error {
	if err := s.View(ctx, func(r *Reader) error {
		_, err := r.kv.Get(s.space.prefix)
		return err
	}); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	p := &s.pulse
	p.mu.Lock()
	if p.flight == nil && (p.suspect || p.failed != nil || s.now().Sub(p.last) >= pulseFresh) {
		p.flight = make(chan struct{})
		go s.tryWrite(context.WithoutCancel(ctx), p.flight) // ends within pulseTime; nobody starts another before
	}
	flight, sound := p.flight, p.failed == nil && !p.last.IsZero()
	p.mu.Unlock()
	if flight == nil || sound {
		return nil
	}
	select {
	case <-flight:
	case <-ctx.Done():
		return fmt.Errorf("writing: %w", ctx.Err())
	}
	return s.Writable()
}

// Writable returns why the latest write that was tried to find out has failed,
// nil when it or a later one has not.
func (s *Store) Writable() error {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return s.pulse.failed
}

// tryWrite commits the removal of a key that is never there: a write to the
// database, without a trace and without a conflict.
func (s *Store) tryWrite(ctx context.Context, flight chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, pulseTime)
	defer cancel()
	err := s.Update(ctx, func(tx *Tx) error {
		tx.clear(tx.space.prefix)
		return nil
	})
	p := &s.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed = fmt.Errorf("writing: %w", err)
	}
	p.flight = nil
	close(flight)
}
