package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"coditect.ai/platform/infra/preview"
)

// printJSON writes what a command has found, for machines.
func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// terminal is how standard output likes to be written to.
func terminal() preview.Style {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return preview.Style{} // a file or a pipe
	}
	return preview.Style{Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", Width: width}
}
