package workflow

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"
)

// LeaseAge is how long a lease holds without being renewed.
const LeaseAge = 2 * time.Minute

// ErrLost says that another process has taken the work over.
var ErrLost = errors.New("another operator has taken this over")

// Owner is who holds a lease.
type Owner struct {
	// Name says it to people: user@host.
	Name string `json:"name"`
	// Process is the process on Machine, where it can be looked for; empty if it cannot.
	Process string `json:"process,omitempty"`
	Machine string `json:"machine,omitempty"`
}

// Self is this process.
func Self() Owner {
	name := cmp.Or(os.Getenv("USER"), strconv.Itoa(os.Getuid()))
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname() // for people alone
	return Owner{Name: name + "@" + host, Process: processOf(os.Getpid()), Machine: machine()}
}

// machine names the kernel's boot and the space of process ids in it, so that
// a process id means the same in two processes of the same machine; "" if unknown.
func machine() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(boot)) + "/" + space
}

// processOf is a process id with the moment of its start, since ids are used
// again; "" where there is no such process, or none but a zombie.
func processOf(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	const state, started = 0, 19
	if len(fields) <= started || fields[state] == "Z" || fields[state] == "X" {
		return ""
	}
	return fmt.Sprintf("%d/%s", pid, fields[started])
}

// gone tells whether the owner was a process of this machine that has ended.
func (o Owner) gone() bool {
	if o.Process == "" || o.Machine == "" || o.Machine != machine() {
		return false
	}
	number, _, _ := strings.Cut(o.Process, "/")
	pid, err := strconv.Atoi(number)
	return err == nil && processOf(pid) != o.Process
}

// HeldError says that somebody else works on it.
type HeldError struct {
	Name    string
	Owner   Owner
	Since   time.Time
	Age     time.Duration // since it was last renewed
	StaleIn time.Duration
}

func (e *HeldError) Error() string {
	process, _, _ := strings.Cut(e.Owner.Process, "/")
	return fmt.Sprintf("%s is held by %s (process %s) since %s, renewed %s ago: wait until that has ended; if it hangs, end it, and after %s this takes over",
		e.Name, e.Owner.Name, cmp.Or(process, "unknown"), e.Since.Format(time.RFC3339), e.Age.Round(time.Second), e.StaleIn.Round(time.Second))
}

// held is the document of a lease.
type held struct {
	Owner   Owner     `json:"owner"`
	Token   string    `json:"token"` // empty once it was released
	Since   time.Time `json:"since"`
	Renewed time.Time `json:"renewed"`
}

// Lease is the right to change something. It holds while it is renewed, and a
// holder that is known to be dead, or has not renewed it for its age, loses it
// to whoever asks next.
type Lease struct {
	store Store
	key   string
	age   time.Duration
	now   func() time.Time

	mu      sync.Mutex
	version Version
	held    held
}

// Acquire takes the lease of that name, or returns a [HeldError]. An age of 0
// is [LeaseAge]; it must be the same for all who ask.
func Acquire(ctx context.Context, store Store, name string, owner Owner, age time.Duration, now func() time.Time) (*Lease, error) {
	if now == nil {
		now = time.Now
	}
	l := &Lease{store: store, key: name + ".lease", age: cmp.Or(age, LeaseAge), now: now}
	content, version, err := store.Get(ctx, l.key)
	if err != nil && !errors.Is(err, ErrAbsent) {
		return nil, fmt.Errorf("read the lease of %s: %w", name, err)
	}
	moment := now().UTC()
	if err == nil {
		var other held
		// One that cannot be understood was never whole: it is nobody's.
		if json.Unmarshal(content, &other) == nil && other.Token != "" && !other.Owner.gone() {
			if left := other.Renewed.Add(l.age).Sub(moment); left > 0 {
				return nil, &HeldError{Name: name, Owner: other.Owner, Since: other.Since, Age: moment.Sub(other.Renewed), StaleIn: left}
			}
		}
	}
	l.version = version
	l.held = held{Owner: owner, Token: rand.Text(), Since: moment}
	if err := l.put(ctx, moment); err != nil {
		if errors.Is(err, ErrChanged) {
			return nil, fmt.Errorf("take the lease of %s: another has just taken it: %w", name, err)
		}
		return nil, fmt.Errorf("take the lease of %s: %w", name, err)
	}
	return l, nil
}

// put writes the lease with a new time of renewal. The caller holds mu, or is alone.
func (l *Lease) put(ctx context.Context, moment time.Time) error {
	next := l.held
	next.Renewed = moment
	content, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the lease: %w", err)
	}
	version, err := l.store.Put(ctx, l.key, content, l.version)
	if err != nil {
		return err
	}
	l.held, l.version = next, version
	return nil
}

// Renew makes the lease hold for another age, or returns [ErrLost].
func (l *Lease) Renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.put(ctx, l.now().UTC())
	if errors.Is(err, ErrChanged) {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// Keep renews the lease until stop is called. The context that it returns ends
// when the lease is lost, or could not be renewed for so long that it may be.
func (l *Lease) Keep(ctx context.Context) (kept context.Context, stop func()) {
	kept, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		ticker := time.NewTicker(l.age / 4)
		defer ticker.Stop()
		for {
			select {
			case <-kept.Done():
				return
			case <-ticker.C:
			}
			err := l.Renew(kept)
			l.mu.Lock()
			silent := l.now().Sub(l.held.Renewed)
			l.mu.Unlock()
			switch {
			case errors.Is(err, ErrLost):
				cancel(err)
				return
			case err != nil && silent > l.age*3/4:
				cancel(fmt.Errorf("%w, or may have: the lease could not be renewed: %w", ErrLost, err))
				return
			}
		}
	})
	return kept, func() {
		cancel(nil)
		renewing.Wait()
	}
}

// Release lets go. A lease that was lost is not touched.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held.Token = ""
	err := l.put(ctx, l.held.Renewed)
	if errors.Is(err, ErrChanged) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}
