package main

import (
	"context"
	"flag"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/backup"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/store"
)

func manifestCommand(ctx context.Context, c console, args []string) int {
	flags := flag.NewFlagSet(contract.ManifestCommand, flag.ContinueOnError)
	to := flags.String("to", "", "`directory` of the manifest")
	every := flags.Duration("every", 0, "go on, with a pair of time and version each `duration`, until SIGTERM")
	keep := flags.Int("keep", 20_000, "pairs that are kept, the newest")
	inventory := flags.Duration("inventory-every", time.Hour, "take the inventory anew when it is older than `duration`")
	asJSON := flags.Bool("json", false, "print the manifest")
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	if *to == "" || *every < 0 || *keep < 1 || *inventory < 0 || (*every > 0 && *every < time.Second) {
		return c.fail(exitUsage, "manifest needs --to DIR; --every is at least 1s, --keep at least 1")
	}
	cfg, _, faults := config.Load(c.environ)
	if faults != nil {
		return c.badSettings(faults)
	}
	b := thisBuild()
	dir := backup.Dir{Path: *to, Program: backup.Program{Engine: cfg.StoreEngine, Version: b.Version, Commit: b.Commit}, Now: time.Now}
	ctx, cancel := c.untilSignal(ctx)
	defer cancel()
	return c.repeat(ctx, *every, func() error {
		return withAdmitted(ctx, cfg, func(st *store.Store) error {
			m, err := dir.Record(ctx, st, *keep, *inventory)
			if err != nil {
				return err
			}
			if *asJSON {
				c.printBackup(m, true)
				return nil
			}
			last := m.Versions[len(m.Versions)-1]
			c.print(c.out, "%s  version %d\n", last.At.Format(time.RFC3339), last.ReadVersion)
			return nil
		})
	})
}

// repeat does work once, or again and again until ctx ends: then a failure is
// told and the next time comes.
func (c console) repeat(ctx context.Context, every time.Duration, work func() error) int {
	for {
		err := work()
		switch {
		case ctx.Err() != nil && every > 0:
			return exitOK
		case err != nil && every == 0:
			return c.fail(exitFault, "%v%s", err, backupHint(err))
		case err != nil:
			c.fail(exitFault, "%v%s; the next try is in %v", err, backupHint(err), every)
		case every == 0:
			return exitOK
		}
		pause := time.NewTimer(every)
		select {
		case <-ctx.Done():
			pause.Stop()
			return exitOK
		case <-pause.C:
		}
	}
}
