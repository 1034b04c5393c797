package program_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/stacks"
)

// phases of a recovery of production, each with what it sets.
var phases = []map[string]string{
	{"recoveryPhase": string(stacks.PhaseHalt)},
	{"recoveryPhase": string(stacks.PhaseGround), "databaseGeneration": "2"},
	{"recoveryPhase": string(stacks.PhaseRestore), "databaseGeneration": "2", "recoveryFrom": "coditect@4711"},
	{"recoveryPhase": string(stacks.PhaseCheck), "databaseGeneration": "2"},
	{"recoveryPhase": string(stacks.PhaseRehearse), "databaseGeneration": "2", "recoveryKey": "KKKKKKKKKKKKKKKK"},
	{"databaseGeneration": "2"},
}

func at(t *testing.T, more map[string]string) map[string]made {
	t.Helper()
	values := committed(t, stacks.Prod)
	maps.Copy(values, added(stacks.Prod))
	maps.Copy(values, more)
	resources, err := run(stacks.Prod, values, program.Deploy)
	if err != nil {
		t.Fatalf("%v: %v", more, err)
	}
	found := map[string]made{}
	for _, m := range resources {
		found[m.Type+" "+m.Name] = m
	}
	return found
}

// What each phase of a recovery takes away, adds and changes, for a review to read:
// each begins from the one before.
func TestPhasesOfARecovery(t *testing.T) {
	var got bytes.Buffer
	fmt.Fprintln(&got, "# What the phases of a recovery change in prod, each from the one before. Written by `make generate`.")
	before := at(t, nil)
	for _, phase := range phases {
		after := at(t, phase)
		fmt.Fprintf(&got, "---\n# PHASE %v\n", phase)
		for _, name := range sorted(before) {
			if _, stays := after[name]; !stays {
				fmt.Fprintf(&got, "# removed: %s\n", name)
			}
		}
		for _, name := range sorted(after) {
			if was, known := before[name]; known && reflect.DeepEqual(was.Inputs, after[name].Inputs) {
				continue
			}
			text, err := yaml.Marshal(after[name].Inputs)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "---\n# %s\n%s", name, text)
		}
		before = after
	}
	file := filepath.Join("testdata", "recovery.phases.yaml")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("the phases are not those of %s: run `make generate` and read what changed", file)
	}
}

func sorted(all map[string]made) []string { return slices.Sorted(maps.Keys(all)) }
