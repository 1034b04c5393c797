package stacks

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is one reason for refusing an environment's settings.
type Fault struct {
	// Key is the setting to change, without the project's prefix.
	Key string
	// Reason says what is wrong with it and what would be right.
	Reason string
}

// RefusalError is every fault of an environment's settings.
type RefusalError struct {
	Environment Environment
	Faults      []Fault
}

// Error lists every fault, one a line, with the key to change.
func (r *RefusalError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "settings of %s refused, %d to change (pulumi config set --stack %s KEY VALUE):",
		r.Environment, len(r.Faults), r.Environment)
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "\n  %s:%s %s", Project, f.Key, f.Reason)
	}
	return b.String()
}

// Load reads the settings of an environment from the values that its stack
// sets, by key without the project's prefix, numbers and booleans as text.
// Its error is a [*RefusalError] with every fault that was found, unknown keys
// included, unless the environment itself is unknown.
func Load(environment string, values map[string]string) (Settings, error) {
	s := Settings{Environment: Environment(environment)}
	if !s.Environment.Known() {
		return Settings{}, fmt.Errorf("unknown environment %q: it is one of %v", environment, Environments())
	}
	refusal := &RefusalError{Environment: s.Environment}

	keys := make(map[string]bool)
	for _, f := range fields(&s) {
		keys[f.Key] = true
		text, set := values[f.Key]
		if !set {
			text = f.Default
		}
		if err := f.parse(text); err != nil {
			refusal.add(f.Key, "is %q: %v", text, err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !keys[key] {
			refusal.add(key, "is no setting%s", suggestion(key, keys))
		}
	}
	// Rules between settings are judged only when each setting is sound by
	// itself: a rule about a value that could not be read would mislead.
	unreadable := len(refusal.Faults) > 0
	check(&s, refusal, unreadable)
	if len(refusal.Faults) > 0 {
		slices.SortStableFunc(refusal.Faults, func(a, b Fault) int { return strings.Compare(a.Key, b.Key) })
		return Settings{}, refusal
	}
	return s, nil
}

func (r *RefusalError) add(key, format string, args ...any) {
	r.Faults = append(r.Faults, Fault{Key: key, Reason: fmt.Sprintf(format, args...)})
}

// Setting describes one setting: what Pulumi's schema and the documentation show.
type Setting struct {
	Key string
	// Type is Pulumi's name of the type: string, integer or boolean.
	Type string
	// Default is what holds when the setting is not set, as text.
	Default string
	Doc     string
	// Values are the only legal ones; empty where any is.
	Values []string
	// Min and Max bound numbers, quantities and durations; empty where nothing does.
	Min, Max string
	// Immutable says why the setting cannot change once the environment is made;
	// empty where it can.
	Immutable string
}

// Table lists every setting, in the order of [Settings].
func Table() []Setting {
	var table []Setting
	for _, f := range fields(new(Settings)) {
		table = append(table, f.Setting)
	}
	return table
}

// field is a setting and the place that its value goes to.
type field struct {
	Setting

	target reflect.Value
}

// fields walks the groups of s.
func fields(s *Settings) []field {
	var found []field
	groups := reflect.ValueOf(s).Elem()
	for _, group := range groups.Fields() {
		if group.Kind() != reflect.Struct {
			continue
		}
		for j := range group.NumField() {
			tag := group.Type().Field(j).Tag
			f := field{
				Setting: Setting{
					Key: tag.Get("key"), Type: "string", Default: tag.Get("default"), Doc: tag.Get("doc"),
					Min: tag.Get("min"), Max: tag.Get("max"), Immutable: tag.Get("immutable"),
				},
				target: group.Field(j),
			}
			if enum := tag.Get("enum"); enum != "" {
				f.Values = strings.Split(enum, ",")
			}
			switch f.target.Interface().(type) {
			case int:
				f.Type = "integer"
			case bool:
				f.Type = "boolean"
			}
			found = append(found, f)
		}
	}
	return found
}

// parse sets the field to what text says, within the setting's bounds.
func (f field) parse(text string) error {
	if len(f.Values) > 0 && !slices.Contains(f.Values, text) {
		return fmt.Errorf("must be one of %s", strings.Join(f.Values, ", "))
	}
	switch target := f.target.Addr().Interface().(type) {
	case *bool:
		value, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("must be true or false")
		}
		*target = value
		return nil
	case *int:
		return bounded(target, text, f.Min, f.Max, func(s string) (int, error) {
			n, err := strconv.Atoi(s)
			if err != nil {
				return 0, errors.New("must be a whole number")
			}
			return n, nil
		})
	case *time.Duration:
		return bounded(target, text, f.Min, f.Max, func(s string) (time.Duration, error) {
			d, err := time.ParseDuration(s)
			if err != nil || d%time.Second != 0 {
				return 0, errors.New(`must be a duration in whole seconds, like "90s" or "2h"`)
			}
			return d, nil
		})
	case *Memory:
		return bounded(target, text, f.Min, f.Max, parseMemory)
	case *CPU:
		return bounded(target, text, f.Min, f.Max, parseCPU)
	case encoding.TextUnmarshaler:
		return target.UnmarshalText([]byte(text))
	default:
		// A string, or a type made of one.
		f.target.SetString(text)
		return nil
	}
}

func bounded[T ~int | ~int64](target *T, text, least, most string, parse func(string) (T, error)) error {
	value, err := parse(text)
	if err != nil {
		return err
	}
	low, err := parse(least)
	if err != nil {
		return fmt.Errorf("lower bound %q: %w", least, err)
	}
	high, err := parse(most)
	if err != nil {
		return fmt.Errorf("upper bound %q: %w", most, err)
	}
	if value < low || value > high {
		return fmt.Errorf("must be from %s to %s", least, most)
	}
	*target = value
	return nil
}

// suggestion names the setting that an unknown key most likely meant.
func suggestion(key string, known map[string]bool) string {
	best, distance := "", len(key)/3+1
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if d := edits(strings.ToLower(key), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return "; docs/settings.md lists them"
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// edits is the Levenshtein distance between two keys.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
