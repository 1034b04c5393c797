// Package adoption owns the answer to whether an environment that is there
// already can be taken over: what would be imported, what would then be changed
// in place, and what stands in the way, since it is not there or would have to be
// replaced. It previews, and changes nothing; what is imported is the program's
// business, and the refusal is the engine's.
package adoption

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"coditect.ai/platform/infra/engine"
)

// Outcome is what would become of a resource.
type Outcome string

// The outcomes.
const (
	Taken   Outcome = "taken over" // as it is, or with changes in place
	Differs Outcome = "differs"    // it would have to be replaced
	Absent  Outcome = "not there"
)

// Resource is one resource that is to be taken over.
type Resource struct {
	URN     string  `json:"urn"`
	Type    string  `json:"type"`
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	// Changes lead from what is there to what the program asks for.
	Changes []engine.Change `json:"changes,omitempty"`
}

// Report is what would become of each of them, those that stand in the way first.
type Report struct {
	Environment string     `json:"environment"`
	Resources   []Resource `json:"resources"`
	InTheWay    int        `json:"in_the_way"`
	Created     int        `json:"created"` // besides, by the same update
}

// Stack is what the comparison needs of an environment on the engine.
type Stack interface {
	Name() string
	Preview(context.Context, ...optpreview.Option) (auto.PreviewResult, error)
}

var isAbsent = regexp.MustCompile(`resource '[^']*' does not exist`)

// Look previews the adoption. Its error is the engine's own, unless what it says
// is told by the report.
func Look(ctx context.Context, s Stack) (Report, error) {
	report := Report{Environment: s.Name()}
	found := map[string]*Resource{}
	err := engine.Follow(func(ch chan<- events.EngineEvent) error {
		_, err := s.Preview(ctx, optpreview.EventStreams(ch), optpreview.SuppressOutputs(), optpreview.SuppressProgress())
		return err
	}, func(event events.EngineEvent) {
		switch {
		case event.ResourcePreEvent != nil:
			report.step(found, event.ResourcePreEvent.Metadata)
		case event.DiagnosticEvent != nil && isAbsent.MatchString(event.DiagnosticEvent.Message):
			if r := found[event.DiagnosticEvent.URN]; r != nil {
				r.Outcome = Absent
			}
		}
	})
	for _, urn := range slices.Sorted(maps.Keys(found)) {
		report.Resources = append(report.Resources, *found[urn])
		if found[urn].Outcome != Taken {
			report.InTheWay++
		}
	}
	slices.SortStableFunc(report.Resources, func(a, b Resource) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
	})
	if report.InTheWay > 0 && ctx.Err() == nil {
		err = nil
	}
	return report, err
}

func rank(r Resource) int { return slices.Index([]Outcome{Absent, Differs, Taken}, r.Outcome) }

// step takes one planned step over. What is imported is told twice: that it is,
// and what is done to it then.
func (r *Report) step(found map[string]*Resource, m apitype.StepEventMetadata) {
	one := found[m.URN]
	switch m.Op {
	case apitype.OpImport:
		found[m.URN] = &Resource{URN: m.URN, Type: m.Type, Name: m.URN[strings.LastIndex(m.URN, "::")+2:], Outcome: Taken}
	case apitype.OpUpdate:
		if one != nil {
			one.Changes = engine.Changes(m)
		}
	case apitype.OpReplace:
		if one == nil { // nothing that is there may go, whoever made it
			one = &Resource{URN: m.URN, Type: m.Type, Name: m.URN[strings.LastIndex(m.URN, "::")+2:]}
			found[m.URN] = one
		}
		one.Outcome, one.Changes = Differs, engine.Changes(m)
	case apitype.OpCreate:
		if m.New != nil && m.New.Custom && !strings.HasPrefix(m.Type, "pulumi:") {
			r.Created++
		}
	default: // as it is
	}
}

// Text writes the report for a person.
func (r *Report) Text(w io.Writer) {
	for _, one := range r.Resources {
		fmt.Fprintf(w, "%-11s %s %s\n", one.Outcome, one.Type[strings.LastIndex(one.Type, ":")+1:], one.Name)
		for _, change := range one.Changes {
			if one.Outcome == Taken || change.Replaces {
				fmt.Fprintf(w, "%-11s   %s\n", "", change)
			}
		}
	}
	switch {
	case r.InTheWay > 0:
		fmt.Fprintf(w, "\n%s cannot be taken over: %d of %d stand in the way. Nothing was touched. docs/environments.md says what can be done.\n", r.Environment, r.InTheWay, len(r.Resources))
	case len(r.Resources) == 0:
		fmt.Fprintf(w, "Nothing of %s is left to take over: set adopt to false.\n", r.Environment)
	default:
		fmt.Fprintf(w, "\n%d are taken over and nothing is replaced; %d are made beside them. `pulumi up --stack %s` does it.\n", len(r.Resources), r.Created, r.Environment)
	}
}
