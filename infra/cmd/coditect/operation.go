package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/journal"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/revision"
)

// operations is the journal of the checkout.
func operations(env *local.Environment) journal.Journal {
	return journal.At(filepath.Join(env.Root(), ".data", "journal.jsonl"))
}

// brings are the commands that bring an environment to what the checkout says.
var brings = map[string]bool{"up": true, "recover": true, "rollback": true}

// operation runs what changes an environment and records it. An operation does
// not fail for want of its record; the person is told.
func operation(cmd *cobra.Command, env *local.Environment, do func(context.Context) error) error {
	ctx := cmd.Context()
	entry := journal.Entry{
		ID: rand.Text(), At: time.Now().UTC(), Actor: actor(), Environment: named(cmd), Command: strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), Outcome: journal.Begun,
	}
	record := func() {
		if err := operations(env).Append(entry); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "coditect: this operation is not on record: %v\n", err)
		}
	}
	record()
	err := do(ctx)
	entry.Seconds = time.Since(entry.At).Seconds()
	switch {
	case err == nil:
		entry.Outcome = journal.Succeeded
		if brings[cmd.Name()] {
			entry.Revision = revision.Clean(ctx, env.Root(), entry.Environment)
		}
	case ctx.Err() != nil:
		entry.Outcome = journal.Interrupted
	default:
		entry.Outcome, entry.Detail = journal.Failed, err.Error()
	}
	record()
	return err
}

// named is the environment that the command was given.
func named(cmd *cobra.Command) string {
	if flag := cmd.Flags().Lookup("env"); flag != nil {
		return flag.Value.String()
	}
	return local.Name
}

// actor is who runs the command.
func actor() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return cmp.Or(os.Getenv("USER"), "unknown")
}
