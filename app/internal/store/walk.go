package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
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
	for n, more := 1, true; more; n++ {
		next := rest
		err := s.View(ctx, func(r *Reader) (err error) {
			if seen, err = r.seen(); err != nil {
				return err
			}
			v.begin()
			next, more, err = r.walkOn(ctx, s.bounds, rest, v)
			return err
		})
		if err == nil {
			err = v.end()
		}
		if err != nil {
			return seen, err
		}
		rest, seen.exact = next, n == 1
	}
	return seen, nil
}

func (r *Reader) seen() (walked, error) {
	version, err := r.kv.ReadVersion()
	if err != nil {
		return walked{}, fmt.Errorf("%w the version: %w", errReading, err)
	}
	schema, err := r.Schema()
	return walked{version: version, schema: schema.Version}, err
}

// walkOn visits what one transaction may take of rest, and returns what is left.
func (r *Reader) walkOn(ctx context.Context, b bounds, rest kv.Range, v visitor) (left kv.Range, more bool, err error) {
	size := 0
	for start := time.Now(); size < b.size && time.Since(start) < walkTime; {
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
