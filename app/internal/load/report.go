package load

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// allOperations names every request together, in reports and thresholds.
const allOperations = "all"

// Report is what a run measured. Times are in milliseconds.
type Report struct {
	URL         string    `json:"url"`
	Version     string    `json:"version"` // of the service
	Started     time.Time `json:"started"`
	Rate        float64   `json:"rate"` // lives that began each second; 0 in a closed loop
	Sessions    int       `json:"sessions"`
	Interrupted bool      `json:"interrupted"`
	Stages      []Stage   `json:"stages"`
	Thresholds  int       `json:"thresholds"` // that every stage had to hold
	Broken      []string  `json:"broken"`     // thresholds that were not held, a sentence each
}

// Stage is what one number of users saw.
type Stage struct {
	Users      int         `json:"users"`
	Seconds    float64     `json:"seconds"`
	Lives      int         `json:"lives"` // lived to their end
	Requests   int         `json:"requests"`
	Failed     int         `json:"failed"`
	ErrorRate  float64     `json:"error_rate"`
	PerSecond  float64     `json:"per_second"`
	All        Operation   `json:"all"`
	Operations []Operation `json:"operations"`
	Timeline   []Point     `json:"timeline"`
	// Versions are the requests by the version that answered, as the answers tell it;
	// "" are those that no service has answered.
	Versions map[string]Version `json:"versions"`
}

// Version is what became of the requests that one version of the service answered.
type Version struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Failures map[string]int `json:"failures,omitempty"` // by code
}

// Operation is what is known of one operation. Failed requests are in the times too.
type Operation struct {
	Name      string         `json:"name"`
	Count     int            `json:"count"`
	Failed    int            `json:"failed"`
	Failures  map[string]int `json:"failures,omitempty"` // by code
	PerSecond float64        `json:"per_second"`
	Min       float64        `json:"min_ms"`
	Mean      float64        `json:"mean_ms"`
	P50       float64        `json:"p50_ms"`
	P90       float64        `json:"p90_ms"`
	P95       float64        `json:"p95_ms"`
	P99       float64        `json:"p99_ms"`
	P999      float64        `json:"p999_ms"`
	Max       float64        `json:"max_ms"`

	curve []float64 // at curveQuantiles
}

// Point is one second of a stage.
type Point struct {
	Second   int     `json:"second"`
	Requests int     `json:"requests"`
	Failures int     `json:"failures"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
}

// Thresholds are what a run has to hold. The zero value holds always.
type Thresholds struct {
	ErrorRate *float64                 // the most, as a share of 1
	P99       map[string]time.Duration // the most, by operation or "all"
}

// ParseP99 adds a threshold in the form operation=duration.
func (t *Thresholds) ParseP99(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("must be operation=duration, such as login=500ms")
	}
	if known := append([]string{allOperations}, operationNames[:]...); !slices.Contains(known, name) {
		return fmt.Errorf("%q is none of %s", name, strings.Join(known, ", "))
	}
	most, err := time.ParseDuration(value)
	if err != nil || most <= 0 {
		return fmt.Errorf("%q is not a duration such as 500ms", value)
	}
	if t.P99 == nil {
		t.P99 = make(map[string]time.Duration)
	}
	t.P99[name] = most
	return nil
}

// Judge writes into r which thresholds each stage broke. One that nothing was
// measured for is broken: a run that did nothing proves nothing.
func (t Thresholds) Judge(r *Report) {
	r.Broken, r.Thresholds = []string{}, len(t.P99)
	if t.ErrorRate != nil {
		r.Thresholds++
	}
	for _, s := range r.Stages {
		broken := func(format string, args ...any) {
			r.Broken = append(r.Broken, fmt.Sprintf("%d users: ", s.Users)+fmt.Sprintf(format, args...))
		}
		if t.ErrorRate != nil {
			switch {
			case s.Requests == 0:
				broken("no request was made, so there is no error rate")
			case s.ErrorRate > *t.ErrorRate:
				broken("error rate %.4g, at most %.4g", s.ErrorRate, *t.ErrorRate)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(t.P99)) {
			o, most := s.operation(name), t.P99[name]
			switch {
			case o.Count == 0:
				broken("%s was never measured, so there is no p99", name)
			case o.P99 > float64(most)/float64(time.Millisecond):
				broken("p99 of %s is %s, at most %s", name, writeMillis(o.P99), writeMillis(float64(most)/float64(time.Millisecond)))
			}
		}
	}
}

func (s Stage) operation(name string) Operation {
	for _, o := range s.Operations {
		if o.Name == name {
			return o
		}
	}
	return s.All
}

// Loop says in words how lives began.
func (r *Report) Loop() string {
	if r.Rate > 0 {
		return fmt.Sprintf("open loop, %g lives a second", r.Rate)
	}
	return "closed loop"
}

// WriteText prints the summary for a terminal.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, version %s, %s\n", r.URL, r.Version, r.Loop())
	if r.Interrupted {
		b.WriteString("Interrupted: this is what was measured until then.\n")
	}
	for _, s := range r.Stages {
		fmt.Fprintf(&b, "\n%d users, %.1f s: %d lives, %d requests (%.1f/s), %d failed (%.3g %%)\n\n",
			s.Users, s.Seconds, s.Lives, s.Requests, s.PerSecond, s.Failed, 100*s.ErrorRate)
		// A table that writes to a string fails at nothing.
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		_, _ = fmt.Fprintln(table, "operation\tcount\tfailed\tper s\tp50\tp90\tp95\tp99\tp99.9\tmax\t")
		for _, o := range append(slices.Clone(s.Operations), s.All) {
			_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%.1f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", o.Name, o.Count, o.Failed, o.PerSecond,
				writeMillis(o.P50), writeMillis(o.P90), writeMillis(o.P95), writeMillis(o.P99), writeMillis(o.P999), writeMillis(o.Max))
		}
		if err := table.Flush(); err != nil {
			return fmt.Errorf("lay the table out: %w", err)
		}
		if len(s.Versions) > 1 {
			for _, name := range slices.Sorted(maps.Keys(s.Versions)) {
				fmt.Fprintf(&b, "  %s answered %d, %d of them failed\n", cmp.Or(name, "no service"), s.Versions[name].Requests, s.Versions[name].Failed)
			}
		}
		for _, o := range s.Operations {
			for _, code := range slices.Sorted(maps.Keys(o.Failures)) {
				fmt.Fprintf(&b, "  %s failed with %s: %d\n", o.Name, code, o.Failures[code])
			}
		}
	}
	for _, sentence := range r.Broken {
		fmt.Fprintf(&b, "\nbroken: %s", sentence)
	}
	if len(r.Broken) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}

// writeMillis writes a time with three digits and its unit.
func writeMillis(ms float64) string {
	switch {
	case ms >= 10_000:
		return fmt.Sprintf("%.1fs", ms/1000)
	case ms >= 1000:
		return fmt.Sprintf("%.2fs", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0fms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1fms", ms)
	default:
		return fmt.Sprintf("%.2fms", ms)
	}
}
