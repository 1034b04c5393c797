package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"

	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/stacks"
)

// TestLoadRefuses: wrong settings are told all at once, as one problem that the operator can mend.
func TestLoadRefuses(t *testing.T) {
	_, err := load("local", config.Map{
		Key("serviceReplicas"): config.NewValue("0"), Key("gatewayWeightBlu"): config.NewValue("1"),
		config.MustMakeKey("coditct", "serviceReplicas"): config.NewValue("2"), config.MustMakeKey("pulumi", "tags"): config.NewValue("x"),
	})
	refusal, ok := errors.AsType[*problem.Error](err)
	if !ok {
		t.Fatalf("error %v, want a problem", err)
	}
	for _, want := range []string{"Pulumi.local.yaml", "serviceReplicas", "gatewayWeightBlu", "coditct:serviceReplicas is no setting"} {
		if !strings.Contains(refusal.Text, want) {
			t.Errorf("%q does not name %s", refusal.Text, want)
		}
	}
	if strings.Contains(refusal.Text, "tags") {
		t.Errorf("what is the engine's own is refused: %s", refusal.Text)
	}
	if _, ok := errors.AsType[*stacks.RefusalError](err); !ok {
		t.Error("the refusal is not in the chain")
	}
}

// TestParse: an earlier file is read as the present one would be, and a damaged one is named.
func TestParse(t *testing.T) {
	values, err := Parse("../..", "dev", []byte("config:\n  coditect:clusterNodes: 4\n"))
	if err != nil || Text(values[Key("clusterNodes")]) != "4" {
		t.Errorf("%v %v", values, err)
	}
	if values, err := Parse("../..", "dev", nil); err != nil || values == nil || len(values) != 0 {
		t.Errorf("an empty file: %v %v", values, err)
	}
	if _, err := Parse("../..", "dev", []byte("config: [")); err == nil || !strings.Contains(err.Error(), "Pulumi.dev.yaml") {
		t.Errorf("a damaged file: %v", err)
	}
}

// TestExplain: of an engine's whole output, what is wrong is told, a program's list of faults with all of its lines.
func TestExplain(t *testing.T) {
	for want, output := range map[string]string{
		"no room":                  "code: 1\nstdout: Updating\n    error: no room\nstderr: ",
		"first; second":            "stdout: \n error: first\n more of it\n error: second\n",
		"refused, 2:\n  a\n  b; c": "stdout: \n  error: an unhandled error occurred: 2 errors occurred:\n\t* refused, 2:\n  a\n  b\n\t* c\n\nResources:\n  1 unchanged",
		"exit status 255":          "exit status 255\ncode: 255",
	} {
		if got := Explain(errors.New(output)).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
