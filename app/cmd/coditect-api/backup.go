package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/backup"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/store"
)

// withStore opens the store of the settings for one piece of work.
func withStore(ctx context.Context, cfg config.Config, work func(*store.Store) error) error {
	db, st, err := openStore(ctx, cfg, time.Now)
	if err != nil {
		return err
	}
	return errors.Join(work(st), db.Close())
}

// withAdmitted is withStore for work that wants a whole store of a known schema.
func withAdmitted(ctx context.Context, cfg config.Config, work func(*store.Store) error) error {
	return withStore(ctx, cfg, func(st *store.Store) error {
		if err := st.Admit(ctx); err != nil {
			return err
		}
		return work(st)
	})
}

// untilSignal returns a context that ends at the first signal.
func (c console) untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with ctx
		select {
		case <-c.signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func backupCommand(ctx context.Context, c console, args []string) int {
	flags := flag.NewFlagSet(contract.BackupCommand, flag.ContinueOnError)
	to := flags.String("to", "", "`directory` of backups")
	every := flags.Duration("every", 0, "go on, with a backup each `duration`, until SIGTERM")
	keep := flags.Int("keep", 0, "remove the oldest until `N` are left (0: none)")
	list := flags.Bool("list", false, "list the backups that are there, and make none")
	asJSON := flags.Bool("json", false, "print manifests as JSON, one a line")
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	if *to == "" || *every < 0 || *keep < 0 || (*every > 0 && *every < time.Second) {
		return c.fail(exitUsage, "backup needs --to DIR; --every is at least 1s, --keep at least 1")
	}
	cfg, _, faults := config.Load(c.environ)
	if faults != nil {
		return c.badSettings(faults)
	}
	b := thisBuild()
	dir := backup.Dir{Path: *to, Program: backup.Program{Engine: cfg.StoreEngine, Version: b.Version, Commit: b.Commit}, Now: time.Now}
	if *list {
		return listBackups(c, dir, *asJSON)
	}
	ctx, cancel := c.untilSignal(ctx)
	defer cancel()
	return c.repeat(ctx, *every, func() error {
		return withAdmitted(ctx, cfg, func(st *store.Store) error {
			m, err := dir.Take(ctx, st)
			if err != nil {
				return fmt.Errorf("back the store up: %w", err)
			}
			c.printBackup(m, *asJSON)
			if *keep > 0 {
				_, err = dir.Prune(*keep)
			}
			return err
		})
	})
}

// backupHint is the next step after err.
func backupHint(err error) string {
	if errors.Is(err, store.ErrWrittenTo) {
		return ": back a cluster in use up with its own tools, or stop the service first"
	}
	return ""
}

func (c console) printBackup(m contract.Manifest, asJSON bool) {
	if asJSON {
		text, err := json.Marshal(m)
		if err == nil {
			c.print(c.out, "%s\n", text)
		}
		return
	}
	c.print(c.out, "%s  %s  %d bytes  %d users  %d sessions  schema %d  %s\n", m.ID, m.Engine, m.DataSize,
		m.Inventory.Counts["users"], m.Inventory.Counts["sessions"], m.Inventory.SchemaVersion, m.ProgramVersion)
}

func listBackups(c console, dir backup.Dir, asJSON bool) int {
	all, err := dir.List()
	if err != nil {
		return c.fail(exitFault, "%v", err)
	}
	var bad []string
	for _, b := range all {
		switch {
		case b.Whole:
			c.printBackup(b.Manifest, asJSON)
		case b.Fault != nil:
			bad = append(bad, fmt.Sprintf("%s: %v", b.ID, b.Fault))
		default:
			bad = append(bad, b.ID+": unfinished; it is of no use, and the next backup removes it unless it is that")
		}
	}
	if len(bad) > 0 {
		c.print(c.err, "coditect-api: not whole:\n  - %s\n", strings.Join(bad, "\n  - "))
	}
	return exitOK
}

func restoreCommand(ctx context.Context, c console, args []string) int {
	flags := flag.NewFlagSet(contract.RestoreCommand, flag.ContinueOnError)
	from := flags.String("from", "", "`directory` of one backup")
	asJSON := flags.Bool("json", false, "print the check of the restored store as JSON")
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	if *from == "" {
		return c.fail(exitUsage, "restore needs --from DIR/ID, the directory of one backup")
	}
	cfg, _, faults := config.Load(c.environ)
	if faults != nil {
		return c.badSettings(faults)
	}
	ctx, cancel := c.untilSignal(ctx)
	defer cancel()
	var m contract.Manifest
	var report store.Report
	err := withStore(ctx, cfg, func(st *store.Store) (err error) {
		m, report, err = backup.Restore(ctx, st, *from)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		return c.fail(exitFault, "%v: a backup is only restored into an empty one; name another by %s", err, contract.EnvStoreDir)
	case err != nil:
		return c.fail(exitFault, "restore %s: %v", *from, err)
	}
	result := checked(report)
	if *asJSON {
		if code := printJSON(c, result); code != exitOK {
			return code
		}
	} else {
		c.print(c.out, "restored %s of %s\n", m.ID, m.CreatedAt.Format(time.RFC3339))
		c.printChecked(result, false)
	}
	if !report.OK() {
		return c.fail(exitFault, "everything is restored as it was, and it had %d faults when it was backed up: check --repair tells more", report.Disagree)
	}
	return exitOK
}
