package main

import (
	"context"
	"flag"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/store"
)

func resealCommand(ctx context.Context, c console, args []string) int {
	flags := flag.NewFlagSet(contract.ResealCommand, flag.ContinueOnError)
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	cfg, _, faults := config.Load(c.environ)
	if faults != nil {
		return c.badSettings(faults)
	}
	keys, err := loadKeys(cfg)
	if err != nil {
		return c.badSettings(err)
	}
	ctx, cancel := c.untilSignal(ctx)
	defer cancel()
	var done auth.Resealed
	err = withAdmitted(ctx, cfg, func(st *store.Store) error {
		service, err := auth.New(authConfig(cfg, keys.factors), st, keys.tokens, time.Now)
		if err != nil {
			return err
		}
		done, err = service.Reseal(ctx)
		return err
	})
	if err != nil {
		return c.fail(exitFault, "seal anew: %v; what is done stays done, run it again to go on", err)
	}
	c.print(c.out, "%d authenticator apps: %d sealed anew, %d were sealed with the first key already\n",
		done.Current+done.Anew+len(done.Lost), done.Anew, done.Current)
	if len(done.Lost) > 0 {
		return c.fail(exitFault, "%d authenticator apps are sealed with a key that is not in the ring, that of user %s first: put the key back behind the others and run this again, before more keys go",
			len(done.Lost), done.Lost[0])
	}
	return exitOK
}
