// Package doctor owns what a machine and a project must have before an
// environment can be brought up, and the ladder by which a service that does not
// run is looked into. Each finding says how it is mended. It only reads.
//
// What it asks, it asks of the tools that an operator has anyway ([Commands]),
// and of the cluster ([Cluster]).
package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// State is what came of a check.
type State string

// The states.
const (
	OK   State = "ok"
	Note State = "note" // worth knowing; nothing fails of it
	Mend State = "mend"
	Skip State = "skipped" // it could not be told, for want of what an earlier check misses
)

// Check is one thing that was looked at.
type Check struct {
	What  string `json:"what"`
	State State  `json:"state"`
	Found string `json:"found,omitempty"`
	// How it is mended; "" where there is nothing to mend.
	How string `json:"how,omitempty"`
}

// Report is what was looked at, in the order in which it is mended.
type Report struct {
	Environment string  `json:"environment"`
	Checks      []Check `json:"checks"`
}

func (r *Report) add(what string, state State, found, how string, args ...any) {
	if len(args) > 0 {
		how = fmt.Sprintf(how, args...)
	}
	if state == OK {
		how = ""
	}
	r.Checks = append(r.Checks, Check{What: what, State: state, Found: found, How: how})
}

// verdict adds a check that is well or is to be mended.
func (r *Report) verdict(well bool, what, found, how string, args ...any) bool {
	state := OK
	if !well {
		state = Mend
	}
	r.add(what, state, found, how, args...)
	return well
}

// ToMend is the number of things that are to be mended.
func (r *Report) ToMend() int {
	count := 0
	for _, c := range r.Checks {
		if c.State == Mend {
			count++
		}
	}
	return count
}

// Text writes the report for a person.
func (r *Report) Text(w io.Writer) {
	for _, c := range r.Checks {
		line := fmt.Sprintf("%-8s %s", c.State, c.What)
		if c.Found != "" {
			line += ": " + c.Found
		}
		fmt.Fprintln(w, line)
		if c.How != "" {
			fmt.Fprintf(w, "%-8s   → %s\n", "", c.How)
		}
	}
	if n := r.ToMend(); n > 0 {
		fmt.Fprintf(w, "\n%d of %d are to be mended, best in this order.\n", n, len(r.Checks))
	} else {
		fmt.Fprintf(w, "\nNothing is to be mended.\n")
	}
}

// Commands runs an operator's tools.
type Commands interface {
	// Run returns what the command wrote to its standard output. Its error is
	// ErrNoTool where there is no such command, and says what the command complained of.
	Run(ctx context.Context, name string, args ...string) (string, error)
}

// ErrNoTool says that a command is not on PATH.
var ErrNoTool = errors.New("it is not on PATH")

// patience bounds one command.
const patience = time.Minute

// System runs the commands of this machine, in Dir.
type System struct{ Dir string }

// Run implements [Commands].
func (s System) Run(ctx context.Context, name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", ErrNoTool
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.WaitDelay = s.Dir, time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	switch {
	case err == nil:
		return strings.TrimSpace(out.String()), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s did not answer within %s", name, patience)
	}
	lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return "", errors.New(last)
	}
	return "", fmt.Errorf("%s: %w", name, err)
}
