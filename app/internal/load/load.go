// Package load drives a running service through the whole life of its users
// and measures every operation: register, login, IDE sessions, refresh, logout.
//
// In a closed loop a number of users live one life after the other. In an open
// loop lives begin at a fixed rate whatever the service does, and a life that
// has to wait for a free user is measured from the moment it was due: a service
// that stalls is charged for everyone who would have come meanwhile.
//
// It knows the service as any client does, by its URL, and imports the
// contract and nothing else of the project.
package load

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"coditect.ai/platform/app/contract"
)

// Bounds of a run: what one machine can drive, and what a report can hold.
const (
	maxUsers    = 10_000
	maxDuration = time.Hour
	maxSessions = 100
	maxRate     = 10_000
)

// Config says what to run. Validate reports every fault together.
type Config struct {
	URL      string        // of the service, with or without contract.BasePath
	Users    []int         // of each stage: how many at the same time
	Duration time.Duration // of each stage
	Rate     float64       // lives that begin each second; 0 is a closed loop
	Sessions int           // IDE sessions of one life
	Timeout  time.Duration // of one request
}

// Validate returns every fault of c.
func (c Config) Validate() error {
	var faults []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	_, err := c.base()
	refuse(err != nil, "URL: %w", err)
	refuse(len(c.Users) == 0, "users: at least one stage is needed, such as 10,100")
	for _, n := range c.Users {
		refuse(n < 1 || n > maxUsers, "users: %d is not from 1 to %d", n, maxUsers)
	}
	refuse(c.Duration < time.Second || c.Duration > maxDuration, "duration: %v is not from 1s to %v", c.Duration, maxDuration)
	refuse(c.Rate < 0 || c.Rate > maxRate, "rate: %v is not from 0 to %d a second", c.Rate, maxRate)
	refuse(c.Sessions < 1 || c.Sessions > maxSessions, "sessions: %d is not from 1 to %d", c.Sessions, maxSessions)
	refuse(c.Timeout < 100*time.Millisecond || c.Timeout > 5*time.Minute, "timeout: %v is not from 100ms to 5m", c.Timeout)
	return errors.Join(faults...)
}

// base is the URL that operations' paths are appended to.
func (c Config) base() (string, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("%q is not the address of a service, such as http://127.0.0.1:8080", c.URL)
	}
	base := strings.TrimSuffix(u.String(), "/")
	if !strings.HasSuffix(base, contract.BasePath) {
		base += contract.BasePath
	}
	return base, nil
}

// Run runs every stage and reports them. When ctx ends early the report tells
// what was measured until then and says so. progress is called about once a
// second, from one goroutine at a time.
func Run(ctx context.Context, c Config, progress func(Progress)) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	version, err := greet(ctx, base, c.Timeout)
	if err != nil {
		return nil, err
	}
	report := &Report{
		URL: base, Version: version, Started: time.Now().UTC().Truncate(time.Second),
		Rate: c.Rate, Sessions: c.Sessions,
	}
	for i, users := range c.Users {
		s := newStage(c, base, users)
		report.Stages = append(report.Stages, s.run(ctx, func(p Progress) {
			p.Stage, p.Stages = i+1, len(c.Users)
			progress(p)
		}))
		if ctx.Err() != nil {
			report.Interrupted = true
			break
		}
	}
	return report, nil
}

// stage is one number of users for one duration.
type stage struct {
	cfg    Config
	users  int
	names  *names
	client *client
	record *recorder
	begin  time.Time
	end    time.Time
	due    atomic.Int64 // lives that have been taken up, in an open loop
	lives  atomic.Int64 // lives lived to their end
}

func newStage(c Config, base string, users int) *stage {
	return &stage{cfg: c, users: users, names: newNames(), client: newClient(base, users, c.Timeout)}
}

// run lives lives until the stage's time is over or ctx ends. Requests under
// way at the end of the time are waited for; those that ctx cut off don't count.
func (s *stage) run(ctx context.Context, progress func(Progress)) Stage {
	defer s.client.close()
	s.begin = time.Now()
	s.end = s.begin.Add(s.cfg.Duration)
	s.record = newRecorder(s.begin)
	var users sync.WaitGroup
	for range s.users {
		users.Go(func() { s.user(ctx) })
	}
	done := make(chan struct{})
	go func() { users.Wait(); close(done) }() // ends with the users, who end with the stage
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-tick.C:
			progress(s.progress())
		}
	}
	progress(s.progress())
	return s.result()
}

// user lives one life after the other. In an open loop it takes up the lives
// that are due in their order; those that found no free user until the end are
// charged with their wait, for to leave them out would hide exactly those whom
// a stall hurt.
func (s *stage) user(ctx context.Context) {
	for ctx.Err() == nil {
		due := time.Now()
		if s.cfg.Rate > 0 {
			due = s.dueTime(s.due.Add(1) - 1)
		}
		if !due.Before(s.end) || !sleepUntil(ctx, due) {
			return
		}
		if !time.Now().Before(s.end) {
			s.record.add(opRegister, s.end.Sub(due), failUnstarted, "")
			continue
		}
		if pause := s.live(ctx, due); pause > 0 {
			sleepUntil(ctx, earlier(time.Now().Add(pause), s.end))
		}
	}
}

// dueTime is when the n-th life of an open loop begins.
func (s *stage) dueTime(n int64) time.Time {
	return s.begin.Add(time.Duration(float64(n) / s.cfg.Rate * float64(time.Second)))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// sleepUntil returns false when ctx ended first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
