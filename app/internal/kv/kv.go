// Package kv is the contract of the database below the records: an ordered,
// transactional key-value store with FoundationDB's semantics and limits, and
// no more than FoundationDB has. Engines live in child packages and all pass
// kvtest; key layout, indexes and rules live above and exist once.
//
// It imports nothing of the project.
package kv

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// Limits that every engine enforces, whatever its own may be (FoundationDB 7.3,
// "Known limitations"), so that what works on a laptop works on a cluster.
const (
	MaxKeySize         = 10_000          // bytes
	MaxValueSize       = 100_000         // bytes
	MaxTransactionSize = 10_000_000      // bytes of keys, values and conflict ranges together
	MaxTransactionAge  = 5 * time.Second // from the first read to the commit
)

// Failures that callers tell apart with errors.Is. An engine maps each error of
// its own to one of these exactly once, and wraps it with what it was doing.
var (
	// ErrConflict: another transaction changed what this one had read. Transact retries it.
	ErrConflict = errors.New("conflicting transaction")
	// ErrTooOld: the transaction lived longer than MaxTransactionAge. Transact retries it.
	ErrTooOld = errors.New("transaction too old")
	// ErrCommitUnknown: the commit may or may not have taken effect. Transact retries it,
	// so functions look for their own effect first; when it is returned, retries or time have run out.
	ErrCommitUnknown = errors.New("outcome of the commit unknown")
	// ErrTooLarge: a key, a value or the transaction exceeds its limit. Never retried.
	ErrTooLarge = errors.New("larger than the database allows")
	// ErrUnavailable: the database cannot be reached or is full. Nothing was committed.
	ErrUnavailable = errors.New("database unavailable")
	// ErrClosed: the database was closed. Nothing was committed.
	ErrClosed = errors.New("database closed")
)

// Range is the half-open interval of keys [Begin, End) in byte order.
type Range struct{ Begin, End []byte }

// PrefixRange holds every key that begins with prefix. It panics on a prefix
// of only 0xFF bytes, which no key of the project has.
func PrefixRange(prefix []byte) Range {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xFF {
			end[i]++
			return Range{Begin: append([]byte(nil), prefix...), End: end[:i+1]}
		}
	}
	panic("kv: prefix without an end")
}

// KeyRange holds exactly one key. It keeps nothing of the slice.
func KeyRange(key []byte) Range {
	end := append(append(make([]byte, 0, len(key)+1), key...), 0)
	return Range{Begin: end[:len(key):len(key)], End: end}
}

// Pair is a key and its value.
type Pair struct{ Key, Value []byte }

// RangeOptions bound and direct a range read.
type RangeOptions struct {
	Limit   int  // pairs at the most; 0 is no limit
	Reverse bool // last key first
}

// Reader reads one consistent snapshot. The slices that it returns belong to the caller.
type Reader interface {
	// Get returns the value of key, or nil where there is none; an empty value is not nil.
	Get(key []byte) ([]byte, error)
	// Range returns the pairs of r in key order.
	Range(r Range, opt RangeOptions) ([]Pair, error)
	// ReadVersion returns the version of the snapshot. A commit that the snapshot includes has
	// a lower or the same one, every later commit a higher one. Of one database alone.
	ReadVersion() (int64, error)
}

// Transaction reads a snapshot with its own writes on top and gathers writes,
// which take effect together at the commit or not at all. Writes report no
// error: what is wrong with one fails the commit. It is for one goroutine.
type Transaction interface {
	Reader
	// Snapshot reads the same data without making the commit depend on it.
	Snapshot() Reader
	Set(key, value []byte)
	Clear(key []byte)
	ClearRange(r Range)
	// Add adds delta to the counter at key without reading it, so that two adds never conflict. See Counter.
	Add(key []byte, delta int64)
	// AddReadConflict makes the commit fail if another transaction writes r in the meantime.
	AddReadConflict(r Range)
	// AddWriteConflict makes others that have read r fail, without a write.
	AddWriteConflict(r Range)
}

// Database is an open engine, safe for concurrent use.
type Database interface {
	// Transact runs fn in a strictly serializable transaction and commits it; when it
	// returns nil the effect is durable. It runs fn again after ErrConflict, ErrTooOld and
	// ErrCommitUnknown, with growing pauses, until the context is done or the engine's limit of
	// retries is reached: fn must have no effect but on its Transaction, and after an unknown
	// outcome it may find its own effect in place. An error of fn ends the transaction without
	// effect and is returned as it is. The returned error matches one of the package's, or
	// the context's, or is fn's own.
	Transact(ctx context.Context, fn func(Transaction) error) error
	// Read runs fn on one snapshot that includes everything acknowledged before the call.
	Read(ctx context.Context, fn func(Reader) error) error
	// Close waits for transactions under way and releases the engine.
	Close() error
}

// Snapshotter is a database that can keep one snapshot for as long as it takes
// to read all of it, which FoundationDB cannot. Writers go on meanwhile.
type Snapshotter interface {
	// Snapshot runs fn once, as Read does but for MaxTransactionAge.
	Snapshot(ctx context.Context, fn func(Reader) error) error
}

// Counter decodes a value that Add maintains: a little-endian two's complement
// 64-bit integer. An absent counter is 0.
func Counter(value []byte) int64 {
	var b [8]byte
	copy(b[:], value)
	return int64(binary.LittleEndian.Uint64(b[:])) //nolint:gosec // two's complement is the format
}

// CounterValue encodes n as Add does.
func CounterValue(n int64) []byte {
	return binary.LittleEndian.AppendUint64(nil, uint64(n)) //nolint:gosec // two's complement is the format
}
