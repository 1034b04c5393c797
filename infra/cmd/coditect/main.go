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
	"regexp"
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
	if err := besidePath(); err != nil {
		fmt.Fprintln(os.Stderr, "coditect: could not "+err.Error())
		os.Exit(exitFailed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// besidePath lets what was built beside this executable be found where PATH has no
// such command: `make` puts Pulumi there.
func besidePath() error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this executable: %w", err)
	}
	list := append(filepath.SplitList(os.Getenv("PATH")), filepath.Dir(executable))
	if err := os.Setenv("PATH", strings.Join(list, string(filepath.ListSeparator))); err != nil {
		return fmt.Errorf("set PATH: %w", err)
	}
	return nil
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
	case usageError.MatchString(err.Error()):
		fmt.Fprintf(os.Stderr, "coditect: %v; see `coditect --help`.\n", err)
	case strings.Contains(err.Error(), syscall.ENOSPC.Error()): // told by another process, or an engine: only its words say so
		fmt.Fprintln(os.Stderr, "coditect: the disk is full: free some space, then run this again; could not "+err.Error())
	default:
		fmt.Fprintln(os.Stderr, "coditect: could not "+err.Error())
	}
	return exitFailed
}

// group makes cmd one that only holds others: alone it explains them, and a word that
// is none of them is refused, which cobra does for the first word alone.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// usageError is what cobra refuses of a command line. It tells these by their words alone.
var usageError = regexp.MustCompile(`^(unknown (command|flag|shorthand flag)|required flag\(s\)|invalid argument|flag needs an argument|accepts )`)

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
