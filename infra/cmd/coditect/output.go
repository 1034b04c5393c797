package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"coditect.ai/platform/infra/preview"
	"coditect.ai/platform/infra/problem"
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

// maxWords is how long may be, in bytes, what a person gives for the record.
const maxWords = 1000

// printable refuses what a person gives for the record where it is no plain text: it
// is shown to others, whose terminals obey control characters.
func printable(flag, text string) error {
	if len(text) > maxWords || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return problem.New(nil, "%s is %q: give it plain text in one line, of %d bytes at most.", flag, text[:min(len(text), 100)], maxWords)
	}
	return nil
}
