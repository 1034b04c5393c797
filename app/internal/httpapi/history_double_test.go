//go:build fdb && fdbdouble

package httpapi_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/historytest"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/fdbkv"
	"coditect.ai/platform/app/internal/kv/fdbkv/fdbdouble"
)

// The same histories while FoundationDB's client itself fails: below the
// engine, whose own retries and classes of errors are part of what is proven.
func TestHistoriesUnderTheClientsFaults(t *testing.T) {
	t.Parallel()
	cluster, file := fdbdouble.New(t)
	s := newClosedService(t, func(o *httpapi.Options) { o.TrustedProxies = 1 })
	s.wrap = func(kv.Database) kv.Database {
		db, err := fdbkv.Open(t.Context(), fdbkv.Options{ClusterFile: file, Timeout: 2 * time.Second})
		must(t, err)
		t.Cleanup(func() { must(t, db.Close()) })
		return db
	}
	s.open()
	const seed = 1
	ctx, stop := context.WithCancel(t.Context())
	var hurting sync.WaitGroup
	hurting.Go(func() { hurtClient(ctx, cluster, seed) })
	h := historytest.NewHistory()
	must(t, historytest.Play(t.Context(), s.world(), h, historyClients, historyActs, seed))
	stop()
	hurting.Wait()
	acts, unknown := h.Size()
	t.Logf("%d acts, the outcome of %d unknown", acts, unknown)
	if acts < historyActs/2 || unknown == 0 {
		t.Error("too little happened to show anything")
	}
	for _, fault := range h.Check(patience) {
		t.Error(fault)
	}
	report, err := s.store.Check(t.Context())
	if err != nil || !report.OK() {
		t.Errorf("the store does not agree with itself: %v %q", err, report.Problems)
	}
}

// hurtClient makes commits fail, and the cluster go away for a while, at random until ctx ends.
func hurtClient(ctx context.Context, cluster fdbdouble.Cluster, seed uint64) {
	source := rand.New(rand.NewPCG(seed, 2))
	// conflict, too old, outcome unknown, timed out, cluster replaced; 0 is never answered.
	codes := []int{1020, 1007, 1021, 1021, 1031, 1039, 0}
	defer cluster.SetAvailable(true)
	for ctx.Err() == nil {
		if source.IntN(20) == 0 {
			cluster.SetAvailable(false)
			time.Sleep(time.Duration(source.IntN(50)) * time.Millisecond)
			cluster.SetAvailable(true)
		}
		code := codes[source.IntN(len(codes))]
		cluster.FailCommits(1, code, code != 1020 && code != 1007 && source.IntN(2) == 0)
		time.Sleep(time.Duration(5+source.IntN(20)) * time.Millisecond)
	}
}
