package tick

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Style is how a state is written to a terminal.
type Style struct {
	Color bool
	// Width is the terminal's, 0 where there is none; lines are broken to it.
	Width int
}

// Write writes a line, broken to the terminal's width.
func (s Style) Write(w io.Writer, line string) {
	for _, part := range s.wrap(line) {
		fmt.Fprintln(w, part)
	}
}

// Paint gives a text the colour of an ANSI code.
func (s Style) Paint(code, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Tell writes what a state waits for, what failed, and what a person is asked.
func (s *Saved) Tell(w io.Writer, style Style, what string, until time.Time) {
	if what != "" && s.Attention == "" {
		line := "Waits for " + what
		if !until.IsZero() {
			line += ", until " + until.Format(time.RFC3339)
		}
		style.Write(w, line+".")
	}
	if s.Trouble != "" {
		style.Write(w, "The last tick failed and is tried again: "+s.Trouble)
	}
	if s.Attention != "" {
		for i, part := range style.wrap("Needs you: " + s.Attention) {
			if i == 0 {
				part = strings.Replace(part, "Needs you:", style.Paint("1;33", "Needs you:"), 1)
			}
			fmt.Fprintln(w, part)
		}
	}
}

// wrap breaks a line at blanks; nothing is broken where there is no width.
func (s Style) wrap(line string) []string {
	if s.Width < 20 {
		return []string{line}
	}
	var lines []string
	current := ""
	for word := range strings.FieldsSeq(line) {
		if current != "" && len([]rune(current))+1+len([]rune(word)) > s.Width {
			lines, current = append(lines, current), "  "+word
			continue
		}
		if current == "" {
			current = word
		} else {
			current += " " + word
		}
	}
	return append(lines, current)
}

// Short is a duration without what nobody reads.
func Short(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d >= time.Hour:
		return strings.TrimSuffix(strings.TrimSuffix(d.Round(time.Minute).String(), "0s"), "0m")
	case d >= time.Minute:
		return strings.TrimSuffix(d.String(), "0s")
	}
	return d.String()
}
