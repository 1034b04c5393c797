package main

import (
	"context"
	"errors"
	"flag"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/populate"
	"coditect.ai/platform/app/internal/store"
)

func populateCommand(ctx context.Context, c console, args []string) int {
	var plan populate.Plan
	flags := flag.NewFlagSet(contract.PopulateCommand, flag.ContinueOnError)
	flags.IntVar(&plan.Users, "users", 100_000, "`users`, each with a tenant of their own; the first is "+populate.Email(0))
	flags.IntVar(&plan.Sessions, "sessions", 1_000_000, "`sessions` of all users together")
	flags.StringVar(&plan.Password, "password", "", "everybody's `password`; without one nobody can sign in")
	flags.Uint64Var(&plan.Seed, "seed", 1, "another `number` makes other ids")
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	if err := plan.Check(); err != nil {
		return c.fail(exitUsage, "populate:\n  - %s", strings.ReplaceAll(err.Error(), "\n", "\n  - "))
	}
	cfg, _, faults := config.Load(c.environ)
	if faults != nil {
		return c.badSettings(faults)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the command
		select {
		case <-c.signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	db, st, err := openStore(ctx, cfg, time.Now)
	if err != nil {
		return c.fail(exitFault, "%v", err)
	}
	begin, told := time.Now(), time.Now()
	err = populate.Run(ctx, st, plan, func(users int) {
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			c.print(c.err, "%d of %d users, %v\n", users, plan.Users, time.Since(begin).Round(time.Second))
		}
	})
	err = errors.Join(err, db.Close())
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		return c.fail(exitFault, "the store is not empty, and only an empty one is filled: give it a directory or a cluster of its own")
	case errors.Is(err, context.Canceled):
		c.fail(exitFault, "interrupted: what is in the store is not all; throw it away")
		return exitInterrupted
	case err != nil:
		return c.fail(exitFault, "%v", err)
	}
	c.print(c.out, "%d users with %d sessions in %v\n", plan.Users, plan.Sessions, time.Since(begin).Round(time.Millisecond))
	return exitOK
}
