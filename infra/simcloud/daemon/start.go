package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// startTimeout is how long a daemon may take until it answers.
const startTimeout = 20 * time.Second

// endTimeout is how long a daemon may take to end its pods.
const endTimeout = 2 * time.Minute

// StartOptions tell how to bring a daemon up.
type StartOptions struct {
	// Directory is the environment's.
	Directory string
	// Executable and Args are the command that calls Serve for the directory; this
	// executable by default.
	Executable string
	Args       []string
	// Build is what the daemon's build must be; BuildID by default. One of another
	// build is ended and replaced.
	Build string
}

// Start returns a client of the directory's daemon. One that runs is used, unless
// it is of another build; else one is started, in a session of its own, so that
// it outlives this process.
func Start(ctx context.Context, o StartOptions) (*Client, error) {
	var err error
	if o.Executable == "" {
		if o.Executable, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("start the daemon: %w", err)
		}
	}
	if o.Build == "" {
		if o.Build, err = BuildID(); err != nil {
			return nil, err
		}
	}
	running, err := Connect(ctx, o.Directory)
	switch {
	case err == nil && running.Build() == o.Build:
		return running, nil
	case err == nil:
		if err := running.Shutdown(ctx); err != nil {
			return nil, fmt.Errorf("replace the daemon of another build: %w", err)
		}
	case !errors.Is(err, ErrNotRunning):
		return nil, err
	}
	running, err = settle(ctx, o.Directory)
	if err != nil || running != nil {
		return running, err
	}
	return launch(ctx, o)
}

// settle waits while another daemon comes up, which it then returns, or goes down.
func settle(ctx context.Context, directory string) (*Client, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	for deadline := time.Now().Add(endTimeout); ; {
		lock, err := acquire(ctx, directory, 0)
		if err == nil {
			return nil, lock.Close()
		}
		if !errors.Is(err, ErrRunning) {
			return nil, err
		}
		if client, err := Connect(ctx, directory); err == nil {
			return client, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("a daemon that does not answer: %w", err)
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, fmt.Errorf("start the daemon: %w", ctx.Err())
		}
	}
}

func launch(ctx context.Context, o StartOptions) (*Client, error) {
	path := filepath.Join(o.Directory, logName)
	// One log for each life, and that of the life before.
	if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	output, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	defer output.Close() //nolint:errcheck // the daemon has its own
	// Not CommandContext: it shall live on when ctx has ended.
	cmd := exec.Command(o.Executable, o.Args...) //nolint:noctx // see above
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(startTimeout)
	for {
		client, err := Connect(ctx, o.Directory)
		if err == nil {
			return client, nil
		}
		select {
		case <-time.After(poll):
		case err := <-ended:
			// Another may have been quicker to start one.
			if client, connectErr := Connect(ctx, o.Directory); connectErr == nil {
				return client, nil
			}
			return nil, fmt.Errorf("the daemon ended at once: %w\n%s", err, lastLines(path))
		case <-deadline:
			return nil, fmt.Errorf("the daemon (pid %d) does not answer after %s\n%s", cmd.Process.Pid, startTimeout, lastLines(path))
		case <-ctx.Done():
			return nil, fmt.Errorf("start the daemon: %w", ctx.Err())
		}
	}
}

func lastLines(path string) []byte {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	raw = bytes.TrimSpace(raw)
	return raw[max(0, len(raw)-2000):]
}
