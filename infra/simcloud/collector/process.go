package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	goruntime "runtime"
	"syscall"
	"time"

	"coditect.ai/platform/infra/simcloud/store"
)

const (
	// patience bounds the wait between two attempts to run Prometheus.
	patience = 30 * time.Second
	// shortLife is that of a process which could not go on with the data it found.
	shortLife = 10 * time.Second
	// farewell is how long it has to end.
	farewell = 5 * time.Second

	// Whatever differs between targets is in their labels, so that this never changes.
	configuration = `scrape_configs:
- job_name: pods
  file_sd_configs:
  - files: [targets.json]
    refresh_interval: 5s
`
)

// errNoPrometheus is told to people.
var errNoPrometheus = errors.New("there is no Prometheus on PATH: install Debian's package prometheus, or run `make prometheus`")

// supervise keeps Prometheus running until the context ends.
func (c *Collector) supervise(ctx context.Context) {
	short := 0
	for wait := retry; ctx.Err() == nil; wait = min(2*wait, patience) {
		began := time.Now()
		err := c.live(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > shortLife {
			wait, short = retry, 0
		} else if !errors.Is(err, errNoPrometheus) {
			short++
		}
		if short == 3 {
			// What was measured is worth less than to go on measuring.
			c.Logger.Warn("the measurements are given up: Prometheus cannot go on with them", "error", err)
			_ = os.RemoveAll(c.path("data")) // the next attempt tells
			short = 0
		}
		c.set(func(s *Status) { s.Address, s.Trouble = "", err.Error() })
		c.Logger.Warn("nothing is measured", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// live runs Prometheus once, until it ends; its error is never nil.
func (c *Collector) live(ctx context.Context) error {
	name := c.Prometheus
	if name == "" {
		name = "prometheus"
	}
	binary, err := exec.LookPath(name)
	if err != nil {
		return errNoPrometheus
	}
	if err := replace(c.path("prometheus.yml"), []byte(configuration)); err != nil {
		return err
	}
	output, err := os.Create(c.path("prometheus.log"))
	if err != nil {
		return fmt.Errorf("run Prometheus: %w", err)
	}
	defer output.Close() //nolint:errcheck // Prometheus has its own
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary,
		"--config.file="+c.path("prometheus.yml"), "--web.listen-address="+address, "--log.level=warn",
		"--storage.tsdb.path="+c.path("data"), "--storage.tsdb.retention.time=6h", "--storage.tsdb.retention.size=256MB")
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = farewell
	// It ends with this process, however that ends: with the thread that started it,
	// which therefore waits for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run Prometheus: %w", err)
	}
	watching, ended := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if answers(watching, "http://"+address+"/-/ready") {
			c.set(func(s *Status) { s.Address, s.Trouble = "http://"+address, "" })
			c.Logger.Info("Prometheus measures", "address", address, "pid", cmd.Process.Pid)
		}
	}()
	err = cmd.Wait()
	if err == nil {
		err = errors.New("of its own accord")
	}
	ended()
	<-watched
	raw, _ := os.ReadFile(c.path("prometheus.log")) // for people
	raw = bytes.TrimSpace(raw)
	return fmt.Errorf("the process of Prometheus ended: %w: %s", err, raw[max(0, len(raw)-500):])
}

// answers returns true once the URL answers 200, false when the context ended before.
func answers(ctx context.Context, url string) bool {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close() // only its head counts
			if response.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a port for Prometheus: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// replace writes the file unless that is what it holds.
func replace(path string, content []byte) error {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := store.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
