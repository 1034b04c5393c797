package config

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// Value is a setting and what is in force for it.
type Value struct {
	Setting
	Value  string
	Source string // where Value comes from: "environment", "default", or a file and its line
}

// Load reads the settings from environ, in the form of os.Environ, and from the
// file that EnvFile names there: the environment wins over the file, and the
// file over the defaults. It returns what is in force, also when the error says
// that some of it is not valid; the error joins every fault, each naming its
// variable and, of a file, the line.
func Load(environ []string) (Config, []Value, error) {
	env := make(map[string]string, len(environ))
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			env[name] = value
		}
	}
	var (
		c      Config
		values []Value
		faults []error
	)
	var fromFile map[string]given
	if name := env[EnvFile]; name != "" {
		fromFile, faults = readFile(name)
	}
	for _, s := range Settings() {
		v := Value{Setting: s, Value: s.Default, Source: "default"}
		where := ""
		if line, ok := fromFile[s.Name]; ok {
			v.Value, v.Source, where = line.value, line.source, line.source+": "
		}
		if value, ok := env[s.Name]; ok {
			v.Value, v.Source, where = value, "environment", ""
		}
		delete(env, s.Name)
		delete(fromFile, s.Name)
		if err := s.set(&c, v.Value); err != nil {
			faults = append(faults, fmt.Errorf("%s%s=%q: %w", where, s.Name, v.Value, err))
		}
		values = append(values, v)
	}
	if len(faults) == 0 {
		faults = checkTogether(c)
		if c.PasswordHashSlots == 0 {
			c.PasswordHashSlots = autoHashSlots(runtime.GOMAXPROCS(0), memoryLimit(), int64(c.PasswordHashMemoryKiB)<<10)
		}
	}
	var unknown []error
	for name := range env {
		if strings.HasPrefix(name, prefix) {
			unknown = append(unknown, fmt.Errorf("%s: no such setting; `coditect-api config` lists them", name))
		}
	}
	for name, line := range fromFile { // where every name is meant for the service
		unknown = append(unknown, fmt.Errorf("%s: %s: no such setting; `coditect-api config` lists them", line.source, name))
	}
	slices.SortFunc(unknown, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c, values, errors.Join(append(faults, unknown...)...)
}

// WriteValues prints what is in force, one setting a line, and where it comes
// from. What it prints is a settings file.
func WriteValues(w io.Writer, values []Value) error {
	width := 0
	for _, v := range values {
		width = max(width, len(v.Name))
	}
	for _, v := range values {
		comment := ""
		if v.Name == EnvFile {
			comment = "# " // a settings file names no other
		}
		if _, err := fmt.Fprintf(w, "%s%-*s = %-20s # %s\n", comment, width, v.Name, written(v.Value), v.Source); err != nil {
			return fmt.Errorf("print settings: %w", err)
		}
	}
	return nil
}

// WriteDocument prints the whole documentation of the settings.
func WriteDocument(w io.Writer) error {
	const intro = `# Configuration of the service

This page is generated from the table in app/internal/config: change that, then run ` + "`make generate`" + `.

Each setting comes from the first of these that has it:

1. the environment, under the name below;
2. the settings file that ` + "`" + EnvFile + "`" + ` or the flag ` + "`--config FILE`" + ` names (the flag wins);
3. the default.

A settings file has one ` + "`NAME = value`" + ` a line, with the same names; ` + "`#`" + ` begins a comment, and a value stands in double
quotes where it has a ` + "`#`" + ` or blanks at its ends. ` + "`coditect-api config`" + ` prints what is in force and where each value came
from, and what it prints is such a file. A name that begins with ` + "`" + prefix + "`" + ` and is not in the table, and any other in a file,
is a fault: a misspelt setting is never ignored. All faults are told together, at start, and the service does not start
with one. No setting is a secret: keys and passwords are in files that settings name.

`
	if _, err := io.WriteString(w, intro); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return WriteMarkdown(w)
}

// WriteMarkdown prints the table of settings as documentation. It is the same
// on every machine.
func WriteMarkdown(w io.Writer) error {
	if _, err := fmt.Fprint(w, "| variable | type | default | meaning |\n|---|---|---|---|\n"); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	for _, s := range Settings() {
		def := "–"
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		if _, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", s.Name, s.Type, def, s.Doc); err != nil {
			return fmt.Errorf("print settings: %w", err)
		}
	}
	return nil
}
