package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	records = 20_000 // in the database
	rounds  = 20     // of each measurement; the median counts
	batch   = 100    // records in a large commit
)

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
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3])
	case len(os.Args) == 4 && os.Args[1] == "start":
		err = start(os.Args[2], os.Args[3])
	default:
		err = compare(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// open opens the database of the engine of that name.
func open(name, path string) (conn, error) {
	for _, e := range engines {
		if e.name == name {
			return e.open(path)
		}
	}
	return nil, fmt.Errorf("no engine %q", name)
}

// start does what a process does before it can answer.
func start(name, path string) error {
	c, err := open(name, path)
	if err != nil {
		return err
	}
	return errors.Join(reads(c, 1), c.Close())
}

// serve fills a database, then runs the task of each number that it reads and
// answers with the nanoseconds that one of its operations took.
func serve(name, path string) error {
	c, err := open(name, path)
	if err != nil {
		return err
	}
	if err := fill(c); err != nil {
		return err
	}
	for {
		var i int
		if _, err := fmt.Scan(&i); errors.Is(err, io.EOF) {
			return c.Close()
		} else if err != nil {
			return err
		}
		began := time.Now()
		if err := tasks[i].run(c, tasks[i].n); err != nil {
			return err
		}
		fmt.Println(time.Since(began).Nanoseconds() / int64(tasks[i].n))
	}
}

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

// server is a process that runs tasks on one engine: two that share SQLite's
// Go translation would share its settings within one process.
type server struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startServer(ctx context.Context, name, path string) (*server, error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "serve", name, path) //nolint:gosec // this very program
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &server{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

// measure returns what one operation of the task took.
func (s *server) measure(task int) (time.Duration, error) {
	if _, err := fmt.Fprintln(s.in, task); err != nil {
		return 0, err
	}
	var took time.Duration
	_, err := fmt.Fscanln(s.out, &took)
	return took, err
}

func (s *server) stop() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }

// compare times every engine at every task, in turns so that a busy moment of
// the machine hits them alike, and prints the medians with the ratio to the first.
func compare(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "enginebench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%d.db", i)) }
	servers := make([]*server, len(engines))
	for i, e := range engines {
		if servers[i], err = startServer(ctx, e.name, path(i)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, servers[i].stop()) }()
	}
	fmt.Print("| |")
	for _, e := range engines {
		fmt.Printf(" %s |", e.name)
	}
	fmt.Print("\n|---|", strings.Repeat("---|", len(engines)), "\n")
	for i, t := range tasks {
		if err := report(t.name, func(engine int) (time.Duration, error) { return servers[engine].measure(i) }); err != nil {
			return err
		}
	}
	return report("process that opens and gets", func(i int) (time.Duration, error) {
		cmd := exec.CommandContext(ctx, os.Args[0], "start", engines[i].name, path(i)) //nolint:gosec // this very program
		cmd.Stderr = os.Stderr
		began := time.Now()
		err := cmd.Run()
		return time.Since(began), err
	})
}

func report(name string, measure func(engine int) (time.Duration, error)) error {
	took := make([][]time.Duration, len(engines))
	for round := range rounds {
		for turn := range engines {
			i := (round + turn) % len(engines) // whoever comes first after a pause pays for it
			e := engines[i]
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
