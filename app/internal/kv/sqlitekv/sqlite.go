package sqlitekv

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"coditect.ai/platform/app/internal/kv"
)

// The statements. Each connection prepares those that it uses once.
const (
	sqlBegin      = "BEGIN"
	sqlLock       = "BEGIN IMMEDIATE"
	sqlCommit     = "COMMIT"
	sqlRollback   = "ROLLBACK"
	sqlGet        = "SELECT value FROM kv WHERE key = ?"
	sqlForward    = "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key"
	sqlReverse    = "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key DESC"
	sqlSet        = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
	sqlClear      = "DELETE FROM kv WHERE key = ?"
	sqlClearRange = "DELETE FROM kv WHERE key >= ? AND key < ?"
	sqlVersion    = "SELECT max(version) FROM commits"
	sqlCommitsOf  = "SELECT version, at, ranges FROM commits WHERE version > ? ORDER BY version"
	sqlLog        = "INSERT INTO commits VALUES (?, ?, ?)"
	sqlTrim       = "DELETE FROM commits WHERE version < ?"
	sqlCheckpoint = "PRAGMA wal_checkpoint(PASSIVE)"
	sqlRestart    = "PRAGMA wal_checkpoint(RESTART)"
)

// conn is one connection to the database file, for one goroutine at a time.
// It speaks to the driver directly: database/sql would cost more than the read.
type conn struct {
	driver.Conn
	stmts map[string]driver.Stmt
}

// openConn opens the database file, which exists. Commits of the connection
// are synced before they return.
func openConn(path string, cacheKiB int) (*conn, error) {
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "mode=rw"}).String()
	c, err := (&sqlite.Driver{}).Open(dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, mapError(err))
	}
	opened := &conn{c, make(map[string]driver.Stmt)}
	for _, pragma := range []string{
		"PRAGMA busy_timeout = 5000",
		"PRAGMA synchronous = FULL",
		"PRAGMA wal_autocheckpoint = 0", // the writer decides
		fmt.Sprintf("PRAGMA journal_size_limit = %d", walKeepBytes),
		fmt.Sprintf("PRAGMA cache_size = -%d", cacheKiB),
	} {
		if err := opened.once(pragma); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), opened.Close())
		}
	}
	return opened, nil
}

// stmt returns the prepared statement of query.
func (c *conn) stmt(query string) (driver.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.Prepare(query)
	if err != nil {
		return nil, mapError(err)
	}
	c.stmts[query] = s
	return s, nil
}

// exec runs a statement that returns no rows.
func (c *conn) exec(query string, args ...driver.Value) error {
	s, err := c.stmt(query)
	if err != nil {
		return err
	}
	if _, err := s.Exec(args); err != nil { //nolint:staticcheck // no context: every wait is bounded by busy_timeout
		return mapError(err)
	}
	return nil
}

// once runs a statement that is not worth keeping.
func (c *conn) once(query string) error {
	err := c.exec(query)
	if s, ok := c.stmts[query]; ok {
		delete(c.stmts, query)
		err = errors.Join(err, s.Close())
	}
	return err
}

// query calls row with each row of the result until it returns false.
func (c *conn) query(query string, args []driver.Value, row func([]driver.Value) (bool, error)) (err error) {
	s, err := c.stmt(query)
	if err != nil {
		return err
	}
	rows, err := s.Query(args) //nolint:staticcheck // no context: every wait is bounded by busy_timeout
	if err != nil {
		return mapError(err)
	}
	defer func() {
		if closing := rows.Close(); err == nil && closing != nil {
			err = mapError(closing)
		}
	}()
	var buf [3]driver.Value
	values := buf[:len(rows.Columns())]
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return mapError(err)
		}
		if more, err := row(values); err != nil || !more {
			return err
		}
	}
}

// integer returns the only column of the only row, 0 where it is null.
func (c *conn) integer(query string) (int64, error) {
	var n int64
	err := c.query(query, nil, func(row []driver.Value) (bool, error) {
		n, _ = row[0].(int64)
		return false, nil
	})
	return n, err
}

// get returns the value of key, nil where there is none.
func (c *conn) get(key []byte) ([]byte, error) {
	var value []byte
	err := c.query(sqlGet, []driver.Value{blob(key)}, func(row []driver.Value) (bool, error) {
		value = bytesOf(row[0])
		return false, nil
	})
	return value, err
}

// scan calls pair with the pairs of r in order until it returns false.
func (c *conn) scan(r kv.Range, reverse bool, pair func(key, value []byte) (bool, error)) error {
	query := sqlForward
	if reverse {
		query = sqlReverse
	}
	return c.query(query, []driver.Value{blob(r.Begin), blob(r.End)}, func(row []driver.Value) (bool, error) {
		return pair(bytesOf(row[0]), bytesOf(row[1]))
	})
}

// Close releases the connection and its statements.
func (c *conn) Close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}

// blob is b as an argument: the driver makes a nil slice NULL, which no key or value is.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// bytesOf is a BLOB column: the driver returns an empty one as nil.
func bytesOf(v driver.Value) []byte {
	b, _ := v.([]byte)
	return blob(b)
}

// errDamaged is told apart when a store is opened.
var errDamaged = errors.New("damaged, or not a database of this service")

// mapError turns an error of the driver into one of kv's.
func mapError(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xFF {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return fmt.Errorf("%w: %w: %w", kv.ErrUnavailable, errDamaged, err)
		}
	}
	return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
}
