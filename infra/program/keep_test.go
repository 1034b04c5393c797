package program_test

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/stacks"
)

// A setting that is fixed once made and differs from what the last update made
// is refused before anything is registered, unless the run names it.
func TestFixedSettings(t *testing.T) {
	values := committed(t, stacks.Local)
	values["databaseStorageClass"] = "premium-rwo"
	last := resource.PropertyMap{program.OutputFixed: resource.NewProperty(resource.PropertyMap{
		"databaseStorageClass": resource.NewProperty("standard-rwo"), "namespace": resource.NewProperty("coditect-app"),
	})}
	for allowed, want := range map[string]string{
		"":                                    program.EnvAllowReplace + "=databaseStorageClass",
		"namespace":                           `databaseStorageClass is "premium-rwo", and "standard-rwo" is deployed`,
		"databaseStorageClass":                "",
		" databaseStorageClass,colour":        "names colour: no resource",
		"coditect-store databaseStorageClass": "",
	} {
		t.Setenv(program.EnvAllowReplace, allowed)
		made, err := runAfter(last, stacks.Local, values, program.Deploy)
		switch {
		case want == "" && err != nil:
			t.Errorf("allowed %q: %v", allowed, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("allowed %q: %v, want %q", allowed, err, want)
		}
		if strings.Contains(want, "deployed") && len(made) != 0 {
			t.Errorf("a refused program made %d resources", len(made))
		}
	}
}
