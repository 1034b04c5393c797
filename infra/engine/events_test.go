package engine

import (
	"reflect"
	"strings"
	"testing"
)

func TestSteps(t *testing.T) {
	for path, want := range map[string][]string{
		"spec.replicas":                  {"spec", "replicas"},
		"spec.containers[0].image":       {"spec", "containers", "0", "image"},
		`metadata.labels["a.b/c"].x`:     {"metadata", "labels", "a.b/c", "x"},
		`["odd"]`:                        {"odd"},
		"":                               nil,
		"spec.rules[0].backends[1].port": {"spec", "rules", "0", "backends", "1", "port"},
	} {
		if got := steps(path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	value := map[string]any{"a": []any{map[string]any{"b": 1.0}}}
	for path, want := range map[string]any{"a[0].b": 1.0, "a[1].b": nil, "a[x]": nil, "a[-1]": nil, "a.b": nil, "c": nil} {
		if got := find(value, path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for want, c := range map[string]Change{
		"a: 1 → 2":      {Path: "a", From: "1", To: "2"},
		"a: differs":    {Path: "a"},
		"a: 2 is added": {Path: "a", To: "2"},
		"a: 1 is removed (cannot be changed in place)": {Path: "a", From: "1", Replaces: true},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := short(strings.Repeat("ä", 100)); len(got) > maxValue+len("…") || !strings.HasSuffix(got, "ä…") {
		t.Errorf("a long value is shown as %q", got)
	}
}
