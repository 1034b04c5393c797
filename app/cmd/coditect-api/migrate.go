package main

import (
	"context"
	"flag"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/store"
)

// migrateWait is the pause before another look at a migration that somebody else runs.
const migrateWait = time.Second

func migrateCommand(ctx context.Context, c console, args []string) int {
	flags := flag.NewFlagSet(contract.MigrateCommand, flag.ContinueOnError)
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	cfg, _, faults := config.Load(c.environ)
	if faults != nil {
		return c.badSettings(faults)
	}
	ctx, cancel := c.untilSignal(ctx)
	defer cancel()
	holder := uuid.New()
	first, changed := 0, int64(0)
	err := withStore(ctx, cfg, func(st *store.Store) error {
		for {
			done, err := st.Migrate(ctx, holder)
			changed += done.Changed
			if first == 0 {
				first = done.From
			}
			if err != nil || !done.Busy {
				if err == nil {
					c.print(c.out, "schema %d, was %d; %d records changed\n", done.To, first, changed)
				}
				return err
			}
			pause := time.NewTimer(migrateWait)
			select {
			case <-ctx.Done():
				pause.Stop()
				return ctx.Err()
			case <-pause.C:
			}
		}
	})
	if err != nil {
		return c.fail(exitFault, "migrate the store: %v; what is done stays done, run it again to go on", err)
	}
	return exitOK
}
