package sqlitekv

import (
	"context"
	"fmt"
	"sync"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// readers is the pool of connections that snapshots live on. The one used last
// is taken first: its page cache is warm.
type readers struct {
	path     string
	cacheKiB int
	slots    chan struct{} // one for each reader in use

	mu   sync.Mutex
	idle []*reader
	all  []*reader
}

// reader is one connection and the snapshot open on it, if any.
type reader struct {
	mu    sync.Mutex
	conn  *conn
	owner *snapshot
}

// snapshot is the lazily opened view of one transaction. The pool takes its
// connection back when it is too old, so that no forgotten transaction keeps
// the write-ahead log growing.
type snapshot struct {
	pool    *readers
	reader  *reader
	since   time.Time
	maxAge  time.Duration
	maxWait time.Duration // for a reader: by then every snapshot of today's is gone
}

func newReaders(path string, limit, cacheKiB int) *readers {
	return &readers{path: path, cacheKiB: cacheKiB, slots: make(chan struct{}, limit)}
}

// take returns a reader with an open snapshot, waiting for one no longer than maxWait.
func (p *readers) take(ctx context.Context, owner *snapshot, maxWait time.Duration) (*reader, error) {
	select {
	case p.slots <- struct{}{}:
	default:
		timer := time.NewTimer(maxWait)
		defer timer.Stop()
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return nil, fmt.Errorf("%w: every reader was busy for %s", kv.ErrUnavailable, maxWait)
		}
	}
	r, err := p.pop()
	if err != nil {
		<-p.slots
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.conn.exec(begin); err != nil {
		p.push(r)
		return nil, fmt.Errorf("open a snapshot: %w", err)
	}
	r.owner, owner.since = owner, time.Now()
	return r, nil
}

func (p *readers) pop() (*reader, error) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		r := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return r, nil
	}
	p.mu.Unlock()
	c, err := openConn(p.path, p.cacheKiB)
	if err != nil {
		return nil, err
	}
	r := &reader{conn: c}
	p.mu.Lock()
	p.all = append(p.all, r)
	p.mu.Unlock()
	return r, nil
}

func (p *readers) push(r *reader) {
	p.mu.Lock()
	p.idle = append(p.idle, r)
	p.mu.Unlock()
	<-p.slots
}

// expire ends the snapshots that are too old.
func (p *readers) expire(now time.Time) {
	p.mu.Lock()
	all := append([]*reader(nil), p.all...)
	p.mu.Unlock()
	for _, r := range all {
		if !r.mu.TryLock() {
			continue // at work: its transaction finds out itself
		}
		if s := r.owner; s != nil && now.Sub(s.since) > s.maxAge {
			s.release(r)
		}
		r.mu.Unlock()
	}
}

func (p *readers) close() []error {
	var errs []error
	for _, r := range p.all {
		errs = append(errs, r.conn.Close())
	}
	return errs
}

// use runs f on the snapshot's connection, opening the snapshot at the first use.
func (s *snapshot) use(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.reader == nil {
		r, err := s.pool.take(ctx, s, s.maxWait)
		if err != nil {
			return err
		}
		s.reader = r
	}
	r := s.reader
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := s.check(); err != nil {
		return err
	}
	return f(r.conn)
}

// check tells whether the snapshot may still be read. The reader is locked.
func (s *snapshot) check() error {
	if s.reader.owner != s || time.Since(s.since) > s.maxAge {
		return fmt.Errorf("%w: older than %s", kv.ErrTooOld, s.maxAge)
	}
	return nil
}

// end closes the snapshot.
func (s *snapshot) end() {
	r := s.reader
	if r == nil {
		return
	}
	r.mu.Lock()
	if r.owner == s {
		s.release(r)
	}
	r.mu.Unlock()
}

// release ends the snapshot on its locked reader and hands the reader back.
func (s *snapshot) release(r *reader) {
	r.owner = nil
	if err := r.conn.exec(commit); err != nil {
		// What was read stands; the connection starts afresh.
		_ = r.conn.exec(rollback)
	}
	s.pool.push(r)
}
