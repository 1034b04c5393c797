// Command coditect is the operator's command for the environments of the
// platform: it runs the same program as `pulumi up`, and watches over what it made.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/problem"
)

// Exit codes, for those who script it.
const (
	exitFailed      = 1
	exitFindings    = 3
	exitInterrupted = 130
)

// errFindings ends a command that did its work and has told what it found wrong.
var errFindings = errors.New("something was found")

func main() {
	// In the image of the operator this command is also what a kubeconfig asks for a token.
	if filepath.Base(os.Args[0]) == kube.Plugin {
		if err := kube.Credential(os.Stdout, kube.TokenFile, time.Now()); err != nil {
			fmt.Fprintln(os.Stderr, "coditect: could not "+err.Error())
			os.Exit(exitFailed)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes the command line and returns the exit code; every failure is told in one place.
func run(ctx context.Context, args []string) int {
	root := command() //nolint:contextcheck // cobra hands each command its context
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	mend, mendable := errors.AsType[*problem.Error](err)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil: // whatever it broke off: the terminal interrupts the engine, too, and so the error may be any
		fmt.Fprintln(os.Stderr, "coditect: interrupted; the same command goes on from here.")
		return exitInterrupted
	case errors.Is(err, errFindings):
		return exitFindings
	case mendable:
		fmt.Fprintln(os.Stderr, "coditect: "+mend.Text)
	case strings.Contains(err.Error(), syscall.ENOSPC.Error()): // told by another process, or an engine: only its words say so
		fmt.Fprintln(os.Stderr, "coditect: the disk is full: free some space, then run this again; could not "+err.Error())
	default:
		fmt.Fprintln(os.Stderr, "coditect: could not "+err.Error())
	}
	return exitFailed
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "coditect",
		Short:         "Operate the environments of the Coditect platform",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(upCommand(), downCommand(), statusCommand(), previewCommand(), driftCommand(), adoptCommand(), doctorCommand(), recoverCommand(), rollbackCommand(), drillCommand(), rolloutCommand(), retireCommand(), tickCommand(), consoleCommand(), simcloudCommand())
	return root
}
