package program

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/stacks"
)

// EnvAllowReplace names, for one run and comma-separated, what that run may
// replace or lose: resources that are protected, by their names, and settings
// that are fixed once made, by their keys.
const EnvAllowReplace = "CODITECT_ALLOW_REPLACE"

// allowance is what the run may replace: each name, and whether anything answers to it.
type allowance map[string]bool

func allowed(text string) allowance {
	a := allowance{}
	for name := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		a[name] = false
	}
	return a
}

func (a allowance) names(name string) bool {
	_, named := a[name]
	if named {
		a[name] = true
	}
	return named
}

// settled refuses settings that are fixed once made and differ from what the
// last update made, unless the run may replace what they decide, and those that
// would take a release back, unless the run may. It puts out what the next is held to.
func (a allowance) settled(ctx *pulumi.Context, s stacks.Settings, to purpose) error {
	var last struct {
		Outputs map[string]any `pulumi:"outputs"`
	}
	err := ctx.Invoke("pulumi:pulumi:readStackOutputs", &struct {
		Name string `pulumi:"name"`
	}{strings.Join([]string{ctx.Organization(), ctx.Project(), ctx.Stack()}, "/")}, &last)
	if err != nil {
		return fmt.Errorf("read what the last update made: %w", err)
	}
	deployed := func(output string) map[string]string {
		found := map[string]string{}
		all, _ := last.Outputs[output].(map[string]any) // none before the first update
		for key, value := range all {
			if text, ok := value.(string); ok {
				found[key] = text
			}
		}
		return found
	}
	faults := s.Moved(deployed(OutputFixed))
	if to == whole {
		faults = append(faults, s.Reverted(deployed(OutputReleased))...)
	}
	refusal := &stacks.RefusalError{Environment: s.Environment}
	for _, fault := range faults {
		if !a.names(fault.Key) {
			fault.Reason += fmt.Sprintf("; take it back or, where that is meant, name it for this one run: %s=%s", EnvAllowReplace, fault.Key)
			refusal.Faults = append(refusal.Faults, fault)
		}
	}
	if len(refusal.Faults) > 0 {
		return refusal
	}
	export := func(output string, values map[string]string) {
		made := pulumi.StringMap{}
		for key, value := range values {
			made[key] = pulumi.String(value)
			if _, known := a[key]; known {
				a[key] = true // allowed, though it did not move
			}
		}
		ctx.Export(output, made)
	}
	export(OutputFixed, s.Fixed())
	export(OutputReleased, s.Released())
	was, _ := last.Outputs[OutputProgram].(string) // none before the first update
	if source := madeBy(to, was, running()); source != "" {
		ctx.Export(OutputProgram, pulumi.String(source))
	}
	return nil
}

// lift takes the protection off the resources that the run may replace.
func (a allowance) lift(args *pulumi.ResourceTransformationArgs) []pulumi.ResourceOption {
	if !a.names(args.Name) {
		return nil
	}
	return []pulumi.ResourceOption{pulumi.Protect(false)}
}

// used refuses names that nothing answers to: an allowance that is misspelt is none.
func (a allowance) used() error {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if !a[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%s names %s: no resource of this environment and no setting that is fixed once made is called so; the plan shows the names", EnvAllowReplace, strings.Join(unknown, ", "))
	}
	return nil
}
