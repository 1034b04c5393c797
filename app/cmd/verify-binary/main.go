// Command verify-binary refuses a binary of the service that is not what it is
// said to be: one that is empty, unfinished, of another version or commit,
// lacks a library, or does not serve. It knows the service by its contract
// alone, needs nothing but the standard library, and so runs inside the last
// stage of an image, however little that image holds.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"coditect.ai/platform/app/contract"
)

// The exit codes.
const (
	exitOK      = 0
	exitRefused = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Getenv, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, getenv func(string) string, out, errs io.Writer, args []string) int {
	want := expected{}
	flags := flag.NewFlagSet("verify-binary", flag.ContinueOnError)
	flags.SetOutput(errs)
	// The environment speaks where no shell could put it into the arguments.
	flags.StringVar(&want.version, "version", getenv("VERSION"), "the `version` that the binary must print; $VERSION unless told")
	flags.StringVar(&want.commit, "commit", getenv("COMMIT"), "the `commit` that the binary must print, all 40 hexadecimal digits; $COMMIT unless told")
	engines := flags.String("engines", contract.EngineEmbedded, "the `engines`, with commas between, that the binary must have; it is started with each")
	flags.Int64Var(&want.leastSize, "least-size", leastSize, "the fewest `bytes` that a finished binary has")
	flags.DurationVar(&want.within, "within", time.Minute, "how long the binary may take to answer "+contract.HealthPath+", and to leave")
	flags.Usage = func() {
		fmt.Fprintf(errs, "Usage: verify-binary --version V --commit C [flags] BINARY\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return exitUsage // flags has said why
	}
	if flags.NArg() != 1 {
		fmt.Fprintf(errs, "verify-binary takes one binary, not %d: %q\n", flags.NArg(), flags.Args())
		return exitUsage
	}
	want.engines = strings.Split(*engines, ",")
	if err := want.check(); err != nil {
		fmt.Fprintf(errs, "verify-binary: %v\n", err)
		return exitUsage
	}
	passed, err := verify(ctx, flags.Arg(0), want)
	for _, line := range passed {
		fmt.Fprintf(out, "  %s\n", line)
	}
	if err != nil {
		fmt.Fprintf(errs, "verify-binary: %s is refused:\n  - %s\n", flags.Arg(0), strings.ReplaceAll(err.Error(), "\n", "\n  - "))
		return exitRefused
	}
	fmt.Fprintf(out, "%s is %s %s.\n", flags.Arg(0), contract.Binary, want.version)
	return exitOK
}
