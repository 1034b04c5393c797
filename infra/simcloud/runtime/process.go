package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"syscall"
	"time"
)

// spawner starts processes that cannot outlive this one: the kernel kills them
// when the thread that started them ends, so that all are started by one thread
// which lives as long as the runtime does. (Threads that Go starts and ends as it
// likes would take processes with them.)
type spawner struct{ requests chan func() }

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func())}
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		for request := range s.requests {
			request()
		}
	}()
	return s
}

// close ends the thread, and with it every process that is left.
func (s *spawner) close() { close(s.requests) }

func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	result := make(chan error, 1)
	s.requests <- func() { result <- cmd.Start() }
	return <-result
}

// process is a running executable.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why, once done is closed
}

// command is what to run.
type command struct {
	path      string
	argv      []string
	env       []string
	directory string
	output    io.Writer
}

func (s *spawner) run(c command) (*process, error) {
	cmd := &exec.Cmd{
		Path: c.path, Args: c.argv, Env: c.env, Dir: c.directory,
		Stdout: c.output, Stderr: c.output,
		// A grandchild that keeps the output open must not keep the pod from ending.
		WaitDelay: time.Second,
	}
	if err := s.start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.argv[0], err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
		if errors.Is(p.err, exec.ErrWaitDelay) {
			p.err = nil
		}
		p.signal(syscall.SIGKILL) // what it left behind in its group
	}()
	return p, nil
}

// signal reaches the process and whatever it started.
func (p *process) signal(signal syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, signal) // it may have ended already
}

// stop asks the process to end and, after the grace, makes it.
func (p *process) stop(grace time.Duration) {
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// exit describes how the process ended.
func (p *process) exit() string {
	exit := &exec.ExitError{}
	switch {
	case p.err == nil:
		return "exited with code 0"
	case errors.As(p.err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return fmt.Sprintf("killed by signal %d (%s)", int(status.Signal()), status.Signal())
		}
		return fmt.Sprintf("exited with code %d", exit.ExitCode())
	default:
		return p.err.Error()
	}
}

func removeAll(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
