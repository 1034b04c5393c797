// Package kvtest is the conformance suite of kv: what FoundationDB promises,
// as tests that every engine passes. It knows nothing of any engine.
package kvtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// Engine is an engine under test.
type Engine struct {
	// New makes an empty store and returns a function that opens one more handle
	// on it. The suite closes each handle; New cleans up the rest.
	New func(t *testing.T) (open func(t *testing.T) kv.Database)
	// MaxAge is the age from which the handles refuse a transaction. The suite
	// waits for it, so it is best a fraction of a second; 0 skips those tests.
	MaxAge time.Duration
}

// store is one test's store with a first handle open.
type store struct {
	kv.Database
	t      *testing.T
	open   func(t *testing.T) kv.Database
	maxAge time.Duration
}

// Run holds the engine to the contract.
func Run(t *testing.T, e Engine) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Data", dataTests},
		{"OwnWrites", ownWritesTests},
		{"Isolation", isolationTests},
		{"Limits", limitTests},
		{"Lifecycle", lifecycleTests},
		{"Model", modelTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					s := &store{t: t, open: e.New(t), maxAge: e.MaxAge}
					s.Database = s.handle()
					test.run(s)
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(*store)
}

// handle opens one more handle, closed at the end of the test.
func (s *store) handle() kv.Database {
	s.t.Helper()
	db := s.open(s.t)
	s.t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
			s.t.Errorf("close: %v", err)
		}
	})
	return db
}

// transact runs fn and fails the test if it does not commit.
func (s *store) transact(fn func(kv.Transaction)) {
	s.t.Helper()
	if err := s.Transact(s.t.Context(), func(tr kv.Transaction) error { fn(tr); return nil }); err != nil {
		s.t.Fatalf("transact: %v", err)
	}
}

// fill sets each of the keys to a value of the same text.
func (s *store) fill(keys ...string) {
	s.t.Helper()
	s.transact(func(tr kv.Transaction) {
		for _, key := range keys {
			tr.Set([]byte(key), []byte(key))
		}
	})
}

// must returns the value, panicking on an error: a test that reads does not expect one.
// Errors of the database end the transaction that way and fail the test.
func must[T any](value T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("kvtest: a read failed: %v", err))
	}
	return value
}

// get reads one key for the test's own eyes.
func (s *store) get(key string) []byte {
	s.t.Helper()
	return get(s.t, s.Database, key)
}

func get(t *testing.T, db kv.Database, key string) (value []byte) {
	t.Helper()
	err := db.Read(t.Context(), func(r kv.Reader) (err error) {
		value, err = r.Get([]byte(key))
		return err
	})
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return value
}

// wantValue fails the test unless key holds want.
func (s *store) wantValue(key, want string) {
	s.t.Helper()
	if got := s.get(key); got == nil || string(got) != want {
		s.t.Errorf("%q holds %s, want %q", key, show(got), want)
	}
}

func (s *store) wantAbsent(key string) {
	s.t.Helper()
	if got := s.get(key); got != nil {
		s.t.Errorf("%q holds %q, want nothing", key, got)
	}
}

func show(value []byte) string {
	if value == nil {
		return "nothing"
	}
	return fmt.Sprintf("%q", value)
}

func span(begin, end string) kv.Range { return kv.Range{Begin: []byte(begin), End: []byte(end)} }

// all is every key that a test writes.
var all = span("", "\xFF")

// keysOf joins the keys of pairs with spaces.
func keysOf(pairs []kv.Pair) string {
	var keys []string
	for _, p := range pairs {
		keys = append(keys, string(p.Key))
	}
	return strings.Join(keys, " ")
}

// textOf joins pairs as key=value with spaces.
func textOf(pairs []kv.Pair) string {
	var texts []string
	for _, p := range pairs {
		texts = append(texts, string(p.Key)+"="+string(p.Value))
	}
	return strings.Join(texts, " ")
}

// contents reads the whole store.
func (s *store) contents() (pairs []kv.Pair) {
	s.t.Helper()
	err := s.Read(s.t.Context(), func(r kv.Reader) (err error) {
		pairs, err = r.Range(all, kv.RangeOptions{})
		return err
	})
	if err != nil {
		s.t.Fatalf("read everything: %v", err)
	}
	return pairs
}

// wantContents fails the test unless the store holds exactly the pairs of want, as textOf writes them.
func (s *store) wantContents(want string) {
	s.t.Helper()
	if got := textOf(s.contents()); got != want {
		s.t.Errorf("the store holds\n\t%s\nwant\n\t%s", got, want)
	}
}

// handles returns n handles of the store, the first included.
func (s *store) handles(n int) []kv.Database {
	s.t.Helper()
	handles := []kv.Database{s.Database}
	for range n - 1 {
		handles = append(handles, s.handle())
	}
	return slices.Clip(handles)
}
