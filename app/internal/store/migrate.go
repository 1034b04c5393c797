package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// Fields may be added to a record without any of this: an older release keeps
// what it does not know. A migration is for what must be true of every record.
//
// A release with a migration works on both sides of it, and so do the releases
// that its writers name: they go on while it runs and after it.

// SchemaVersion is the schema of this release: the last migration's.
const SchemaVersion = 2

// migration brings a store from the version before to its own.
type migration struct {
	version int
	name    string
	release string // the first that has it
	writers int    // the lowest schema whose releases may write once it has ended
	keys    func(space) tuple.Key
	// step brings the record of one key up. It comes again to those that are.
	step func(*Tx, entry) (changed bool, err error)
}

var migrations = []migration{{
	version: 2, name: "refresh tokens have an owner's index", release: "5.1.0", writers: 1,
	keys: func(s space) tuple.Key { return s.prefix.Text(nameRefreshTokens) },
	step: indexRefreshToken,
}}

// indexRefreshToken gives a token of the first release, which kept no index of
// them, the entry by which it goes with its user. One whose user is gone goes now.
func indexRefreshToken(t *Tx, e entry) (bool, error) {
	token, err := decode[RefreshToken](e.Value)
	if err != nil || token.Indexed {
		return false, nil //nolint:nilerr // Check names what cannot be read; it is no reason to stop here
	}
	if token.Hash, err = e.hash(); err != nil {
		return false, nil //nolint:nilerr // no key of ours, likewise
	}
	switch _, err := t.User(token.UserID); {
	case isNotFound(err):
		t.deleteHashed(nameRefreshTokens, token.UserID, token.Hash, token.ExpiresAt)
	case err != nil:
		return false, err
	default:
		t.PutRefreshToken(token)
	}
	return true, nil
}

// Schema is what a store says of itself. One without it is of version 1.
type Schema struct {
	Version int       `json:"version"`
	Writers int       `json:"writers"` // the lowest schema whose releases may write
	Release string    `json:"release"` // the first of those releases
	At      time.Time `json:"at"`
	Extra
}

func (Schema) version() byte { return 1 }

func (s space) schema() tuple.Key { return s.prefix.Text(nameSchema) }

// Schema returns the store's own.
func (r *Reader) Schema() (Schema, error) {
	schema, err := load[Schema](r, r.space.schema())
	if isNotFound(err) {
		return Schema{Version: 1, Writers: 1}, nil
	}
	return schema, err
}

// TooOldError says that this release must not write to the store.
type TooOldError struct{ Schema Schema }

func (e *TooOldError) Error() string {
	return fmt.Sprintf("the store has schema %d, and this release knows up to %d: start release %s or a later one, or restore a backup of before the upgrade",
		e.Schema.Version, SchemaVersion, e.Schema.Release)
}

// HalfFilledError says that nobody may use the store yet.
type HalfFilledError struct{ Loading Loading }

func (e *HalfFilledError) Error() string {
	return fmt.Sprintf("the store is being restored since %s: wait until that has ended, or start it again to go on",
		e.Loading.StartedAt.Format(time.RFC3339))
}

// Admit returns nil if this release may use the store as it is, else
// *TooOldError or *HalfFilledError.
func (s *Store) Admit(ctx context.Context) error {
	return s.View(ctx, func(r *Reader) error {
		schema, err := r.Schema()
		if err != nil {
			return err
		}
		if schema.Writers > SchemaVersion {
			return &TooOldError{schema}
		}
		mark, err := r.loading()
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return &HalfFilledError{mark}
	})
}

// progress is how far a migration has come.
type progress struct {
	After   []byte `json:"after"` // the last key that is done, below the subspace
	Changed int64  `json:"changed"`
}

func (progress) version() byte { return 1 }

func (s space) progress(version int) tuple.Key {
	return s.prefix.Text(nameMigrations).Int(int64(version))
}

// The lease under which migrations run.
const (
	migrating    = "migrate"
	migrateTTL   = time.Minute
	migrateBatch = 100 // records of one transaction
)

// Migrated tells what Migrate has done.
type Migrated struct {
	From, To int   // schema versions
	Changed  int64 // records
	Busy     bool  // another process is at it; there may be more to do
}

// Migrate brings the store to this release's schema in small transactions
// while others use it. Each remembers how far it came, so whoever is next goes
// on where one was cut short. Only one works at a time: holder is the process.
func (s *Store) Migrate(ctx context.Context, holder uuid.UUID) (Migrated, error) {
	return s.migrate(ctx, holder, migrations)
}

func (s *Store) migrate(ctx context.Context, holder uuid.UUID, all []migration) (Migrated, error) {
	done := Migrated{}
	if err := s.Admit(ctx); err != nil {
		return done, err
	}
	if held, err := s.Lease(ctx, migrating, holder, migrateTTL); err != nil || !held {
		done.Busy = err == nil
		return done, err
	}
	schema, err := s.found(ctx, all)
	if err != nil {
		return done, fmt.Errorf("reading the schema: %w", err)
	}
	done.From, done.To = schema.Version, schema.Version
	for _, m := range all {
		if m.version <= done.To {
			continue
		}
		for more := true; more; {
			if held, err := s.Lease(ctx, migrating, holder, migrateTTL); err != nil || !held {
				done.Busy = err == nil
				return done, err
			}
			var changed int64
			if changed, more, err = s.migrateStep(ctx, holder, m); err != nil {
				return done, fmt.Errorf("migrating to schema %d, %s: %w", m.version, m.name, err)
			}
			done.Changed += changed
		}
		done.To = m.version
	}
	return done, s.Leave(ctx, migrating, holder)
}

// found returns the store's schema. A store with nothing in it has the newest.
func (s *Store) found(ctx context.Context, all []migration) (schema Schema, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		if schema, err = load[Schema](tx.Reader, tx.space.schema()); !isNotFound(err) {
			return err
		}
		schema = Schema{Version: 1, Writers: 1, At: tx.now}
		pairs, err := tx.scan(below(tx.space.prefix), kv.RangeOptions{Limit: 2}) // the lease is one
		if err != nil {
			return err
		}
		if len(pairs) < 2 && len(all) > 0 {
			last := all[len(all)-1]
			schema.Version, schema.Writers, schema.Release = last.version, last.writers, last.release
		}
		tx.put(schema, tx.space.schema())
		return nil
	})
	return schema, err
}

// migrateStep does the next records of m.
func (s *Store) migrateStep(ctx context.Context, holder uuid.UUID, m migration) (changed int64, more bool, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		changed, more = 0, false
		held, err := tx.holds(migrating, holder)
		if err != nil {
			return err
		}
		schema, err := tx.Schema()
		if err != nil || !held || schema.Version >= m.version {
			more = err == nil && !held // whoever asks for the lease again learns who has it
			return err
		}
		at, err := load[progress](tx.Reader, tx.space.progress(m.version))
		if err != nil && !isNotFound(err) {
			return err
		}
		rest := below(m.keys(tx.space))
		if len(at.After) > 0 {
			rest.Begin = kv.KeyRange(tx.space.at(at.After)).End
		}
		pairs, err := tx.scan(rest, kv.RangeOptions{Limit: migrateBatch})
		if err != nil {
			return err
		}
		for _, p := range pairs {
			e, err := tx.space.parse(p)
			if err != nil {
				continue // Check names it
			}
			did, err := m.step(tx, e)
			if err != nil {
				return err
			}
			if did {
				changed++
			}
		}
		if more = len(pairs) == migrateBatch; more {
			at.After, at.Changed = pairs[len(pairs)-1].Key[len(tx.space.prefix):], at.Changed+changed
			tx.put(at, tx.space.progress(m.version))
			return nil
		}
		tx.clear(tx.space.progress(m.version))
		schema.Version, schema.Writers, schema.Release, schema.At = m.version, m.writers, m.release, tx.now
		tx.put(schema, tx.space.schema())
		return nil
	})
	return changed, more, err
}
