package sqlitekv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"zombiezen.com/go/sqlite"

	"coditect.ai/platform/app/internal/kv"
)

const (
	queueLength   = 256                       // commits waiting for the writer
	maxGroup      = 256                       // commits that share one sync
	maxGroupBytes = 2 * kv.MaxTransactionSize // and their size
	trimEvery     = 64                        // groups between two trims of the log
	pageBytes     = 4096                      // SQLite's default page
	walStepBytes  = 4 << 20                   // written between two checkpoints
	walKeepBytes  = 16 << 20                  // size to which the write-ahead log returns
	walLimitPages = (64 << 20) / pageBytes    // size from which the checkpoint waits for readers
	logMargin     = 1 * time.Second           // by which the log outlives the oldest transaction
)

// request is a transaction on its way to the writer.
type request struct {
	version int64 // of the snapshot that was read
	reads   []kv.Range
	writes  *writes
	wrote   rangeSet
	size    int
	state   atomic.Int32
	done    chan error // holds the outcome
}

// The states of a request. Whoever moves it out of waiting decides its fate.
const (
	waiting int32 = iota
	claimed
	withdrawn
)

// writer is the only one of its process that writes. It gathers the commits
// that wait, takes the lock that it shares with other processes, refuses those
// in conflict with what was committed since their snapshot, and makes the rest
// durable with one sync.
type writer struct {
	conn    *conn
	path    string
	file    os.FileInfo // of path when it was opened
	lock    *fileLock
	queue   chan *request
	stop    chan struct{}
	stopped chan struct{}
	maxAge  time.Duration
	stats   *counters

	log      commitLog
	groups   int   // since the last trim
	written  int   // bytes since the last checkpoint, estimated
	logLimit int64 // pages of the write-ahead log from which a checkpoint waits for readers
}

// commit queues the request and waits for its outcome.
func (w *writer) commit(ctx context.Context, r *request) error {
	timer := time.NewTimer(w.maxAge)
	defer timer.Stop()
	select {
	case w.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("%w: no place in the writer's queue for %s", kv.ErrUnavailable, w.maxAge)
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return ctx.Err()
		}
		select {
		case err := <-r.done:
			return err
		default:
			return fmt.Errorf("%w: %w", kv.ErrCommitUnknown, ctx.Err())
		}
	case <-timer.C:
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return fmt.Errorf("%w: another process held the store's lock for %s", kv.ErrUnavailable, w.maxAge)
		}
		select {
		case err := <-r.done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", kv.ErrCommitUnknown, ctx.Err())
		}
	}
}

// run serves the queue until stop is closed.
func (w *writer) run() {
	defer close(w.stopped)
	for {
		select {
		case r := <-w.queue:
			w.serve(r)
		case <-w.stop:
			return
		}
	}
}

// serve commits first and what waits behind it as one group.
func (w *writer) serve(first *request) {
	if err := w.lock.lock(w.stop); err != nil {
		if first.state.CompareAndSwap(waiting, claimed) {
			first.done <- fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
		return
	}
	group := w.gather(first)
	if len(group) > 0 {
		for i, err := range w.commitGroup(group) {
			group[i].done <- err
		}
		w.tidy()
	}
	// Leaving the lock cannot fail while the file is open; if it did, the next lock would say so.
	_ = w.lock.unlock()
}

// gather claims first and the requests that wait behind it.
func (w *writer) gather(first *request) []*request {
	group := make([]*request, 0, 16)
	size := 0
	for r := first; ; {
		if r.state.CompareAndSwap(waiting, claimed) {
			group = append(group, r)
			size += r.size
		}
		if len(group) >= maxGroup || size >= maxGroupBytes {
			return group
		}
		select {
		case r = <-w.queue:
		default:
			return group
		}
	}
}

// commitGroup commits the requests without conflict, in order, and returns every one's outcome.
func (w *writer) commitGroup(group []*request) []error {
	outcomes := make([]error, len(group))
	wrote, err := w.apply(group, outcomes)
	if err == nil && wrote != nil {
		if err = w.conn.exec(commit); err != nil {
			err = commitError(err)
		}
	}
	if err != nil || wrote == nil {
		// Nothing to keep: when even this fails, SQLite has rolled back by itself.
		_ = w.conn.exec(rollback)
	}
	if err != nil {
		w.written = walStepBytes // a checkpoint may make room on a full disk
	}
	committed := 0
	for i := range outcomes {
		if outcomes[i] == nil {
			outcomes[i] = err
			committed++
		}
	}
	w.stats.conflicts.Add(uint64(len(group) - committed))
	if err == nil && wrote != nil {
		w.stats.syncs.Add(1)
		w.stats.commits.Add(uint64(committed))
		w.log.append(logEntry{version: w.log.version + 1, at: time.Now(), wrote: wrote})
	}
	return outcomes
}

// apply opens the database transaction and writes what does not conflict,
// giving the others their outcome. It returns the keys written, nil for none.
func (w *writer) apply(group []*request, outcomes []error) (rangeSet, error) {
	if file, err := os.Stat(w.path); err != nil || !os.SameFile(file, w.file) {
		return nil, fmt.Errorf("%w: %s was removed or replaced: start the process again", kv.ErrUnavailable, w.path)
	}
	if err := w.conn.exec(lockAndBegin); err != nil {
		return nil, err
	}
	if err := w.log.catchUp(w.conn); err != nil {
		return nil, fmt.Errorf("read the log of commits: %w", err)
	}
	var sets rangeSets
	for i, r := range group {
		if len(r.reads) > 0 {
			err := w.log.conflict(r.version, r.reads)
			if err == nil && sets.overlaps(r.reads) {
				err = kv.ErrConflict
			}
			if err != nil {
				outcomes[i] = err
				continue
			}
		}
		if err := w.write(r.writes); err != nil {
			return nil, err
		}
		w.written += r.size
		sets = sets.add(r.wrote)
	}
	if len(sets) == 0 {
		return nil, nil
	}
	wrote := sets.union()
	if err := w.conn.exec(logCommit, w.log.version+1, time.Now().UnixMilli(), wrote.encode()); err != nil {
		return nil, err
	}
	w.written += 4 * pageBytes
	if w.groups++; w.groups%trimEvery == 0 || w.log.size > maxLogBytes {
		if first := w.log.trim(time.Now().Add(-w.maxAge - logMargin)); first > 0 {
			if err := w.conn.exec(trimLog, first); err != nil {
				return nil, err
			}
		}
	}
	return wrote, nil
}

// write applies one transaction's writes.
func (w *writer) write(changes *writes) error {
	for _, r := range changes.cleared {
		if err := w.conn.exec(clearRange, r.Begin, r.End); err != nil {
			return err
		}
	}
	for _, key := range changes.keys() {
		e := changes.effects[key]
		if e.kind == effectClear {
			if err := w.conn.exec(clearKey, []byte(key)); err != nil {
				return err
			}
			continue
		}
		var stored []byte
		if e.kind == effectAdd {
			var err error
			if stored, err = w.conn.get([]byte(key)); err != nil {
				return err
			}
		}
		if err := w.conn.exec(set, []byte(key), e.over(stored)); err != nil {
			return err
		}
	}
	return nil
}

// commitError is the outcome of a COMMIT that failed. When the disk is full or
// the lock was not to be had, the group's last frame was not written and the
// group is gone. After any other failure of the disk the frames may be found
// in the log after a crash.
func commitError(err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull, sqlite.ResultBusy:
		return fmt.Errorf("commit: %w", err)
	default:
		return fmt.Errorf("%w: commit: %w", kv.ErrCommitUnknown, err)
	}
}

// tidy moves the write-ahead log into the database from time to time, while no
// one else can write. What it cannot move is moved the next time.
func (w *writer) tidy() {
	if w.written < walStepBytes {
		return
	}
	w.written = 0
	pages, _ := w.moveLog(checkpoint)
	if pages <= w.logLimit {
		return
	}
	// Readers stood in the way for too long; they are gone within a transaction's
	// age. One that is not hangs: waiting for it at every step would be worse
	// than a log twice as long.
	w.logLimit = walLimitPages
	if w.longSnapshot() { // it may stay for minutes, and commits would wait in vain
		w.logLimit = 2 * pages
		return
	}
	if _, blocked := w.moveLog(restart); blocked {
		w.logLimit = 2 * pages
	}
}

// longSnapshot reports whether some process keeps a snapshot for long. When in doubt it does not.
func (w *writer) longSnapshot() bool {
	path := filepath.Join(filepath.Dir(w.path), snapshotName)
	if _, err := os.Stat(path); err != nil {
		return false // nobody ever did
	}
	mark, err := openLock(path)
	if err != nil {
		return false
	}
	defer func() { _ = mark.close() }()
	return errors.Is(mark.flock(syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// moveLog checkpoints, and returns the number of pages in the write-ahead log
// and whether readers kept it from starting over.
func (w *writer) moveLog(how query) (pages int64, blocked bool) {
	w.stats.checkpoints.Add(1)
	err := w.conn.rows(how, func(s *sqlite.Stmt) (bool, error) {
		blocked, pages = s.ColumnInt64(0) != 0, s.ColumnInt64(1)
		return false, nil
	})
	if err != nil {
		return 0, false // the log stays as it is and the next checkpoint starts over
	}
	return pages, blocked
}
