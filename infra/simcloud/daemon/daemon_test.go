package daemon_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"coditect.ai/platform/infra/simcloud/daemon"
	"coditect.ai/platform/infra/simcloud/internal/simtest"
)

// asDaemon makes this test binary the daemon of a directory.
const asDaemon = "SIMCLOUD_TEST_DAEMON"

var serverPath string

func TestMain(m *testing.M) {
	if directory := os.Getenv(asDaemon); directory != "" {
		err := daemon.Serve(context.Background(), daemon.Options{
			Directory: directory, Build: os.Getenv("SIMCLOUD_TEST_BUILD"), RestartDelay: 200 * time.Millisecond,
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(simtest.Main(m, &serverPath))
}

// start brings up the directory's daemon, of the given build.
func start(t *testing.T, directory, build string) *daemon.Client {
	t.Helper()
	t.Setenv(asDaemon, directory)
	t.Setenv("SIMCLOUD_TEST_BUILD", build)
	client, err := daemon.Start(t.Context(), daemon.StartOptions{Directory: directory, Build: build})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if left, err := daemon.Connect(ctx, directory); err == nil {
			if err := left.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	return client
}

// shop is a Deployment with a volume and a secret behind a Gateway.
type shop struct {
	port      int
	manifests []map[string]any
}

func open(t *testing.T, client *daemon.Client) shop {
	t.Helper()
	image, err := client.PushImage(t.Context(), "registry.example/shop/server", serverPath)
	if err != nil {
		t.Fatal(err)
	}
	deployment := simtest.Deployment("api", image, "v1", 2)
	pod, container := simtest.PodSpec(deployment), simtest.Container(deployment)
	pod["volumes"] = []any{
		map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": "data"}},
		map[string]any{"name": "secrets", "csi": map[string]any{
			"driver": "secrets-store-gke.csi.k8s.io", "volumeAttributes": map[string]any{"secretProviderClass": "keys"},
		}},
	}
	container["volumeMounts"] = []any{
		map[string]any{"name": "data", "mountPath": "/var/lib/shop"},
		map[string]any{"name": "secrets", "mountPath": "/var/run/secrets/shop"},
	}
	simtest.SetEnv(deployment, "DATA", "/var/lib/shop")
	simtest.SetEnv(deployment, "STORED", "/var/lib/shop/value")
	simtest.SetEnv(deployment, "KEY", "/var/run/secrets/shop/key")
	s := shop{port: simtest.FreePort(t)}
	s.manifests = []map[string]any{
		simtest.NamespaceObject(),
		{
			"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": "data", "namespace": simtest.Namespace},
			"spec": map[string]any{
				"accessModes": []any{"ReadWriteMany"}, "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}},
			},
		},
		{
			"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
			"metadata": map[string]any{"name": "keys", "namespace": simtest.Namespace},
			"spec": map[string]any{"provider": "gke", "parameters": map[string]any{
				"secrets": "- resourceName: projects/p/secrets/jwt/versions/latest\n  path: key\n",
			}},
		},
		deployment, simtest.Service("api"), simtest.Gateway(s.port),
		simtest.Route("all", "/", simtest.Weighted{Service: "api", Weight: 1}),
	}
	s.create(t, client)
	return s
}

func (s shop) create(t *testing.T, client *daemon.Client) {
	t.Helper()
	simtest.Dial(t, client.Providers(), "gcp").CreateResource("gcp:secretmanager/secret:Secret", "jwt",
		map[string]any{"secretId": "jwt", "replication": map[string]any{"auto": map[string]any{}}})
	if _, err := client.EnsureSecretVersion(t.Context(), "jwt", []byte(rand.Text())); err != nil {
		t.Fatal(err)
	}
	cluster := simtest.Dial(t, client.Providers(), "kubernetes")
	cluster.Create(s.manifests[0])
	cluster.Create(s.manifests[1:]...)
}

func (s shop) delete(t *testing.T, client *daemon.Client) {
	t.Helper()
	cluster := simtest.Dial(t, client.Providers(), "kubernetes")
	cluster.Delete(s.manifests[0]) // the namespace takes all along
	simtest.Dial(t, client.Providers(), "gcp").DeleteResource("gcp:secretmanager/secret:Secret", "jwt", "projects/simcloud/secrets/jwt")
}

func (s shop) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(s.port)+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close() // only read
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(raw)
}

func pids(t *testing.T, client *daemon.Client) []int {
	t.Helper()
	status, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, workload := range status.Workloads {
		for _, pod := range workload.Pods {
			for _, container := range pod.Containers {
				if container.PID != 0 {
					found = append(found, container.PID)
				}
			}
		}
	}
	return found
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestKilledDaemonLeavesNothingAndComesBack(t *testing.T) {
	directory := t.TempDir()
	client := start(t, directory, "one")
	s := open(t, client)
	if status, body := s.get(t, "/write?value=kept"); status != 200 {
		t.Fatalf("write: %d %s", status, body)
	}
	_, key := s.get(t, "/file?variable=KEY")
	if len(key) != len(rand.Text()) {
		t.Errorf("the key is %q, want the value that was given", key)
	}
	before := pids(t, client)
	if len(before) != 2 {
		t.Fatalf("%d processes, want 2", len(before))
	}
	if err := syscall.Kill(client.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pid := range append(before, client.PID()) {
		simtest.Eventually(t, "all processes are gone", func() bool { return gone(pid) })
	}
	if _, err := daemon.Connect(t.Context(), directory); !errors.Is(err, daemon.ErrNotRunning) {
		t.Errorf("connect to a dead daemon: %v", err)
	}
	back := start(t, directory, "one")
	simtest.Eventually(t, "pods and gateway are back", func() bool {
		status, body := s.get(t, "/file?variable=STORED")
		return status == 200 && body == "kept"
	})
	if _, again := s.get(t, "/file?variable=KEY"); again != key {
		t.Error("the secret is another one")
	}
	left := pids(t, back)
	if err := back.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range left {
		if !gone(pid) {
			t.Errorf("process %d outlives the shutdown", pid)
		}
	}
	simtest.Eventually(t, "the daemon is gone", func() bool { return gone(back.PID()) })
}

func TestRetain(t *testing.T) {
	for _, retain := range []bool{true, false} {
		t.Run(strconv.FormatBool(retain), func(t *testing.T) {
			directory := t.TempDir()
			client := start(t, directory, "one")
			s := open(t, client)
			s.get(t, "/write?value=kept")
			_, key := s.get(t, "/file?variable=KEY")
			if err := client.SetReclaimPolicy(t.Context(), retain); err != nil {
				t.Fatal(err)
			}
			s.delete(t, client)
			if left := pids(t, client); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
			if status, err := client.Status(t.Context()); err != nil || status.Objects != 0 {
				t.Errorf("%d objects are left (%v)", status.Objects, err)
			}
			s.create(t, client)
			_, value := s.get(t, "/file?variable=STORED")
			_, after := s.get(t, "/file?variable=KEY")
			if (value == "kept") != retain || (after == key) != retain {
				t.Errorf("with retain=%t the stored value is %q and the key stayed the same: %t", retain, value, after == key)
			}
		})
	}
}

func TestOneDaemonForADirectory(t *testing.T) {
	directory := t.TempDir()
	first := start(t, directory, "one")
	var starting sync.WaitGroup
	for range 3 {
		starting.Go(func() {
			if again, err := daemon.Start(t.Context(), daemon.StartOptions{Directory: directory, Build: "one"}); err != nil || again.PID() != first.PID() {
				t.Errorf("start again: %v", err)
			}
		})
	}
	starting.Wait()
	if err := daemon.Serve(t.Context(), daemon.Options{Directory: directory}); !errors.Is(err, daemon.ErrRunning) {
		t.Errorf("a second daemon: %v, want ErrRunning", err)
	}
	newer := start(t, directory, "two")
	if newer.PID() == first.PID() || newer.Build() != "two" {
		t.Errorf("the daemon of the older build is still in charge")
	}
	simtest.Eventually(t, "the daemon of the older build is gone", func() bool { return gone(first.PID()) })
	info, err := os.Stat(filepath.Join(directory, "daemon.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the record with the token has mode %v (%v)", info.Mode(), err)
	}
}

func TestStartWaitsForOneThatEnds(t *testing.T) {
	directory := t.TempDir()
	first := start(t, directory, "one")
	open(t, first)
	ended := make(chan error, 1)
	go func() { ended <- first.Shutdown(t.Context()) }()
	for {
		if _, err := first.Status(t.Context()); err != nil {
			break
		}
	}
	second := start(t, directory, "one")
	if second.PID() == first.PID() {
		t.Error("the daemon that ends is taken for one that runs")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDaemonEndsWithItsDirectory(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "environment")
	client := start(t, directory, "one")
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	simtest.Eventually(t, "the daemon is gone", func() bool { return gone(client.PID()) })
}

func TestDamagedRecordIsNobodys(t *testing.T) {
	directory := t.TempDir()
	first := start(t, directory, "one")
	if err := os.WriteFile(filepath.Join(directory, "daemon.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if second := start(t, directory, "one"); second.PID() == first.PID() {
		t.Errorf("daemon %d runs on", first.PID())
	}
	// It has let go of the directory; its process ends a moment later.
	simtest.Eventually(t, "the first daemon is gone", func() bool { return gone(first.PID()) })
}

func TestStartTellsWhyItFailed(t *testing.T) {
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, "objects.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(asDaemon, directory)
	_, err := daemon.Start(t.Context(), daemon.StartOptions{Directory: directory, Build: "one"})
	if err == nil || !strings.Contains(err.Error(), "objects.json") {
		t.Errorf("%v does not name the file at fault", err)
	}
}
