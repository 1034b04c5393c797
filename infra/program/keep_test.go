package program_test

import (
	"maps"
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

// Where an environment moves its releases itself, an update by a file that is older
// than the last release is refused, unless the run is a release or names the setting.
func TestOlderThanTheLastRelease(t *testing.T) {
	values := committed(t, stacks.Dev)
	maps.Copy(values, added(stacks.Dev)) // green has 10 %
	values["operatorImage"], values["operatorBackend"] = image("6"), "gs://coditect-dev-pulumi"
	last := resource.PropertyMap{program.OutputReleased: resource.NewProperty(resource.PropertyMap{
		"gatewayWeightBlue": resource.NewProperty("50"), "gatewayWeightGreen": resource.NewProperty("50"),
		"serviceImageBlue": resource.NewProperty(image("1")), "serviceImageGreen": resource.NewProperty(image("2")),
	})}
	made, err := runAfter(last, stacks.Dev, values, program.Deploy)
	for _, want := range []string{"gatewayWeightBlue is \"90\"", "gatewayWeightGreen", "coditect rollout settings --env dev", program.EnvAllowReplace + "=gatewayWeightGreen"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal lacks %q: %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "serviceImage") {
		t.Errorf("what is the same is refused: %v", err)
	}
	if len(made) != 0 {
		t.Errorf("a refused program made %d resources", len(made))
	}
	if _, err := runAfter(last, stacks.Dev, values, program.Release); err != nil {
		t.Errorf("a release is refused: %v", err)
	}
	t.Setenv(program.EnvAllowReplace, "gatewayWeightBlue,gatewayWeightGreen")
	if _, err := runAfter(last, stacks.Dev, values, program.Deploy); err != nil {
		t.Errorf("named for this run: %v", err)
	}
}
