package auth

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"coditect.ai/platform/app/internal/fault"
)

// gate admits as many hashes at a time as memory and cores are there for. A
// few callers more wait a short turn, in order; whoever finds the queue full
// or waits in vain is told to come back, so that memory and delay stay bounded
// however many call.
type gate struct {
	slots   chan struct{}
	queue   int64
	wait    time.Duration
	waiting atomic.Int64
	refused atomic.Uint64
	used    atomic.Bool // there is a finished hash to collect
}

func newGate(slots, queue int, wait time.Duration) *gate {
	return &gate{slots: make(chan struct{}, slots), queue: int64(queue), wait: wait}
}

// GateStats are the gauges of the gate, and a count since the start.
type GateStats struct {
	Slots   int
	Running int
	Waiting int
	Refused uint64 // the queue was full, or the wait was over
}

func (g *gate) stats() GateStats {
	return GateStats{
		Slots:   cap(g.slots),
		Running: len(g.slots),
		Waiting: int(min(g.waiting.Load(), g.queue)),
		Refused: g.refused.Load(),
	}
}

// run calls fn in a slot. It returns fault.Busy, or the context's error for a
// caller who left while waiting; fn has not been called then.
//
// Argon2 takes new memory for each hash and cannot be given any, so the slot's
// last hash is collected first: its memory is used again, still mapped. Left to
// itself the collector either lets finished hashes pile up or, held to a limit,
// gives their pages back to the system only to fault them in again, which costs
// a third of the throughput. A collection takes a small part of a hash's time,
// the heap beside the hashes being small.
func (g *gate) run(ctx context.Context, fn func()) error {
	if err := g.enter(ctx); err != nil {
		return err
	}
	defer func() { <-g.slots }()
	if g.used.Swap(true) {
		runtime.GC()
	}
	fn()
	return nil
}

func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return g.busy()
	}
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return g.busy()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) busy() error {
	g.refused.Add(1)
	return &fault.Error{
		Code:       fault.Busy,
		Message:    "Too many people are signing in at this moment; try again shortly.",
		RetryAfter: max(time.Second, g.wait),
	}
}
