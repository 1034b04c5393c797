package httpapi_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/historytest"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/store"
)

// Variables that make histories longer, or repeat one.
const (
	historiesVariable   = "HISTORIES"    // how many, each of another seed
	historySeedVariable = "HISTORY_SEED" // of the first
	historyActs         = 500
	historyClients      = 8
	patience            = 5 * time.Minute // with porcupine, of a machine that is busy with other things
)

func variable(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text, given := os.LookupEnv(name)
	if !given {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// world is what the clients of a history act on.
func (s *service) world() historytest.World {
	return historytest.World{
		URL: func(int) string { return s.server.URL },
		Found: func(ctx context.Context, users []string) (string, error) {
			id := uuid.Must(uuid.NewV7())
			err := errors.New("not yet")
			for err != nil && ctx.Err() == nil { // through the faults; a second run writes the same
				err = s.store.Update(ctx, func(tx *store.Tx) error {
					tx.PutTenant(store.Tenant{ID: id, Name: "Engines"})
					for i, user := range users {
						role := store.RoleMember
						if i == 0 {
							role = store.RoleOwner
						}
						tx.PutMembership(store.Membership{TenantID: id, UserID: uuid.MustParse(user), Role: role})
					}
					return nil
				})
			}
			return id.String(), err
		},
	}
}

// Whatever concurrent clients were told while the store failed in every way at
// random can be explained by one order of their acts.
func TestHistoriesUnderFaults(t *testing.T) {
	t.Parallel()
	first := variable(t, historySeedVariable, 1)
	for n := range variable(t, historiesVariable, 2) {
		seed := uint64(first + n)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(o *httpapi.Options) { o.TrustedProxies = 1 })
			s.faults.Follow(faultkv.Random(seed, 0.2, faultkv.Faults()...))
			h := historytest.NewHistory()
			must(t, historytest.Play(t.Context(), s.world(), h, historyClients, historyActs, seed))
			s.faults.Follow(noFault)
			acts, unknown := h.Size()
			t.Logf("seed %d: %d acts, the outcome of %d unknown", seed, acts, unknown)
			for _, what := range slices.Sorted(maps.Keys(h.Acts())) {
				t.Logf("%5d %s", h.Acts()[what], what)
			}
			if acts < historyActs/2 || unknown == 0 {
				t.Error("too little happened to show anything")
			}
			for _, fault := range h.Check(patience) {
				t.Errorf("seed %d: %s", seed, fault)
			}
			report, err := s.store.Check(t.Context())
			if err != nil || !report.OK() {
				t.Errorf("seed %d: the store does not agree with itself: %v %q", seed, err, report.Problems)
			}
		})
	}
}

// forgetful is a store that loses one of ten commits which it has confirmed.
type forgetful struct {
	kv.Database
	commits atomic.Int64
}

var errForgotten = errors.New("forgotten")

func (f *forgetful) Transact(ctx context.Context, fn func(kv.Transaction) error) error {
	forget := f.commits.Add(1)%10 == 0
	err := f.Database.Transact(ctx, func(t kv.Transaction) error {
		if err := fn(t); err != nil || !forget {
			return err
		}
		return errForgotten
	})
	if errors.Is(err, errForgotten) {
		return nil
	}
	return err
}

// blind is a store whose transactions do not notice each other.
type blind struct{ kv.Database }

func (b blind) Transact(ctx context.Context, fn func(kv.Transaction) error) error {
	return b.Database.Transact(ctx, func(t kv.Transaction) error {
		err := fn(blindTransaction{t, t.Snapshot()})
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // the longer, the more there is to overlook
		return err
	})
}

type blindTransaction struct {
	kv.Transaction
	snapshot kv.Reader
}

func (b blindTransaction) Get(key []byte) ([]byte, error) { return b.snapshot.Get(key) }

func (b blindTransaction) Range(r kv.Range, opt kv.RangeOptions) ([]kv.Pair, error) {
	return b.snapshot.Range(r, opt)
}

func (b blindTransaction) AddReadConflict(kv.Range) {}

// A store that breaks its promises is found out: the histories above can fail.
func TestHistoriesFindBrokenStores(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(kv.Database) kv.Database{
		"forgetful": func(db kv.Database) kv.Database { return &forgetful{Database: db} },
		"blind":     func(db kv.Database) kv.Database { return blind{db} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newClosedService(t, func(o *httpapi.Options) { o.TrustedProxies = 1 })
			s.wrap = broken
			s.open()
			const most = 20
			for seed := range uint64(most) {
				h := historytest.NewHistory()
				must(t, historytest.Play(t.Context(), s.world(), h, historyClients, historyActs/2, seed+1))
				if faults := h.Check(patience); len(faults) > 0 {
					t.Logf("found in history %d: %s", seed+1, faults[0])
					return
				}
			}
			t.Errorf("not found in %d histories", most)
		})
	}
}
