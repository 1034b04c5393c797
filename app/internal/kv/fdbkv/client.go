//go:build fdb

package fdbkv

import (
	"context"
	"fmt"
	"sync"

	"github.com/apple/foundationdb/bindings/go/src/fdb"

	"coditect.ai/platform/app/internal/kv"
)

// process is the one client of the process. The binding keeps the databases
// that were opened by their cluster files and, like this, never lets go of
// one: transactions of any handle may still hold it.
var process struct {
	mu     sync.Mutex
	client *Client // that the network was made with; nil before
}

// Open returns a handle on the cluster that the file names. It does not wait
// for the cluster to answer, only for one of its coordinators to have an
// address; ErrUnavailable says that none has. Whatever else is wrong is an
// error too, and Open may be tried again after any.
func Open(ctx context.Context, opt Options) (*DB, error) {
	if err := opt.complete(); err != nil {
		return nil, fmt.Errorf("options of FoundationDB: %w", err)
	}
	hosts, err := coordinators(opt.ClusterFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	if err := resolvable(ctx, hosts); err != nil {
		return nil, err
	}
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.client == nil {
		if err := opt.configure(); err != nil {
			return nil, fmt.Errorf("configure the client of FoundationDB: %w", err)
		}
		process.client = &opt.Client
	}
	if *process.client != opt.Client {
		return nil, fmt.Errorf("the process has a client of FoundationDB with other settings: %+v, not %+v", *process.client, opt.Client)
	}
	database, err := fdb.OpenDatabase(opt.ClusterFile)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", classified(err, false))
	}
	return &DB{opt: opt, database: database}, nil
}

// configure sets what has to be set before the network thread starts.
func (c Client) configure() error {
	if err := fdb.APIVersion(c.APIVersion); err != nil {
		return fmt.Errorf("API version %d: %w", c.APIVersion, err)
	}
	network := fdb.Options()
	for _, o := range []struct {
		name, value string
		set         func(string) error
	}{
		{"external client directory", c.ExternalClientDir, network.SetExternalClientDirectory},
		{"TLS certificate", c.TLSCertFile, network.SetTLSCertPath},
		{"TLS key", c.TLSKeyFile, network.SetTLSKeyPath},
		{"TLS CA", c.TLSCAFile, network.SetTLSCaPath},
		{"TLS peers", c.TLSVerifyPeers, func(s string) error { return network.SetTLSVerifyPeers([]byte(s)) }},
	} {
		if o.value == "" {
			continue
		}
		if err := o.set(o.value); err != nil {
			return fmt.Errorf("%s %q: %w", o.name, o.value, err)
		}
	}
	return nil
}
