// Command enginebench compares the SQLite bindings that the embedded engine
// could stand on, each through its leanest interface and on the same
// statements. It is a module of its own so that those not chosen never become
// dependencies of the service.
//
// Run it in its folder with
//
//	GOWORK=off go run .
package main

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	mattn "github.com/mattn/go-sqlite3"
	ncruces "github.com/ncruces/go-sqlite3"
	modernc "modernc.org/sqlite"
	zombiezen "zombiezen.com/go/sqlite"
)

const (
	schema   = "CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT"
	begin    = "BEGIN"
	lock     = "BEGIN IMMEDIATE"
	commit   = "COMMIT"
	get      = "SELECT value FROM kv WHERE key = ?"
	scan     = "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
	put      = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
	pageSize = 50
)

// pragmas make a commit durable before it is answered: WAL, synced at every commit.
var pragmas = []string{"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA busy_timeout = 5000"}

// conn is one connection of a binding. Statements are named by their text and prepared once.
type conn interface {
	// exec runs a statement without rows.
	exec(query string, args ...[]byte) error
	// get returns the value of key, nil where there is none.
	get(key []byte) ([]byte, error)
	// scan returns the number of bytes of pageSize pairs from begin on.
	scan(begin, end []byte) (int, error)
	io.Closer
}

// opener opens a connection to the database file at path.
type opener func(path string) (conn, error)

// engines are the candidates, by import path.
var engines = []struct {
	name string
	open opener
}{
	{"zombiezen.com/go/sqlite", openZombiezen},
	{"modernc.org/sqlite", openDriver(func(path string) (driver.Conn, error) { return (&modernc.Driver{}).Open(path) })},
	{"github.com/ncruces/go-sqlite3", openNcruces},
	{"github.com/mattn/go-sqlite3", openDriver(func(path string) (driver.Conn, error) { return (&mattn.SQLiteDriver{}).Open(path) })},
}

// prepareSchema gives a fresh connection its pragmas and table.
func prepareSchema(c conn) (conn, error) {
	for _, q := range append(pragmas, schema) {
		if err := c.exec(q); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", q, err), c.Close())
		}
	}
	return c, nil
}

// driverConn is a connection of a database/sql driver without database/sql above it.
type driverConn struct {
	driver.Conn
	stmts map[string]driver.Stmt
}

func openDriver(open func(string) (driver.Conn, error)) opener {
	return func(path string) (conn, error) {
		c, err := open(path)
		if err != nil {
			return nil, err
		}
		opened := &driverConn{c, map[string]driver.Stmt{}}
		if _, err := prepareSchema(opened); err != nil {
			return nil, err
		}
		return opened, opened.forget() // a PRAGMA that returned a row would stay open
	}
}

// forget closes the statements.
func (c *driverConn) forget() error {
	for query, s := range c.stmts {
		if err := s.Close(); err != nil {
			return err
		}
		delete(c.stmts, query)
	}
	return nil
}

func (c *driverConn) stmt(query string) (driver.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

func (c *driverConn) exec(query string, args ...[]byte) error {
	s, err := c.stmt(query)
	if err != nil {
		return err
	}
	values := make([]driver.Value, len(args))
	for i, a := range args {
		values[i] = a
	}
	_, err = s.Exec(values) //nolint:staticcheck // the leanest way into the driver
	return err
}

func (c *driverConn) get(key []byte) ([]byte, error) {
	s, err := c.stmt(get)
	if err != nil {
		return nil, err
	}
	rows, err := s.Query([]driver.Value{key}) //nolint:staticcheck // the leanest way into the driver
	if err != nil {
		return nil, err
	}
	var row [1]driver.Value
	var value []byte
	switch err = rows.Next(row[:]); {
	case err == nil:
		value = row[0].([]byte)
	case !errors.Is(err, io.EOF):
		return nil, errors.Join(err, rows.Close())
	}
	return value, rows.Close()
}

func (c *driverConn) scan(begin, end []byte) (int, error) {
	s, err := c.stmt(scan)
	if err != nil {
		return 0, err
	}
	rows, err := s.Query([]driver.Value{begin, end, int64(pageSize)}) //nolint:staticcheck // the leanest way into the driver
	if err != nil {
		return 0, err
	}
	var row [2]driver.Value
	n := 0
	for err = rows.Next(row[:]); err == nil; err = rows.Next(row[:]) {
		n += len(row[0].([]byte)) + len(row[1].([]byte))
	}
	if !errors.Is(err, io.EOF) {
		return 0, errors.Join(err, rows.Close())
	}
	return n, rows.Close()
}

func (c *driverConn) Close() error {
	return errors.Join(c.forget(), c.Conn.Close())
}

type zombiezenConn struct{ *zombiezen.Conn }

func openZombiezen(path string) (conn, error) {
	c, err := zombiezen.OpenConn(path, zombiezen.OpenReadWrite|zombiezen.OpenCreate)
	if err != nil {
		return nil, err
	}
	return prepareSchema(zombiezenConn{c})
}

func (c zombiezenConn) exec(query string, args ...[]byte) error {
	s, err := c.Prepare(query)
	if err != nil {
		return err
	}
	for i, a := range args {
		s.BindBytes(i+1, a)
	}
	for row := true; row; {
		if row, err = s.Step(); err != nil {
			return err
		}
	}
	return s.Reset()
}

func (c zombiezenConn) get(key []byte) ([]byte, error) {
	s, err := c.Prepare(get)
	if err != nil {
		return nil, err
	}
	s.BindBytes(1, key)
	row, err := s.Step()
	if err != nil || !row {
		return nil, err
	}
	value := make([]byte, s.ColumnLen(0))
	s.ColumnBytes(0, value)
	return value, s.Reset()
}

func (c zombiezenConn) scan(begin, end []byte) (int, error) {
	s, err := c.Prepare(scan)
	if err != nil {
		return 0, err
	}
	s.BindBytes(1, begin)
	s.BindBytes(2, end)
	s.BindInt64(3, pageSize)
	n := 0
	for {
		row, err := s.Step()
		if err != nil || !row {
			return n, err
		}
		for i := range 2 {
			value := make([]byte, s.ColumnLen(i))
			n += s.ColumnBytes(i, value)
		}
	}
}

type ncrucesConn struct {
	*ncruces.Conn
	stmts map[string]*ncruces.Stmt
}

func openNcruces(path string) (conn, error) {
	c, err := ncruces.Open("file:" + path)
	if err != nil {
		return nil, err
	}
	return prepareSchema(ncrucesConn{c, map[string]*ncruces.Stmt{}})
}

func (c ncrucesConn) stmt(query string) (*ncruces.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, _, err := c.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

func (c ncrucesConn) exec(query string, args ...[]byte) error {
	s, err := c.stmt(query)
	if err != nil {
		return err
	}
	for i, a := range args {
		if err := s.BindBlob(i+1, a); err != nil {
			return err
		}
	}
	return s.Exec()
}

func (c ncrucesConn) get(key []byte) ([]byte, error) {
	s, err := c.stmt(get)
	if err != nil {
		return nil, err
	}
	if err := s.BindBlob(1, key); err != nil {
		return nil, err
	}
	var value []byte
	if s.Step() {
		value = s.ColumnBlob(0, nil)
	}
	return value, s.Reset()
}

func (c ncrucesConn) scan(begin, end []byte) (int, error) {
	s, err := c.stmt(scan)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(s.BindBlob(1, begin), s.BindBlob(2, end), s.BindInt(3, pageSize)); err != nil {
		return 0, err
	}
	n := 0
	for s.Step() {
		n += len(s.ColumnBlob(0, nil)) + len(s.ColumnBlob(1, nil))
	}
	return n, s.Reset()
}

func (c ncrucesConn) Close() error {
	for _, s := range c.stmts {
		if err := s.Close(); err != nil {
			return err
		}
	}
	return c.Conn.Close()
}
