package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/session"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/tenant"
)

const (
	firstRetry = 100 * time.Millisecond // pause after the first failure to open, doubled by each
	lastRetry  = 5 * time.Second
	slowOpen   = 2 * time.Second // after which one attempt to open is worth a word
	watchEvery = 5 * time.Second // between looks at readiness
	remindOf   = time.Minute     // between log lines about one lasting trouble
	postEvery  = 2 * time.Second // between looks into the outbox
)

// keeper opens the store, however long that takes, and looks after it: it
// has the house kept, sends letters, and logs when the service is not ready.
type keeper struct {
	p *process

	mu      sync.Mutex
	db      kv.Database   // nil until opened
	service *auth.Service // likewise

	refused chan error // gets the error of a store that this release must not use

	troubled time.Time // when the present trouble was last logged; zero without one
}

func newKeeper(p *process) *keeper { return &keeper{p: p, refused: make(chan error, 1)} }

// run ends with ctx.
func (k *keeper) run(ctx context.Context) {
	st := k.open(ctx)
	if st == nil {
		return
	}
	var beside sync.WaitGroup // a slow mail server holds nothing else up, nor does a long sweep
	beside.Go(func() { k.post(ctx) })
	beside.Go(func() { newHousekeeper(k.p, st).run(ctx) })
	defer beside.Wait()
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-watch.C:
			k.note(ctx, k.p.api.Ready(ctx))
		}
	}
}

// open tries until it has a backend; it returns nil when ctx ended first.
func (k *keeper) open(ctx context.Context) *store.Store {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		slow := time.AfterFunc(slowOpen, func() {
			k.p.log.WarnContext(ctx, "not ready", slog.String("cause", "still opening the store; another process may hold its lock"))
		})
		st, err := k.tryOpen(ctx)
		slow.Stop()
		k.note(ctx, err)
		if err == nil {
			return st
		}
		if _, isTooOld := errors.AsType[*store.TooOldError](err); isTooOld {
			k.refused <- err // no waiting changes that
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (k *keeper) tryOpen(ctx context.Context) (*store.Store, error) {
	cfg := k.p.cfg
	db, st, err := openStore(ctx, cfg, k.p.now)
	if err != nil {
		return nil, err
	}
	if err := st.Admit(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	st.Observe(k.p.tracer.Transactions(k.p.metrics, k.p.now))
	service, err := auth.New(authConfig(cfg, k.p.keys.factors), st, k.p.keys.tokens, k.p.now)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the rules: %w", err), db.Close())
	}
	k.mu.Lock()
	k.db, k.service = db, service
	k.mu.Unlock()
	k.measure(service, st)
	engines[cfg.StoreEngine].measure(k.p.metrics, db)
	k.p.api.Open(&httpapi.Backend{
		Auth:     service,
		Sessions: session.NewService(st),
		Tenants:  tenant.NewService(st, service),
		Probe:    st.Probe,
	})
	k.p.log.InfoContext(ctx, "store open", slog.String("engine", cfg.StoreEngine))
	return st, nil
}

// measure registers the meters of what has been opened.
func (k *keeper) measure(service *auth.Service, st *store.Store) {
	m := k.p.metrics
	m.Gauge("coditect_password_hash_slots", "Passwords that may be hashed at the same time.", func() float64 { return float64(service.GateStats().Slots) })
	m.Gauge("coditect_password_hash_running", "Passwords being hashed.", func() float64 { return float64(service.GateStats().Running) })
	m.Gauge("coditect_password_hash_waiting", "Requests waiting for a hash slot.", func() float64 { return float64(service.GateStats().Waiting) })
	m.Counter("coditect_password_hash_refused_total", "Requests answered busy for want of a hash slot.", func() float64 { return float64(service.GateStats().Refused) })
	m.Gauge("coditect_store_writable", "1 unless the last write that was tried to find out has failed.", func() float64 {
		if st.Writable() != nil {
			return 0
		}
		return 1
	})
	m.Counter("coditect_store_attempts_total", "Runs of transactions, retries included.", func() float64 { return float64(st.Stats().Attempts) })
	m.Counter("coditect_store_reads_total", "Keys and ranges read.", func() float64 { return float64(st.Stats().Reads) })
	m.Counter("coditect_store_writes_total", "Keys and ranges written.", func() float64 { return float64(st.Stats().Writes) })
}

// note logs the first sight of a trouble, a reminder while it lasts, and its end.
func (k *keeper) note(ctx context.Context, trouble error) {
	if ctx.Err() != nil {
		return // stopping is no trouble
	}
	now := k.p.now()
	switch {
	case trouble == nil && !k.troubled.IsZero():
		k.troubled = time.Time{}
		k.p.log.InfoContext(ctx, "ready again")
	case trouble != nil && now.Sub(k.troubled) >= remindOf:
		k.troubled = now
		k.p.log.WarnContext(ctx, "not ready", slog.String("cause", trouble.Error()))
	}
}

// post sends the letters that are due. It ends with ctx.
func (k *keeper) post(ctx context.Context) {
	sender := k.p.sender()
	tick := time.NewTicker(postEvery)
	defer tick.Stop()
	for {
		done, err := k.service.Deliver(ctx, sender)
		if err != nil && ctx.Err() == nil {
			k.p.log.WarnContext(ctx, "sending mail failed; it is tried again", slog.Int("letters", done.Failed), slog.String("cause", err.Error()))
		}
		if done.Dropped > 0 {
			k.p.log.ErrorContext(ctx, "gave up on mail", slog.Int("letters", done.Dropped))
		}
		if done.Sent > 0 {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// close lets go of the database, if it was ever opened. run has ended.
func (k *keeper) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.db == nil {
		return nil
	}
	if err := k.db.Close(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}
