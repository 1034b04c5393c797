// Package store owns the records: their keys, encoding, versions, indexes and
// expiry. Everything it keeps lies in one subspace of a kv.Database; an index
// changes in the same transaction as its record.
//
// It knows kv and fault, and nothing above.
package store

import (
	"context"
	"errors"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// Store keeps records in one subspace of a database. It is safe for concurrent use.
type Store struct {
	db  kv.Database
	now func() time.Time
}

// New returns the store in the named subspace of db.
func New(db kv.Database, subspace string, now func() time.Time) *Store {
	_ = subspace
	return &Store{db: db, now: now}
}

// Reader reads records on one snapshot.
type Reader struct{}

// Tx reads and writes records in one transaction.
type Tx struct{ Reader }

var errNotYet = errors.New("not yet")

// Update runs fn in a transaction and commits it. fn may run again: no effect but on its Tx.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error { return errNotYet }

// View runs fn on one snapshot.
func (s *Store) View(ctx context.Context, fn func(*Reader) error) error { return errNotYet }

// Sweep removes up to limit expired entries in one transaction and returns how many it removed.
func (s *Store) Sweep(ctx context.Context, limit int) (int, error) { return 0, errNotYet }

// Report is what Check found.
type Report struct {
	Counts   map[string]int // records and index entries by kind
	Problems []string       // what disagrees, at most a bounded number
}

// Check walks every record and index in bounded transactions.
func (s *Store) Check(ctx context.Context) (Report, error) { return Report{}, errNotYet }

// Stats counts what the store has asked of the database.
type Stats struct{ Transactions, Attempts, Reads, Writes uint64 }

// Stats returns the counts since New.
func (s *Store) Stats() Stats { return Stats{} }

// Role is what a member may do in a tenant.
type Role string

// The roles.
const (
	RoleOwner  Role = "owner"
	RoleAdmin  Role = "admin"
	RoleMember Role = "member"
)
