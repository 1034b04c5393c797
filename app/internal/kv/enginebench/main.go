package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const (
	records = 20_000 // in the database
	rounds  = 7      // of each measurement; the median counts
	batch   = 100    // records in a large commit
)

// startVariable makes this program open one engine, read a key and exit, to time a start.
const startVariable = "ENGINEBENCH_START"

func key(i int) []byte { return fmt.Appendf(nil, "tenants/%06d/sessions/%06d", i%100, i) }

var value = make([]byte, 300)

// task is one thing that an engine is timed at. run does it n times.
type task struct {
	name string
	n    int
	run  func(c conn, n int) error
}

// next numbers the records that tasks add.
var next = records

var tasks = []task{
	{"get, in an open snapshot", 3000, func(c conn, n int) error {
		if err := c.exec(begin); err != nil {
			return err
		}
		if err := reads(c, n); err != nil {
			return err
		}
		return c.exec(commit)
	}},
	{"snapshot of three gets", 1000, func(c conn, n int) error {
		for range n {
			if err := c.exec(begin); err != nil {
				return err
			}
			if err := reads(c, 3); err != nil {
				return err
			}
			if err := c.exec(commit); err != nil {
				return err
			}
		}
		return nil
	}},
	{"range of 50", 200, func(c conn, n int) error {
		for range n {
			if got, err := c.scan([]byte("tenants/000042/"), []byte("tenants/0000420")); err != nil || got < pageSize*len(value) {
				return fmt.Errorf("%d bytes in a page: %w", got, err)
			}
		}
		return nil
	}},
	{"durable commit of 1", 100, func(c conn, n int) error { return writes(c, n, 1) }},
	{"durable commit of 100", 10, func(c conn, n int) error { return writes(c, n, batch) }},
}

func reads(c conn, n int) error {
	for range n {
		next++
		if v, err := c.get(key(next * 7919 % records)); err != nil || len(v) != len(value) {
			return fmt.Errorf("%d bytes: %w", len(v), err)
		}
	}
	return nil
}

func writes(c conn, n, size int) error {
	for range n {
		if err := c.exec(lock); err != nil {
			return err
		}
		for range size {
			next++
			if err := c.exec(put, key(next), value); err != nil {
				return err
			}
		}
		if err := c.exec(commit); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	var err error
	if name := os.Getenv(startVariable); name != "" {
		err = start(name, os.Args[1])
	} else {
		err = compare(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// start does what a process does before it can answer.
func start(name, path string) error {
	for _, e := range engines {
		if e.name == name {
			c, err := e.open(path)
			if err != nil {
				return err
			}
			return reads(c, 1)
		}
	}
	return fmt.Errorf("no engine %q", name)
}

// compare times every engine at every task, in turns so that a busy moment of
// the machine hits them alike, and prints the medians with the ratio to the first.
func compare(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "enginebench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	conns := make([]conn, len(engines))
	for i, e := range engines {
		if conns[i], err = e.open(path(dir, i)); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		defer conns[i].Close()
		if err := fill(conns[i]); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	fmt.Print("| |")
	for _, e := range engines {
		fmt.Printf(" %s |", e.name)
	}
	fmt.Println()
	for _, t := range tasks {
		if err := report(t.name, func(i int) (time.Duration, error) {
			began := time.Now()
			err := t.run(conns[i], t.n)
			return time.Since(began) / time.Duration(t.n), err
		}); err != nil {
			return err
		}
	}
	return report("process that opens and gets", func(i int) (time.Duration, error) {
		cmd := exec.CommandContext(ctx, os.Args[0], path(dir, i)) //nolint:gosec // this very program
		cmd.Env = append(os.Environ(), startVariable+"="+engines[i].name)
		cmd.Stderr = os.Stderr
		began := time.Now()
		err := cmd.Run()
		return time.Since(began), err
	})
}

func path(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("%d.db", i)) }

func fill(c conn) error {
	if err := c.exec(lock); err != nil {
		return err
	}
	for i := range records {
		if err := c.exec(put, key(i), value); err != nil {
			return err
		}
	}
	return c.exec(commit)
}

func report(name string, measure func(engine int) (time.Duration, error)) error {
	took := make([][]time.Duration, len(engines))
	for range rounds {
		for i, e := range engines {
			d, err := measure(i)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", e.name, name, err)
			}
			took[i] = append(took[i], d)
		}
	}
	fmt.Printf("| %s |", name)
	var first float64
	for i := range engines {
		slices.Sort(took[i])
		median := float64(took[i][rounds/2]) / float64(time.Microsecond)
		if i == 0 {
			first = median
		}
		fmt.Printf(" %.1f µs (%.2f) |", median, median/first)
	}
	fmt.Println()
	return nil
}
