package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/workflow"
)

// tickError returns what a tick failed of, unless that is all of its trouble, which
// is saved with the state, told with it, and tried again. That somebody else ticks is
// no failure.
func tickError(cmd *cobra.Command, trouble string, err error) error {
	if other, busy := errors.AsType[*workflow.HeldError](err); busy {
		fmt.Fprintf(cmd.ErrOrStderr(), "coditect: %v.\n", other)
		return nil
	}
	// A refusal, or a state that could not be saved, is another error than an earlier tick's.
	if err != nil && err.Error() == trouble && cmd.Context().Err() == nil {
		return nil
	}
	return err
}

// decided is as tickError for what a person has asked for: that somebody else was at
// it all the time means that nothing was done.
func decided(cmd *cobra.Command, trouble string, err error) error {
	if _, busy := errors.AsType[*workflow.HeldError](err); busy {
		return held(err)
	}
	return tickError(cmd, trouble, err)
}
