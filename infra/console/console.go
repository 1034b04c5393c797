// Package console owns the status page for operators: one page on loopback,
// live by server-sent events, that shows an environment's health, its release
// on the way, its backups and the record of operations, and offers the
// operator's commands behind a confirmation.
//
// It knows nobody that it shows: sources fill a [Snapshot], and an action is a
// command line of the operator's own command, run as in a terminal, so there is
// no second way to do a thing.
package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Source fills its part of a snapshot. It is asked once an interval and must
// give up with its context.
type Source struct {
	Name string
	Fill func(context.Context, *Snapshot) error
}

// Options of a console.
type Options struct {
	Environment string
	Sources     []Source
	Actions     []Action
	// Interval is the time between two looks, 2 s by default.
	Interval time.Duration
	// Now is the clock, the system's by default.
	Now func() time.Time
}

// minGap is the least time between two looks, however much an action has to say.
const minGap = 250 * time.Millisecond

// sourceTimeout bounds how long one source may take.
const sourceTimeout = 5 * time.Second

// Console is the page's server.
type Console struct {
	options Options
	key     string // who knows it may look and act
	port    string
	runner  runner
	feed    feed
	// poke asks for a look before the interval is over.
	poke chan struct{}
}

// New returns a console that is not served yet.
func New(o Options) *Console {
	if o.Interval == 0 {
		o.Interval = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Console{options: o, key: rand.Text(), poke: make(chan struct{}, 1)}
	c.runner = runner{now: o.Now, changed: c.lookSoon}
	return c
}

// Listen takes an address on loopback; port 0 takes a free one.
func Listen(ctx context.Context, port int) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("listen for the console: %w", err)
	}
	return l, nil
}

// URL is where a browser is let in: it carries the key.
func (c *Console) URL(l net.Listener) string {
	return fmt.Sprintf("http://%s/?key=%s", l.Addr(), c.key)
}

// Serve answers on l until ctx ends, then interrupts the action that runs and waits for it.
func (c *Console) Serve(ctx context.Context, l net.Listener) error {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return fmt.Errorf("serve the console: %w", err)
	}
	c.port = port
	handler, err := c.handler(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var running sync.WaitGroup
	running.Go(func() { c.watch(ctx) })
	running.Go(func() {
		<-ctx.Done()
		_ = server.Close() // what streams would never end by itself
	})
	err = server.Serve(l)
	if ctx.Err() == nil { // it ended by itself
		return fmt.Errorf("serve the console: %w", err)
	}
	running.Wait()
	c.runner.wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the console: %w", err)
	}
	return nil
}

// watch looks at the sources once an interval, and publishes what it saw.
func (c *Console) watch(ctx context.Context) {
	ticker := time.NewTicker(c.options.Interval)
	defer ticker.Stop()
	for {
		if c.feed.watched() {
			c.feed.publish(c.Look(ctx))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(minGap):
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-c.poke:
		}
	}
}

// Look asks every source at the same time; one that fails is named in the snapshot.
func (c *Console) Look(ctx context.Context) Snapshot {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	parts := make([]Snapshot, len(c.options.Sources))
	failures := make([]error, len(c.options.Sources))
	var asked sync.WaitGroup
	for i, source := range c.options.Sources {
		asked.Go(func() { failures[i] = source.Fill(ctx, &parts[i]) })
	}
	asked.Wait()
	s := Snapshot{At: c.options.Now(), Environment: c.options.Environment, Run: c.runner.last()}
	for i, part := range parts {
		s.merge(part)
		if failures[i] != nil {
			s.Unread = append(s.Unread, c.options.Sources[i].Name+": "+failures[i].Error())
		}
	}
	for _, action := range c.options.Actions {
		// What has just run stays, with what came of it.
		if action.When == nil || action.When(s) || s.Run != nil && s.Run.Action == action.ID {
			s.Actions = append(s.Actions, action)
		}
	}
	return s
}

// merge takes over what a source has filled.
func (s *Snapshot) merge(part Snapshot) {
	s.Environments = append(s.Environments, part.Environments...)
	s.Backups = append(s.Backups, part.Backups...)
	s.Operations = append(s.Operations, part.Operations...)
	if part.Rollout != nil {
		s.Rollout = part.Rollout
	}
	if part.Retirement != nil {
		s.Retirement = part.Retirement
	}
	if part.Proven != nil {
		s.Proven = part.Proven
	}
}

func (c *Console) lookSoon() {
	select {
	case c.poke <- struct{}{}:
	default: // one is on its way
	}
}
