//go:build fdb

package main

import (
	"context"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/fdbkv"
	"coditect.ai/platform/app/internal/telemetry"
)

var engines = map[string]engine{
	contract.EngineEmbedded:     embedded,
	contract.EngineFoundationDB: {open: openFoundationDB, measure: measureFoundationDB},
}

func openFoundationDB(ctx context.Context, cfg config.Config) (kv.Database, error) {
	f := cfg.FoundationDB
	return fdbkv.Open(ctx, fdbkv.Options{
		ClusterFile: cfg.ClusterFile,
		Timeout:     f.Timeout, MaxRetries: f.MaxRetries, MaxRetryDelay: f.MaxRetryDelay, SizeLimit: f.SizeLimit,
		Client: fdbkv.Client{
			APIVersion: f.APIVersion, ExternalClientDir: f.ExternalClientDir,
			TLSCertFile: f.TLSCertFile, TLSKeyFile: f.TLSKeyFile, TLSCAFile: f.TLSCAFile, TLSVerifyPeers: f.TLSVerifyPeers,
		},
	})
}

func measureFoundationDB(m *telemetry.Metrics, db kv.Database) {
	cluster, ok := db.(*fdbkv.DB)
	if !ok {
		return
	}
	m.Counter("coditect_engine_commits_total", "Transactions that this process made durable.", func() float64 { return float64(cluster.Stats().Commits) })
	m.Counter("coditect_engine_conflicts_total", "Commits refused because another had changed what they read.", func() float64 { return float64(cluster.Stats().Conflicts) })
	m.Counter("coditect_engine_retries_total", "Transactions run again.", func() float64 { return float64(cluster.Stats().Retries) })
	m.Counter("coditect_engine_unknown_total", "Commits whose outcome the cluster could not tell.", func() float64 { return float64(cluster.Stats().Unknown) })
	m.Counter("coditect_engine_failures_total", "Transactions that ended with an error of the database.", func() float64 { return float64(cluster.Stats().Failures) })
}
