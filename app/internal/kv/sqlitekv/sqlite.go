package sqlitekv

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"coditect.ai/platform/app/internal/kv"
)

// query is a statement that a connection prepares when it first needs it, and keeps.
type query int

const (
	begin query = iota
	lockAndBegin
	commit
	rollback
	get
	scanForward
	scanReverse
	set
	clearKey
	clearRange
	latestVersion
	commitsSince
	logCommit
	trimLog
	checkpoint
	restart
	queries
)

var texts = [queries]string{
	begin:         "BEGIN",
	lockAndBegin:  "BEGIN IMMEDIATE",
	commit:        "COMMIT",
	rollback:      "ROLLBACK",
	get:           "SELECT value FROM kv WHERE key = ?",
	scanForward:   "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key",
	scanReverse:   "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key DESC",
	set:           "INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
	clearKey:      "DELETE FROM kv WHERE key = ?",
	clearRange:    "DELETE FROM kv WHERE key >= ? AND key < ?",
	latestVersion: "SELECT max(version) FROM commits",
	commitsSince:  "SELECT version, at, ranges FROM commits WHERE version > ? ORDER BY version",
	logCommit:     "INSERT INTO commits VALUES (?, ?, ?)",
	trimLog:       "DELETE FROM commits WHERE version < ?",
	checkpoint:    "PRAGMA wal_checkpoint(PASSIVE)",
	restart:       "PRAGMA wal_checkpoint(RESTART)",
}

// busyTimeout bounds the wait for a lock of SQLite's own: for recovery after a
// crash, for the last reader before a checkpoint. The store's writers never
// wait for each other there.
const busyTimeout = kv.MaxTransactionAge

// conn is one connection to the database file, for one goroutine at a time.
type conn struct {
	*sqlite.Conn
	stmts [queries]*sqlite.Stmt
}

// openConn opens the database file, which exists. Commits of the connection
// are synced before they return.
func openConn(path string, cacheKiB int) (*conn, error) {
	opened, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, mapError(err))
	}
	opened.SetBusyTimeout(busyTimeout)
	c := &conn{Conn: opened}
	for _, pragma := range []string{
		"PRAGMA synchronous = FULL",
		"PRAGMA wal_autocheckpoint = 0", // the writer decides
		fmt.Sprintf("PRAGMA journal_size_limit = %d", walKeepBytes),
		fmt.Sprintf("PRAGMA cache_size = -%d", cacheKiB),
	} {
		if _, err := c.once(pragma); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), c.Close())
		}
	}
	return c, nil
}

// once runs a statement that is not worth keeping and returns the first column
// of its first row, 0 where there is none.
func (c *conn) once(text string) (n int64, err error) {
	s, _, err := c.PrepareTransient(text)
	if err != nil {
		return 0, mapError(err)
	}
	defer func() {
		if finalizing := s.Finalize(); err == nil && finalizing != nil {
			err = mapError(finalizing)
		}
	}()
	for first := true; ; first = false {
		more, err := s.Step()
		if err != nil {
			return 0, mapError(err)
		}
		if !more {
			return n, nil
		}
		if first {
			n = s.ColumnInt64(0)
		}
	}
}

// rows calls row with each row of the result until it returns false.
// Arguments are []byte or int64.
func (c *conn) rows(q query, row func(*sqlite.Stmt) (bool, error), args ...any) (err error) {
	s := c.stmts[q]
	if s == nil {
		if s, _, err = c.PrepareTransient(texts[q]); err != nil {
			return mapError(err)
		}
		c.stmts[q] = s
	}
	for i, arg := range args {
		switch arg := arg.(type) {
		case []byte:
			s.BindBytes(i+1, arg)
		case int64:
			s.BindInt64(i+1, arg)
		}
	}
	for {
		more, err := s.Step()
		if err != nil {
			return mapError(err) // the statement is reset
		}
		if more {
			more, err = row(s)
		}
		if err != nil || !more {
			return errors.Join(err, s.Reset())
		}
	}
}

// exec runs a statement for its effect.
func (c *conn) exec(q query, args ...any) error {
	return c.rows(q, func(*sqlite.Stmt) (bool, error) { return true, nil }, args...)
}

// version returns the version of the latest commit that the connection's snapshot includes.
func (c *conn) version() (version int64, err error) {
	err = c.rows(latestVersion, func(s *sqlite.Stmt) (bool, error) {
		version = s.ColumnInt64(0) // 0 for the NULL of an empty log
		return false, nil
	})
	return version, err
}

// get returns the value of key, nil where there is none.
func (c *conn) get(key []byte) (value []byte, err error) {
	err = c.rows(get, func(s *sqlite.Stmt) (bool, error) {
		value = column(s, 0)
		return false, nil
	}, key)
	return value, err
}

// scan calls pair with the pairs of r in order until it returns false.
func (c *conn) scan(r kv.Range, reverse bool, pair func(key, value []byte) (bool, error)) error {
	q := scanForward
	if reverse {
		q = scanReverse
	}
	return c.rows(q, func(s *sqlite.Stmt) (bool, error) { return pair(column(s, 0), column(s, 1)) }, r.Begin, r.End)
}

// column copies a BLOB; an empty one is not nil.
func column(s *sqlite.Stmt, i int) []byte {
	b := make([]byte, s.ColumnLen(i))
	s.ColumnBytes(i, b)
	return b
}

// Close releases the connection and its statements.
func (c *conn) Close() error {
	for _, s := range c.stmts {
		if s != nil {
			_ = s.Finalize() // repeats the error of its last step
		}
	}
	return c.Conn.Close()
}

// errDamaged is a file that SQLite or this package does not know.
var errDamaged = errors.New("damaged, or not a database of this service")

// mapError turns an error of the driver into one of kv's.
func mapError(err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%w: %w: %w", kv.ErrUnavailable, errDamaged, err)
	default:
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
}
