//go:build fdb

package fdbkv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apple/foundationdb/bindings/go/src/fdb"

	"coditect.ai/platform/app/internal/kv"
)

// DB is a handle on a cluster.
type DB struct {
	opt      Options
	database fdb.Database
	stats    counters

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup
}

var _ kv.Database = (*DB)(nil)

// enter counts a transaction under way; Close waits for its leave.
func (db *DB) enter() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return kv.ErrClosed
	}
	db.active.Add(1)
	return nil
}

// Transact implements kv.Database.
func (db *DB) Transact(ctx context.Context, fn func(kv.Transaction) error) error {
	return db.run(ctx, func(t *tx) error {
		if err := fn(t); err != nil {
			return err
		}
		return db.commit(t)
	})
}

// Read implements kv.Database.
func (db *DB) Read(ctx context.Context, fn func(kv.Reader) error) error {
	return db.run(ctx, func(t *tx) error { return fn(t.Snapshot()) })
}

// run makes attempts until one succeeds or the client sees no use in another.
func (db *DB) run(ctx context.Context, attempt func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.enter(); err != nil {
		return err
	}
	defer db.active.Done()
	native, err := db.begin()
	if err != nil {
		return err
	}
	defer native.Reset() // what it holds outside of Go's heap goes now, not when it is collected
	defer context.AfterFunc(ctx, func() { abandon(native) })()
	unknown := false // whether an earlier attempt may have taken effect
	for {
		err := attempt(&tx{ctx: ctx, native: native})
		if err == nil {
			return nil
		}
		code, coded := codeOf(err)
		ended := ctx.Err() != nil
		if !coded && (!ended || !errors.Is(err, ctx.Err())) {
			return err // the function's own
		}
		unknown = unknown || errors.Is(err, kv.ErrCommitUnknown)
		if !coded || ended || native.OnError(fdb.Error{Code: code}).Get() != nil {
			db.stats.failures.Add(1)
			return final(err, ctx.Err(), unknown)
		}
		db.stats.retries.Add(1)
	}
}

// final is what the caller learns of the last attempt's error, given the error
// of its context. Once an outcome was unknown, no later failure may say that
// nothing was committed.
func final(err, cause error, unknown bool) error {
	switch {
	case unknown && cause != nil:
		return fmt.Errorf("%w: %w", cause, kv.ErrCommitUnknown)
	case unknown && !errors.Is(err, kv.ErrCommitUnknown):
		return fmt.Errorf("%w: another attempt failed: %s", kv.ErrCommitUnknown, err.Error())
	case cause != nil && !errors.Is(err, cause):
		return fmt.Errorf("%w: %w", cause, err)
	default:
		return err
	}
}

// begin makes a transaction that ends by itself.
func (db *DB) begin() (fdb.Transaction, error) {
	native, err := db.database.CreateTransaction()
	if err != nil {
		return native, fmt.Errorf("begin a transaction: %w", classified(err, false))
	}
	o := native.Options()
	for _, err := range []error{
		o.SetTimeout(db.opt.Timeout.Milliseconds()),
		o.SetRetryLimit(int64(db.opt.MaxRetries)),
		o.SetMaxRetryDelay(db.opt.MaxRetryDelay.Milliseconds()),
		o.SetSizeLimit(int64(db.opt.SizeLimit)),
	} {
		if err != nil {
			return native, fmt.Errorf("set a transaction's options: %w", classified(err, false))
		}
	}
	return native, nil
}

// abandon fails whatever the transaction waits for. A client that has not
// reached its cluster yet has no transaction that it could cancel, but obeys
// the timeout.
func abandon(native fdb.Transaction) {
	_ = native.Options().SetTimeout(time.Millisecond.Milliseconds()) // fails for no value of that type
	native.Cancel()
}

// commit makes t durable.
func (db *DB) commit(t *tx) error {
	if t.failed != nil {
		return t.failed
	}
	if err := t.ctx.Err(); err != nil {
		return err
	}
	err := t.native.Commit().Get()
	if err == nil {
		db.stats.commits.Add(1)
		return nil
	}
	err = classified(err, true)
	switch {
	case errors.Is(err, kv.ErrConflict):
		db.stats.conflicts.Add(1)
	case errors.Is(err, kv.ErrCommitUnknown):
		db.stats.unknown.Add(1)
	}
	return fmt.Errorf("commit: %w", err)
}

// Close implements kv.Database. The database itself stays open: it is the process's.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return kv.ErrClosed
	}
	db.closed = true
	db.mu.Unlock()
	db.active.Wait()
	return nil
}
