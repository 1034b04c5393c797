package local

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

// TestProgress: what takes long is named while it lasts, and no longer.
func TestProgress(t *testing.T) {
	var said []string
	now := time.Unix(0, 0)
	p := &progress{
		say: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) },
		now: func() time.Time { return now }, begun: map[string]step{},
	}
	deployment := apitype.StepEventMetadata{Op: apitype.OpCreate, URN: "urn:pulumi:local::coditect::kubernetes:apps/v1:Deployment::api", Type: "kubernetes:apps/v1:Deployment"}
	stack := apitype.StepEventMetadata{Op: apitype.OpCreate, URN: "urn:pulumi:local::coditect::pulumi:pulumi:Stack::coditect-local", Type: "pulumi:pulumi:Stack"}
	for _, m := range []apitype.StepEventMetadata{stack, deployment} {
		p.event(events.EngineEvent{EngineEvent: apitype.EngineEvent{ResourcePreEvent: &apitype.ResourcePreEvent{Metadata: m}}})
	}
	now = now.Add(20 * time.Second)
	p.waiting()
	p.event(events.EngineEvent{EngineEvent: apitype.EngineEvent{ResOutputsEvent: &apitype.ResOutputsEvent{Metadata: deployment}}})
	p.waiting()
	want := []string{"  waiting   Deployment api (20 s): make status tells how far it is", "  created   Deployment api (20.0 s)"}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("said:\n%s\nwant:\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

// TestExplain: of the engine's whole output, what is wrong is told, and what to do about a damaged state.
func TestExplain(t *testing.T) {
	e := &Environment{dir: "/d"}
	tests := map[string]struct{ output, want string }{
		"an error among much":  {"code: 1\nstdout: Updating\n    error: no room\nstderr: ", "no room"},
		"nothing said":         {"failed to run update: signal: killed\ncode: -1\nstdout: ", "failed to run update: signal: killed"},
		"the state is damaged": {"code: 1\nstderr: error: failed to load checkpoint: unexpected end", "failed to load checkpoint: unexpected end; the state is damaged: remove /d/pulumi, and the next run makes it anew from what is there"},
	}
	for name, tt := range tests {
		if got := e.explain(errors.New(tt.output)).Error(); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
