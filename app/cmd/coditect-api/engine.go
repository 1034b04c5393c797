package main

import (
	"context"
	"fmt"
	"time"

	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/telemetry"
)

// subspace holds everything that the service keeps in the database.
const subspace = "coditect-v5"

// engine is one that the binary has; engines holds them by the name that the settings call them.
type engine struct {
	open    func(context.Context, config.Config) (kv.Database, error)
	measure func(*telemetry.Metrics, kv.Database) // registers the meters that only this engine has
}

var embedded = engine{
	open: func(ctx context.Context, cfg config.Config) (kv.Database, error) {
		return sqlitekv.Open(ctx, sqlitekv.Options{Dir: cfg.StoreDir})
	},
	measure: measureEmbedded,
}

// openStore opens the engine that the settings name, and the store in it.
func openStore(ctx context.Context, cfg config.Config, now func() time.Time) (kv.Database, *store.Store, error) {
	engine, ok := engines[cfg.StoreEngine]
	if !ok {
		return nil, nil, fmt.Errorf("this binary has no engine %q; coditect-api version lists those it has", cfg.StoreEngine)
	}
	db, err := engine.open(ctx, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("open the store (engine %s): %w", cfg.StoreEngine, err)
	}
	return db, store.New(db, subspace, now), nil
}

func measureEmbedded(m *telemetry.Metrics, db kv.Database) {
	embedded, ok := db.(*sqlitekv.DB)
	if !ok {
		return
	}
	m.Counter("coditect_engine_commits_total", "Transactions that this process made durable.", func() float64 { return float64(embedded.Stats().Commits) })
	m.Counter("coditect_engine_syncs_total", "Syncs that made them durable; one serves a group of commits.", func() float64 { return float64(embedded.Stats().Syncs) })
	m.Counter("coditect_engine_conflicts_total", "Commits refused because another had changed what they read.", func() float64 { return float64(embedded.Stats().Conflicts) })
	m.Counter("coditect_engine_checkpoints_total", "Times that the write-ahead log was moved into the database.", func() float64 { return float64(embedded.Stats().Checkpoints) })
}
