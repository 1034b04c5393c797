package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/stacks"
)

// progress tells what an update does, a line for each resource that changes,
// and keeps what went wrong for the final message.
type progress struct {
	say     func(format string, args ...any)
	now     func() time.Time
	begun   map[string]step // by URN, until it has ended
	changes int
	faults  []string
	ended   chan struct{} // the engine's command has ended
	done    chan struct{} // its last event has been told
}

// step is one resource's change that is under way.
type step struct {
	title string
	at    time.Time
}

// patience is how long the engine may say nothing before the person is told what it waits for.
const patience = 15 * time.Second

// follow tells the engine's events until wait is called.
func (e *Environment) follow(ch <-chan events.EngineEvent) *progress {
	p := &progress{say: e.say, now: time.Now, begun: map[string]step{}, ended: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		quiet := time.NewTicker(patience)
		defer quiet.Stop()
		for {
			select {
			case event, open := <-ch:
				if !open {
					return
				}
				p.event(event)
				quiet.Reset(patience)
			case <-quiet.C:
				p.waiting()
			case <-p.ended:
				return
			}
		}
	}()
	return p
}

// wait returns when every event has been told. It is called when the engine's
// command has ended: an engine that was interrupted before it could connect
// leaves the channel open for ever.
func (p *progress) wait() {
	close(p.ended)
	<-p.done
}

// verbs are the operations worth a line, in the words of the person who waits.
var verbs = map[apitype.OpType]string{
	apitype.OpCreate: "created", apitype.OpUpdate: "updated", apitype.OpDelete: "deleted",
	apitype.OpCreateReplacement: "replaced", apitype.OpDeleteReplaced: "deleted the old",
}

func (p *progress) event(event events.EngineEvent) {
	switch {
	case event.ResourcePreEvent != nil:
		m := event.ResourcePreEvent.Metadata
		if _, ok := verbs[m.Op]; ok && !ownResource(m.Type) {
			p.begun[m.URN] = step{title(m.URN, m.Type), p.now()}
		}
	case event.ResOutputsEvent != nil:
		m := event.ResOutputsEvent.Metadata
		defer delete(p.begun, m.URN)
		if verb, ok := verbs[m.Op]; ok && !ownResource(m.Type) {
			p.changes++
			p.say("  %-9s %s (%.1f s)", verb, title(m.URN, m.Type), p.now().Sub(p.begun[m.URN].at).Seconds())
		}
	case event.ResOpFailedEvent != nil:
		m := event.ResOpFailedEvent.Metadata
		delete(p.begun, m.URN)
		p.say("  failed    %s", title(m.URN, m.Type))
	case event.DiagnosticEvent != nil && event.DiagnosticEvent.Severity == "error":
		if text := strings.TrimSpace(event.DiagnosticEvent.Message); text != "" && text != "update failed" {
			p.faults = append(p.faults, text)
		}
	}
}

// waiting tells what was begun and has not ended, when the engine has been silent for long.
func (p *progress) waiting() {
	for _, step := range p.begun {
		p.say("  waiting   %s (%.0f s): make status tells how far it is", step.title, p.now().Sub(step.at).Seconds())
	}
}

// ownResource tells the engine's bookkeeping (stack, components, providers) from what a cloud is asked for.
func ownResource(kind string) bool {
	return strings.HasPrefix(kind, "pulumi:") || strings.HasPrefix(kind, stacks.Project+":")
}

// title shortens a URN to what a person looks for: the kind and the name.
func title(urn, kind string) string {
	return kind[strings.LastIndex(kind, ":")+1:] + " " + urn[strings.LastIndex(urn, "::")+2:]
}

// failure makes one error of a failed update: the person's Ctrl-C, or what the
// engine's diagnostics said, with the whole output in a file.
func (e *Environment) failure(ctx context.Context, doing string, p *progress, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	log := e.path("pulumi", "last.log")
	if writeErr := os.WriteFile(log, []byte(err.Error()), 0o600); writeErr != nil {
		return storage(errors.Join(writeErr, err), log)
	}
	reason := e.explain(err).Error()
	if len(p.faults) > 0 {
		reason = strings.Join(p.faults, "\n  ")
	}
	return problem.New(err, "%s failed:\n  %s\nMend that and run the same command again; the engine's whole output is in %s.", doing, reason, log)
}

// explain is what an engine's error says is wrong, with the way out where the state is damaged.
func (e *Environment) explain(err error) error {
	text := engine.Explain(err).Error()
	if strings.Contains(text, "checkpoint") {
		text += fmt.Sprintf("; the state is damaged: remove %s, and the next run makes it anew from what is there", e.path("pulumi"))
	}
	return errors.New(text)
}
