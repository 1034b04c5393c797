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
	Source string // where Value comes from: "environment" or "default"
}

// Load reads the settings from environ, in the form of os.Environ. It returns
// what is in force, also when the error says that some of it is not valid; the
// error joins every fault, each naming its variable.
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
	for _, s := range Settings() {
		v := Value{Setting: s, Value: s.Default, Source: "default"}
		if given, ok := env[s.Name]; ok {
			v.Value, v.Source = given, "environment"
		}
		delete(env, s.Name)
		if err := s.set(&c, v.Value); err != nil {
			faults = append(faults, fmt.Errorf("%s=%q: %w", s.Name, v.Value, err))
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
	slices.SortFunc(unknown, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c, values, errors.Join(append(faults, unknown...)...)
}

// WriteValues prints what is in force, one setting a line, and where it comes from.
func WriteValues(w io.Writer, values []Value) error {
	width := 0
	for _, v := range values {
		width = max(width, len(v.Name))
	}
	for _, v := range values {
		if _, err := fmt.Fprintf(w, "%-*s = %-20s # %s\n", width, v.Name, v.Value, v.Source); err != nil {
			return fmt.Errorf("print settings: %w", err)
		}
	}
	return nil
}

//go:generate go test . -run TestDocumentation -update

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
