package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/simcloud/store"
	"coditect.ai/platform/stacks"
)

// The environment of one machine has few resources, and the engine is the same.

// changed lists what an update with the settings does, as "update Deployment coditect-api-v5-blue".
func (w *world) changed(t *testing.T, settings map[string]string) []string {
	t.Helper()
	s := w.open(t, settings)
	var did []string
	err := engine.Follow(func(ch chan<- events.EngineEvent) error {
		_, err := s.Up(t.Context(), optup.EventStreams(ch))
		return err
	}, func(event events.EngineEvent) {
		if event.ResOutputsEvent == nil {
			return
		}
		if m := event.ResOutputsEvent.Metadata; m.Op != apitype.OpSame && !strings.HasPrefix(m.Type, "pulumi:") {
			did = append(did, string(m.Op)+" "+m.Type[strings.LastIndex(m.Type, ":")+1:]+" "+m.URN[strings.LastIndex(m.URN, "::")+2:])
		}
	})
	if err != nil {
		t.Fatal(engine.Explain(err))
	}
	slices.Sort(did)
	return did
}

// at walks into an object's inputs.
func (w *world) at(t *testing.T, kind, name string, path ...any) any {
	t.Helper()
	object, ok := w.cloud.Objects.Get(store.Key{Kind: kind, Namespace: "coditect-app", Name: name})
	if !ok {
		t.Fatalf("there is no %s %s", kind, name)
	}
	var value any = object.Inputs
	for _, step := range path {
		switch step := step.(type) {
		case string:
			value = value.(map[string]any)[step]
		case int:
			value = value.([]any)[step]
		}
	}
	return value
}

func TestChanges(t *testing.T) {
	w := begin(t, stacks.Local, program.Deploy)
	w.up(t, nil)
	settings := map[string]string{}
	expect := func(what string, want ...string) {
		t.Helper()
		if did := w.changed(t, settings); !reflect.DeepEqual(did, want) {
			t.Errorf("%s did %v, want %v", what, did, want)
		}
	}
	blue := []any{"spec", "template", "spec", "containers", 0}
	image := "registry.local/coditect/api@sha256:" + strings.Repeat("2", 64)
	settings["serviceImageBlue"] = image
	expect("another image", "update Deployment coditect-api-v5-blue", "update Deployment coditect-backup")
	if got := w.at(t, "apps/Deployment", "coditect-api-v5-blue", append(blue, "image")...); got != image {
		t.Errorf("the image is %v", got)
	}
	settings["serviceMemoryLimit"] = "768Mi"
	expect("another size", "update Deployment coditect-api-v5-blue")
	settings["serviceReplicas"], settings["serviceMaxReplicas"] = "3", "3"
	expect("another number of pods", "update Deployment coditect-api-v5-blue")
	if got := w.at(t, "apps/Deployment", "coditect-api-v5-blue", "spec", "replicas"); got != 3.0 {
		t.Errorf("there are %v replicas", got)
	}

	// Something of another's is in the way: what could be done is done, and once it is out of the way, the rest.
	settings["serviceImageGreen"] = image
	inTheWay := store.Key{Kind: "policy/PodDisruptionBudget", Namespace: "coditect-app", Name: "coditect-api-v5-green"}
	if err := w.cloud.Objects.Change(inTheWay, map[string]any{"kind": "PodDisruptionBudget"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(t, settings).Up(t.Context()); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("an object in the way: %v", err)
	}
	if err := w.cloud.Objects.Delete(inTheWay); err != nil {
		t.Fatal(err)
	}
	w.changed(t, settings)
	w.at(t, inTheWay.Kind, inTheWay.Name, "spec")
	w.at(t, "apps/Deployment", "coditect-api-v5-green", append(blue, "image")...)
	expect("the same once more")

	// What was changed outside, an update alone does not see; after a refresh it takes it back.
	key := store.Key{Kind: "apps/Deployment", Namespace: "coditect-app", Name: "coditect-api-v5-blue"}
	if err := w.cloud.Objects.Change(key, map[string]any{"spec": map[string]any{"replicas": 1}}); err != nil {
		t.Fatal(err)
	}
	if err := w.cloud.Objects.Delete(inTheWay); err != nil {
		t.Fatal(err)
	}
	expect("an update after drift")
	if _, err := w.open(t, settings).Refresh(t.Context()); err != nil {
		t.Fatal(engine.Explain(err))
	}
	expect("an update after drift and a refresh", "create PodDisruptionBudget coditect-api-v5-green", "update Deployment coditect-api-v5-blue")
	w.destroyInOrder(t, settings)
}

// destroyInOrder holds the order of deletion against what needed what.
func (w *world) destroyInOrder(t *testing.T, settings map[string]string) {
	t.Helper()
	state, s := w.state(t), w.open(t, settings)
	begun, ended := map[string]int{}, map[string]int{}
	err := engine.Follow(func(ch chan<- events.EngineEvent) error {
		_, err := s.Destroy(t.Context(), optdestroy.EventStreams(ch))
		return err
	}, func(event events.EngineEvent) {
		switch {
		case event.ResourcePreEvent != nil && event.ResourcePreEvent.Metadata.Op == apitype.OpDelete:
			begun[event.ResourcePreEvent.Metadata.URN] = event.Sequence
		case event.ResOutputsEvent != nil && event.ResOutputsEvent.Metadata.Op == apitype.OpDelete:
			ended[event.ResOutputsEvent.Metadata.URN] = event.Sequence
		}
	})
	if err != nil {
		t.Fatal(engine.Explain(err))
	}
	checked := 0
	for _, r := range state.Resources {
		for _, needed := range append(r.Dependencies, r.Parent) {
			if begun[string(needed)] == 0 || ended[string(r.URN)] == 0 {
				continue // the stack itself
			}
			checked++
			if begun[string(needed)] < ended[string(r.URN)] {
				t.Errorf("%s was being deleted while %s, which needs it, was there", needed, r.URN)
			}
		}
	}
	if checked < len(state.Resources) {
		t.Errorf("only %d dependencies among %d resources were held against the order", checked, len(state.Resources))
	}
	if left := w.cloud.Objects.Select(func(store.Key) bool { return true }); len(left) != 0 {
		t.Errorf("destruction left %d objects, the first of them %s", len(left), left[0].Key.ID())
	}
}

// An update that is cut off in its middle is taken up by the next one, and nothing is made twice.
func TestInterruptedUpdate(t *testing.T) {
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	w := begin(t, stacks.Local, func(p *pulumi.Context) error {
		if err := program.Deploy(p); err != nil {
			return err
		}
		<-ctx.Done() // so that the update cannot end before it is cut off
		return ctx.Err()
	})
	s, made := w.open(t, nil), 0
	err := engine.Follow(func(ch chan<- events.EngineEvent) error {
		_, err := s.Up(ctx, optup.EventStreams(ch), optup.Parallel(1))
		return err
	}, func(event events.EngineEvent) {
		if event.ResOutputsEvent != nil && event.ResOutputsEvent.Metadata.Op == apitype.OpCreate {
			if made++; made == 8 {
				cut()
			}
		}
	})
	if err == nil {
		t.Fatal("the update ended well, though it was cut off")
	}
	if made < 8 {
		t.Fatalf("the update was cut off by itself, after %d resources: %v", made, engine.Explain(err))
	}
	w.program = program.Deploy
	s = w.open(t, nil)
	if err := s.Cancel(t.Context()); err != nil { // the lock, where the engine was killed
		t.Log(err)
	}
	if _, err := s.Refresh(t.Context(), optrefresh.ClearPendingCreates()); err != nil {
		t.Fatal(engine.Explain(err))
	}
	w.up(t, nil)
	whole := w.cloud.Objects.Select(func(store.Key) bool { return true })
	if did := w.changed(t, nil); len(did) != 0 {
		t.Errorf("after the update was taken up, another one did %v", did)
	}
	known := 0
	for _, r := range w.state(t).Resources {
		if r.Custom && !strings.HasPrefix(string(r.Type), "pulumi:") {
			known++
		}
	}
	if len(whole) != known || known < 10 {
		t.Errorf("there are %d objects, and the state knows %d", len(whole), known)
	}
}

// state is what the engine knows of the environment.
func (w *world) state(t *testing.T) apitype.DeploymentV3 {
	t.Helper()
	s := w.open(t, nil)
	exported, err := s.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var state apitype.DeploymentV3
	if err := json.Unmarshal(exported.Deployment, &state); err != nil {
		t.Fatal(err)
	}
	return state
}

// What holds data is replaced only where its setting and its resource are named for the run.
func TestReplacementIsNamed(t *testing.T) {
	w := begin(t, stacks.Local, program.Deploy)
	kept := map[string]string{"deletionProtection": "true"}
	w.up(t, kept)
	moved := maps.Clone(kept)
	moved["databaseStorageClass"] = "premium-rwo"
	for _, test := range []struct{ allowed, want string }{
		{"", `databaseStorageClass is "premium-rwo", and "standard-rwo" is deployed`},
		{"databaseStorageClass", "would replace PersistentVolumeClaim coditect-store: lost would be the volume with every record"},
		{"databaseStorageClass coditect-stor", "names coditect-stor: no resource of this environment"},
	} {
		t.Setenv(program.EnvAllowReplace, test.allowed)
		if _, err := w.open(t, moved).Preview(t.Context()); err == nil || !strings.Contains(program.Explain(err).Error(), test.want) {
			t.Errorf("allowed %q: %v, want %q", test.allowed, err, test.want)
		}
	}
	t.Setenv(program.EnvAllowReplace, "databaseStorageClass") // and an update that nobody previewed is refused as well
	if _, err := w.open(t, moved).Up(t.Context()); err == nil {
		t.Error("the volume was replaced")
	}
	if got := w.at(t, "/PersistentVolumeClaim", "coditect-store", "spec", "storageClassName"); got != "standard-rwo" {
		t.Errorf("a refused update changed the volume to %v", got)
	}
	t.Setenv(program.EnvAllowReplace, "databaseStorageClass,coditect-store")
	w.changed(t, moved)
	if got := w.at(t, "/PersistentVolumeClaim", "coditect-store", "spec", "storageClassName"); got != "premium-rwo" {
		t.Errorf("the volume that was named is %v", got)
	}
	t.Setenv(program.EnvAllowReplace, "")
	w.changed(t, moved)
	_, err := w.open(t, moved).Destroy(t.Context())
	if refusal, ok := errors.AsType[*problem.Error](program.Explain(err)); !ok || !strings.Contains(refusal.Text, "would delete PersistentVolumeClaim coditect-store") {
		t.Errorf("the allowance outlived its run: %v", err)
	}
}

type provider struct{ pulumi.ProviderResourceState }

// A resource that goes by another name in the program, with an alias, stays what it is.
func TestRename(t *testing.T) {
	named := func(name string, opts ...pulumi.ResourceOption) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error {
			cluster := &provider{}
			if err := ctx.RegisterResource("pulumi:providers:kubernetes", "cluster", pulumi.Map{}, cluster); err != nil {
				return err
			}
			return ctx.RegisterResource("kubernetes:core/v1:ConfigMap", name, pulumi.Map{
				"apiVersion": pulumi.String("v1"), "kind": pulumi.String("ConfigMap"), "metadata": pulumi.Map{"name": pulumi.String("settings")},
			}, &pulumi.CustomResourceState{}, append(opts, pulumi.Provider(cluster))...)
		}
	}
	w := begin(t, stacks.Local, named("before", pulumi.Protect(true)))
	w.up(t, nil)
	w.program = named("after", pulumi.Protect(true), pulumi.Aliases([]pulumi.Alias{{Name: pulumi.String("before")}}))
	if did := w.changed(t, nil); len(did) != 0 {
		t.Errorf("the rename with an alias did %v", did)
	}
	w.program = named("later", pulumi.Protect(true))
	if _, err := w.open(t, nil).Up(t.Context()); err == nil {
		t.Error("a rename without an alias, which deletes and makes anew, was not refused")
	}
}
