package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/config"
)

var errSecondSignal = errors.New("a second signal came")

func serveCommand(ctx context.Context, c console, args []string) int {
	if !parse(c, flag.NewFlagSet("serve", flag.ContinueOnError), args, 0) {
		return exitUsage
	}
	cfg, _, faults := config.Load(c.environ)
	keys, err := loadKeys(cfg)
	smtp, mailErr := loadSMTP(cfg)
	if faults = errors.Join(faults, err, mailErr); faults != nil {
		return c.badSettings(faults)
	}
	tuneMemory(cfg, c.environ)
	p := newProcess(cfg, keys, c.err) //nolint:contextcheck // the sender of traces ends with the process, not with a context
	p.smtp = smtp
	if err := p.start(ctx); err != nil {
		return c.fail(exitFault, "%v", err)
	}
	return c.untilStopped(ctx, p)
}

// untilStopped serves until a signal, then drains; a second signal quits at once.
func (c console) untilStopped(ctx context.Context, p *process) int {
	var internalFailed chan error
	if p.internal != nil {
		internalFailed = p.internal.failed
	}
	select {
	case s := <-c.signals:
		p.log.InfoContext(ctx, "signal", slog.String("signal", s.String()))
	case err := <-p.public.failed:
		return c.fail(exitFault, "the API's listener failed: %v", err)
	case err := <-p.keeper.refused:
		return c.fail(exitFault, "%v", err)
	case err := <-internalFailed:
		return c.fail(exitFault, "the internal listener failed: %v", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	drained := make(chan error, 1)
	go func() { drained <- p.drain(ctx) }() // ends with ctx at the latest, or with the process
	select {
	case err := <-drained:
		if err != nil {
			p.log.WarnContext(ctx, "stopped before everything was done", slog.String("cause", err.Error()))
		}
		return exitOK
	case <-c.signals:
		cancel(errSecondSignal)
		return c.fail(exitFault, "%v: quitting with requests under way", errSecondSignal)
	}
}

func hasVariable(environ []string, name string) bool {
	for _, e := range environ {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}

// keyrings are the service's keys.
type keyrings struct {
	tokens  *auth.Keyring
	factors *auth.Keyring // nil: the same
}

// loadKeys reads the keys; with no file to name, the settings' own fault says so.
func loadKeys(cfg config.Config) (keyrings, error) {
	var k keyrings
	var faults []error
	for _, f := range []struct {
		setting, file string
		ring          **auth.Keyring
	}{
		{contract.EnvJWTSecretFile, cfg.JWTSecretFile, &k.tokens},
		{contract.EnvFactorKeyFile, cfg.FactorKeyFile, &k.factors},
	} {
		if f.file == "" {
			continue
		}
		var err error
		if *f.ring, err = auth.LoadKeyring(f.file); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w; coditect-api keygen makes such a file", f.setting, err))
		}
	}
	return k, errors.Join(faults...)
}

// authConfig hands auth its part of the settings.
func authConfig(cfg config.Config, factorKeys *auth.Keyring) auth.Config {
	return auth.Config{
		Issuer: cfg.Issuer, Audience: cfg.Audience,
		AccessTTL: cfg.AccessTTL, RefreshTTL: cfg.RefreshTTL, LoginTTL: cfg.LoginTTL, RefreshGrace: cfg.RefreshGrace,
		Password: auth.PasswordParams{
			MemoryKiB:   uint32(cfg.PasswordHashMemoryKiB), //nolint:gosec // the settings bound it
			Iterations:  uint32(cfg.PasswordHashPasses),    //nolint:gosec // the settings bound it
			Parallelism: 1,
		},
		Passkeys:   auth.PasskeyConfig{Domain: cfg.PasskeyDomain, Origins: cfg.PasskeyOrigins},
		FactorKeys: factorKeys,
		HashSlots:  cfg.PasswordHashSlots, HashQueue: cfg.PasswordHashQueue, HashWait: cfg.PasswordHashWait,
		LinkBase: cfg.MailLinks,
	}
}
