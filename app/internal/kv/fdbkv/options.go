//go:build fdb

package fdbkv

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// Options tell how to reach the cluster. Zero values are the defaults.
type Options struct {
	// ClusterFile names the cluster. It and its directory are writable: the
	// client follows coordinators in it.
	ClusterFile string
	// Timeout bounds a transaction with all its retries: 5 s.
	Timeout time.Duration
	// MaxRetries is how often Transact runs a function again: 100.
	MaxRetries int
	// MaxRetryDelay bounds the pause before that: 1 s.
	MaxRetryDelay time.Duration
	// SizeLimit of a transaction in bytes: kv.MaxTransactionSize, or less.
	SizeLimit int

	// Client is the same for every database of the process.
	Client
}

// Client is what a process has one of.
type Client struct {
	// APIVersion is 710 for a cluster of 7.1, 730 from 7.3 on: 730.
	APIVersion int
	// ExternalClientDir holds client libraries of other versions, so that the process can follow an upgrade.
	ExternalClientDir string
	// TLS files for coordinators with :tls, and the peers to accept, in
	// FoundationDB's language ("Check.Valid=1"). Empty is the client's default.
	TLSCertFile, TLSKeyFile, TLSCAFile, TLSVerifyPeers string
}

var apiVersions = []int{710, 730}

func (o *Options) complete() error {
	defaultTo(&o.Timeout, 5*time.Second)
	defaultTo(&o.MaxRetries, 100)
	defaultTo(&o.MaxRetryDelay, time.Second)
	defaultTo(&o.SizeLimit, kv.MaxTransactionSize)
	defaultTo(&o.APIVersion, apiVersions[len(apiVersions)-1])
	switch {
	case o.ClusterFile == "":
		return errors.New("no cluster file is named")
	case !slices.Contains(apiVersions, o.APIVersion):
		return fmt.Errorf("API version %d is none of %d", o.APIVersion, apiVersions)
	case o.Timeout < time.Millisecond || o.MaxRetries < 0 || o.MaxRetryDelay < time.Millisecond:
		return fmt.Errorf("timeout %v, %d retries, at most %v apart: out of range", o.Timeout, o.MaxRetries, o.MaxRetryDelay)
	case o.SizeLimit < 32 || o.SizeLimit > kv.MaxTransactionSize:
		return fmt.Errorf("size limit %d is not within 32 and %d", o.SizeLimit, kv.MaxTransactionSize)
	}
	return nil
}

func defaultTo[T comparable](v *T, def T) {
	if *v == *new(T) {
		*v = def
	}
}

// Stats count what a handle did since it was opened.
type Stats struct {
	Commits   uint64 // transactions that the cluster acknowledged
	Conflicts uint64 // commits refused because another had changed what they read
	Retries   uint64 // functions run again
	Unknown   uint64 // commits whose outcome the cluster could not tell
	Failures  uint64 // transactions that ended with an error of the database
}

type counters struct{ commits, conflicts, retries, unknown, failures atomic.Uint64 }

// Stats returns what the handle did so far.
func (db *DB) Stats() Stats {
	return Stats{
		Commits:   db.stats.commits.Load(),
		Conflicts: db.stats.conflicts.Load(),
		Retries:   db.stats.retries.Load(),
		Unknown:   db.stats.unknown.Load(),
		Failures:  db.stats.failures.Load(),
	}
}
