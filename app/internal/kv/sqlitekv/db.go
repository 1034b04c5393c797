// Package sqlitekv is the embedded engine: FoundationDB's semantics and limits
// on one SQLite file in WAL mode, for one machine. Any number of processes may
// open the same directory at the same time.
//
// Transactions are optimistic. Each reads a snapshot of the file, keeps its
// writes in memory and hands them to its process's one writer. The writer
// gathers the commits that wait, takes a lock that it shares with the other
// processes' writers, refuses each commit whose reads were overwritten since
// its snapshot, and makes the rest durable with one sync. What the latest
// commits wrote is in the file too, so that a conflict with another process is
// seen like any other. Reading takes no lock that a writer waits for.
//
// docs/adr/0001-embedded-engine.md tells why.
package sqlitekv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// Names in the store's directory. SQLite adds its -wal and -shm beside the database.
const (
	fileName     = "store.db"
	lockName     = "store.lock"
	snapshotName = "store.snapshot" // locked by whoever keeps a snapshot for long
)

// Identity of the file.
const (
	applicationID = 0x436f6469 // "Codi"
	format        = 1
)

// Options tell where the store is. Zero values are the defaults.
type Options struct {
	// Dir is the store's directory, created with its parents if it is missing.
	Dir string
	// MaxAge of a transaction: kv.MaxTransactionAge, or less in a test.
	MaxAge time.Duration
	// MaxReaders is the number of snapshots open at the same time: 16.
	MaxReaders int
	// MaxRetries is how often Transact runs a function again: 100.
	MaxRetries int
}

// Stats count what a handle did since it was opened.
type Stats struct {
	Commits     uint64 // transactions made durable
	Syncs       uint64 // groups of them, each made durable by one sync
	Conflicts   uint64 // commits refused
	Retries     uint64 // functions run again
	Checkpoints uint64 // write-ahead log moved into the database
}

type counters struct{ commits, syncs, conflicts, retries, checkpoints atomic.Uint64 }

// DB is an open store.
type DB struct {
	opt     Options
	readers *readers
	writer  *writer
	lock    *fileLock
	stats   counters

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup

	janitorDone chan struct{}
}

var (
	_ kv.Database    = (*DB)(nil)
	_ kv.Snapshotter = (*DB)(nil)
)

// Open opens the store in opt.Dir and creates what is missing. A file that is
// damaged, or belongs to something else, or to a newer version of the service,
// is an error that says so.
func Open(ctx context.Context, opt Options) (*DB, error) {
	if opt.MaxAge == 0 {
		opt.MaxAge = kv.MaxTransactionAge
	}
	if opt.MaxReaders == 0 {
		opt.MaxReaders = 16
	}
	if opt.MaxRetries == 0 {
		opt.MaxRetries = 100
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the store's directory: %w", err)
	}
	lock, err := openLock(filepath.Join(opt.Dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open the store's lock: %w", err)
	}
	path := filepath.Join(opt.Dir, fileName)
	c, err := prepare(ctx, lock, path)
	if err != nil {
		return nil, errors.Join(err, lock.close())
	}
	file, err := os.Stat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the store: %w", err), c.Close(), lock.close())
	}
	db := &DB{
		opt:         opt,
		lock:        lock,
		readers:     newReaders(path, opt.MaxReaders, readerCacheKiB),
		janitorDone: make(chan struct{}),
	}
	db.writer = &writer{
		conn:     c,
		path:     path,
		file:     file,
		lock:     lock,
		queue:    make(chan *request, queueLength),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
		maxAge:   opt.MaxAge,
		stats:    &db.stats,
		written:  walStepBytes, // the log that killed processes left behind may be long
		logLimit: walLimitPages,
	}
	go db.writer.run()
	go db.janitor()
	return db, nil
}

// Sizes of the page caches, taken as they fill. A reader's holds the upper levels
// of a tree of a million sessions and what some hundred users ask for at a time.
const (
	readerCacheKiB = 4096
	writerCacheKiB = 4096
)

// prepare opens the writer's connection on a file of the right kind.
func prepare(ctx context.Context, lock *fileLock, path string) (_ *conn, err error) {
	if err := lock.lock(ctx.Done()); err != nil {
		if errors.Is(err, errGaveUp) {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("wait for the store's writers: %w", err)
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	if err := create(path); err != nil {
		return nil, fmt.Errorf("create the store: %w", err)
	}
	c, err := openConn(path, writerCacheKiB)
	if err != nil {
		return nil, err
	}
	if err := identify(c); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), c.Close())
	}
	return c, nil
}

// create makes an empty file, and sees that its name outlasts a power failure.
// It never opens a file that is there: closing it would take the locks of
// other handles of this process with it.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// identify refuses a file that is not a store of this format and makes an empty one into one.
func identify(c *conn) error {
	id, err := c.once("PRAGMA application_id")
	if err != nil {
		return err
	}
	version, err := c.once("PRAGMA user_version")
	if err != nil {
		return err
	}
	objects, err := c.once("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	switch {
	case id == applicationID && version == format:
		return nil
	case id == applicationID && version > format:
		return fmt.Errorf("written by a newer version of the service: its format is %d, this version knows up to %d", version, format)
	case id != 0 || version != 0 || objects != 0:
		return errDamaged
	}
	for _, query := range []string{
		"PRAGMA journal_mode = WAL",
		texts[lockAndBegin],
		"CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
		"CREATE TABLE commits (version INTEGER PRIMARY KEY, at INTEGER NOT NULL, ranges BLOB NOT NULL) STRICT",
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", format),
		texts[commit],
	} {
		if _, err := c.once(query); err != nil {
			return fmt.Errorf("create the tables: %w", err)
		}
	}
	return nil
}

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

// Read implements kv.Database.
func (db *DB) Read(ctx context.Context, fn func(kv.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.enter(); err != nil {
		return err
	}
	defer db.active.Done()
	return db.retry(ctx, func() error {
		t := db.begin(ctx, true)
		defer t.snapshot.end()
		return fn(snapshotReader{t})
	})
}

// Transact implements kv.Database.
func (db *DB) Transact(ctx context.Context, fn func(kv.Transaction) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.enter(); err != nil {
		return err
	}
	defer db.active.Done()
	return db.retry(ctx, func() error {
		t := db.begin(ctx, false)
		defer t.snapshot.end()
		if err := fn(t); err != nil {
			return err
		}
		return db.commit(t)
	})
}

// Snapshot implements kv.Snapshotter. The write-ahead log cannot start over
// while the snapshot lives: it grows by all that is written meanwhile.
func (db *DB) Snapshot(ctx context.Context, fn func(kv.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.enter(); err != nil {
		return err
	}
	defer db.active.Done()
	mark, err := openLock(filepath.Join(db.opt.Dir, snapshotName))
	if err != nil {
		return fmt.Errorf("%w: mark a long snapshot: %w", kv.ErrUnavailable, err)
	}
	defer func() { _ = mark.close() }() // which lets go of it
	if err := mark.flock(syscall.LOCK_SH); err != nil {
		return fmt.Errorf("%w: mark a long snapshot: %w", kv.ErrUnavailable, err)
	}
	t := db.begin(ctx, true)
	t.snapshot.maxAge = math.MaxInt64
	defer t.snapshot.end()
	return fn(snapshotReader{t})
}

func (db *DB) begin(ctx context.Context, readOnly bool) *tx {
	return &tx{ctx: ctx, readOnly: readOnly, snapshot: snapshot{pool: db.readers, maxAge: db.opt.MaxAge, maxWait: 2 * db.opt.MaxAge}}
}

// commit makes t durable. Without writes there is nothing to do: all that it
// read was one snapshot, which is its place in the order of transactions.
func (db *DB) commit(t *tx) error {
	if t.err != nil {
		return t.err
	}
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if !t.changes() {
		return nil
	}
	r := &request{
		reads:  t.reads,
		writes: &t.writes,
		wrote:  t.writes.conflicts(t.extra),
		size:   t.size,
		done:   make(chan error, 1),
	}
	if len(r.reads) > 0 {
		if err := t.snapshot.use(t.ctx, func(c *conn) (err error) {
			r.version, err = c.version()
			return err
		}); err != nil {
			return err
		}
	}
	t.snapshot.end()
	return db.writer.commit(t.ctx, r)
}

// The pauses between two runs of a function: the first, doubled each time up to the last.
const (
	firstPause = time.Millisecond
	lastPause  = 128 * time.Millisecond
)

// isAny tells whether err matches one of the targets.
func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// retry runs f until it succeeds or fails for good.
func (db *DB) retry(ctx context.Context, f func() error) error {
	pause := firstPause
	unknown := false // an earlier run may have committed: no failure of a later one denies it
	for attempt := 0; ; attempt++ {
		err := f()
		last := attempt == db.opt.MaxRetries || !isAny(err, kv.ErrConflict, kv.ErrTooOld, kv.ErrCommitUnknown)
		if unknown && isAny(err, kv.ErrConflict, kv.ErrTooOld, kv.ErrUnavailable, context.Canceled, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", kv.ErrCommitUnknown, err)
		}
		if last {
			return err
		}
		unknown = unknown || errors.Is(err, kv.ErrCommitUnknown)
		timer := time.NewTimer(rand.N(pause)) //nolint:gosec // spreads retries, keeps no secret
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		db.stats.retries.Add(1)
		pause = min(2*pause, lastPause)
	}
}

// janitor takes back the snapshots of transactions that outlived their age.
func (db *DB) janitor() {
	defer close(db.janitorDone)
	ticker := time.NewTicker(db.opt.MaxAge / 4)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			db.readers.expire(now)
		case <-db.writer.stop:
			return
		}
	}
}

// Stats returns what the handle did so far.
func (db *DB) Stats() Stats {
	return Stats{
		Commits:     db.stats.commits.Load(),
		Syncs:       db.stats.syncs.Load(),
		Conflicts:   db.stats.conflicts.Load(),
		Retries:     db.stats.retries.Load(),
		Checkpoints: db.stats.checkpoints.Load(),
	}
}

// Close implements kv.Database.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return kv.ErrClosed
	}
	db.closed = true
	db.mu.Unlock()
	db.active.Wait()
	close(db.writer.stop)
	<-db.writer.stopped
	<-db.janitorDone
	errs := append(db.readers.close(), db.writer.conn.Close(), db.lock.close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}
