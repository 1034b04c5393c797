package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// Lives is how many lives of users begin each second: some fifty requests.
const Lives = 4

// Answers are the requests by the version that answered; "" is none, where the
// load balancer answered itself or nobody did.
type Answers map[string]Answered

// Answered is what became of requests.
type Answered struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Failures map[string]int `json:"failures"` // by code
}

// Traffic is the service's own load tool at work.
type Traffic struct {
	cmd    *exec.Cmd
	report bytes.Buffer
	words  bytes.Buffer
	ended  chan struct{}
	err    error
}

// Begin starts the load tool of the service's binary against the URL. It ends with
// End, with ctx, and by itself when the longest rehearsal is over.
func Begin(ctx context.Context, binary, url string) (*Traffic, error) {
	t := &Traffic{ended: make(chan struct{})}
	t.cmd = exec.CommandContext(ctx, binary, "load", "--json", "--users", "64", "--rate", strconv.Itoa(Lives), "--sessions", "3",
		"--timeout", "30s", "--duration", (longest + 2*time.Minute).String(), url)
	t.cmd.Stdout, t.cmd.Stderr = &t.report, &lastBytes{buffer: &t.words}
	// A group of its own: a terminal's interrupt reaches it through ctx alone.
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.cmd.Cancel = func() error { return t.cmd.Process.Signal(syscall.SIGTERM) }
	t.cmd.WaitDelay = 10 * time.Second
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the load: %w", err)
	}
	go func() { // ends with the process
		defer close(t.ended)
		t.err = t.cmd.Wait()
	}()
	return t, nil
}

// End stops the load and returns what it was answered. It fails where the load had
// ended before, for then nobody has watched.
func (t *Traffic) End() (Answers, error) {
	select {
	case <-t.ended:
		return nil, fmt.Errorf("the load ended too early (%w): %s", errors.Join(t.err, errors.New("it was not told to")), t.words.Bytes())
	default:
	}
	if err := t.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil, fmt.Errorf("stop the load: %w", err)
	}
	<-t.ended
	var report struct {
		Stages []struct {
			Versions Answers `json:"versions"`
		} `json:"stages"`
	}
	if err := json.Unmarshal(t.report.Bytes(), &report); err != nil || len(report.Stages) != 1 {
		return nil, fmt.Errorf("understand the load's report: %w; its last words: %s", errors.Join(err, t.err), t.words.Bytes())
	}
	return report.Stages[0].Versions, nil
}

// lastBytes keeps the end of what is written.
type lastBytes struct{ buffer *bytes.Buffer }

var _ io.Writer = (*lastBytes)(nil)

func (w *lastBytes) Write(p []byte) (int, error) {
	w.buffer.Write(p)
	if over := w.buffer.Len() - 1000; over > 0 {
		w.buffer.Next(over)
	}
	return len(p), nil
}
