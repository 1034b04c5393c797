package kubernetes_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"

	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/infra/simcloud/internal/simtest"
	"coditect.ai/platform/infra/simcloud/kubernetes"
	"coditect.ai/platform/infra/simcloud/store"
)

const image = "registry.example/shop/server:v1"

func open(t *testing.T, directory string) (*simcloud.Cloud, *simtest.Engine) {
	t.Helper()
	cloud, err := simcloud.Open(simcloud.Options{Directory: directory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	return cloud, simtest.Dial(t, cloud.Providers(), "kubernetes")
}

// set returns a copy of the manifest with the value at the path; a nil value removes it.
func set(manifest map[string]any, value any, path ...string) map[string]any {
	changed := maps.Clone(manifest)
	if len(path) == 1 {
		if changed[path[0]] = value; value == nil {
			delete(changed, path[0])
		}
		return changed
	}
	inner, _ := changed[path[0]].(map[string]any)
	changed[path[0]] = set(inner, value, path[1:]...)
	return changed
}

func deployment() map[string]any { return simtest.Deployment("api", image, "v1", 2) }

func container(change func(map[string]any)) map[string]any {
	d := deployment()
	change(simtest.Container(d))
	return d
}

func configMap() map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "settings", "namespace": simtest.Namespace},
		"data": map[string]any{"key": "value"},
	}
}

func claim(size string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": "data", "namespace": simtest.Namespace},
		"spec": map[string]any{
			"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]any{"storage": size}},
		},
	}
}

func policy() map[string]any {
	return map[string]any{
		"apiVersion": "networking.gke.io/v1", "kind": "HealthCheckPolicy",
		"metadata": map[string]any{"name": "api", "namespace": simtest.Namespace},
		"spec":     map[string]any{"default": map[string]any{"anything": true}},
	}
}

func TestCheck(t *testing.T) {
	_, engine := open(t, t.TempDir())
	for name, test := range map[string]struct {
		manifest map[string]any
		want     string // "" for accepted
	}{
		"good":            {deployment(), ""},
		"custom resource": {policy(), ""},
		"misspelt field":  {container(func(c map[string]any) { c["imagee"] = "x" }), "spec.template.spec.containers[0].imagee: unknown field"},
		"misspelt in custom metadata": {
			set(policy(), "x", "metadata", "lables"), "metadata.lables: unknown field",
		},
		"wrong type":      {set(deployment(), "two", "spec", "replicas"), "spec.replicas: a string where int32 is wanted"},
		"fraction":        {set(deployment(), 1.5, "spec", "replicas"), "replicas"},
		"no such kind":    {set(deployment(), "Deploymen", "kind"), `no kind "Deploymen" in version "apps/v1"`},
		"no such version": {set(deployment(), "apps/v2", "apiVersion"), `no kind "Deployment" in version "apps/v2"`},
		"no name":         {set(deployment(), nil, "metadata", "name"), "metadata.name: required"},
		"bad name":        {set(deployment(), "Api_1", "metadata", "name"), "metadata.name: a lowercase RFC 1123 subdomain"},
		"selector":        {set(deployment(), "other", "spec", "selector", "matchLabels", "app"), "spec.template.metadata.labels: the selector does not match"},
		"no image":        {container(func(c map[string]any) { delete(c, "image") }), "containers[0].image: required"},
		"no such volume":  {container(func(c map[string]any) { c["volumeMounts"] = []any{map[string]any{"name": "x", "mountPath": "/x"}} }), `there is no volume "x"`},
		"no such port":    {container(func(c map[string]any) { c["ports"] = []any{} }), "the container has no port of this name"},
		"request > limit": {container(func(c map[string]any) {
			c["resources"] = map[string]any{"requests": map[string]any{"cpu": "2"}, "limits": map[string]any{"cpu": "1"}}
		}), "must not be above the limit"},
		"bad quantity":     {container(func(c map[string]any) { c["resources"] = map[string]any{"limits": map[string]any{"cpu": "lots"}} }), "quantities must match"},
		"service port":     {set(simtest.Service("api"), []any{map[string]any{"port": 0}}, "spec", "ports"), "spec.ports[0].port: must be between"},
		"negative weight":  {simtest.Route("all", "/", simtest.Weighted{Service: "api", Weight: -1}), "spec.rules[0].backendRefs[0].weight"},
		"relative path":    {simtest.Route("all", "api", simtest.Weighted{Service: "api", Weight: 1}), "must be an absolute path"},
		"empty gateway":    {set(simtest.Gateway(80), []any{}, "spec", "listeners"), "spec.listeners: at least one is required"},
		"claim's size":     {set(claim("1Gi"), nil, "spec", "resources"), "spec.resources.requests.storage: required"},
		"cluster's object": {set(simtest.NamespaceObject(), "x", "metadata", "namespace"), "Namespace has no namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			urn := simtest.URN(simtest.Type(test.manifest), "api")
			found := strings.Join(engine.Check(urn, test.manifest), "\n")
			if (test.want == "") != (found == "") || !strings.Contains(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}

func TestCheckOfUnknownValues(t *testing.T) {
	_, engine := open(t, t.TempDir())
	unknown := resource.MakeComputed(resource.NewProperty(""))
	for name, manifest := range map[string]map[string]any{
		"image": container(func(c map[string]any) { c["image"] = unknown }),
		"name":  set(deployment(), unknown, "metadata", "name"),
		"spec":  set(deployment(), unknown, "spec"),
	} {
		if found := engine.Check(simtest.URN("kubernetes:apps/v1:Deployment", "api"), manifest); len(found) > 0 {
			t.Errorf("unknown %s: %v", name, found)
		}
	}
	misspelt := container(func(c map[string]any) { c["image"], c["imagee"] = unknown, "x" })
	if found := engine.Check(simtest.URN("kubernetes:apps/v1:Deployment", "api"), misspelt); len(found) != 1 {
		t.Errorf("a misspelt field beside an unknown one: %v", found)
	}
}

func TestDiff(t *testing.T) {
	_, engine := open(t, t.TempDir())
	frozen := set(configMap(), true, "immutable")
	for name, test := range map[string]struct {
		before, after map[string]any
		change        bool
		replace       string // the path that forces it
	}{
		"nothing":         {deployment(), deployment(), false, ""},
		"replicas":        {deployment(), set(deployment(), 3, "spec", "replicas"), true, ""},
		"image":           {deployment(), simtest.Deployment("api", "other", "v1", 2), true, ""},
		"name":            {deployment(), set(deployment(), "b", "metadata", "name"), true, "metadata.name"},
		"namespace":       {deployment(), set(deployment(), "b", "metadata", "namespace"), true, "metadata.namespace"},
		"selector":        {deployment(), set(deployment(), "b", "spec", "selector", "matchLabels", "app"), true, "spec.selector.matchLabels.app"},
		"claim grows":     {claim("1Gi"), claim("2Gi"), true, ""},
		"claim shrinks":   {claim("2Gi"), claim("1Gi"), true, "spec.resources.requests.storage"},
		"claim's class":   {claim("1Gi"), set(claim("1Gi"), "fast", "spec", "storageClassName"), true, "spec.storageClassName"},
		"data":            {configMap(), set(configMap(), "b", "data", "key"), true, ""},
		"frozen data":     {frozen, set(frozen, "b", "data", "key"), true, "data.key"},
		"cluster address": {simtest.Service("api"), set(simtest.Service("api"), "None", "spec", "clusterIP"), true, "spec.clusterIP"},
		"weights": {
			simtest.Route("all", "/", simtest.Weighted{Service: "a", Weight: 1}),
			simtest.Route("all", "/", simtest.Weighted{Service: "a", Weight: 2}), true, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			response, err := engine.Client.Diff(t.Context(), &pulumirpc.DiffRequest{
				Urn: simtest.URN(simtest.Type(test.before), "x"), Id: "x",
				OldInputs: simtest.Marshal(t, simtest.Props(test.before)), News: simtest.Marshal(t, simtest.Props(test.after)),
			})
			if err != nil {
				t.Fatal(err)
			}
			if changed := response.GetChanges() == pulumirpc.DiffResponse_DIFF_SOME; changed != test.change {
				t.Errorf("changed: %t, want %t: %v", changed, test.change, response.GetDetailedDiff())
			}
			var want []string
			if test.replace != "" {
				want = []string{test.replace}
			}
			if !slices.Equal(response.GetReplaces(), want) {
				t.Errorf("replaces because of %v, want %v", response.GetReplaces(), want)
			}
			sameName := test.replace != "" && !strings.HasPrefix(test.replace, "metadata")
			if response.GetDeleteBeforeReplace() != sameName {
				t.Errorf("delete before replace: %t, want %t", response.GetDeleteBeforeReplace(), sameName)
			}
		})
	}
}

func TestLifecycleOfObjects(t *testing.T) {
	directory := t.TempDir()
	cloud, engine := open(t, directory)
	if err := engine.TryCreate(t.Context(), deployment()); err == nil || !strings.Contains(err.Error(), `namespaces "shop" not found`) {
		t.Errorf("without the namespace: %v", err)
	}
	preview, err := engine.Client.Create(t.Context(), &pulumirpc.CreateRequest{
		Urn: simtest.URN("kubernetes:core/v1:Namespace", "shop"), Preview: true,
		Properties: simtest.Marshal(t, simtest.Props(simtest.NamespaceObject())),
	})
	if err != nil || preview.GetId() != "" || len(cloud.Objects.List(kubernetes.Namespace, "")) > 0 {
		t.Errorf("a preview made something: %v %v", preview, err)
	}
	engine.Create(simtest.NamespaceObject())
	// Nothing is executed here, so that all is ready at once, StatefulSets included.
	engine.Create(deployment(), configMap(), policy(), claim("1Gi"))
	other := set(configMap(), map[string]any{}, "data")
	_, err = engine.Client.Create(t.Context(), &pulumirpc.CreateRequest{
		Urn: simtest.URN("kubernetes:core/v1:ConfigMap", "somebody-else"), Properties: simtest.Marshal(t, simtest.Props(other)),
	})
	if err == nil || !strings.Contains(err.Error(), `"shop/settings" already exists`) {
		t.Errorf("a name that is taken: %v", err)
	}
	engine.Create(configMap()) // the same resource once more: the engine was cut off

	read := func(manifest map[string]any) *pulumirpc.ReadResponse {
		t.Helper()
		response, err := engine.Client.Read(t.Context(), &pulumirpc.ReadRequest{
			Urn: simtest.URN(simtest.Type(manifest), "x"), Id: "shop/api", Inputs: simtest.Marshal(t, simtest.Props(manifest)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	live := read(deployment())
	if !simtest.Unmarshal(t, live.GetInputs()).DeepEquals(simtest.Props(deployment())) {
		t.Errorf("read inputs %v", live.GetInputs())
	}
	if uid := simtest.Unmarshal(t, live.GetProperties())["metadata"].ObjectValue()["uid"]; !uid.HasValue() {
		t.Error("the live object has no uid")
	}
	imported, err := engine.Client.Read(t.Context(), &pulumirpc.ReadRequest{
		Urn: simtest.URN("kubernetes:apps/v1:Deployment", "x"), Id: "shop/api",
	})
	if err != nil || !simtest.Unmarshal(t, imported.GetInputs()).DeepEquals(simtest.Props(deployment())) {
		t.Errorf("import read %v (%v)", imported.GetInputs(), err)
	}

	// Drift: somebody changes or removes things behind the engine's back.
	object, _ := cloud.Objects.Get(store.Key{Kind: kubernetes.Deployment, Namespace: "shop", Name: "api"})
	object.Inputs = set(object.Inputs, float64(7), "spec", "replicas")
	if _, err := cloud.Objects.Put(object); err != nil {
		t.Fatal(err)
	}
	drifted := simtest.Unmarshal(t, read(deployment()).GetInputs())["spec"].ObjectValue()["replicas"]
	if drifted.NumberValue() != 7 {
		t.Errorf("drift is not seen: replicas %v", drifted)
	}
	if err := cloud.Objects.Delete(object.Key); err != nil {
		t.Fatal(err)
	}
	if absent := read(deployment()); absent.GetId() != "" {
		t.Errorf("an absent object was read: %v", absent)
	}
	engine.Update(deployment(), deployment()) // heals
	if live := read(deployment()); live.GetId() == "" {
		t.Error("an update did not make the absent object again")
	}

	again, err := store.Open(directory + "/objects.json")
	if err != nil || len(again.Select(func(store.Key) bool { return true })) != 5 {
		t.Errorf("not all is on disk (%v)", err)
	}
	engine.Delete(deployment(), deployment())
	engine.Delete(simtest.NamespaceObject())
	if left := cloud.Objects.Select(func(store.Key) bool { return true }); len(left) > 0 {
		t.Errorf("%v outlive their namespace", left)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	_, engine := open(t, t.TempDir())
	engine.Create(simtest.NamespaceObject())
	annotated := set(configMap(), map[string]any{"key": resource.MakeSecret(resource.NewProperty("hidden"))}, "data")
	for typ, manifest := range map[string]map[string]any{
		"kubernetes:core/v1:ConfigMap": annotated,
		"kubernetes:core/v1:Secret": {
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "key", "namespace": "shop"},
			"data": map[string]any{"key": "aGlkZGVu"}, // not marked by the program
		},
	} {
		response, err := engine.Client.Create(t.Context(), &pulumirpc.CreateRequest{
			Urn: simtest.URN(typ, "x"), Properties: simtest.Marshal(t, simtest.Props(manifest)),
		})
		if err != nil {
			t.Fatal(err)
		}
		data := simtest.Unmarshal(t, response.GetProperties())["data"]
		if !data.ContainsSecrets() {
			t.Errorf("%s: data is in the clear: %v", typ, data)
		}
	}
}
