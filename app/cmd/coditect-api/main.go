// Command coditect-api is the Coditect V5 API: the service itself and the
// sub-commands that belong to its data. It owns configuration, wiring and the
// life of the process; everything that answers a request is below
// internal/httpapi.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/config"
)

// The exit codes.
const (
	exitOK    = 0
	exitFault = 1 // what was asked for failed
	exitUsage = 2 // the command line or the settings are wrong
)

// console is where a command gets its input and leaves its output.
type console struct {
	environ []string
	signals <-chan os.Signal // SIGTERM and SIGINT, as often as they come
	out     io.Writer
	err     io.Writer
}

// fail prints a sentence about what went wrong and returns code.
func (c console) fail(code int, format string, args ...any) int {
	c.print(c.err, "coditect-api: "+format+"\n", args...)
	return code
}

func (c console) print(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...) // a console that takes no text has nobody to tell
}

type command struct {
	name, usage, doc string
	run              func(ctx context.Context, c console, args []string) int
}

func commands() []command {
	return []command{
		{"serve", "serve", "run the API until SIGTERM", serveCommand},
		{"config", "config [--markdown]", "print the settings in force, or document every setting", configCommand},
		{"keygen", "keygen [--algorithm A] [--if-missing] FILE", "write a new signing key to FILE", keygenCommand},
		{contract.CheckCommand, "check [--json] [--repair [--apply]]", "check that every record and index of the store agrees", checkCommand},
		{contract.BackupCommand, "backup --to DIR [--every D] [--keep N]", "back the store up while it is used; --list shows what is there", backupCommand},
		{contract.RestoreCommand, "restore --from DIR/ID", "fill an empty store with a backup", restoreCommand},
		{contract.ManifestCommand, "manifest --to DIR [--every D] [--keep N]", "record times and read versions beside the engine's own backups", manifestCommand},
		{contract.MigrateCommand, "migrate", "bring the store to this release's schema while it is used; serve does it too", migrateCommand},
		{contract.ResealCommand, "reseal", "seal the secrets of authenticator apps with the first key, while the store is used, so that old keys may go", resealCommand},
		{"load", "load [flags] URL", "drive a running service through its users' lives and measure it", loadCommand},
		{contract.PopulateCommand, "populate [--users N] [--sessions N]", "fill an empty store with users and sessions, to measure at scale", populateCommand},
		{"version", "version [--json]", "print what was built", versionCommand},
	}
}

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	os.Exit(run(context.Background(), console{environ: os.Environ(), signals: signals, out: os.Stdout, err: os.Stderr}, os.Args[1:]))
}

// run is main without the process around it.
func run(ctx context.Context, c console, args []string) int {
	file, args, err := settingsFile(args)
	if err != nil {
		return c.fail(exitUsage, "%v", err)
	}
	if file != "" {
		c.environ = append(slices.Clone(c.environ), config.EnvFile+"="+file)
	}
	if len(args) > 0 {
		for _, cmd := range commands() {
			if cmd.name == args[0] {
				return cmd.run(ctx, c, args[1:])
			}
		}
	}
	w, code := c.err, exitUsage
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		w, code = c.out, exitOK
	}
	c.print(w, "Usage: coditect-api COMMAND\n\n")
	for _, cmd := range commands() {
		c.print(w, "  %-44s %s\n", cmd.usage, cmd.doc)
	}
	c.print(w, "\nSettings come from the environment, and from the file of --config FILE: see coditect-api config --markdown.\n")
	return code
}

// settingsFile takes --config FILE out of the arguments of any command.
func settingsFile(args []string) (file string, rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		if name != "--config" && name != "-config" {
			rest = append(rest, args[i])
			continue
		}
		if !given && i+1 < len(args) {
			i++
			value = args[i]
		}
		if value == "" {
			return "", nil, errors.New("--config needs the name of a settings file")
		}
		file = value
	}
	return file, rest, nil
}
