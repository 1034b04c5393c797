package simcloud_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/infra/simcloud/internal/simtest"
)

var serverPath string

func TestMain(m *testing.M) {
	if err := os.Setenv("NOT_FOR_PODS", "x"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(simtest.Main(m, &serverPath))
}

// env is an executing cloud with a Gateway and an engine.
type env struct {
	*simtest.Engine
	t     *testing.T
	cloud *simcloud.Cloud
	image string
	url   string
	port  int
}

func open(t *testing.T) *env {
	t.Helper()
	cloud, err := simcloud.Open(simcloud.Options{
		Directory: t.TempDir(), Execute: true, RestartDelay: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	image, err := cloud.Runtime.PushImage("registry.example/shop/server", serverPath)
	if err != nil {
		t.Fatal(err)
	}
	e := &env{
		Engine: simtest.Dial(t, cloud.Providers(), "kubernetes"), t: t, cloud: cloud, image: image,
		port: simtest.FreePort(t),
	}
	e.url = "http://127.0.0.1:" + strconv.Itoa(e.port)
	e.Create(simtest.NamespaceObject())
	e.Create(simtest.Gateway(e.port))
	return e
}

func (e *env) get(path string) (status int, body string) {
	e.t.Helper()
	status, body, err := get(e.t.Context(), e.url+path)
	if err != nil {
		e.t.Fatal(err)
	}
	return status, body
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close() // only read
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, string(raw), err
}

// traffic asks again and again from several clients until it is stopped, and
// counts answers by status and body.
func (e *env) traffic() (stop func() map[string]int) {
	ctx, cancel := context.WithCancel(e.t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				status, body, err := get(context.WithoutCancel(ctx), e.url+"/")
				answer := fmt.Sprintf("%d %s", status, body)
				if err != nil {
					answer = err.Error()
				}
				mu.Lock()
				answers[answer]++
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	return func() map[string]int {
		cancel()
		clients.Wait()
		return answers
	}
}

func (e *env) wantOnly(answers map[string]int, bodies ...string) {
	e.t.Helper()
	for _, body := range bodies {
		if answers["200 "+body] == 0 {
			e.t.Errorf("no answer of %q among %v", body, answers)
		}
		delete(answers, "200 "+body)
	}
	if len(answers) > 0 {
		e.t.Errorf("answers that should not be: %v", answers)
	}
}

func TestRequestThroughGatewayReachesPods(t *testing.T) {
	t.Parallel()
	e := open(t)
	e.Create(simtest.Deployment("one", e.image, "v1", 2), simtest.Service("one"), simtest.Service("two"),
		simtest.Deployment("two", e.image, "v2", 1),
		simtest.Route("all", "/", simtest.Weighted{Service: "one", Weight: 1}),
		simtest.Route("deep", "/deep", simtest.Weighted{Service: "two", Weight: 1}))
	for path, want := range map[string]string{"/": "v1", "/dee": "v1", "/deep": "v2", "/deep/er": "v2", "/deeper": "v1"} {
		if status, body := e.get(path); status != 200 || body != want {
			t.Errorf("GET %s: %d %q, want %s", path, status, body, want)
		}
	}
	_, seen := e.get("/headers")
	if want := fmt.Sprintf("127.0.0.1:%d 127.0.0.1 /headers", e.port); seen != want {
		t.Errorf("the pod saw %q, want %q", seen, want)
	}
}

func TestImageChangeLosesNoRequest(t *testing.T) {
	t.Parallel()
	e := open(t)
	before := simtest.Deployment("api", e.image, "v1", 2)
	e.Create(before, simtest.Service("api"), simtest.Route("all", "/", simtest.Weighted{Service: "api", Weight: 1}))
	stop := e.traffic()
	after := simtest.Deployment("api", e.image, "v2", 3)
	e.Update(before, after)
	e.Update(after, simtest.Deployment("api", e.image, "v2", 1))
	answers := stop()
	t.Log(answers)
	e.wantOnly(answers, "v1", "v2")
	if w := e.cloud.Runtime.Workloads()[0]; w.Desired != 1 || w.Ready != 1 || !w.Complete {
		t.Errorf("workload is %+v", w)
	}
}

func TestWeightsSplitExactlyAndChangeWithoutLoss(t *testing.T) {
	t.Parallel()
	e := open(t)
	route := func(blue, green int) map[string]any {
		return simtest.Route("all", "/", simtest.Weighted{Service: "blue", Weight: blue}, simtest.Weighted{Service: "green", Weight: green})
	}
	e.Create(simtest.Deployment("blue", e.image, "blue", 1), simtest.Deployment("green", e.image, "green", 1),
		simtest.Service("blue"), simtest.Service("green"), route(90, 10))
	counts := map[string]int{}
	for range 200 {
		_, body := e.get("/")
		counts[body]++
	}
	if counts["blue"] != 180 || counts["green"] != 20 {
		t.Errorf("200 requests were divided %v, want 180 to 20", counts)
	}
	if split := e.cloud.Gateway.Routes()[0].Backends; split[1].Share != 0.1 || split[1].Classes["2xx"] != 20 {
		t.Errorf("the reported split is %+v", split)
	}
	stop := e.traffic()
	last := route(90, 10)
	for _, weight := range []int{50, 100, 0, 75} {
		next := route(100-weight, weight)
		e.Update(last, next)
		last = next
	}
	e.wantOnly(stop(), "blue", "green")
}

func TestKilledPodRestartsWhileTrafficGoesOn(t *testing.T) {
	t.Parallel()
	e := open(t)
	e.Create(simtest.Deployment("api", e.image, "v1", 2), simtest.Service("api"),
		simtest.Route("all", "/", simtest.Weighted{Service: "api", Weight: 1}))
	stop := e.traffic()
	for kill := 1; kill <= 3; kill++ {
		pod := e.cloud.Runtime.Workloads()[0].Pods[0]
		if err := syscall.Kill(pod.Containers[0].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		simtest.Eventually(t, "the pod is back", func() bool {
			now := e.cloud.Runtime.Workloads()[0].Pods[0]
			return now.Ready && now.Containers[0].Restarts == kill
		})
	}
	e.wantOnly(stop(), "v1")
	if last := e.cloud.Runtime.Workloads()[0].Pods[0].Containers[0].LastExit; !strings.Contains(last, "signal 9") {
		t.Errorf("last exit is %q", last)
	}
}

func TestUnhealthyBackends(t *testing.T) {
	t.Parallel()
	e := open(t)
	e.Create(simtest.Service("api"), simtest.Route("all", "/", simtest.Weighted{Service: "api", Weight: 1}))
	if status, body := e.get("/"); status != 503 || !strings.Contains(body, `"success":false`) {
		t.Errorf("without a pod: %d %s", status, body)
	}
	e.Delete(simtest.Service("api"))
	simtest.Eventually(t, "no Service is a 500", func() bool { status, _ := e.get("/"); return status == 500 })
	e.Delete(simtest.Route("all", "/"))
	simtest.Eventually(t, "no route is a 404", func() bool { status, _ := e.get("/"); return status == 404 })
}

func TestWhatKeepsObjectsFromBeingReady(t *testing.T) {
	t.Parallel()
	e := open(t)
	missing := simtest.Deployment("missing", "registry.example/shop/server@sha256:"+strings.Repeat("0", 64), "v1", 1)
	crash := simtest.SetEnv(simtest.Deployment("crash", e.image, "v1", 1), "CRASH", "on purpose")
	unready := simtest.SetEnv(simtest.Deployment("unready", e.image, "v1", 1), "UNREADY", "yes")
	annotate(unready, "pulumi.com/timeoutSeconds", "2")
	noService := simtest.Route("lost", "/", simtest.Weighted{Service: "nobody", Weight: 1})
	annotate(noService, "pulumi.com/timeoutSeconds", "1")
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close() // it only takes a port
	taken := simtest.Gateway(socket.Addr().(*net.TCPAddr).Port)
	taken["metadata"].(map[string]any)["name"] = "taken"
	for name, test := range map[string]struct {
		manifest map[string]any
		want     []string
	}{
		"image":      {missing, []string{"ImagePullBackOff", "never pushed"}},
		"crash loop": {crash, []string{"CrashLoopBackOff", "crashing as told: on purpose", "exited with code 1"}},
		"unready":    {unready, []string{"is not ready after 2s", "0 of 1 pods"}},
		"route":      {noService, []string{`service "nobody" not found`}},
		"port":       {taken, []string{"cannot listen on 127.0.0.1:", "address already in use", "spec.listeners[].port"}},
		"statefulset": {map[string]any{
			"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": missing["metadata"], "spec": missing["spec"],
		}, []string{"ImagePullBackOff", "runs Deployments only"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := e.TryCreate(t.Context(), test.manifest)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
		})
	}
}

func annotate(manifest map[string]any, name, value string) {
	metadata := map[string]any{"annotations": map[string]any{name: value}}
	maps.Copy(metadata, manifest["metadata"].(map[string]any))
	manifest["metadata"] = metadata
}

func TestCancelledWaitIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	e := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting atomic.Bool
	ended := make(chan error, 1)
	missing := simtest.SetEnv(simtest.Deployment("api", e.image, "v1", 1), "UNREADY", "yes")
	go func() {
		waiting.Store(true)
		ended <- e.TryCreate(ctx, missing)
	}()
	simtest.Eventually(t, "the pod runs", func() bool {
		w := e.cloud.Runtime.Workloads()
		return waiting.Load() && len(w) == 1 && len(w[0].Pods) == 1 && w[0].Pods[0].Containers[0].PID != 0
	})
	cancel()
	if err := <-ended; err == nil {
		t.Fatal("the cancelled create succeeded")
	}
	// The engine never heard of the object, and creates it once more.
	e.Create(simtest.Deployment("api", e.image, "v1", 1))
}

func TestFailureIsTriedAgain(t *testing.T) {
	t.Parallel()
	e := open(t)
	e.Create(object("v1", "ConfigMap", "settings", map[string]any{"data": map[string]any{"crash": "yes"}}))
	d := simtest.Deployment("api", e.image, "v1", 1)
	container := simtest.Container(d)
	container["env"] = append(container["env"].([]any), map[string]any{"name": "CRASH", "valueFrom": map[string]any{
		"configMapKeyRef": map[string]any{"name": "settings", "key": "crash", "optional": true},
	}})
	if err := e.TryCreate(t.Context(), d); err == nil {
		t.Fatal("a crashing pod is ready")
	}
	e.Update(object("v1", "ConfigMap", "settings", nil), object("v1", "ConfigMap", "settings", map[string]any{"data": map[string]any{}}))
	e.Update(d, d) // as an engine does that knows of a failure

	port := simtest.FreePort(t)
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.TryUpdate(simtest.Gateway(e.port), simtest.Gateway(port)); err == nil {
		t.Error("a port that is taken is listened on")
	}
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	e.Update(simtest.Gateway(port), simtest.Gateway(port))
}
