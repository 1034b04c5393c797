package simcloud_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"coditect.ai/platform/infra/simcloud/internal/simtest"
	"coditect.ai/platform/infra/simcloud/runtime"
)

// route leads everything to the Service of one Deployment.
func (e *env) route(name string) {
	e.t.Helper()
	e.Create(simtest.Service(name), simtest.Route("all", "/", simtest.Weighted{Service: name, Weight: 1}))
}

func (e *env) pod() runtime.PodStatus {
	e.t.Helper()
	w := e.cloud.Runtime.Workloads()
	if len(w) != 1 || len(w[0].Pods) != 1 {
		e.t.Fatalf("there is not one pod: %+v", w)
	}
	return w[0].Pods[0]
}

func object(apiVersion, kind, name string, fields map[string]any) map[string]any {
	manifest := map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name, "namespace": simtest.Namespace},
	}
	maps.Copy(manifest, fields)
	return manifest
}

func TestWhatAContainerSees(t *testing.T) {
	t.Parallel()
	e := open(t)
	d := simtest.Deployment("api", e.image, "v1", 1)
	container := simtest.Container(d)
	simtest.PodSpec(d)["volumes"] = []any{
		map[string]any{"name": "config", "configMap": map[string]any{"name": "settings", "items": []any{map[string]any{"key": "mode", "path": "deep/mode"}}}},
		map[string]any{"name": "scratch", "emptyDir": map[string]any{}},
		map[string]any{"name": "keys", "secret": map[string]any{"secretName": "keys"}},
	}
	container["volumeMounts"] = []any{
		map[string]any{"name": "config", "mountPath": "/etc/shop"},
		map[string]any{"name": "scratch", "mountPath": "/tmp"},
		map[string]any{"name": "keys", "mountPath": "/keys", "readOnly": true},
	}
	from := func(kind, name, key string) map[string]any {
		return map[string]any{kind: map[string]any{"name": name, "key": key}}
	}
	env := container["env"].([]any)
	container["env"] = append(env,
		map[string]any{"name": "MODE_FILE", "value": "/etc/shop/deep/mode"},
		map[string]any{"name": "KEY_FILE", "value": "/keys/key"},
		map[string]any{"name": "MODE", "valueFrom": from("configMapKeyRef", "settings", "mode")},
		map[string]any{"name": "KEY", "valueFrom": from("secretKeyRef", "keys", "key")},
		map[string]any{"name": "POD", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.name"}}},
		map[string]any{"name": "APP", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.labels['app']"}}},
		map[string]any{"name": "MEMORY", "valueFrom": map[string]any{"resourceFieldRef": map[string]any{"resource": "limits.memory", "divisor": "1Mi"}}},
		map[string]any{"name": "GREETING", "value": "$(MODE) $$(MODE) $(UNKNOWN)"},
	)
	container["resources"] = map[string]any{"limits": map[string]any{"memory": "64Mi"}}
	container["args"] = []any{"serve", "--data=/tmp/data", "$(MODE)"}

	// What a pod refers to may come after it.
	created := make(chan error, 1)
	go func() { created <- e.TryCreate(t.Context(), d) }()
	simtest.Eventually(t, "the pod waits for its configuration", func() bool {
		w := e.cloud.Runtime.Workloads()
		return len(w) == 1 && len(w[0].Pods) == 1 && w[0].Pods[0].Containers[0].Reason == "CreateContainerConfigError"
	})
	e.Create(object("v1", "ConfigMap", "settings", map[string]any{"data": map[string]any{"mode": "fast"}}),
		object("v1", "Secret", "keys", map[string]any{"data": map[string]any{"key": "aGlkZGVu"}}))
	if err := <-created; err != nil {
		t.Fatal(err)
	}
	e.route("api")
	_, seen := e.get("/env")
	for _, want := range []string{
		"\nMODE=fast\n", "\nKEY=hidden\n", "\nAPP=api\n", "\nMEMORY=64\n", "\nGREETING=fast $(MODE) $(UNKNOWN)\n",
		"\nPOD=" + e.pod().Name + "\n", "\nLISTEN=" + e.pod().Address + ":8080\n", "args=server serve --data=/", "/volumes/scratch/data fast",
	} {
		if !strings.Contains("\n"+seen, want) {
			t.Errorf("%q is not in\n%s", want, seen)
		}
	}
	if strings.Contains(seen, "NOT_FOR_PODS") {
		t.Error("the pod inherited a variable")
	}
	for variable, want := range map[string]string{"MODE_FILE": "fast", "KEY_FILE": "hidden"} {
		if status, body := e.get("/file?variable=" + variable); status != 200 || body != want {
			t.Errorf("%s: %d %q", variable, status, body)
		}
	}
	if logs, err := e.cloud.Runtime.Logs(simtest.Namespace, e.pod().Name, 10); err != nil || string(logs) != "serving v1\n" {
		t.Errorf("logs %q %v", logs, err)
	}
}

func TestLivenessProbeRestarts(t *testing.T) {
	t.Parallel()
	e := open(t)
	d := simtest.Deployment("api", e.image, "v1", 1)
	simtest.Container(d)["livenessProbe"] = map[string]any{
		"httpGet": map[string]any{"path": "/nowhere-but-there", "port": 9999}, "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 1,
	}
	// As in a cluster its hook runs first; this one cannot, and so leaves a trace.
	simtest.Container(d)["lifecycle"] = map[string]any{"preStop": map[string]any{"httpGet": map[string]any{"path": "/", "port": 9999}}}
	e.Create(d)
	simtest.Eventually(t, "the container was restarted", func() bool { return e.pod().Containers[0].Restarts > 0 })
	if logs, err := e.cloud.Runtime.Logs(simtest.Namespace, e.pod().Name, 100); err != nil || !strings.Contains(string(logs), "preStop failed") {
		t.Errorf("the hook was left out: %q %v", logs, err)
	}
}

func TestStubbornProcessIsKilledAfterItsGrace(t *testing.T) {
	t.Parallel()
	e := open(t)
	d := simtest.SetEnv(simtest.Deployment("api", e.image, "v1", 1), "STUBBORN", "yes")
	simtest.PodSpec(d)["terminationGracePeriodSeconds"] = 1
	e.Create(d)
	pid := e.pod().Containers[0].PID
	began := time.Now()
	e.Delete(d) // returns when it is gone
	if took := time.Since(began); took < time.Second || took > 8*time.Second {
		t.Errorf("the deletion took %s", took)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

func TestAutoscalerSetsTheSizeWhereNothingElseDoes(t *testing.T) {
	t.Parallel()
	e := open(t)
	d := simtest.Deployment("api", e.image, "v1", 1)
	delete(d["spec"].(map[string]any), "replicas")
	e.Create(d, object("autoscaling/v2", "HorizontalPodAutoscaler", "api", map[string]any{"spec": map[string]any{
		"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"},
		"minReplicas":    3, "maxReplicas": 10,
	}}))
	simtest.Eventually(t, "three pods are ready", func() bool { return e.cloud.Runtime.Workloads()[0].Ready == 3 })
}

func TestBrokenReleaseLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	e := open(t)
	good := simtest.Deployment("api", e.image, "v1", 2)
	e.Create(good)
	e.route("api")
	bad := simtest.SetEnv(simtest.Deployment("api", e.image, "v2", 2), "CRASH", "bad release")
	stop := e.traffic()
	if err := e.TryUpdate(good, bad); err == nil || !strings.Contains(err.Error(), "bad release") {
		t.Errorf("the broken release: %v", err)
	}
	e.Update(bad, good)
	e.wantOnly(stop(), "v1")
}

func TestRecreateStrategyNeverRunsTwoRevisions(t *testing.T) {
	t.Parallel()
	e := open(t)
	with := func(version string) map[string]any {
		d := simtest.Deployment("api", e.image, version, 1)
		d["spec"].(map[string]any)["strategy"] = map[string]any{"type": "Recreate"}
		return d
	}
	e.Create(with("v1"))
	old := e.pod()
	ended := make(chan error, 1)
	go func() { ended <- e.TryUpdate(with("v1"), with("v2")) }()
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		case <-time.After(5 * time.Millisecond):
			revisions := map[string]bool{}
			for _, pod := range e.cloud.Runtime.Workloads()[0].Pods {
				revisions[pod.Revision] = true
			}
			if len(revisions) > 1 {
				t.Fatalf("pods of %d revisions at the same time", len(revisions))
			}
		}
	}
	if e.pod().Name == old.Name || e.pod().Address == old.Address {
		t.Error("the new pod is the old one")
	}
}

func TestOldImagesAreRemovedUnlessInUse(t *testing.T) {
	t.Parallel()
	e := open(t)
	e.Create(simtest.Deployment("api", e.image, "v1", 1))
	content, err := os.ReadFile(serverPath)
	if err != nil {
		t.Fatal(err)
	}
	var references []string
	for i := range 7 {
		path := filepath.Join(t.TempDir(), "server")
		if err := os.WriteFile(path, append(content, byte(i)), 0o700); err != nil {
			t.Fatal(err)
		}
		reference, err := e.cloud.Runtime.PushImage("registry.example/shop/server", path)
		if err != nil {
			t.Fatal(err)
		}
		references = append(references, reference)
	}
	if again, err := e.cloud.Runtime.PushImage("registry.example/shop/server", serverPath); err != nil || again != e.image {
		t.Errorf("the same content got another reference: %s, %s (%v)", again, e.image, err)
	}
	e.Update(simtest.Deployment("api", e.image, "v1", 1), simtest.Deployment("api", references[6], "v2", 1))
	err = e.TryUpdate(simtest.Deployment("api", references[6], "v2", 1), simtest.Deployment("api", references[0], "v3", 1))
	if err == nil || !strings.Contains(err.Error(), "ImagePullBackOff") {
		t.Errorf("the oldest image is still there: %v", err)
	}
}
