package cloud

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
)

// What never came true is no last update, though the backend has it on record.
func TestChanged(t *testing.T) {
	for name, c := range map[string]struct {
		kind, result string
		changes      map[string]int
		want         bool
	}{
		"an update":                           {"update", "succeeded", map[string]int{"same": 3}, true},
		"one that failed half way":            {"update", "failed", map[string]int{"same": 3, "update": 1}, true},
		"one that the program refused":        {"update", "failed", nil, false},
		"one that failed before it began":     {"update", "failed", map[string]int{"same": 1}, false},
		"one that failed with no change":      {"update", "failed", map[string]int{"update": 0}, false},
		"one that is under way":               {"update", "in-progress", nil, true},
		"a refresh":                           {"refresh", "succeeded", map[string]int{"update": 1}, false},
		"a preview, where they are on record": {"preview", "succeeded", map[string]int{"update": 1}, false},
	} {
		one := auto.UpdateSummary{Kind: c.kind, Result: c.result}
		if c.changes != nil {
			one.ResourceChanges = &c.changes
		}
		if got := changed(one); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
