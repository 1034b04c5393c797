package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// maxOutput is what is kept of an action's output, in bytes: its end.
const maxOutput = 32 << 10

// interruptGrace is how long an interrupted action may take to leave.
const interruptGrace = 30 * time.Second

// errBusy is returned while another action runs.
var errBusy = errors.New("another action runs at this moment: wait until it has ended")

// runner runs one action at a time.
type runner struct {
	now     func() time.Time
	changed func() // called when there is something new to show

	mu      sync.Mutex
	run     *Run
	running sync.WaitGroup
}

// start runs the action's command until it ends or ctx does, which interrupts it as Ctrl-C would.
func (r *runner) start(ctx context.Context, a Action) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run != nil && r.run.Running {
		return errBusy
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	run := &Run{Action: a.ID, Began: r.now(), Running: true}
	cmd := exec.CommandContext(ctx, a.Command[0], a.Command[1:]...)
	cmd.Env = append(cmd.Environ(), "NO_COLOR=1")
	cmd.Stdout = &tail{runner: r, run: run}
	cmd.Stderr = cmd.Stdout
	// A group of its own, so that Ctrl-C on the console reaches it once, by the line below.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = interruptGrace
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", a.Command[0], err)
	}
	r.run = run
	r.running.Go(func() {
		err := cmd.Wait()
		r.mu.Lock()
		run.Running = false
		if err != nil {
			run.Failure = err.Error()
		}
		r.mu.Unlock()
		r.changed()
	})
	return nil
}

// last is a copy of the newest run, nil if there was none.
func (r *runner) last() *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		return nil
	}
	run := *r.run
	return &run
}

func (r *runner) wait() { r.running.Wait() }

// tail keeps the end of what is written to it in its run.
type tail struct {
	runner *runner
	run    *Run
	buffer []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.runner.mu.Lock()
	t.buffer = append(t.buffer, p...)
	if extra := len(t.buffer) - maxOutput; extra > 0 {
		t.buffer = append(t.buffer[:0], t.buffer[extra:]...)
	}
	t.run.Output = string(bytes.ToValidUTF8(t.buffer, []byte("�")))
	t.runner.mu.Unlock()
	t.runner.changed()
	return len(p), nil
}
