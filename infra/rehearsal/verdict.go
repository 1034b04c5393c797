package rehearsal

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"coditect.ai/platform/infra/rollout"
)

// Kinds of bad releases, as builds with the tag `rehearsal` know them.
const (
	Errors = "errors" // a share of requests fails
	Slow   = "slow"   // every request takes long
	Crash  = "crash"  // the process ends a while after it was ready
)

// Kinds are all of them.
func Kinds() []string { return []string{Errors, Slow, Crash} }

// Faults are what did not go as it must. The former release is told by its version;
// bad is the kind of the new one, "" for a good one.
func Faults(bad string, s *rollout.State, former string, answers Answers) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	wanted := rollout.Completed
	if bad != "" {
		wanted = rollout.RolledBack
	}
	if s.Phase != wanted {
		fault("the rollout ended %s, not %s: %s", s.Phase, wanted, s.Reason)
	}
	for name, version := range map[string]string{"former release": former, "release": s.Release.Version} {
		of := answers[version]
		switch {
		case of.Requests == 0:
			fault("the %s (%s) answered no request", name, version)
		case of.Failed > 0 && (version == former || bad == ""):
			fault("%d of %d requests failed at the %s (%s): %s", of.Failed, of.Requests, name, version, codes(of))
		}
	}
	// A process that dies takes along what it has in its hands; nothing else may get lost.
	if none := answers[""]; none.Requests > 0 && bad != Crash {
		fault("%d requests were answered by no release: %s", none.Requests, codes(none))
	}
	if bad == Errors && answers[s.Release.Version].Failed == 0 {
		fault("the release was to fail and never did")
	}
	slices.Sort(faults)
	return faults
}

func codes(of Answered) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(of.Failures)) {
		parts = append(parts, fmt.Sprintf("%s %d", code, of.Failures[code]))
	}
	return strings.Join(parts, ", ")
}

// Table writes what clients were answered, a line for each version.
func (a Answers) Table() []string {
	lines := []string{"  answered by                       requests   failed"}
	for _, version := range slices.Sorted(maps.Keys(a)) {
		name := version
		if name == "" {
			name = "no release"
		}
		line := fmt.Sprintf("  %-32s  %8d  %7d", name, a[version].Requests, a[version].Failed)
		if why := codes(a[version]); why != "" {
			line += "  " + why
		}
		lines = append(lines, line)
	}
	return lines
}
