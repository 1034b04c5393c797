package store_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"coditect.ai/platform/infra/simcloud/store"
)

func TestObjectsSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.json")
	s, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	key := store.Key{Kind: "/Service", Namespace: "a", Name: "b"}
	for i, inputs := range []map[string]any{{"n": 1}, {"n": 1}, {"n": 2}} {
		stored, err := s.Put(store.Object{Key: key, URN: "u", Inputs: inputs})
		if want := []int64{1, 1, 2}[i]; err != nil || stored.Generation != want {
			t.Errorf("generation %d (%v), want %d", stored.Generation, err, want)
		}
	}
	first, err := s.NextSerial()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetRetain(true); err != nil {
		t.Fatal(err)
	}
	s.SetStatus(key, store.Status{Ready: true})

	again, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	object, ok := again.Get(key)
	if !ok || object.Inputs["n"] != float64(2) || object.Generation != 2 || !again.Retain() {
		t.Errorf("read back %+v", object)
	}
	if second, err := again.NextSerial(); err != nil || second <= first {
		t.Errorf("serial %d after %d (%v)", second, first, err)
	}
	if again.Status(key).Ready {
		t.Error("a controller's word outlived its process")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v (%v)", info.Mode(), err)
	}
	if err := again.Delete(key, key); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("files are left behind: %v (%v)", entries, err)
	}
}

func TestWhatCannotBeStoredChangesNothing(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "gone")
	s, err := store.Open(filepath.Join(directory, "objects.json"))
	if err != nil {
		t.Fatal(err)
	}
	key := store.Key{Kind: "/Service", Name: "b"}
	if _, err := s.Put(store.Object{Key: key}); err == nil {
		t.Fatal("stored where there is no directory")
	}
	if _, ok := s.Get(key); ok {
		t.Error("it is there although it is not on disk")
	}
}

func TestChangesAreNotMissed(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "objects.json"))
	if err != nil {
		t.Fatal(err)
	}
	key := store.Key{Kind: "/Service", Name: "b"}
	for what, change := range map[string]func() error{
		"put":    func() error { _, err := s.Put(store.Object{Key: key}); return err },
		"status": func() error { s.SetStatus(key, store.Status{Ready: true}); return nil },
	} {
		if what == "status" {
			if _, err := s.Put(store.Object{Key: key}); err != nil {
				t.Fatal(err)
			}
		}
		changed := s.Changed()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Errorf("%s told nobody", what)
		}
	}
	quiet := s.Changed()
	s.SetStatus(key, store.Status{Ready: true})
	select {
	case <-quiet:
		t.Error("the same status again is told as a change")
	default:
	}
}

// A change by hand leaves what it does not name, and makes what is absent.
func TestChange(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "objects.json"))
	if err != nil {
		t.Fatal(err)
	}
	key := store.Key{Kind: "/ConfigMap", Namespace: "n", Name: "c"}
	if _, err := s.Put(store.Object{Key: key, URN: "urn", Inputs: map[string]any{"data": map[string]any{"a": "1", "b": "2"}, "kind": "ConfigMap"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Change(key, map[string]any{"data": map[string]any{"a": "3", "b": nil, "c": map[string]any{"d": "4"}}}); err != nil {
		t.Fatal(err)
	}
	got, _ := s.Get(key)
	want := map[string]any{"data": map[string]any{"a": "3", "c": map[string]any{"d": "4"}}, "kind": "ConfigMap"}
	if !reflect.DeepEqual(got.Inputs, want) || got.URN != "urn" || got.Generation != 2 {
		t.Errorf("%+v", got)
	}
	absent := store.Key{Kind: "/Secret", Namespace: "n", Name: "s"}
	if err := s.Change(absent, map[string]any{"kind": "Secret"}); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Get(absent); !ok || got.URN != "" || got.Inputs["kind"] != "Secret" {
		t.Errorf("%+v %t", got, ok)
	}
}
