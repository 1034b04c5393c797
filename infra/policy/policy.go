// Package policy owns the rules that every environment's resources keep:
// least privilege, exact images, limits and probes, nothing public that need
// not be, no secret in the state. The rules read rendered resources, whoever
// rendered them: the program's tests, the preview, an update that is planned.
package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Resource is one resource as the engine is given it.
type Resource struct {
	Type    string // Pulumi's type token
	Name    string // the last part of its URN
	Inputs  map[string]any
	Protect bool
	// Secrets tells that inputs hold values that Pulumi marks as secret.
	Secrets bool
}

// Environment is what rules need to know of where the resources are.
type Environment struct {
	// Durable environments hold data that people rely on.
	Durable bool
}

// Finding is a rule that a resource breaks.
type Finding struct {
	Rule     string `json:"rule"`
	Resource string `json:"resource"`
	Problem  string `json:"problem"` // what is wrong, and what would be right
}

// Rule is one rule.
type Rule struct {
	Name string
	Doc  string // why
	// check reports what is wrong with r, a sentence each.
	check func(env Environment, r Resource, report func(format string, args ...any))
}

// Rules lists every rule.
func Rules() []Rule { return slices.Concat(workloadRules, cloudRules, secretRules) }

// Check holds resources against every rule. Findings are in the order of resources' names.
func Check(env Environment, resources []Resource) []Finding {
	var found []Finding
	for _, rule := range Rules() {
		for _, r := range resources {
			rule.check(env, r, func(format string, args ...any) {
				found = append(found, Finding{Rule: rule.Name, Resource: kind(r.Type) + " " + r.Name, Problem: fmt.Sprintf(format, args...)})
			})
		}
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Resource, b.Resource), strings.Compare(a.Rule, b.Rule))
	})
	return found
}

// kind is the last part of a type token.
func kind(token string) string { return token[strings.LastIndex(token, ":")+1:] }

// decode reads inputs into a Go type; ok is false where they are of another shape,
// which the strict checks of manifests tell better than a rule could.
func decode[T any](inputs any) (value T, ok bool) {
	raw, err := json.Marshal(inputs)
	if err != nil {
		return value, false
	}
	return value, json.Unmarshal(raw, &value) == nil
}

// at walks into nested inputs; nil where there is nothing.
func at(inputs map[string]any, path ...string) any {
	var value any = inputs
	for _, step := range path {
		switch node := value.(type) {
		case map[string]any:
			value = node[step]
		case []any:
			if len(node) == 0 {
				return nil
			}
			inner, ok := node[0].(map[string]any)
			if !ok {
				return nil
			}
			value = inner[step]
		default:
			return nil
		}
	}
	return value
}

func isTrue(value any) bool { return value == true || value == "true" }

// leaves calls visit with every scalar below value, in the order of keys.
func leaves(path string, value any, visit func(path string, value any)) {
	switch node := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(node)) {
			leaves(path+"."+key, node[key], visit)
		}
	case []any:
		for i, item := range node {
			leaves(fmt.Sprintf("%s[%d]", path, i), item, visit)
		}
	default:
		visit(strings.TrimPrefix(path, "."), value)
	}
}
