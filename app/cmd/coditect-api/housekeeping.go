package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store"
)

const (
	sweepEvery = time.Minute     // between rounds
	sweepBatch = 500             // entries of one transaction
	maxSteps   = 1000            // transactions of one round's removals
	sweeping   = "sweep"         // the lease's name
	sweepTTL   = 5 * time.Minute // of the lease: after it a replica that died is stood in for
	leaveTime  = 2 * time.Second // to let go of it when stopping
)

// housekeeper brings the store to this release's schema, and removes what has
// expired or was deleted. Of all replicas one does it at a time.
type housekeeper struct {
	p  *process
	st *store.Store
	id uuid.UUID // the holder of leases

	migrated                        bool
	schema, changed                 atomic.Int64
	rounds, removed, foreign, swept atomic.Int64 // swept is a Unix time
}

func newHousekeeper(p *process, st *store.Store) *housekeeper {
	h := &housekeeper{p: p, st: st, id: uuid.New()}
	m := p.metrics
	m.Gauge("coditect_store_schema_version", "Schema of the store as this process last saw it; 0 before that.", func() float64 { return float64(h.schema.Load()) })
	m.Counter("coditect_migration_records_total", "Records that this process has migrated.", func() float64 { return float64(h.changed.Load()) })
	m.Counter("coditect_sweep_rounds_total", "Rounds of sweeping that this process has done; of all replicas one does them.", func() float64 { return float64(h.rounds.Load()) })
	m.Counter("coditect_sweep_removed_total", "Expired entries that this process has removed.", func() float64 { return float64(h.removed.Load()) })
	m.Gauge("coditect_sweep_foreign_entries", "Expired entries that the last round left alone, since a newer release wrote them.", func() float64 { return float64(h.foreign.Load()) })
	m.Gauge("coditect_sweep_last_success_timestamp_seconds", "When this process last ended a round; 0 if never.", func() float64 { return float64(h.swept.Load()) })
	return h
}

// run ends with ctx, and lets go of the lease.
func (h *housekeeper) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		h.migrate(ctx)
		h.sweep(ctx)
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
			defer cancel()
			_ = h.st.Leave(ctx, sweeping, h.id) // or it ends by itself
			return
		case <-tick.C:
		}
	}
}

func (h *housekeeper) migrate(ctx context.Context) {
	if h.migrated {
		return
	}
	done, err := h.st.Migrate(ctx, h.id)
	h.changed.Add(done.Changed)
	switch {
	case err != nil && ctx.Err() == nil:
		h.p.log.WarnContext(ctx, "migration failed; the next round goes on with it", slog.String("cause", err.Error()))
	case err == nil && !done.Busy:
		h.migrated = true
		h.schema.Store(int64(done.To))
		if done.From != done.To {
			h.p.log.InfoContext(ctx, "store migrated", slog.Int("from", done.From), slog.Int("to", done.To), slog.Int64("records", done.Changed))
		}
	}
}

// sweep removes what has expired and what was deleted, in small transactions.
func (h *housekeeper) sweep(ctx context.Context) {
	err := h.round(ctx)
	if err != nil && ctx.Err() == nil {
		h.p.log.WarnContext(ctx, "sweep failed; the next one tries again", slog.String("cause", err.Error()))
	}
}

func (h *housekeeper) round(ctx context.Context) error {
	held, err := h.st.Lease(ctx, sweeping, h.id, sweepTTL)
	if err != nil || !held {
		return err
	}
	done, err := h.st.Sweep(ctx, sweepBatch)
	h.removed.Add(int64(done.Removed))
	if err != nil {
		return err
	}
	h.foreign.Store(int64(done.Foreign))
	for range maxSteps {
		more, err := h.st.Remove(ctx, sweepBatch)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	h.rounds.Add(1)
	h.swept.Store(h.p.now().Unix())
	return nil
}
