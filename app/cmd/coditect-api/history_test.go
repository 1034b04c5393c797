package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/historytest"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
	"coditect.ai/platform/app/internal/store"
)

// Two processes share a store, and one after the other is killed without
// warning. Whatever their clients were told can be explained by one order of
// their acts, those without an answer having happened or not.
func TestHistoriesOverKills(t *testing.T) {
	t.Parallel()
	const kills, acts, clients, seed = 8, 100, 8, 1
	dir := t.TempDir()
	environ := settings(dir, "CODITECT_PASSWORD_HASH_MEMORY_KIB=8192", "CODITECT_PASSWORD_HASH_PASSES=1",
		"CODITECT_REFRESH_GRACE=5m", contract.EnvTrustedProxies+"=1")
	addresses := [2]string{freeAddress(t), freeAddress(t)}
	start := func(i int) *child {
		return serveChild(t, slices.Concat(environ, []string{contract.EnvListen + "=" + addresses[i]}))
	}
	processes := [2]*child{start(0), start(1)}
	for _, c := range processes {
		c.waitReady()
	}
	db, err := sqlitekv.Open(t.Context(), sqlitekv.Options{Dir: filepath.Join(dir, "store")})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	st := store.New(db, subspace, time.Now)

	world := historytest.World{
		URL:   func(client int) string { return "http://" + addresses[client%2] },
		Found: func(ctx context.Context, users []string) (string, error) { return found(ctx, st, users) },
	}
	h := historytest.NewHistory()
	var over atomic.Bool
	played := make(chan error, 1)
	go func() { // until the kills are over
		var err error
		for n := uint64(seed); err == nil && !over.Load(); n++ {
			err = historytest.Play(t.Context(), world, h, clients, acts, n)
		}
		played <- err
	}()
	for n := range kills {
		time.Sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond)
		victim := n % len(processes)
		processes[victim].kill()
		processes[victim] = start(victim)
	}
	over.Store(true)
	must(t, <-played)
	did, unknown := h.Size()
	t.Logf("from seed %d: %d kills, %d acts, the outcome of %d unknown", seed, kills, did, unknown)
	if did < acts/2 {
		t.Error("too little happened to show anything")
	}
	for _, fault := range h.Check(5 * time.Minute) {
		t.Error(fault)
	}
	report, err := st.Check(t.Context())
	if err != nil || !report.OK() {
		t.Errorf("the store does not agree with itself: %v %q", err, report.Problems)
	}
}

// found makes a tenant of users, the first its owner, beside the processes.
func found(ctx context.Context, st *store.Store, users []string) (string, error) {
	id := uuid.Must(uuid.NewV7())
	err := st.Update(ctx, func(tx *store.Tx) error {
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
	return id.String(), err
}
