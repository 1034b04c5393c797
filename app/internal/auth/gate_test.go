package auth

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"coditect.ai/platform/app/internal/fault"
)

func TestGateBoundsWhatRunsAndWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, 3, time.Second)
		var running, most, done atomic.Int64
		var wg sync.WaitGroup
		errs := make(chan error, 10)
		for range 10 {
			wg.Go(func() {
				errs <- g.run(t.Context(), func() {
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(400 * time.Millisecond)
					running.Add(-1)
					done.Add(1)
				})
			})
		}
		synctest.Wait()
		if got, want := g.stats(), (GateStats{Slots: 2, Running: 2, Waiting: 3, Refused: 5}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
		wg.Wait()
		close(errs)
		busy := 0
		for err := range errs {
			if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.Busy && f.RetryAfter >= time.Second {
				busy++
			}
		}
		if busy != 5 || done.Load() != 5 || most.Load() != 2 {
			t.Errorf("%d busy, %d done, %d at once; want 5, 5, 2", busy, done.Load(), most.Load())
		}
		if got, want := g.stats(), (GateStats{Slots: 2, Refused: 5}); got != want {
			t.Errorf("afterwards %+v, want %+v", got, want)
		}
	})
}

func TestGateEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 10, time.Second)
		release := make(chan struct{})
		go func() { _ = g.run(context.Background(), func() { <-release }) }()
		synctest.Wait()

		start := time.Now()
		wantCode(t, g.run(t.Context(), func() { t.Error("ran without a slot") }), fault.Busy)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %v, want a second", waited)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := g.run(ctx, func() { t.Error("ran for a caller who left") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller who left: %v", err)
		}
		if got := g.stats(); got.Waiting != 0 || got.Refused != 1 {
			t.Errorf("stats are %+v: who left still waits", got)
		}
		close(release)
		synctest.Wait()
		if err := g.run(ctx, func() { t.Error("ran for a caller who had left") }); err == nil {
			t.Error("a caller who had left got in")
		}
		if err := g.run(t.Context(), func() {}); err != nil {
			t.Errorf("a free slot: %v", err)
		}
	})
}
