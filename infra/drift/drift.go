// Package drift owns the answer to whether an environment is still what its
// last update made: each resource of the state is compared with what is really
// there, and with what the program makes. Nothing is changed, not even the state.
package drift

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"coditect.ai/platform/infra/engine"
)

// Verdict is what has become of a resource.
type Verdict string

// The verdicts.
const (
	Unchanged Verdict = "unchanged"
	Changed   Verdict = "changed" // outside of the program
	Missing   Verdict = "missing" // the state has it, the cloud does not
	Unknown   Verdict = "unknown" // it is there, and the program does not make it
)

// Resource is one resource and what has become of it.
type Resource struct {
	URN     string  `json:"urn,omitempty"` // none where the state does not have it
	Type    string  `json:"type"`
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Changes lead from what the last update asked for to what is there.
	Changes []engine.Change `json:"changes,omitempty"`
}

// Report is every resource's verdict, in the order of types and names.
type Report struct {
	Environment string     `json:"environment"`
	At          time.Time  `json:"at"`
	Drifted     int        `json:"drifted"` // resources that are not unchanged
	Resources   []Resource `json:"resources"`
	Seconds     float64    `json:"seconds"`
}

// Stack is what the comparison needs of an environment on the engine.
type Stack interface {
	Name() string
	Preview(context.Context, ...optpreview.Option) (auto.PreviewResult, error)
	PreviewRefresh(context.Context, ...optrefresh.Option) (auto.PreviewResult, error)
}

// Thing is something that is there, whoever made it. URN is "" where no program did.
type Thing struct{ URN, Type, Name string }

// Look compares the environment. There lists what is there; nil where only the
// state can say what to look for. Errors are the engine's own.
func Look(ctx context.Context, s Stack, there func(context.Context) ([]Thing, error)) (Report, error) {
	report := Report{Environment: s.Name(), At: time.Now().UTC().Truncate(time.Second)}
	began := time.Now()
	found := map[string]*Resource{}
	err := engine.Follow(func(ch chan<- events.EngineEvent) error {
		_, err := s.PreviewRefresh(ctx, optrefresh.EventStreams(ch), optrefresh.SuppressOutputs(), optrefresh.SuppressProgress(), optrefresh.RunProgram(false))
		return err
	}, func(event events.EngineEvent) {
		if event.ResOutputsEvent != nil {
			compared(found, event.ResOutputsEvent.Metadata)
		}
	})
	if err != nil {
		return report, err
	}
	// What the program does not make any more, a plan would delete.
	err = engine.Follow(func(ch chan<- events.EngineEvent) error {
		_, err := s.Preview(ctx, optpreview.EventStreams(ch), optpreview.SuppressOutputs(), optpreview.SuppressProgress())
		return err
	}, func(event events.EngineEvent) {
		if event.ResourcePreEvent == nil || event.ResourcePreEvent.Metadata.Op != apitype.OpDelete {
			return
		}
		if r := found[event.ResourcePreEvent.Metadata.URN]; r != nil && r.Verdict != Missing {
			r.Verdict = Unknown
		}
	})
	if err != nil {
		return report, err
	}
	for _, urn := range slices.Sorted(maps.Keys(found)) {
		report.Resources = append(report.Resources, *found[urn])
	}
	if there != nil {
		things, err := there(ctx)
		if err != nil {
			return report, fmt.Errorf("list what is there: %w", err)
		}
		for _, thing := range things {
			if found[thing.URN] == nil {
				report.Resources = append(report.Resources, Resource{Type: thing.Type, Name: thing.Name, Verdict: Unknown})
			}
		}
	}
	slices.SortStableFunc(report.Resources, func(a, b Resource) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
	})
	for _, r := range report.Resources {
		if r.Verdict != Unchanged {
			report.Drifted++
		}
	}
	report.Seconds = time.Since(began).Seconds()
	return report, nil
}

// compared takes over what the engine tells of one resource.
func compared(found map[string]*Resource, m apitype.StepEventMetadata) {
	state := m.Old
	if state == nil || !state.Custom || strings.HasPrefix(m.Type, "pulumi:") {
		return // components and providers are the program's own, and nowhere to be seen
	}
	r := &Resource{URN: m.URN, Type: m.Type, Name: m.URN[strings.LastIndex(m.URN, "::")+2:], Verdict: Unchanged}
	switch m.Op {
	case apitype.OpDelete:
		r.Verdict = Missing
	case apitype.OpUpdate:
		r.Verdict, r.Changes = Changed, engine.Changes(m)
	default: // as it was
	}
	found[m.URN] = r
}

// Text writes the report for a person: what drifted, and what to do.
func (r *Report) Text(w io.Writer) {
	words := map[Verdict]string{Changed: "changed outside", Missing: "missing", Unknown: "unknown to the program"}
	for _, one := range r.Resources {
		if one.Verdict == Unchanged {
			continue
		}
		fmt.Fprintf(w, "%-23s %s %s\n", words[one.Verdict], strings.TrimPrefix(one.Type[strings.LastIndex(one.Type, ":")+1:], "/"), one.Name)
		for _, change := range one.Changes {
			change.Replaces = false // it has been changed already
			fmt.Fprintf(w, "%-23s   %s\n", "", change)
		}
	}
	if r.Drifted == 0 {
		fmt.Fprintf(w, "%s is as its last update made it: %d resources (%.1f s).\n", r.Environment, len(r.Resources), r.Seconds)
		return
	}
	fmt.Fprintf(w, "\n%d of %d resources of %s drifted (%.1f s); docs/runbooks/drift.md says what to do.\n", r.Drifted, len(r.Resources), r.Environment, r.Seconds)
}
