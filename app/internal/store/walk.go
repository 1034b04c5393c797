package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"sync"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/kv"
)

// bounds of one transaction of a walk.
type bounds struct {
	page int // keys of one read
	size int // bytes of keys and values
}

var walkBounds = bounds{page: 500, size: 32 << 20}

// walkTime bounds it too: far from the age limit. A store that is walked in it is seen at one moment.
const walkTime = kv.MaxTransactionAge / 2

// visitor is told of every pair of the store in key order. Its transactions
// may run again: begin forgets what came since the last end.
type visitor interface {
	begin()
	visit(r *Reader, p kv.Pair) error
	end() error
}

// walked says what a walk read.
type walked struct {
	version int64 // of its last snapshot
	exact   bool  // it was the only one
	schema  int
}

// walk shows v every pair below the subspace: on one snapshot where the engine
// can keep one or it takes little time, else on one after the other.
func (s *Store) walk(ctx context.Context, v visitor) (walked, error) {
	return s.walkIn(ctx, below(s.space.prefix), v)
}

// walkIn shows v the pairs of a range, as walk does.
func (s *Store) walkIn(ctx context.Context, rest kv.Range, v visitor) (walked, error) {
	seen := walked{}
	if long, ok := s.db.(kv.Snapshotter); ok {
		s.stats.transactions.Add(1)
		err := long.Snapshot(ctx, func(t kv.Reader) (err error) {
			r := s.reader(t)
			if seen, err = r.seen(); err != nil {
				return err
			}
			for more := true; more; {
				v.begin()
				if rest, more, err = r.walkOn(ctx, s.bounds, rest, v); err != nil {
					return err
				}
				if err = v.end(); err != nil {
					return err
				}
			}
			return nil
		})
		seen.exact = true
		return seen, mapped(err)
	}
	return s.walkOver(ctx, rest, v)
}

// walkOver shows v the pairs of a range on one snapshot after the other.
func (s *Store) walkOver(ctx context.Context, all kv.Range, v visitor) (seen walked, err error) {
	exact := true
	for rest := &all; rest != nil; exact = false {
		if seen, rest, err = s.walkOnce(ctx, *rest, v); err != nil {
			return seen, err
		}
		seen.exact = exact && rest == nil
	}
	return seen, nil
}

// walkOnce shows v what one transaction may take of a range, and returns what is
// left of it, nil if nothing is.
func (s *Store) walkOnce(ctx context.Context, all kv.Range, v visitor) (seen walked, rest *kv.Range, err error) {
	err = s.View(ctx, func(r *Reader) (err error) {
		if seen, err = r.seen(); err != nil {
			return err
		}
		v.begin()
		var left kv.Range
		var more bool
		left, more, err = r.walkOn(ctx, s.bounds, all, v)
		if rest = nil; more {
			rest = &left
		}
		return err
	})
	if err == nil {
		err = v.end()
	}
	seen.exact = rest == nil
	return seen, rest, err
}

func (r *Reader) seen() (walked, error) {
	version, err := r.kv.ReadVersion()
	if err != nil {
		return walked{}, fmt.Errorf("%w the version: %w", errReading, err)
	}
	schema, err := r.Schema()
	return walked{version: version, schema: schema.Version}, err
}

// together are visitors of the same walk.
type together []visitor

func (all together) begin() {
	for _, v := range all {
		v.begin()
	}
}

func (all together) visit(r *Reader, p kv.Pair) error {
	for _, v := range all {
		if err := v.visit(r, p); err != nil {
			return err
		}
	}
	return nil
}

func (all together) end() error {
	for _, v := range all {
		if err := v.end(); err != nil {
			return err
		}
	}
	return nil
}

// partWorkers is how many parts of a store are worked on at a time, each in a
// transaction of its own.
const partWorkers = 16

// walkParts walks as walk does, and hands each part that was passed to work, of
// which several run at a time. The parts are numbered in key order and leave
// nothing out. The first failure ends it all.
func (s *Store) walkParts(ctx context.Context, v visitor, work func(ctx context.Context, n int, part kv.Range) error) (walked, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	whole := below(s.space.prefix)
	queue := make(chan part) // the walk waits for whoever works
	var workers sync.WaitGroup
	for range partWorkers {
		workers.Go(func() {
			for p := range queue {
				if err := work(ctx, p.n, p.Range); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	cut := &cutting{size: s.bounds.page, from: whole.Begin, pass: func(p part) error {
		select {
		case queue <- p:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	seen, err := s.walk(ctx, together{v, cut})
	if err == nil {
		err = cut.rest(whole.End)
	}
	if err != nil {
		cancel(err) // unless a worker's own came first
	}
	close(queue)
	workers.Wait()
	return seen, mapped(context.Cause(ctx))
}

// part is a range of keys, the nth of its walk.
type part struct {
	kv.Range

	n int
}

// cutting is a walk's visitor: it cuts what it passes into parts.
type cutting struct {
	size int // keys of a part
	pass func(part) error
	n    int    // parts that were passed on
	from []byte // where the next begins

	now   []kv.Range
	begun []byte // where the one under way begins
	keys  int    // that it has
	last  []byte
}

func (c *cutting) begin() { c.now, c.begun, c.keys = c.now[:0], c.from, 0 }

func (c *cutting) visit(_ *Reader, p kv.Pair) error {
	c.last = p.Key
	if c.keys++; c.keys >= c.size {
		c.close()
	}
	return nil
}

func (c *cutting) close() {
	end := kv.KeyRange(c.last).End
	c.now = append(c.now, kv.Range{Begin: c.begun, End: end})
	c.begun, c.keys = end, 0
}

func (c *cutting) end() error {
	if c.keys > 0 {
		c.close()
	}
	for _, r := range c.now {
		if err := c.pass(part{r, c.n}); err != nil {
			return err
		}
		c.n++
	}
	c.from = c.begun
	return nil
}

// rest passes on what lies behind the last key.
func (c *cutting) rest(end []byte) error { return c.pass(part{kv.Range{Begin: c.from, End: end}, c.n}) }

// walkOn visits what one transaction may take of rest, and returns what is left.
func (r *Reader) walkOn(ctx context.Context, b bounds, rest kv.Range, v visitor) (left kv.Range, more bool, err error) {
	size := 0
	for start := time.Now(); size < b.size; {
		if err := ctx.Err(); err != nil {
			return rest, true, err
		}
		pairs, err := r.scan(rest, kv.RangeOptions{Limit: b.page})
		if err != nil {
			return rest, true, err
		}
		for _, p := range pairs {
			size += len(p.Key) + len(p.Value)
			if err := v.visit(r, p); err != nil {
				return rest, true, err
			}
			if time.Since(start) >= walkTime { // a visit reads, too: where reads are slow, not even a page can be had
				rest.Begin = kv.KeyRange(p.Key).End
				return rest, true, nil
			}
		}
		if len(pairs) < b.page {
			return rest, false, nil
		}
		rest.Begin = kv.KeyRange(pairs[len(pairs)-1].Key).End
	}
	return rest, true, nil
}

// tally gathers an inventory: the lasting records' counts, and one hash over
// their keys below the subspace and their values, in key order. Neither knows
// where transactions ended, which engine it was, or how the subspace is called.
type tally struct {
	counts map[string]int64
	hash   hash.Hash
}

func (t tally) clone() tally {
	if h, ok := t.hash.(hash.Cloner); ok { // as SHA-256's is
		t.hash, _ = h.Clone()
	}
	t.counts = maps.Clone(t.counts)
	return t
}

func (t *tally) add(s space, e entry, f form) {
	if f.class != lasting {
		return
	}
	if t.hash == nil {
		t.counts, t.hash = map[string]int64{}, sha256.New()
	}
	t.counts[f.kind]++
	hashPair(t.hash, kv.Pair{Key: e.Key[len(s.prefix):], Value: e.Value})
}

// hashPair adds a pair to h so that no two lists of pairs are the same.
func hashPair(h hash.Hash, p kv.Pair) {
	for _, part := range [][]byte{p.Key, p.Value} {
		size := binary.BigEndian.AppendUint32(nil, uint32(len(part))) //nolint:gosec // within kv's limits
		_, _ = h.Write(size)
		_, _ = h.Write(part)
	}
}

func (t *tally) inventory(seen walked) contract.Inventory {
	h := t.hash
	if h == nil {
		h = sha256.New()
	}
	counts := t.counts
	if counts == nil {
		counts = map[string]int64{}
	}
	return contract.Inventory{
		SchemaVersion: seen.schema, Counts: counts, Fingerprint: "sha256:" + hex.EncodeToString(h.Sum(nil)),
		ReadVersion: seen.version, Exact: seen.exact,
	}
}

// tallying gathers an inventory and nothing else.
type tallying struct{ done, now tally }

func (t *tallying) begin() { t.now = t.done.clone() }

func (t *tallying) end() error {
	t.done = t.now
	return nil
}

func (t *tallying) visit(r *Reader, p kv.Pair) error {
	if e, err := r.space.parse(p); err == nil {
		if f, known := forms[e.form]; known {
			t.now.add(r.space, e, f)
		}
	}
	return nil
}

// Inventory returns what the store holds, checking nothing.
func (s *Store) Inventory(ctx context.Context) (contract.Inventory, error) {
	t := &tallying{}
	seen, err := s.walk(ctx, t)
	if err != nil {
		return contract.Inventory{}, fmt.Errorf("taking the inventory: %w", err)
	}
	return t.done.inventory(seen), nil
}

// Version returns the engine's read version of now: all that was committed
// before the call is in it, nothing that is committed after it returns.
func (s *Store) Version(ctx context.Context) (version int64, err error) {
	err = s.View(ctx, func(r *Reader) (err error) {
		version, err = r.kv.ReadVersion()
		return err
	})
	return version, err
}
