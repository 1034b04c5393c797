package recovery

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// writers are users who write one session after the other and record each one
// that was acknowledged in a ledger outside of the environment.
type writers struct {
	count  atomic.Int64
	cancel context.CancelCauseFunc
	done   sync.WaitGroup
}

// patience is how many failures in a row a writer bears while the environment should serve.
const patience = 100

// entry is one acknowledged write.
type entry struct {
	ID string    `json:"id"`
	At time.Time `json:"at"` // after the answer had come
}

// writing does something while users write. Their failure is its failure,
// unless the environment has been destroyed meanwhile.
func (d *drill) writing(ctx context.Context, at *atDrill, do func(context.Context, *writers) error) error {
	if err := os.MkdirAll(d.Ledger, 0o700); err != nil {
		return fmt.Errorf("make the ledger: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &writers{cancel: cancel}
	for i, a := range at.Data.Accounts {
		w.done.Go(func() {
			if err := d.write(ctx, w, at.Data.Address, a, ledgerFile(d.Ledger, i)); err != nil {
				cancel(fmt.Errorf("writer %d: %w", i+1, err))
			}
		})
	}
	err := do(ctx, w)
	if cause := context.Cause(ctx); err == nil && cause != nil && at.Data.Lost == nil {
		err = cause
	}
	cancel(nil)
	w.done.Wait()
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

func (w *writers) acknowledged() int { return int(w.count.Load()) }

func ledgerFile(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("writer-%02d.jsonl", i+1))
}

func clearLedger(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the ledger: %w", err)
	}
	return nil
}

// write is one user's work until ctx ends.
func (d *drill) write(ctx context.Context, w *writers, base string, a account, ledger string) (err error) {
	c := newClient(base)
	defer c.close()
	f, err := os.OpenFile(ledger, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// A line that a kill cut short was not acknowledged to anybody.
	if _, err := f.WriteString("\n"); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	token, failures := "", 0
	for n := 1; ; {
		var id string
		var failed error
		if token == "" {
			if failed = c.register(ctx, a, true); failed == nil {
				token, failed = c.login(ctx, a)
			}
		} else if id, failed = c.create(ctx, token, fmt.Sprintf("workspace %d", n)); failed == nil {
			line, err := json.Marshal(entry{ID: id, At: d.Now().UTC()})
			if err != nil {
				return fmt.Errorf("encode a write: %w", err)
			}
			if _, err := f.Write(append(line, '\n')); err != nil {
				return fmt.Errorf("write the ledger: %w", err)
			}
			w.count.Add(1)
			n++
		}
		failures++
		if failed == nil {
			failures = 0
		}
		if failures > patience && ctx.Err() == nil {
			return fmt.Errorf("%d requests failed one after the other: %w", failures, failed)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(d.Pause):
		}
	}
}

// Comparison holds what was acknowledged against what came back.
type Comparison struct {
	Acknowledged int `json:"acknowledged"`
	Recovered    int `json:"recovered"`
	Lost         int `json:"lost"`
	// Early is how many of the lost were acknowledged before the backup began, Gaps how many
	// came back although an earlier one of the same user did not: both must be none.
	Early int `json:"early"`
	Gaps  int `json:"gaps"`
	// FirstLost and LastLost are when the lost writes were acknowledged.
	FirstLost *time.Time `json:"first_lost,omitempty"`
	LastLost  *time.Time `json:"last_lost,omitempty"`
}

func (c Comparison) err() error {
	switch {
	case c.Early > 0:
		return fmt.Errorf("%d writes that were acknowledged before the backup began did not come back", c.Early)
	case c.Gaps > 0:
		return fmt.Errorf("%d writes came back although an earlier one of the same user did not", c.Gaps)
	case c.Acknowledged == 0:
		return errors.New("nothing was written, so nothing is proven")
	}
	return nil
}

// compare asks the service, as each writer, for what the ledger says was acknowledged.
func compare(ctx context.Context, c *client, ledger string, accounts []account, began time.Time) (Comparison, error) {
	var sum Comparison
	for i, a := range accounts {
		entries, err := readLedger(ledgerFile(ledger, i))
		if err != nil {
			return sum, err
		}
		token, err := c.login(ctx, a)
		if err != nil {
			return sum, fmt.Errorf("sign in as a user of before: %w", err)
		}
		present, err := c.sessions(ctx, token)
		if err != nil {
			return sum, fmt.Errorf("list what came back: %w", err)
		}
		sum.add(entries, present, began)
	}
	return sum, nil
}

// add counts one writer's entries, which are in the order in which they were acknowledged.
func (c *Comparison) add(entries []entry, present map[string]bool, began time.Time) {
	lost := false
	for _, e := range entries {
		c.Acknowledged++
		if present[e.ID] {
			c.Recovered++
			if lost {
				c.Gaps++
			}
			continue
		}
		lost = true
		c.Lost++
		if e.At.Before(began) {
			c.Early++
		}
		if c.FirstLost == nil || e.At.Before(*c.FirstLost) {
			c.FirstLost = &e.At
		}
		if c.LastLost == nil || e.At.After(*c.LastLost) {
			c.LastLost = &e.At
		}
	}
}

func readLedger(path string) ([]entry, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	var entries []entry
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.ID != "" {
			entries = append(entries, e)
		}
	}
	return entries, lines.Err()
}
