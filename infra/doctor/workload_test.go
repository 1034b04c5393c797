package doctor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coditect.ai/platform/infra/doctor"
	"coditect.ai/platform/infra/kube"
)

// live is a cluster of manifests, by resource and namespace/name.
type live struct {
	objects map[kube.Resource]map[string]string
	logs    map[string]string
}

func (l live) Get(_ context.Context, r kube.Resource, namespace, name string, into any) error {
	text, there := l.objects[r][namespace+"/"+name]
	if !there {
		return kube.ErrAbsent
	}
	return json.Unmarshal([]byte(text), into)
}

func (l live) List(_ context.Context, r kube.Resource, _, selector string, into any) error {
	var items []string
	for _, text := range l.objects[r] {
		key, value, _ := strings.Cut(selector, "=")
		if strings.Contains(text, fmt.Sprintf("%q:%q", key, value)) {
			items = append(items, text)
		}
	}
	slices.Sort(items)
	return json.Unmarshal([]byte(`{"items":[`+strings.Join(items, ",")+`]}`), into)
}

func (l live) Log(_ context.Context, _, pod, container string) ([]byte, error) {
	text, there := l.logs[pod+"/"+container]
	if !there {
		return nil, kube.ErrAbsent
	}
	return []byte(text), nil
}

const (
	clusterFile = "coditect:abc@foundationdb-0.fdb-cluster.app.svc.cluster.local:4500"
	running     = `"state":{"running":{}},"ready":true`
)

var names = doctor.Names{
	Namespace: "app", App: "api-v5", Container: "api", Want: doctor.Probes{Readiness: "8080/api/v5/ready", Liveness: "8080/api/v5/health"},
	Database: "foundationdb", Service: "fdb-cluster", ClusterFile: "fdb-cluster-file", File: "fdb.cluster",
}

// pod is one of the service's pods.
func pod(status, ready, readiness, init string) string {
	return fmt.Sprintf(`{"metadata":{"name":"api-1","namespace":"app","labels":{"app.kubernetes.io/name":"api-v5"}},
		"spec":{"containers":[{"name":"api","image":"api@sha256:1","readinessProbe":{"httpGet":{"path":%q,"port":8080}},
			"livenessProbe":{"httpGet":{"path":"/api/v5/health","port":8080}}}]},
		"status":{"conditions":[{"type":"Ready","status":%q}],"initContainerStatuses":[{"name":"cluster-file",%s}],
			"containerStatuses":[{"name":"api","restartCount":16,%s}]}}`, readiness, ready, init, status)
}

func healthy() live {
	return live{
		objects: map[kube.Resource]map[string]string{
			kube.Pods: {
				"app/api-1": pod(running, "True", "/api/v5/ready", `"state":{"terminated":{"exitCode":0}}`),
				"app/foundationdb-0": `{"metadata":{"name":"foundationdb-0","labels":{"app.kubernetes.io/name":"foundationdb"},
					"ownerReferences":[{"kind":"StatefulSet","name":"foundationdb","controller":true}]},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`,
				"app/foundationdb-configure-x": `{"metadata":{"name":"foundationdb-configure-x","labels":{"app.kubernetes.io/name":"foundationdb"},
					"ownerReferences":[{"kind":"Job","name":"foundationdb-configure","controller":true}]}}`,
			},
			kube.ConfigMaps: {"app/fdb-cluster-file": fmt.Sprintf(`{"data":{"fdb.cluster":%q}}`, clusterFile+"\n")},
			kube.Services:   {"app/fdb-cluster": `{"spec":{"clusterIP":"None"}}`},
		},
		logs: map[string]string{"api-1/api": "{\"msg\":\"serving\"}\n"},
	}
}

// Each fault of the history that the ladder is for breaks its own rung first.
func TestLadder(t *testing.T) {
	crashing := func(code int, reason string) string {
		return fmt.Sprintf(`"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off"}},"lastState":{"terminated":{"exitCode":%d,"reason":%q}}`, code, reason)
	}
	prepared := `"state":{"terminated":{"exitCode":0}}`
	for name, test := range map[string]struct {
		change func(live)
		first  string // the first rung that breaks; "" for none
		told   string
	}{
		"well":       {func(live) {}, "", "Nothing is to be mended"},
		"no release": {func(l live) { delete(l.objects[kube.Pods], "app/api-1") }, "pods", "serviceImageBlue"},
		"an image that is another program": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(crashing(0, "Completed"), "False", "/api/v5/ready", prepared)
			l.logs["api-1/api"] = ""
		}, "exit code 0", "make verify-binary"},
		"no logs": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(`"state":{"running":{}}`, "False", "/api/v5/ready", prepared)
			l.logs["api-1/api"] = ""
		}, "logs", "not one line"},
		"no such image": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(`"state":{"waiting":{"reason":"ImagePullBackOff","message":"not found"}}`, "False", "/api/v5/ready", prepared)
		}, "image", "ImagePullBackOff"},
		"a secret without a value": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(`"state":{"waiting":{"reason":"ContainerCreating"}}`, "False", "/api/v5/ready", prepared)
		}, "mounts and settings", "ContainerCreating"},
		"a setting that is refused": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(crashing(2, "Error"), "False", "/api/v5/ready", prepared)
			l.logs["api-1/api"] = "starting\nCODITECT_LISTEN: no address\n"
		}, "crashes", "exit code 2: CODITECT_LISTEN: no address"},
		"too little memory": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(crashing(137, "OOMKilled"), "False", "/api/v5/ready", prepared)
		}, "crashes", "pod-memory.md"},
		"a probe of another path": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(`"state":{"running":{}}`, "False", "/health", prepared)
		}, "probe paths", "readiness 8080/health"},
		"no cluster file": {func(l live) { delete(l.objects[kube.ConfigMaps], "app/fdb-cluster-file") }, "cluster file", "one line like"},
		"a torn cluster file": {func(l live) {
			l.objects[kube.ConfigMaps]["app/fdb-cluster-file"] = `{"data":{"fdb.cluster":"coditect:abc"}}`
		}, "cluster file", "coditect:abc"},
		"no names": {func(l live) { delete(l.objects[kube.Services], "app/fdb-cluster") }, "DNS", "there is no Service fdb-cluster"},
		"a coordinator that is not there": {func(l live) {
			l.objects[kube.ConfigMaps]["app/fdb-cluster-file"] = fmt.Sprintf(`{"data":{"fdb.cluster":%q}}`, clusterFile+",foundationdb-1.fdb-cluster.app.svc.cluster.local:4500")
		}, "DNS", "no pod answers to foundationdb-1"},
		"DNS that does not answer": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(`"state":{"waiting":{"reason":"PodInitializing"}}`, "False", "/api/v5/ready", `"state":{"running":{}}`)
			l.logs["api-1/cluster-file"] = "no coordinator has a name: foundationdb-0\n"
		}, "DNS", "finds no coordinator by its name"},
		"a database that is down": {func(l live) {
			l.objects[kube.Pods]["app/foundationdb-0"] = strings.ReplaceAll(l.objects[kube.Pods]["app/foundationdb-0"], `"True"`, `"False"`)
		}, "database", "0 of 1 pods ready"},
		"not ready": {func(l live) {
			l.objects[kube.Pods]["app/api-1"] = pod(`"state":{"running":{}}`, "False", "/api/v5/ready", prepared)
		}, "ready", "database-unavailable.md"},
	} {
		t.Run(name, func(t *testing.T) {
			l := healthy()
			test.change(l)
			w, err := doctor.Observe(t.Context(), l, names)
			if err != nil {
				t.Fatal(err)
			}
			report := doctor.Report{}
			w.Climb(&report)
			first := ""
			if i := slices.IndexFunc(report.Checks, func(c doctor.Check) bool { return c.State == doctor.Mend }); i >= 0 {
				first = report.Checks[i].What
			}
			if first != test.first || !strings.Contains(text(report), test.told) {
				t.Errorf("%q breaks first, want %q, and %q told:\n%s", first, test.first, test.told, text(report))
			}
		})
	}
}
