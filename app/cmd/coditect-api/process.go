package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/httpapi"
	"coditect.ai/platform/app/internal/mail"
	"coditect.ai/platform/app/internal/telemetry"
)

// Timeouts of a connection. Those of a request's work are httpapi's.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 20 * time.Second
	// idleTimeout outlives the load balancer's own 600 s, so that it is never
	// the service that closes a connection which the balancer is about to use.
	idleTimeout = 620 * time.Second
)

// process is the running service, in parts that tests can start on port 0.
type process struct {
	cfg  config.Config
	keys keyrings
	log  *slog.Logger
	now  func() time.Time
	smtp *mail.SMTP // nil unless mail is sent by SMTP

	api      *httpapi.API
	metrics  *telemetry.Metrics
	tracer   *telemetry.Tracer // nil when no traces are sent
	public   *listener
	internal *listener // nil when it is off
	keeper   *keeper
	owned    sync.WaitGroup // the keeper's goroutine
	stop     context.CancelFunc
}

// newProcess wires the service; nothing runs yet.
func newProcess(cfg config.Config, keys keyrings, logs io.Writer) *process {
	p := &process{cfg: cfg, keys: keys, log: telemetry.NewLogger(logs, cfg.LogLevel, cfg.Slot), now: time.Now}
	b := thisBuild()
	p.metrics = telemetry.NewMetrics(b.Version, b.Commit, cfg.Slot)
	var err error
	p.tracer, err = telemetry.NewTracer(telemetry.TraceConfig{
		URL: cfg.TraceURL, Share: cfg.TraceShare, Version: b.Version, Slot: cfg.Slot, Log: p.log,
	})
	if err != nil {
		p.log.Error("no traces are sent", slog.String("cause", err.Error())) // which is no reason not to serve
	}
	p.api = httpapi.New(httpapi.Options{
		Version: b.Version, Log: p.log, Metrics: p.metrics, Tracer: p.tracer, Now: p.now,
		RequestTimeout: cfg.RequestTimeout, CORSOrigins: cfg.CORSOrigins, TrustedProxies: cfg.TrustedProxies,
	})
	p.keeper = newKeeper(p)
	return p
}

// start listens, serves, and only then begins to open the store, so that
// /health answers at once and whatever the store does.
func (p *process) start(ctx context.Context) error {
	ctx, p.stop = context.WithCancel(ctx)
	var err error
	if p.public, err = listen(ctx, p.cfg.Listen, contract.EnvListen, p.api, p.log); err != nil {
		return err
	}
	p.public.server.WriteTimeout = readTimeout + p.cfg.RequestTimeout
	if p.cfg.InternalListen != "" {
		if p.internal, err = listen(ctx, p.cfg.InternalListen, contract.EnvInternalListen, telemetry.InternalHandler(p.metrics), p.log); err != nil {
			return errors.Join(err, p.public.socket.Close())
		}
		p.internal.serve()
	}
	p.public.serve()
	p.log.Info("serving", slog.String("address", p.public.socket.Addr().String()), slog.String("version", version))
	p.owned.Go(func() { p.keeper.run(ctx) })
	return nil
}

// drain leaves the load balancer's rotation, finishes what is under way, and
// lets go of the store. pause ends early when hurry is closed.
func (p *process) drain(ctx context.Context) error {
	p.api.Drain()
	p.log.Info("draining", slog.Duration("pause", p.cfg.DrainPause), slog.Duration("grace", p.cfg.ShutdownGrace))
	pause := time.NewTimer(p.cfg.DrainPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	grace, cancel := context.WithTimeout(ctx, p.cfg.ShutdownGrace)
	defer cancel()
	err := p.public.server.Shutdown(grace)
	p.stop() // cancels the work of requests that outlived the grace, and the keeper's
	err = errors.Join(err, p.public.server.Close())
	p.owned.Wait()
	err = errors.Join(err, p.keeper.close())
	err = errors.Join(err, p.tracer.Close(grace))
	if p.internal != nil {
		err = errors.Join(err, p.internal.server.Close())
	}
	p.log.Info("stopped")
	return err
}

// listener is a bound socket and the server on it.
type listener struct {
	socket net.Listener
	server *http.Server
	failed chan error // gets the error of a server that stopped by itself
}

// listen binds address, which setting names. Requests get contexts below ctx.
func listen(ctx context.Context, address, setting string, h http.Handler, log *slog.Logger) (*listener, error) {
	var lc net.ListenConfig
	socket, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken by another process: stop that one, or set %s to a free address", address, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s (%s): %w", address, setting, err)
	}
	return &listener{
		socket: socket,
		failed: make(chan error, 1),
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    httpapi.MaxHeaderBytes,
			// OPTIONS * is a request like any other: net/http's own answer has none of our headers.
			DisableGeneralOptionsHandler: true,
			BaseContext:                  func(net.Listener) context.Context { return ctx },
			ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug), // mostly clients that hang up
		},
	}, nil
}

// serve answers on the socket until the server is shut down.
func (l *listener) serve() {
	go func() { // ends with the server, which process owns
		if err := l.server.Serve(l.socket); !errors.Is(err, http.ErrServerClosed) {
			l.failed <- err
		}
	}()
}

// tuneMemory lets the heap grow freely while it is small, which halves the
// collector's work, and bounds it by what the slots need and as much again for
// all else. What is not on the heap (code, SQLite's caches) comes on top.
// GOMEMLIMIT and GOGC, where set, win.
func tuneMemory(cfg config.Config, environ []string) {
	const heap, growth = 48 << 20, 400
	if !hasVariable(environ, "GOMEMLIMIT") {
		debug.SetMemoryLimit(heap + int64(cfg.PasswordHashSlots)*int64(cfg.PasswordHashMemoryKiB)<<10)
	}
	if !hasVariable(environ, "GOGC") {
		debug.SetGCPercent(growth)
	}
}
