package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"coditect.ai/platform/infra/controlplane"
)

type object = controlplane.Object

const plans = "../../program/testdata"

// start runs a control plane that knows every kind of the plans.
func start(t *testing.T) (context.Context, *controlplane.ControlPlane) {
	t.Helper()
	o := controlplane.Options{APIServer: os.Getenv("CODITECT_KUBE_APISERVER"), Etcd: os.Getenv("CODITECT_ETCD"), Dir: t.TempDir()}
	if o.APIServer == "" || o.Etcd == "" {
		t.Skip("needs a kube-apiserver and etcd: `make e2e` builds and finds them")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	c, err := controlplane.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	for _, file := range definitions(t) {
		define(ctx, t, c, file)
	}
	return ctx, c
}

// definitions are the files of the Gateway API, of the version that the program
// is compiled against, and those of GKE's own kinds.
func definitions(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatalf("find the module of the Gateway API: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "config/crd/standard/gateway.networking.k8s.io_*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions of the Gateway API: %v", err)
	}
	own, err := filepath.Glob("crds/*.yaml")
	if err != nil || len(own) == 0 {
		t.Fatalf("no definitions of GKE's kinds: %v", err)
	}
	return append(files, own...)
}

func define(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.SplitSeq("\n"+string(raw), "\n---\n") {
		definition := decode(t, text)
		if _, kind := controlplane.Kind(definition); kind != "CustomResourceDefinition" {
			continue // the Gateway API's admission policy guards its definitions, not what they define
		}
		if _, err := c.Apply(ctx, definition); err != nil {
			t.Fatalf("define %s: %v", filepath.Base(file), err)
		}
		spec := child(definition, "spec")
		kind, _ := child(spec, "names")["kind"].(string)
		for _, v := range spec["versions"].([]any) {
			version := v.(object)
			if version["served"] != true {
				continue
			}
			for !c.Serves(ctx, fmt.Sprintf("%s/%s", spec["group"], version["name"]), kind) {
				select {
				case <-ctx.Done():
					t.Fatalf("%s is not served in time", kind)
				case <-time.After(50 * time.Millisecond):
				}
			}
		}
	}
}

// objects reads the Kubernetes objects of an environment's golden plan, the
// namespace first.
func objects(t *testing.T, plan string) []object {
	t.Helper()
	raw, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	var found []object
	for text := range strings.SplitSeq(string(raw), "\n---\n") {
		if strings.HasPrefix(text, "# kubernetes:") {
			found = append(found, decode(t, text))
		}
	}
	slices.SortStableFunc(found, func(a, b object) int { return rank(a) - rank(b) })
	return found
}

func rank(o object) int {
	if _, kind := controlplane.Kind(o); kind == "Namespace" {
		return 0
	}
	return 1
}

// Every object of every environment is accepted as it is, and controllers make of
// it what the plan wants.
func TestEnvironments(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(plans, "*.golden.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden plans: %v", err)
	}
	for i, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden.yaml"), func(t *testing.T) {
			t.Parallel()
			ctx, c := start(t)
			all := objects(t, file)
			if len(all) == 0 {
				t.Fatal("the plan has no objects")
			}
			beAccepted(ctx, t, c, all)
			for _, o := range all {
				if _, kind := controlplane.Kind(o); kind == "Gateway" {
					if certificate, _ := ended(t, o); certificate != nil {
						apply(ctx, t, c, certificate)
						apply(ctx, t, c, o)
					}
				}
			}
			inhabit(ctx, t, c, ownNetwork(t), file, "", fmt.Sprintf("127.0.1.%d", i+1))
			becomeReady(ctx, t, c, all)
		})
	}
}

// beAccepted applies objects: no field is unknown, none dropped or changed, nothing
// warned of, and nothing left to change when they are applied once more.
func beAccepted(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, all []object) {
	t.Helper()
	for _, o := range all {
		first := apply(ctx, t, c, o)
		if lost := missing("", o, first); lost != "" {
			t.Errorf("%s: the server keeps something else: %s", title(o), lost)
		}
		second := apply(ctx, t, c, o)
		// Who set a field is noted anew where the server itself sets the object's status.
		for _, one := range []object{first, second} {
			delete(one, "status")
			delete(child(one, "metadata"), "managedFields")
			delete(child(one, "metadata"), "resourceVersion")
		}
		if changed := missing("", first, second) + missing("", second, first); changed != "" {
			t.Errorf("%s: applied twice, it changes twice: %s", title(o), changed)
		}
	}
	admitted := 0
	for _, o := range all {
		if _, kind := controlplane.Kind(o); kind == "Namespace" {
			apply(ctx, t, c, defaultAccount(controlplane.Name(o)))
		}
	}
	for _, o := range all {
		if pod := podOf(o); pod != nil {
			admit(ctx, t, c, pod)
			admitted++
		}
	}
	t.Logf("%d objects accepted, %d workloads' pods admitted as restricted", len(all), admitted)
}

// apply applies an object that the server must take without a word.
func apply(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, o object) object {
	t.Helper()
	answer, err := c.Apply(ctx, o)
	if err != nil {
		t.Fatalf("%s: %v", title(o), err)
	}
	for _, warning := range answer.Warnings {
		t.Errorf("%s: the server warns: %s", title(o), warning)
	}
	return answer.Object
}

// admit creates a workload's pod, as its controller would, without keeping it.
func admit(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, pod object) {
	t.Helper()
	answer, err := c.Admit(ctx, pod)
	if err != nil {
		t.Errorf("%s: %v", title(pod), err)
	}
	for _, warning := range answer.Warnings {
		t.Errorf("%s: the server warns: %s", title(pod), warning)
	}
}

// podOf is the pod that a workload's controller would create; nil for other kinds.
func podOf(o object) object {
	spec := child(o, "spec")
	if job := child(spec, "jobTemplate"); job != nil {
		spec = child(job, "spec")
	}
	template := child(spec, "template")
	if template == nil {
		return nil
	}
	pod := clone(template)
	namespace := child(o, "metadata")["namespace"]
	labels := child(pod, "metadata")["labels"]
	pod["apiVersion"], pod["kind"] = "v1", "Pod"
	pod["metadata"] = object{"name": controlplane.Name(o), "namespace": namespace, "labels": labels}
	podSpec := child(pod, "spec")
	if podSpec["serviceAccountName"] == nil {
		podSpec["serviceAccountName"] = "default"
	}
	claims, _ := spec["volumeClaimTemplates"].([]any)
	for _, claim := range claims {
		name := controlplane.Name(claim.(object))
		volumes, _ := podSpec["volumes"].([]any)
		podSpec["volumes"] = append(volumes, object{"name": name, "persistentVolumeClaim": object{"claimName": name + "-0"}})
	}
	return pod
}

// defaultAccount is what a controller puts into each namespace.
func defaultAccount(namespace string) object {
	return object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{"name": "default", "namespace": namespace}}
}

// missing names the first thing that want has and got does not; empty where got
// has all of it. What got has beside it are the server's defaults.
func missing(path string, want, got any) string {
	switch want := want.(type) {
	case object:
		have, ok := got.(object)
		if !ok {
			return fmt.Sprintf("%s is %v", path, got)
		}
		for key, value := range want {
			if lost := missing(path+"."+key, value, have[key]); lost != "" {
				return lost
			}
		}
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			return fmt.Sprintf("%s is %v", path, got)
		}
		for i, value := range want {
			if lost := missing(fmt.Sprintf("%s[%d]", path, i), value, have[i]); lost != "" {
				return lost
			}
		}
	default:
		if !reflect.DeepEqual(want, got) {
			return fmt.Sprintf("%s is %v, was to be %v", path, got, want)
		}
	}
	return ""
}

// What would hurt, or would silently not do what it says, is refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	ctx, c := start(t)
	all := objects(t, filepath.Join(plans, "prod.golden.yaml"))
	for _, o := range all {
		apply(ctx, t, c, o)
	}
	tests := map[string]struct {
		kind   string // the first object of this kind is changed
		change func(o object)
		want   string
	}{
		"a misspelt field of a Deployment":        {"Deployment", func(o object) { child(o, "spec")["replica"] = 3 }, "replica"},
		"a misspelt field of a container":         {"Deployment", func(o object) { container(o)["imagePullPolice"] = "Always" }, "imagePullPolice"},
		"a number that is a word":                 {"Deployment", func(o object) { child(o, "spec")["replicas"] = "three" }, "replicas"},
		"another selector":                        {"Deployment", func(o object) { child(o, "spec", "selector", "matchLabels")["slot"] = "x" }, "selector"},
		"a probe without an action":               {"Deployment", func(o object) { container(o)["livenessProbe"] = object{"periodSeconds": 3} }, "must specify a handler type"},
		"requests above limits":                   {"Deployment", func(o object) { child(container(o), "resources", "requests")["cpu"] = "64" }, "must be less than or equal to cpu limit"},
		"a weight above the largest":              {"HTTPRoute", func(o object) { backend(o)["weight"] = 1000001 }, "less than or equal to 1000000"},
		"a weight below zero":                     {"HTTPRoute", func(o object) { backend(o)["weight"] = -1 }, "greater than or equal to 0"},
		"a weight that is a word":                 {"HTTPRoute", func(o object) { backend(o)["weight"] = "half" }, "weight"},
		"a misspelt weight":                       {"HTTPRoute", func(o object) { backend(o)["wieght"] = 10 }, "wieght"},
		"a backend without a port":                {"HTTPRoute", func(o object) { delete(backend(o), "port") }, "Must have port for Service reference"},
		"two listeners of one name":               {"Gateway", func(o object) { listener(o, 1)["name"] = "http" }, "duplicate entries for key"},
		"two listeners of one port and host":      {"Gateway", func(o object) { listener(o, 1)["port"], listener(o, 1)["protocol"] = 80, "HTTP" }, "Combination of port, protocol and hostname must be unique"},
		"another volume of the StatefulSet":       {"StatefulSet", func(o object) { claim(o)["storageClassName"] = "premium-rwo" }, "updates to statefulset spec for fields other than"},
		"a larger volume of the StatefulSet":      {"StatefulSet", func(o object) { child(claim(o), "resources", "requests")["storage"] = "100Gi" }, "updates to statefulset spec for fields other than"},
		"another Service of the StatefulSet":      {"StatefulSet", func(o object) { child(o, "spec")["serviceName"] = "other" }, "updates to statefulset spec for fields other than"},
		"another template of a Job":               {"Job", func(o object) { container(o)["image"] = "docker.io/foundationdb/foundationdb:7.3.80" }, "field is immutable"},
		"an autoscaler that scales to nothing":    {"HorizontalPodAutoscaler", func(o object) { child(o, "spec")["maxReplicas"] = 1 }, "must be greater than or equal to `minReplicas`"},
		"a budget of two kinds":                   {"PodDisruptionBudget", func(o object) { child(o, "spec")["minAvailable"] = 1 }, "cannot be both set"},
		"a misspelt field of a HealthCheckPolicy": {"HealthCheckPolicy", func(o object) { child(o, "spec", "default")["checkInterval"] = 5 }, "checkInterval"},
		"a check that outlasts its interval":      {"HealthCheckPolicy", func(o object) { child(o, "spec", "default")["timeoutSec"] = 60 }, "must not exceed checkIntervalSec"},
		"a misspelt field of a GCPBackendPolicy":  {"GCPBackendPolicy", func(o object) { child(o, "spec", "default")["timeout"] = "30s" }, "timeout"},
		"a timeout that is a word":                {"GCPBackendPolicy", func(o object) { child(o, "spec", "default")["timeoutSec"] = "30s" }, "timeoutSec"},
		"a policy of nothing":                     {"GCPBackendPolicy", func(o object) { delete(child(o, "spec"), "targetRef") }, "targetRef"},
		"a misspelt field of a PodMonitoring":     {"PodMonitoring", func(o object) { item(child(o, "spec")["endpoints"], 0)["intervall"] = "15s" }, "intervall"},
		"a time that is none":                     {"PodMonitoring", func(o object) { item(child(o, "spec")["endpoints"], 0)["interval"] = "15" }, "interval"},
		"a schedule that is none":                 {"CronJob", func(o object) { child(o, "spec")["schedule"] = "daily" }, "schedule"},
		"parameters that are no text":             {"SecretProviderClass", func(o object) { child(o, "spec", "parameters")["secrets"] = []any{} }, "secrets"},
		"a misspelt field of a NetworkPolicy":     {"NetworkPolicy", func(o object) { child(o, "spec")["ingres"] = []any{} }, "ingres"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := clone(first(t, all, tt.kind))
			tt.change(o)
			refused(t, tt.want, func() error { _, err := c.Apply(ctx, o); return err })
		})
	}
}

// The namespace lets no pod in that could hurt its node.
func TestUnrestrictedPodsAreRefused(t *testing.T) {
	t.Parallel()
	ctx, c := start(t)
	all := objects(t, filepath.Join(plans, "prod.golden.yaml"))
	for _, o := range all {
		apply(ctx, t, c, o)
	}
	pod := podOf(first(t, all, "Deployment"))
	admit(ctx, t, c, pod)
	for name, tt := range map[string]struct {
		change func(pod object)
		want   string
	}{
		"root":              {func(p object) { child(p, "spec", "securityContext")["runAsNonRoot"] = false }, "runAsNonRoot"},
		"more privileges":   {func(p object) { child(podContainer(p), "securityContext")["allowPrivilegeEscalation"] = true }, "allowPrivilegeEscalation"},
		"all capabilities":  {func(p object) { delete(child(podContainer(p), "securityContext"), "capabilities") }, "unrestricted capabilities"},
		"the host's files":  {func(p object) { addVolume(p, object{"name": "host", "hostPath": object{"path": "/"}}) }, "hostPath"},
		"the host's ports":  {func(p object) { child(p, "spec")["hostNetwork"] = true }, "host"},
		"no seccomp at all": {func(p object) { delete(child(p, "spec", "securityContext"), "seccompProfile") }, "seccompProfile"},
	} {
		t.Run(name, func(t *testing.T) {
			hurting := clone(pod)
			tt.change(hurting)
			refused(t, tt.want, func() error { _, err := c.Admit(ctx, hurting); return err })
		})
	}
}

func refused(t *testing.T, want string, ask func() error) {
	t.Helper()
	err := ask()
	var refusal *controlplane.RefusalError
	if !errors.As(err, &refusal) {
		t.Fatalf("it is not refused: %v", err)
	}
	if !strings.Contains(refusal.Message, want) {
		t.Errorf("it is refused for another reason than %q: %v", want, refusal)
	}
}

func first(t *testing.T, all []object, kind string) object {
	t.Helper()
	for _, o := range all {
		if _, k := controlplane.Kind(o); k == kind {
			return o
		}
	}
	t.Fatalf("the plan has no %s", kind)
	return nil
}

func title(o object) string {
	_, kind := controlplane.Kind(o)
	return kind + " " + controlplane.Name(o)
}

// child walks down an object's fields; nil where one is missing.
func child(o object, path ...string) object {
	for _, key := range path {
		o, _ = o[key].(object)
	}
	return o
}

func item(list any, i int) object { return list.([]any)[i].(object) }

func container(workload object) object { return podContainer(child(workload, "spec", "template")) }

func podContainer(pod object) object { return item(child(pod, "spec")["containers"], 0) }

func backend(route object) object {
	return item(item(child(route, "spec")["rules"], 0)["backendRefs"], 0)
}

func listener(gateway object, i int) object { return item(child(gateway, "spec")["listeners"], i) }

func claim(set object) object {
	return child(item(child(set, "spec")["volumeClaimTemplates"], 0), "spec")
}

func addVolume(pod, volume object) {
	spec := child(pod, "spec")
	spec["volumes"] = append(spec["volumes"].([]any), volume)
}

func decode(t *testing.T, text string) object {
	t.Helper()
	var o object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func clone(o object) object {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var copied object
	if err := json.Unmarshal(raw, &copied); err != nil {
		panic(err)
	}
	return copied
}
