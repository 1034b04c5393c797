package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/stacks"
)

// world is an environment of the cloud with what is outside of it. It outlives
// whoever operates it, and complains of what must never happen.
type world struct {
	t      *testing.T
	server *httptest.Server

	mu sync.Mutex
	// committed are the settings of the file; applied those of the last update.
	committed, applied map[string]string
	gone               bool // the cluster
	unreachable        bool // the cluster, for whoever asks
	// databases are records by generation: the users. One that is there and nil is empty.
	databases map[int]map[string]string
	jobs      map[string]*job
	tokens    map[string]string
	serial    int
	bucket    map[string]string
	noSecret  bool
	broken    string // the name of a Job that fails
	faults    int64  // that a check finds
	updates   []string

	left   int // acts until the operator's process dies; below 0: never
	behind bool
}

type job struct {
	looks int // until it has ended
	fails string
	log   string
}

var errKilled = errors.New("killed")

const generation1 = "2026-11-26T02:15:00Z"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, left: -1,
		committed: map[string]string{
			"project": "coditect-dev", "projectNumber": "1", "clusterAuthorizedNetworks": "203.0.113.7/32", "gatewayHost": "dev.coditect.ai",
			"serviceImageBlue": "registry.example/api@sha256:" + strings.Repeat("1", 64), "backupAccessId": "GOOG1EXAMPLEEXAMPLEEXAMPLE",
		},
		databases: map[int]map[string]string{1: {"ada@example.com": "secret", "eve@example.com": "secret"}},
		jobs:      map[string]*job{}, tokens: map[string]string{},
		bucket: map[string]string{
			"data/coditect/x": "", "versions/coditect/2026-11-26T02:10:00Z.json": `{"at":"2026-11-26T02:10:00Z","read_version":4000}`,
			"versions/coditect/" + generation1 + ".json": `{"at":"` + generation1 + `","read_version":4711}`,
		},
	}
	w.applied = maps.Clone(w.committed)
	w.server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.server.Close)
	return w
}

// operator is a process that operates the world.
func (w *world) operator(generation int, replace bool) *Environment {
	return New(Options{
		Stack: w, Bucket: w, Connect: func(config []byte) (Cluster, error) {
			if string(config) != "kubeconfig" {
				return nil, fmt.Errorf("a cluster is reached with %q", config)
			}
			return w, nil
		},
		Ready: func(context.Context, string) error {
			if w.noSecret {
				return errors.New("the secret has no value")
			}
			return nil
		},
		Generation: generation, Replace: replace, Poll: time.Millisecond,
	})
}

// act does something that cannot be undone, unless the process dies before it.
func (w *world) act(do func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 && !w.behind {
		return errKilled
	}
	err := do()
	if w.left == 0 {
		return errKilled
	}
	w.left--
	return err
}

// dies makes the process die at the nth act, before it or just behind it.
func (w *world) dies(n int, behind bool) { w.left, w.behind = n, behind }

func (w *world) Settings() stacks.Settings {
	s, err := stacks.Load("dev", w.committed)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) Commit(_ context.Context, key, value string) error {
	return w.act(func() error {
		w.committed[key] = value
		return nil
	})
}

func (w *world) Behind(context.Context) ([]Difference, error) {
	return differences(w.applied, func(key string) string { return w.committed[key] }), nil
}

func (w *world) Gone(context.Context) (bool, error) { return w.gone, nil }

func (w *world) Refresh(context.Context) error {
	return w.act(func() error {
		w.updates = append(w.updates, "refresh")
		return nil
	})
}

func (w *world) Outputs(context.Context) (Outputs, error) {
	return Outputs{Address: w.server.URL + contract.BasePath, Kubeconfig: "kubeconfig"}, nil
}

func (w *world) generation() int {
	n, _ := strconv.Atoi(w.applied["databaseGeneration"])
	return max(1, n)
}

func (w *world) Update(ctx context.Context, settings map[string]string, _ ...string) (Outputs, error) {
	err := w.act(func() error {
		merged := maps.Clone(w.committed)
		maps.Copy(merged, settings)
		s, err := stacks.Load("dev", merged)
		if err != nil {
			return err
		}
		was := w.generation()
		w.applied = merged
		w.updates = append(w.updates, fmt.Sprintf("%s %d", s.Recovery.Phase, s.Database.Generation))
		switch {
		case s.Recovery.Phase == stacks.PhaseHalt && w.generation() != was:
			w.t.Errorf("the database halts and becomes another generation at once")
		case s.Recovery.Phase != stacks.PhaseHalt && w.databases[w.generation()] == nil:
			w.databases[w.generation()] = map[string]string{}
		}
		w.gone = false
		if s.Recovery.Phase == stacks.PhaseNone && len(w.databases[w.generation()]) == 0 {
			w.t.Errorf("traffic is let in to an empty database")
		}
		w.work(s)
		return nil
	})
	if err != nil {
		return Outputs{}, err
	}
	return w.Outputs(ctx)
}

// work begins the phase's Job, where it is not there, and takes others away.
func (w *world) work(s stacks.Settings) {
	wanted := map[stacks.Phase]string{stacks.PhaseRestore: backup.RestoreJob, stacks.PhaseCheck: backup.CheckJob}[s.Recovery.Phase]
	maps.DeleteFunc(w.jobs, func(name string, _ *job) bool { return name != wanted })
	if wanted == "" || w.jobs[wanted] != nil {
		return
	}
	j := &job{looks: 2}
	w.jobs[wanted] = j
	records := w.databases[w.generation()]
	switch {
	case w.broken == wanted:
		j.fails = "BackoffLimitExceeded"
		j.log = "ERROR: Attempted to restore into a non-empty destination database\n"
	case wanted == backup.RestoreJob:
		name, version := s.Recovery.Backup()
		if name != "coditect" || version != 4711 {
			w.t.Errorf("restored is %s at %d", name, version)
		}
		if len(records) > 0 {
			j.log = "restored to version 4711\n" // by an earlier attempt
			return
		}
		maps.Copy(records, map[string]string{"ada@example.com": "secret"})
		j.log = "Tag: default\nrestored to version 4711\n"
	default:
		c := contract.Checked{Inventory: contract.Inventory{
			SchemaVersion: 3, Counts: map[string]int64{"users": int64(len(records))}, ReadVersion: 99, Exact: true,
			Fingerprint: "sha256:" + strings.Join(slices.Sorted(maps.Keys(records)), ","),
		}, OK: w.faults == 0, FaultCount: w.faults, Faults: []string{}}
		text, err := json.MarshalIndent(c, "", "  ")
		if err != nil {
			w.t.Fatal(err)
		}
		j.log = string(text) + "\n"
		if w.faults > 0 {
			j.log += "coditect-api: the store has faults, such as: {an index}\n"
			j.fails = "BackoffLimitExceeded"
		}
	}
}

func (w *world) Get(_ context.Context, r kube.Resource, namespace, name string, into any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unreachable {
		return errors.New("the cluster does not answer")
	}
	switch object := into.(type) {
	case *appsv1.StatefulSet:
		if namespace != "coditect-app" || name != "foundationdb" || r != kube.StatefulSets {
			w.t.Errorf("asked for %s/%s", namespace, name)
		}
		if len(w.databases) == 0 {
			return kube.ErrAbsent
		}
	case *batchv1.Job:
		j := w.jobs[name]
		if j == nil {
			return kube.ErrAbsent
		}
		if j.looks--; j.looks > 0 {
			return nil
		}
		done := batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}
		if j.fails != "" {
			done.Type, done.Reason = batchv1.JobFailed, j.fails
		}
		object.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionFalse}, done}
	}
	return nil
}

func (w *world) List(_ context.Context, _ kube.Resource, _, selector string, into any) error {
	name, found := strings.CutPrefix(selector, "batch.kubernetes.io/job-name=")
	pods, ok := into.(*corev1.PodList)
	if !found || !ok {
		w.t.Errorf("asked for %s", selector)
		return nil
	}
	for i, suffix := range []string{"-old", "-new", "-older"} {
		pods.Items = append(pods.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: name + suffix, CreationTimestamp: metav1.NewTime(time.Unix(int64([]int{10, 20, 5}[i]), 0)),
		}})
	}
	return nil
}

func (w *world) Log(_ context.Context, _, pod, container string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, newest := strings.CutSuffix(pod, "-new")
	if !newest || container != "backup" {
		w.t.Errorf("read the log of %s, container %s", pod, container)
	}
	return []byte(w.jobs[name].log), nil
}

func (w *world) Names(_ context.Context, prefix string) ([]string, error) {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(w.bucket)), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

func (w *world) Read(_ context.Context, name string) ([]byte, error) {
	text, found := w.bucket[name]
	if !found {
		return nil, errors.New("no such object")
	}
	return []byte(text), nil
}

// serve is the service behind the gateway, as the settings that were applied last have both.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer := func(status int, data any) {
		rw.WriteHeader(status)
		if err := json.NewEncoder(rw).Encode(map[string]any{"data": data}); err != nil {
			w.t.Log(err) // the client may have gone
		}
	}
	phase := stacks.Phase(w.applied[keyPhase])
	switch {
	case phase == stacks.PhaseRehearse && r.Header.Get(contract.HeaderRehearsal) != w.applied[keyKey]:
		answer(http.StatusNotFound, nil)
		return
	case phase != "" && phase != stacks.PhaseRehearse:
		answer(http.StatusServiceUnavailable, nil)
		return
	}
	users := w.databases[w.generation()]
	var in map[string]string
	_ = json.NewDecoder(r.Body).Decode(&in)
	user := w.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	session := map[string]string{"id": "canary", "name": "canary"}
	switch op := r.Method + " " + strings.TrimPrefix(r.URL.Path, contract.BasePath); {
	case op == "GET /ready":
		answer(http.StatusOK, nil)
	case op == "POST /auth/register":
		users[in["email"]] = in["password"]
		answer(http.StatusCreated, nil)
	case op == "POST /auth/login" && users[in["email"]] == in["password"] && in["password"] != "":
		w.serial++
		token := strconv.Itoa(w.serial)
		w.tokens[token] = in["email"]
		answer(http.StatusOK, map[string]any{"tokens": map[string]string{"access_token": token}})
	case user == "":
		answer(http.StatusUnauthorized, nil)
	case op == "POST /sessions":
		answer(http.StatusCreated, session)
	case strings.HasPrefix(op, "GET /sessions/"):
		answer(http.StatusOK, session)
	case op == "POST /auth/logout":
		clear(w.tokens)
		answer(http.StatusOK, nil)
	case op == "DELETE /users/me":
		delete(users, user)
		answer(http.StatusOK, nil)
	default:
		answer(http.StatusNotFound, nil)
	}
}
