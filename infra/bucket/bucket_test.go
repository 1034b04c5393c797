package bucket

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"coditect.ai/platform/infra/workflow"
)

// cloud answers as Cloud Storage's JSON API does: paths, preconditions and generations.
type cloud struct {
	mu      sync.Mutex
	objects map[string]object
	status  int // answers this, if it is set
}

type object struct {
	content    []byte
	generation int
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != 0 {
		w.WriteHeader(c.status)
		return
	}
	switch {
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.EscapedPath(), "/storage/v1/b/records/o/") && r.URL.Query().Get("alt") == "media":
		name := strings.TrimPrefix(r.URL.Path, "/storage/v1/b/records/o/")
		if strings.Contains(strings.TrimPrefix(r.URL.EscapedPath(), "/storage/v1/b/records/o/"), "/") {
			w.WriteHeader(http.StatusBadRequest) // an object's name is one segment
			return
		}
		o, there := c.objects[name]
		if !there {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "No such object: records/"+name)
			return
		}
		w.Header().Set("X-Goog-Generation", strconv.Itoa(o.generation))
		_, _ = w.Write(o.content)
	case r.Method == http.MethodGet && r.URL.Path == "/storage/v1/b/records/o":
		names := []string{}
		for name := range c.objects {
			if strings.HasPrefix(name, r.URL.Query().Get("prefix")) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		const size = 2 // a page
		from, _ := strconv.Atoi(r.URL.Query().Get("pageToken"))
		page := map[string]any{}
		items := []map[string]string{}
		for _, name := range names[min(from, len(names)):min(from+size, len(names))] {
			items = append(items, map[string]string{"name": name})
		}
		if len(items) > 0 { // the API leaves an empty list out
			page["items"] = items
		}
		if from+size < len(names) {
			page["nextPageToken"] = strconv.Itoa(from + size)
		}
		answer(w, page)
	case r.Method == http.MethodPost && r.URL.Path == "/upload/storage/v1/b/records/o" && r.URL.Query().Get("uploadType") == "media":
		name, was := r.URL.Query().Get("name"), r.URL.Query().Get("ifGenerationMatch")
		o := c.objects[name]
		if was != strconv.Itoa(o.generation) {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		content, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		o = object{content, o.generation + 1}
		c.objects[name] = o
		answer(w, map[string]string{"name": name, "generation": strconv.Itoa(o.generation)})
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "The specified bucket does not exist.")
	}
}

func answer[T any](w http.ResponseWriter, value T) {
	if err := json.NewEncoder(w).Encode(value); err != nil {
		panic(err) // of a test's own maps
	}
}

func open(t *testing.T) (*Store, *cloud) {
	t.Helper()
	c := &cloud{objects: map[string]object{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	b := &Bucket{name: "records", endpoint: server.URL, http: server.Client()}
	return b.Store("operations"), c
}

// TestStore: what is saved is read, and a writer that has not seen the newest is refused.
func TestStore(t *testing.T) {
	s, c := open(t)
	if _, _, err := s.Get(t.Context(), "rollout"); !errors.Is(err, workflow.ErrAbsent) {
		t.Fatalf("before the first: %v", err)
	}
	first, err := s.Put(t.Context(), "rollout", []byte(`{"n":1}`), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "rollout", []byte(`{"n":2}`), ""); !errors.Is(err, workflow.ErrChanged) {
		t.Errorf("a second first: %v", err)
	}
	second, err := s.Put(t.Context(), "rollout", []byte(`{"n":3}`), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "rollout", []byte(`{"n":4}`), first); !errors.Is(err, workflow.ErrChanged) {
		t.Errorf("a writer that is behind: %v", err)
	}
	content, version, err := s.Get(t.Context(), "rollout")
	if err != nil || string(content) != `{"n":3}` || version != second {
		t.Errorf("read %s at %s, %v", content, version, err)
	}
	if _, there := c.objects["operations/rollout.json"]; !there {
		t.Errorf("objects %v", c.objects)
	}
}

// TestLease: the lease of package workflow holds over it, whoever asks at once.
func TestLease(t *testing.T) {
	s, _ := open(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	held := 0
	for range 8 {
		all.Go(func() {
			if _, err := workflow.Acquire(t.Context(), s, "rollout", workflow.Owner{Name: "x"}, 0, nil); err == nil {
				mu.Lock()
				held++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if held != 1 {
		t.Errorf("%d hold the lease", held)
	}
}

// TestFailures: each answer that is no success says what to do, and none is taken for absence.
func TestFailures(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusForbidden: "may not use the bucket", http.StatusUnauthorized: "may not use the bucket",
		http.StatusInternalServerError: "500", http.StatusTooManyRequests: "429", http.StatusNoContent: "204",
	} {
		s, c := open(t)
		c.status = status
		_, _, err := s.Get(t.Context(), "rollout")
		if err == nil || errors.Is(err, workflow.ErrAbsent) || !strings.Contains(err.Error(), want) {
			t.Errorf("read at %d: %v, want %q", status, err, want)
		}
		if _, err := s.Put(t.Context(), "rollout", []byte("{}"), ""); err == nil || errors.Is(err, workflow.ErrChanged) {
			t.Errorf("save at %d: %v", status, err)
		}
	}
	s, _ := open(t)
	s.name = "another"
	if _, _, err := s.Get(t.Context(), "rollout"); err == nil || errors.Is(err, workflow.ErrAbsent) || !strings.Contains(err.Error(), "there is no bucket") {
		t.Errorf("a bucket that there is not: %v", err)
	}
	if _, err := s.Put(t.Context(), "rollout", make([]byte, maxDocument+1), ""); err == nil {
		t.Error("a document without end is saved")
	}
}

// TestNames: all of them, over pages and in order; none is no failure.
func TestNames(t *testing.T) {
	s, c := open(t)
	for _, name := range []string{"versions/c", "versions/a", "versions/e", "versions/b", "versions/d", "files/x"} {
		c.objects[name] = object{[]byte(name), 1}
	}
	names, err := s.Names(t.Context(), "versions/")
	if err != nil || !slices.Equal(names, []string{"versions/a", "versions/b", "versions/c", "versions/d", "versions/e"}) {
		t.Errorf("%v, %v", names, err)
	}
	if names, err := s.Names(t.Context(), "nothing/"); err != nil || len(names) != 0 {
		t.Errorf("of nothing: %v, %v", names, err)
	}
	if content, err := s.Read(t.Context(), "files/x"); err != nil || string(content) != "files/x" {
		t.Errorf("read %s, %v", content, err)
	}
	s.name = "another"
	if _, err := s.Names(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "there is no bucket") {
		t.Errorf("of a bucket that there is not: %v", err)
	}
}
