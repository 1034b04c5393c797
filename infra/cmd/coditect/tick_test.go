package main

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/workflow"
)

// TestTickErrors: what is saved and tried again is no failure of the command; a
// refusal is, whatever an earlier tick's trouble was, and so is an order that nobody
// carried out.
func TestTickErrors(t *testing.T) {
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	cmd.SetErr(io.Discard)
	trouble := errors.New("the load balancer does not answer")
	busy := &workflow.HeldError{Name: "rollout", Owner: workflow.Owner{Name: "ada@desk"}}
	for name, tt := range map[string]struct {
		trouble        string
		err            error
		ticks, decides bool // fails
	}{
		"nothing":              {"", nil, false, false},
		"earlier trouble":      {trouble.Error(), nil, false, false},
		"its trouble":          {trouble.Error(), trouble, false, false},
		"a refusal":            {trouble.Error(), errors.New("it is paused already"), true, true},
		"not saved":            {trouble.Error(), errors.Join(trouble, errors.New("the disk is full")), true, true},
		"no state":             {"", trouble, true, true},
		"somebody else's tick": {"", fmt.Errorf("tick: %w", busy), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tickError(cmd, tt.trouble, tt.err); (got != nil) != tt.ticks {
				t.Errorf("a tick fails of %v", got)
			}
			if got := decided(cmd, tt.trouble, tt.err); (got != nil) != tt.decides {
				t.Errorf("an order fails of %v", got)
			}
		})
	}
}
