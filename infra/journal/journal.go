// Package journal owns the record of operations: who ran which command that
// changes an environment, when, and how it ended. It is a file of one JSON
// entry a line beside the environments' data, appended to by every command of
// the checkout and read by the console.
//
// What others change in a cloud is in that cloud's own audit log, not here.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Outcomes of an operation.
const (
	// Begun stands until the operation's end is recorded; for good if its process was killed.
	Begun       = "begun"
	Succeeded   = "succeeded"
	Failed      = "failed"
	Interrupted = "interrupted"
)

// maxSize is what the file may grow to, in bytes, before the older half is dropped.
const maxSize = 1 << 20

// maxDetail bounds the explanation kept with an entry, in bytes.
const maxDetail = 1 << 10

// Entry is one operation.
type Entry struct {
	// ID is the same for the beginning and the end of an operation.
	ID          string    `json:"id"`
	At          time.Time `json:"at"` // when it began
	Actor       string    `json:"actor"`
	Environment string    `json:"environment"`
	Command     string    `json:"command"`
	Outcome     string    `json:"outcome"`
	// Seconds is how long it took; 0 while it runs.
	Seconds float64 `json:"seconds,omitempty"`
	// Detail says why it failed.
	Detail string `json:"detail,omitempty"`
	// Revision of the repository that it brought the environment to; "" where the
	// checkout was that of none, or the operation brings it to none.
	Revision string `json:"revision,omitempty"`
}

// Journal is the record of one checkout.
type Journal struct{ path string }

// At is the journal in a file, which need not exist yet.
func At(path string) Journal { return Journal{path} }

// Append records an entry durably. Several processes may do so at once.
func (j Journal) Append(e Entry) error {
	if len(e.Detail) > maxDetail {
		e.Detail = e.Detail[:maxDetail]
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an operation: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return fmt.Errorf("make the journal's directory: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	defer func() { _ = f.Close() }()
	// Held for the write alone, so nobody waits long.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock the journal: %w", err)
	}
	if err := write(f, append(line, '\n')); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// write appends line to what f holds, less its older half when it has grown too large.
func write(f *os.File, line []byte) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end > maxSize {
		content := make([]byte, end)
		if _, err := f.ReadAt(content, 0); err != nil {
			return err
		}
		younger := content[end/2:]
		younger = younger[bytes.IndexByte(younger, '\n')+1:]
		// In this order a kill in between leaves entries twice, and none is lost.
		if _, err := f.WriteAt(younger, 0); err != nil {
			return err
		}
		if err := f.Truncate(int64(len(younger))); err != nil {
			return err
		}
		end = int64(len(younger))
	}
	// An entry that a full disk or a kill cut short ends with its line.
	if end > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, end-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := f.WriteAt(line, end); err != nil {
		return err
	}
	return f.Sync()
}

// Recent returns the newest operations, the newest first, each as it ended.
// Lines that cannot be read, which only a kill or a full disk leaves, are passed over.
func (j Journal) Recent(limit int) ([]Entry, error) {
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	defer func() { _ = f.Close() }()
	var order []string
	last := map[string]Entry{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 2*maxSize)
	for lines.Scan() {
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.ID == "" {
			continue
		}
		if _, known := last[e.ID]; !known {
			order = append(order, e.ID)
		}
		last[e.ID] = e
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	slices.Reverse(order)
	recent := make([]Entry, 0, min(limit, len(order)))
	for _, id := range order[:min(limit, len(order))] {
		recent = append(recent, last[id])
	}
	return recent, nil
}

// RecentOf is as Recent, of one environment.
func (j Journal) RecentOf(environment string, limit int) ([]Entry, error) {
	all, err := j.Recent(math.MaxInt)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(e Entry) bool { return e.Environment != environment })
	return all[:min(limit, len(all))], nil
}

// Good returns the revisions of the repository that the environment was brought to
// with success, the newest first, each once.
func (j Journal) Good(environment string) ([]string, error) {
	all, err := j.Recent(math.MaxInt)
	if err != nil {
		return nil, err
	}
	var good []string
	for _, e := range all {
		if e.Environment == environment && e.Outcome == Succeeded && e.Revision != "" && !slices.Contains(good, e.Revision) {
			good = append(good, e.Revision)
		}
	}
	return good, nil
}
