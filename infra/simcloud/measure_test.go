package simcloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/infra/simcloud/collector"
	"coditect.ai/platform/infra/simcloud/internal/simtest"
)

// monitored is a PodMonitoring of the pods of both slots.
func monitored(path string) map[string]any {
	return object("monitoring.googleapis.com/v1", "PodMonitoring", "api", map[string]any{"spec": map[string]any{
		"selector":     map[string]any{"matchExpressions": []any{map[string]any{"key": "app", "operator": "Exists"}}},
		"endpoints":    []any{map[string]any{"port": "http", "path": path, "interval": "1s"}},
		"targetLabels": map[string]any{"fromPod": []any{map[string]any{"from": "app", "to": "pod_slot"}}},
	}})
}

// series are the labels of what a query selects.
func series(ctx context.Context, address, query string) []map[string]string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), nil)
	if err != nil {
		return nil
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close() // only read
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
			} `json:"result"`
		} `json:"data"`
	}
	if json.NewDecoder(response.Body).Decode(&answer) != nil {
		return nil
	}
	var found []map[string]string
	for _, r := range answer.Data.Result {
		found = append(found, r.Metric)
	}
	return found
}

func TestPodsAreMeasured(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("there is no Prometheus on PATH: install Debian's package prometheus, or `make prometheus`")
	}
	e := open(t)
	if s := e.cloud.Collector.Status(); s != (collector.Status{}) {
		t.Errorf("nothing is to be measured and the status is %+v", s)
	}
	blue := simtest.Deployment("blue", e.image, "v1", 2)
	green := simtest.SetEnv(simtest.Deployment("green", e.image, "v2", 1), "UNREADY", "yes")
	annotate(green, "pulumi.com/skipAwait", "true")
	e.Create(blue, green, monitored("/metrics"))
	address := func() string { return e.cloud.Collector.Status().Address }
	simtest.Eventually(t, "both slots are scraped, the one that is not ready too", func() bool {
		return len(series(t.Context(), address(), `up{namespace="shop",job="api",pod_slot="blue"} == 1`)) == 2 &&
			len(series(t.Context(), address(), `up{pod_slot="green"} == 1`)) == 1
	})
	for _, labels := range series(t.Context(), address(), `up{pod_slot="blue"}`) {
		if !strings.HasPrefix(labels["pod"], "blue-") || labels["instance"] != labels["pod"]+":http" || labels["top_level_controller_name"] != "blue" {
			t.Errorf("the labels of a target are %v", labels)
		}
	}
	// A pod that left is scraped no more.
	e.Update(blue, simtest.Deployment("blue", e.image, "v1", 1))
	simtest.Eventually(t, "one pod of blue is scraped", func() bool { return len(series(t.Context(), address(), `up{pod_slot="blue"}`)) == 1 })

	// It comes back when it dies, with what it had measured.
	before := address()
	for _, name := range children(t) {
		if err := syscall.Kill(name, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	simtest.Eventually(t, "Prometheus is back", func() bool { now := address(); return now != "" && now != before })
	simtest.Eventually(t, "it knows the past", func() bool {
		return len(series(t.Context(), address(), `count_over_time(up{pod_slot="blue"}[10m])`)) == 2
	})
	if s := e.cloud.Collector.Status(); s.Targets != 2 || s.Trouble != "" {
		t.Errorf("the status is %+v", s)
	}
}

// children are the processes of this one that are Prometheus'.
func children(t *testing.T) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for text := range strings.FieldsSeq(string(raw)) {
			var pid int
			if json.Unmarshal([]byte(text), &pid) != nil {
				continue
			}
			if line, err := os.ReadFile("/proc/" + text + "/cmdline"); err == nil && strings.Contains(string(line), t.Name()) && strings.Contains(string(line), "--config.file") {
				pids = append(pids, pid)
			}
		}
	}
	if len(pids) == 0 {
		t.Fatal("Prometheus is no child of this process")
	}
	return pids
}

func TestNothingIsMeasuredWithoutPrometheus(t *testing.T) {
	t.Parallel()
	for name, prometheus := range map[string]string{"absent": filepath.Join(t.TempDir(), "prometheus"), "broken": "false"} {
		cloud, err := simcloud.Open(simcloud.Options{Directory: t.TempDir(), Execute: true, Prometheus: prometheus})
		if err != nil {
			t.Fatal(err)
		}
		engine := simtest.Dial(t, cloud.Providers(), "kubernetes")
		engine.Create(simtest.NamespaceObject())
		engine.Create(monitored("/metrics"))
		simtest.Eventually(t, name+": the status says so", func() bool {
			s := cloud.Collector.Status()
			return s.Address == "" && s.Trouble != ""
		})
		if _, err := os.Stat(prometheus); name == "absent" && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	}
}
