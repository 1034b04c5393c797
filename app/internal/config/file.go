package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// EnvFile names the settings file. It is a setting of the environment alone.
const EnvFile = prefix + "CONFIG_FILE"

// maxFile bounds what is read of a settings file.
const maxFile = 64 << 10

// given is a value and where it was given.
type given struct{ value, source string }

// readFile returns what a settings file gives, and every fault of it, each
// with its line. Its form is what WriteValues prints: NAME = value a line, a
// value in double quotes where it has a # or blanks at its ends, # before comments.
func readFile(name string) (map[string]given, []error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w", EnvFile, err)}
	}
	defer func() { _ = file.Close() }() // was only read
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w", EnvFile, err)}
	}
	if len(text) > maxFile {
		return nil, []error{fmt.Errorf("%s: %s is larger than %d KiB", EnvFile, name, maxFile>>10)}
	}
	values := make(map[string]given)
	var faults []error
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		where := name + ":" + strconv.Itoa(number)
		setting, value, err := parseLine(line)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", where, err))
		case setting == "":
		case setting == EnvFile:
			faults = append(faults, fmt.Errorf("%s: %s: a settings file names no other", where, EnvFile))
		case values[setting] != given{}:
			faults = append(faults, fmt.Errorf("%s: %s was given at %s already", where, setting, values[setting].source))
		default:
			values[setting] = given{value, where}
		}
	}
	return values, faults
}

// parseLine reads NAME = value; a line without a setting gives no name.
func parseLine(line string) (name, value string, err error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	name, value, ok := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" || strings.ContainsAny(name, " \t#\"") {
		return "", "", errors.New("must be NAME = value, or a comment after #")
	}
	if !strings.HasPrefix(value, `"`) {
		if i := strings.Index(value, "#"); i == 0 || i > 0 && (value[i-1] == ' ' || value[i-1] == '\t') {
			value = strings.TrimSpace(value[:i])
		}
		return name, value, nil
	}
	quoted, err := strconv.QuotedPrefix(value)
	if err != nil {
		return "", "", fmt.Errorf("%s: the quotes do not end", name)
	}
	if rest := strings.TrimSpace(value[len(quoted):]); rest != "" && rest[0] != '#' {
		return "", "", fmt.Errorf("%s: there is more after the quotes", name)
	}
	value, err = strconv.Unquote(quoted)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", name, err)
	}
	return name, value, nil
}

// written is a value as it stands in a settings file.
func written(value string) string {
	if value == "" || strings.ContainsAny(value, "#\"\n") || strings.TrimSpace(value) != value {
		return strconv.Quote(value)
	}
	return value
}
