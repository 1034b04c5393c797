package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/config"
)

// Set by the linker: -X main.version=… -X main.commit=….
var (
	version = "dev"
	commit  = ""
)

// build is what the version command tells.
type build struct {
	Service string   `json:"service"`
	Version string   `json:"version"`
	Commit  string   `json:"commit"`
	Go      string   `json:"go"`
	Target  string   `json:"target"`
	Engines []string `json:"engines"`
}

func thisBuild() build {
	b := build{
		Service: contract.ServiceName, Version: version, Commit: commit,
		Go: runtime.Version(), Target: runtime.GOOS + "/" + runtime.GOARCH,
		Engines: slices.Sorted(maps.Keys(engines)),
	}
	if b.Commit == "" {
		b.Commit = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					b.Commit = s.Value
				}
			}
		}
	}
	return b
}

// parse reads the flags of a sub-command, which takes exactly operands others.
func parse(c console, flags *flag.FlagSet, args []string, operands int) bool {
	flags.SetOutput(c.err)
	if err := flags.Parse(args); err != nil {
		return false // flags has said why
	}
	if flags.NArg() != operands {
		c.fail(exitUsage, "%s takes %d operands, not %d: %q", flags.Name(), operands, flags.NArg(), flags.Args())
		return false
	}
	return true
}

func versionCommand(_ context.Context, c console, args []string) int {
	flags := flag.NewFlagSet("version", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print JSON")
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	b := thisBuild()
	if *asJSON {
		return printJSON(c, b)
	}
	c.print(c.out, "%s %s (commit %s, %s, %s), engines: %s\n", contract.Binary, b.Version, b.Commit, b.Go, b.Target, strings.Join(b.Engines, ", "))
	return exitOK
}

func printJSON(c console, v any) int {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return c.fail(exitFault, "print JSON: %v", err)
	}
	return exitOK
}

func configCommand(_ context.Context, c console, args []string) int {
	flags := flag.NewFlagSet("config", flag.ContinueOnError)
	markdown := flags.Bool("markdown", false, "print the documentation of every setting as a Markdown table")
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	if *markdown {
		if err := config.WriteMarkdown(c.out); err != nil {
			return c.fail(exitFault, "%v", err)
		}
		return exitOK
	}
	_, values, faults := config.Load(c.environ)
	if err := config.WriteValues(c.out, values); err != nil {
		return c.fail(exitFault, "%v", err)
	}
	if faults != nil {
		return c.badSettings(faults)
	}
	return exitOK
}

// badSettings lists every fault of the settings.
func (c console) badSettings(faults error) int {
	return c.fail(exitUsage, "the settings are not valid:\n  - %s", strings.ReplaceAll(faults.Error(), "\n", "\n  - "))
}

func keygenCommand(_ context.Context, c console, args []string) int {
	flags := flag.NewFlagSet("keygen", flag.ContinueOnError)
	ifMissing := flags.Bool("if-missing", false, "leave a FILE that exists as it is")
	algorithm := flags.String("algorithm", "HS256", "what the key signs by: HS256, EdDSA or ES256")
	if !parse(c, flags, args, 1) {
		return exitUsage
	}
	key := auth.GenerateKey() + "\n"
	if *algorithm != "HS256" {
		var err error
		if key, err = auth.GenerateKeyPair(*algorithm); err != nil {
			return c.fail(exitUsage, "%v", err)
		}
	}
	file := flags.Arg(0)
	switch err := writeNew(file, key); {
	case err == nil:
		c.print(c.out, "wrote a new key to %s\n", file)
	case errors.Is(err, fs.ErrExist) && *ifMissing:
	case errors.Is(err, fs.ErrExist):
		return c.fail(exitFault, "%s exists already; a key that signs is not overwritten", file)
	default:
		return c.fail(exitFault, "make a key: %v", err)
	}
	return exitOK
}

// writeNew makes file with text, readable to its owner alone: whole and
// durable or not at all, and never over one that exists.
func writeNew(file, text string) (err error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	if err := os.Link(tmp.Name(), file); err != nil { // unlike a rename it fails where file exists
		return fmt.Errorf("name the file: %w", err)
	}
	return nil
}
