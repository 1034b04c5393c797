package program

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/policy"
	"coditect.ai/platform/infra/problem"
)

// What the engine says of resources that are protected.
var (
	keptFromReplacement = regexp.MustCompile(`unable to replace resource "([^"]+)"`)
	keptFromDeletion    = regexp.MustCompile(`resource "([^"]+)" cannot be deleted`)
)

// Explain turns what the engine refused into what an operator reads: each
// protected resource that would be lost, what would go with it, and the way to
// allow it for one run. Of anything else it is what [engine.Explain] says.
func Explain(err error) error {
	var lines, names []string
	deleted, kept := false, false
	for _, fault := range engine.Faults(err) {
		line := fault
		if found := keptFromReplacement.FindStringSubmatch(fault); found != nil {
			name, loss := lost(found[1])
			line, kept, names = "would replace "+loss, true, append(names, name)
		} else if found := keptFromDeletion.FindStringSubmatch(fault); found != nil {
			_, loss := lost(found[1])
			line, kept, deleted = "would delete "+loss, true, true
		}
		if line != "preview failed" && line != "update failed" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if !kept {
		return engine.Explain(err)
	}
	text := "this change is refused, since what would be lost is protected. It\n  " + strings.Join(lines, "\n  ") + "\nTake the change back"
	if len(names) > 0 {
		text += " or, where the loss is meant, name it for this one run: " + EnvAllowReplace + "=" + strings.Join(slices.Compact(names), ",")
	}
	if deleted {
		text += "; what is meant to go is let go first with `pulumi state unprotect`"
	}
	return problem.New(err, "%s.", text)
}

// lost tells a resource's name, and what goes with it, from its URN.
func lost(of string) (name, loss string) {
	u, err := urn.Parse(of)
	if err != nil {
		return of, of
	}
	kind := string(u.Type())
	loss = kind[strings.LastIndex(kind, ":")+1:] + " " + u.Name()
	if what := policy.Loss(kind); what != "" {
		loss += ": lost would be " + what
	}
	return u.Name(), loss
}
