package sqlitekv

import (
	"fmt"
	"sort"
	"time"

	"zombiezen.com/go/sqlite"

	"coditect.ai/platform/app/internal/kv"
)

// commitLog remembers what the latest commits of all processes wrote, for as
// long as a transaction may live. It mirrors the table of that name; versions
// follow each other without a gap, one for each group of commits.
type commitLog struct {
	entries []logEntry
	version int64 // of the latest commit
	size    int   // bytes of the entries' ranges
}

type logEntry struct {
	version int64
	at      time.Time
	wrote   rangeSet
}

// maxLogBytes bounds the ranges kept in memory; a transaction that would need older ones is too old.
const maxLogBytes = 32 << 20

// catchUp reads the commits of other handles. The connection holds the write lock.
func (l *commitLog) catchUp(c *conn) error {
	return c.rows(commitsSince, func(s *sqlite.Stmt) (bool, error) {
		version, at := s.ColumnInt64(0), s.ColumnInt64(1)
		wrote, err := decodeRanges(column(s, 2))
		if err != nil {
			return false, fmt.Errorf("%w: commit %d: %w", kv.ErrUnavailable, version, err)
		}
		if version != l.version+1 { // the ones between were trimmed
			l.entries, l.size = nil, 0
		}
		l.append(logEntry{version: version, at: time.UnixMilli(at), wrote: wrote})
		return true, nil
	}, l.version)
}

func (l *commitLog) append(e logEntry) {
	l.entries = append(l.entries, e)
	l.version = e.version
	l.size += e.wrote.size()
}

// conflict returns ErrConflict if a commit after version wrote a key of reads,
// and ErrTooOld if the log no longer reaches back to version.
func (l *commitLog) conflict(version int64, reads []kv.Range) error {
	if version >= l.version {
		return nil
	}
	if len(l.entries) == 0 || version < l.entries[0].version-1 {
		return fmt.Errorf("%w: older than the log of commits", kv.ErrTooOld)
	}
	since := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].version > version })
	for _, e := range l.entries[since:] {
		if e.wrote.overlapsAny(reads) {
			return kv.ErrConflict
		}
	}
	return nil
}

// trim forgets the commits before cutoff, but not the latest, and returns the first version that is left.
func (l *commitLog) trim(cutoff time.Time) int64 {
	n := 0
	for n < len(l.entries)-1 && (l.entries[n].at.Before(cutoff) || l.size > maxLogBytes) {
		l.size -= l.entries[n].wrote.size()
		n++
	}
	l.entries = append([]logEntry(nil), l.entries[n:]...)
	if len(l.entries) == 0 {
		return 0
	}
	return l.entries[0].version
}
