package store_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

// counterparts is a database that meddles with reads of counterparts: every get
// of a transaction but the first, which is of the schema, and in every transaction
// but the first, which finds out whether it is enough for all of the store.
type counterparts struct {
	*storetest.DB

	get   func(context.Context) error
	reads atomic.Int64
}

func (c *counterparts) Read(ctx context.Context, fn func(kv.Reader) error) error {
	if c.reads.Add(1) == 1 {
		return c.DB.Read(ctx, fn)
	}
	return c.DB.Read(ctx, func(r kv.Reader) error { return fn(&meddled{Reader: r, get: func() error { return c.get(ctx) }}) })
}

type meddled struct {
	kv.Reader

	get  func() error
	gets int
}

func (m *meddled) Get(key []byte) ([]byte, error) {
	if m.gets++; m.gets > 1 {
		if err := m.get(); err != nil {
			return nil, err
		}
	}
	return m.Reader.Get(key)
}

// parted opens the store in parts of one key.
func parted(env *storetest.Env, get func(context.Context) error) *store.Store {
	st := store.New(&counterparts{DB: env.DB, get: get}, "test", env.Clock.Now)
	store.CutWalks(st, 1, 100)
	return st
}

// Reads of a check that wait do so at the same time: nobody goes on before eight are there.
func TestCheckReadsSeveralPartsAtOnce(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	var mu sync.Mutex
	waiting, enough := 0, make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := parted(env, func(ctx context.Context) error {
		mu.Lock()
		if waiting++; waiting == 8 {
			close(enough)
		}
		mu.Unlock()
		select {
		case <-enough:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}).Check(ctx)
	if err != nil || !report.OK() {
		t.Fatalf("%v %q", err, report.Problems)
	}
}

// What a part fails of ends the check, and is told.
func TestCheckEndsWithItsFirstFailure(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	_, err := parted(env, func(context.Context) error { return fmt.Errorf("engine: %w", kv.ErrUnavailable) }).Check(t.Context())
	if fault.CodeOf(err) != fault.Unavailable || !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("a read that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = parted(env, func(ctx context.Context) error { cancel(); return ctx.Err() }).Check(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a check that is broken off: %v", err)
	}
}

// Into how many parts a store is cut does not show in the report, however much is wrong.
func TestCheckTellsTheSameInParts(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	populate(t, env)
	for n := range 150 {
		update(t, env, func(tx *store.Tx) error {
			tx.PutSession(store.Session{ID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n)), TenantID: id(1), UserID: id(2)})
			return nil
		})
	}
	var indexes []kv.Pair
	if err := env.DB.Transact(t.Context(), func(tx kv.Transaction) error {
		pairs, err := tx.Range(kv.PrefixRange([]byte("\x02test\x00")), kv.RangeOptions{})
		for _, p := range pairs {
			if strings.Contains(string(p.Key), "sessions_by_user") {
				indexes = append(indexes, p)
				tx.Clear(p.Key)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	of := func(page, size int) store.Report {
		t.Helper()
		st := store.New(env.DB, "test", env.Clock.Now)
		store.CutWalks(st, page, size)
		report, err := st.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		report.Inventory.Exact, report.Inventory.ReadVersion = false, 0 // they tell of the walk, not of the store
		return report
	}
	want := of(10_000, 32<<20)
	if want.Disagree < 150 || len(want.Problems) != 100 {
		t.Fatalf("%d keys are at fault, %d sentences are told", want.Disagree, len(want.Problems))
	}
	for _, page := range []int{1, 7, 400} {
		if got := of(page, 1000); !reflect.DeepEqual(got, want) {
			t.Errorf("in parts of %d keys: %+v, want %+v", page, got, want)
		}
	}
	// The environment's own check, at the end, finds it whole again.
	if err := env.DB.Transact(t.Context(), func(tx kv.Transaction) error {
		for _, p := range indexes {
			tx.Set(p.Key, p.Value)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Where each read waits for a network, a check in parts takes at most a quarter of
// the time of one that reads counterparts one after the other.
func BenchmarkCheckInParts(b *testing.B) {
	env := storetest.New(b)
	for n := range 500 {
		if err := env.Store.Update(b.Context(), func(tx *store.Tx) error {
			tx.PutSession(store.Session{ID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n)), TenantID: id(1), UserID: id(2)})
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	wait := func(context.Context) error { time.Sleep(500 * time.Microsecond); return nil }
	took := func(page int) time.Duration {
		b.Helper()
		st := store.New(&counterparts{DB: env.DB, get: wait}, "test", env.Clock.Now)
		store.CutWalks(st, page, 1000) // of a transaction, so that one is not enough
		began := time.Now()
		if report, err := st.Check(b.Context()); err != nil || !report.OK() {
			b.Fatal(err, report.Problems)
		}
		return time.Since(began)
	}
	for b.Loop() {
		ratio := float64(took(10)) / float64(took(1000))
		b.ReportMetric(ratio, "of-one-after-the-other")
		if ratio > 0.25 {
			b.Errorf("in parts it takes %.2f of the time of one read after the other, more than 0.25", ratio)
		}
	}
}
