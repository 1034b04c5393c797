package scripts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func readAll() (string, error) {
	raw, err := io.ReadAll(os.Stdin)
	return string(raw), err
}

// container returns that of a Job or CronJob as a plan has it.
func containerOf(t *testing.T, file, name, within string) corev1.Container {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "program", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.SplitSeq(string(raw), "\n---\n") {
		if !strings.HasPrefix(text, "# kubernetes:batch/v1:") {
			continue
		}
		var job struct {
			Metadata struct{ Name string }
			Spec     struct {
				batchv1.JobSpec

				JobTemplate batchv1.JobTemplateSpec
			}
		}
		if err := yaml.Unmarshal([]byte(text), &job); err != nil {
			t.Fatal(err)
		}
		if job.Metadata.Name == name {
			pod := job.Spec.Template.Spec
			if len(pod.Containers) == 0 {
				pod = job.Spec.JobTemplate.Spec.Template.Spec
			}
			for _, c := range append(pod.Containers, pod.InitContainers...) {
				if within == "" || c.Name == within {
					return c
				}
			}
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return corev1.Container{}
}

// pod runs a container's own command, with its own variables, before the stand-ins.
type pod struct {
	t         *testing.T
	dir       string
	container corev1.Container
}

func newPod(t *testing.T, file, name string, w world) *pod {
	t.Helper()
	return newContainer(t, file, name, "", w)
}

// newContainer is one of a pod's containers, "" for its first.
func newContainer(t *testing.T, file, name, within string, w world) *pod {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	_ = bash
	p := &pod{t: t, dir: t.TempDir(), container: containerOf(t, file, name, within)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(p.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"fdbbackup", "fdbcli", "curl"} {
		if err := os.Symlink(self, filepath.Join(p.dir, "bin", tool)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, "fdb.cluster"), []byte("coditect:0@x:4500\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.set(w)
	return p
}

func (p *pod) path() string { return filepath.Join(p.dir, "world") }

func (p *pod) set(w world) {
	p.t.Helper()
	if err := w.save(p.path()); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pod) world() *world {
	p.t.Helper()
	p.t.Setenv(envWorld, p.path())
	w, err := load()
	if err != nil {
		p.t.Fatal(err)
	}
	return w
}

// run returns what the script wrote, and its exit code.
func (p *pod) run() (string, int) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.container.Command[0], p.container.Command[1:]...)
	cmd.Env = []string{"PATH=" + filepath.Join(p.dir, "bin") + ":" + os.Getenv("PATH"), envWorld + "=" + p.path()}
	for _, v := range p.container.Env {
		value := v.Value
		if v.Name == "FDB_CLUSTER_FILE" {
			value = filepath.Join(p.dir, "fdb.cluster")
		}
		cmd.Env = append(cmd.Env, v.Name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

const phases = "recovery.phases.yaml"

func TestRestore(t *testing.T) {
	whole := map[string]uint64{"coditect": 5000}
	for name, c := range map[string]struct {
		before world
		code   int
		says   string
		calls  int // of `start -w`
	}{
		"into an empty database":                {world{Newest: whole}, 0, "restored to version 4711", 1},
		"after a pod that died":                 {world{Newest: whole, State: "running", Occupied: true}, 0, "restored to version 4711", 0},
		"before its agents have begun":          {world{Newest: whole, State: "queued"}, 1, "the restore is queued", 0},
		"after it has ended":                    {world{Newest: whole, State: "completed", Occupied: true}, 0, "restored to version 4711", 0},
		"after one that was aborted, and empty": {world{Newest: whole, State: "aborted"}, 0, "restored to version 4711", 1},
		"into a database with records":          {world{Newest: whole, Occupied: true}, 1, "non-empty", 1},
		"of a backup that is not there":         {world{}, 1, "Insufficient data", 0},
		"to a version that is too new":          {world{Newest: map[string]uint64{"coditect": 4710}}, 1, "Insufficient data", 0},
		"aborted while it waits":                {world{Newest: whole, Aborts: true}, 1, "the restore is aborted and not completed", 1},
		"killed while it waits":                 {world{Newest: whole, Dies: true}, 137, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, phases, "foundationdb-restore", c.before)
			out, code := p.run()
			starts := 0
			for _, call := range p.world().Calls {
				if strings.HasPrefix(call, "fdbrestore start ") && strings.HasSuffix(call, " -w") {
					starts++
				}
			}
			if code != c.code || !strings.Contains(out, c.says) || starts != c.calls {
				t.Errorf("exit code %d, %d starts: %s", code, starts, out)
			}
		})
	}
}

// A restore whose pod was killed is waited for by the next, which begins nothing anew.
func TestRestoreGoesOn(t *testing.T) {
	p := newPod(t, phases, "foundationdb-restore", world{Newest: map[string]uint64{"coditect": 5000}, Dies: true})
	if out, code := p.run(); code != 137 {
		t.Fatalf("%d %s", code, out)
	}
	out, code := p.run()
	if code != 0 || p.world().State != "completed" {
		t.Errorf("%d %s %+v", code, out, p.world())
	}
	if n := len(slices.DeleteFunc(p.world().Calls, func(call string) bool { return !strings.HasSuffix(call, " -w") })); n != 1 {
		t.Errorf("%d restores were begun", n)
	}
}

func TestBackupBegins(t *testing.T) {
	p := newPod(t, "prod.golden.yaml", "foundationdb-backup-start", world{})
	for range 2 { // the second finds it running
		if out, code := p.run(); code != 0 {
			t.Fatalf("%d %s", code, out)
		}
	}
	if got := fmt.Sprint(p.world().Running); got != "[coditect]" {
		t.Errorf("what runs is %s", got)
	}
	// A rebuilt database writes a backup of its own.
	p = newPod(t, phases, "foundationdb-backup-start", world{})
	if out, code := p.run(); code != 0 || fmt.Sprint(p.world().Running) != "[coditect-2]" {
		t.Errorf("%d %s %v", code, out, p.world().Running)
	}
}

func TestBackupIsInspectedAndThinnedOut(t *testing.T) {
	for _, name := range []string{"foundationdb-backup-describe", "foundationdb-backup-expire"} {
		p := newPod(t, "prod.golden.yaml", name, world{Newest: map[string]uint64{"coditect": 1}})
		if out, code := p.run(); code != 0 {
			t.Errorf("%s: %d %s", name, code, out)
		}
		p.set(world{})
		if out, code := p.run(); code == 0 {
			t.Errorf("%s of a backup that is not there ends well: %s", name, out)
		}
	}
}

// A pair of time and version goes where a recovery looks for it.
func TestPairsAreRecorded(t *testing.T) {
	p := newPod(t, phases, "foundationdb-backup-record", world{Version: "4711"})
	out, code := p.run()
	if code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	object := regexp.MustCompile(`^versions%2Fcoditect-2%2F\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.json$`)
	body := regexp.MustCompile(`^\{"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ","read_version":4711\}\n$`)
	uploads := p.world().Uploads
	for name, text := range uploads {
		if !object.MatchString(name) || !body.MatchString(text) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if len(uploads) != 1 {
		t.Errorf("%v", uploads)
	}
	for _, w := range []world{{Version: "ERROR: no cluster"}, {Version: "1", TokenGone: true}} {
		p.set(w)
		if out, code := p.run(); code == 0 || len(p.world().Uploads) != 0 {
			t.Errorf("%+v: %d %s", w, code, out)
		}
	}
}

// What was counted goes beside the pairs, as the service's command has left it.
func TestCountsAreRecorded(t *testing.T) {
	p := newPod(t, phases, "foundationdb-backup-count", world{})
	for i, v := range p.container.Env {
		if v.Name == "MANIFEST_DIR" {
			p.container.Env[i].Value = p.dir
		}
	}
	if out, code := p.run(); code == 0 {
		t.Errorf("without a manifest it ends well: %s", out)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "manifest.json"), []byte(`{"format":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := p.run()
	if code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	object := regexp.MustCompile(`^manifests%2Fcoditect-2%2F\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.json$`)
	for name, text := range p.world().Uploads {
		if !object.MatchString(name) || text != `{"format":1}` {
			t.Errorf("%s: %s", name, text)
		}
	}
	if n := len(p.world().Uploads); n != 1 {
		t.Errorf("%d objects", n)
	}
}

// A drill restores what was counted, behind what may not be restorable yet, and
// proves it; then the proof is as old as it is.
func TestDrill(t *testing.T) {
	dir := t.TempDir()
	container := func(name, within string, w world) *pod {
		p := newContainer(t, "prod.golden.yaml", name, within, w)
		for i, v := range p.container.Env {
			switch v.Name {
			case "PLAN_DIR":
				p.container.Env[i].Value = dir
			case "FDB_TLS_CA_FILE":
				p.container.Env[i].Value = "/dev/null"
			}
		}
		return p
	}
	name := func(age time.Duration) string {
		return "manifests%2Fcoditect%2F" + strings.ReplaceAll(time.Now().Add(-age).UTC().Format(time.RFC3339), ":", "%3A") + ".json"
	}
	manifest := func(version int) string {
		return fmt.Sprintf("{\n  \"versions\": [\n    {\"read_version\": 1}\n  ],\n  \"inventory\": {\n    \"counts\": {\n      \"users\": 2\n    },\n    \"read_version\": %d,\n    \"exact\": true\n  }\n}\n", version)
	}
	w := world{Newest: map[string]uint64{"coditect": 5000}, Uploads: map[string]string{
		name(time.Minute): manifest(6000), name(time.Hour): manifest(4711), name(2 * time.Hour): manifest(4000),
	}}
	p := container("coditect-drill", "choose", w)
	out, code := p.run()
	if raw, err := os.ReadFile(filepath.Join(dir, "version")); code != 0 || err != nil || string(raw) != "4711\n" {
		t.Fatalf("%d %q %v: %s", code, raw, err, out)
	}
	for _, within := range []string{"restore", "prove"} {
		p = container("coditect-drill", within, *p.world())
		if out, code := p.run(); code != 0 {
			t.Fatalf("%s: %d %s", within, code, out)
		}
	}
	if p.world().State != "completed" {
		t.Errorf("the restore is %q", p.world().State)
	}
	age := container("coditect-drill-age", "", *p.world())
	out, code = age.run()
	var told struct {
		ProvenAgeSeconds *int `json:"provenAgeSeconds"`
	}
	if err := json.Unmarshal([]byte(out), &told); code != 0 || err != nil || told.ProvenAgeSeconds == nil || *told.ProvenAgeSeconds < 0 || *told.ProvenAgeSeconds > 3600 {
		t.Errorf("%d %v: %s", code, err, out)
	}
	age.set(world{})
	if out, code := age.run(); code != 0 || !strings.Contains(out, `"provenAgeSeconds":34560000`) {
		t.Errorf("where nothing was ever proven: %d %s", code, out)
	}
	p = container("coditect-drill", "choose", world{Uploads: map[string]string{name(48 * time.Hour): manifest(1)}})
	if out, code := p.run(); code == 0 || !strings.Contains(out, "was not counted") {
		t.Errorf("without a count: %d %s", code, out)
	}
}
