package program_test

import (
	"strings"
	"testing"

	"coditect.ai/platform/infra/google/sdk"
	"coditect.ai/platform/stacks"
)

// What is asked of Google Cloud is held to the argument types of Pulumi's SDK,
// nested ones too: arguments are maps, which no compiler checks.
func TestArgumentsAreTheSDKs(t *testing.T) {
	s, err := sdk.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range stacks.Environments() {
		checked := 0
		for _, m := range plan(t, env) {
			if !strings.HasPrefix(m.Type, "gcp:") {
				continue
			}
			checked++
			faults, err := s.Faults(m.Type, m.Inputs)
			if err != nil {
				t.Errorf("%s: %v", env, err)
			}
			for _, fault := range faults {
				t.Errorf("%s: %s %s: %s", env, m.Type, m.Name, fault)
			}
		}
		if checked == 0 {
			t.Errorf("%s asks nothing of Google Cloud", env)
		}
	}
}
