// Package store owns the simulated cloud's objects: what was asked for, which
// survives kill -9, and what controllers say has become of it, which does not
// and is found out anew.
//
// It imports nothing of simcloud.
package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Key names an object. Kind is "<group>/<Kind>" for Kubernetes ("apps/Deployment",
// "/Service") and the type's token for gcp, so that the two never meet.
type Key struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// ID is how Pulumi's Kubernetes provider writes the name.
func (k Key) ID() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Object is one thing of the cloud. Its maps hold plain JSON and are never
// changed once they are stored: whoever gets an Object only reads it.
type Object struct {
	Key     Key            `json:"key"`
	UID     string         `json:"uid"`
	URN     string         `json:"urn"` // who made it
	Created time.Time      `json:"created"`
	Inputs  map[string]any `json:"inputs"`            // what was asked for
	Outputs map[string]any `json:"outputs,omitempty"` // what the cloud chose for it
	// Generation grows with every change of Inputs.
	Generation int64 `json:"generation"`
}

// Decode writes what was asked for into a typed object.
func (o Object) Decode(into any) error {
	raw, err := json.Marshal(o.Inputs)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", o.Key.Kind, o.Key.ID(), err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode %s %s: %w", o.Key.Kind, o.Key.ID(), err)
	}
	return nil
}

// Status is what a controller says about an object.
type Status struct {
	Generation int64          // of the object that it speaks of
	Ready      bool           // nothing more to wait for
	Failed     bool           // waiting longer would not help
	Reasons    []string       // why it is not ready
	Fields     map[string]any // the object's status field
}

// Store is safe for concurrent use.
type Store struct {
	path string
	Notifier

	mu       sync.Mutex
	state    state
	statuses map[Key]Status
}

type state struct {
	Serial  uint64
	Retain  bool
	Objects map[Key]Object
}

type stateFile struct {
	Format  int      `json:"format"`
	Serial  uint64   `json:"serial"`
	Retain  bool     `json:"retain"`
	Objects []Object `json:"objects"`
}

const format = 1

// Open reads the objects at path, which need not exist yet.
func Open(path string) (*Store, error) {
	s := &Store{path: path, state: state{Objects: map[Key]Object{}}, statuses: map[Key]Status{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the cloud's objects: %w", err)
	}
	var file stateFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("read the cloud's objects in %s: %w", path, err)
	}
	if file.Format != format {
		return nil, fmt.Errorf("%s has format %d and this build reads %d", path, file.Format, format)
	}
	s.state.Serial, s.state.Retain = file.Serial, file.Retain
	for _, object := range file.Objects {
		s.state.Objects[object.Key] = object
	}
	return s, nil
}

// Get returns the object.
func (s *Store) Get(key Key) (Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, ok := s.state.Objects[key]
	return object, ok
}

// List returns the objects of a kind in order of namespace and name; an empty namespace means all.
func (s *Store) List(kind, namespace string) []Object {
	return s.Select(func(k Key) bool {
		return k.Kind == kind && (namespace == "" || k.Namespace == namespace)
	})
}

// Select returns the objects whose key is wanted, in order of their keys.
func (s *Store) Select(wanted func(Key) bool) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Object
	for key, object := range s.state.Objects {
		if wanted(key) {
			found = append(found, object)
		}
	}
	slices.SortFunc(found, compare)
	return found
}

// Put stores what was asked for and counts the generation up if it is new, or if a
// controller has given it up: to ask again is to want another attempt.
// It returns once the object is on disk.
func (s *Store) Put(object Object) (Object, error) {
	// Through JSON and back: nothing is shared with the caller, and an object read
	// back from disk is equal to one just stored.
	object, err := clone(object)
	if err != nil {
		return Object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, existed := s.state.Objects[object.Key]
	switch {
	case !existed:
		object.Generation = 1
	case reflect.DeepEqual(old.Inputs, object.Inputs) && !s.statuses[object.Key].Failed:
		object.Generation = old.Generation
	default:
		object.Generation = old.Generation + 1
	}
	next := s.state
	next.Objects = maps.Clone(next.Objects)
	next.Objects[object.Key] = object
	if err := s.commit(next); err != nil {
		return Object{}, err
	}
	return object, nil
}

// Change merges patch (RFC 7386) into what the object was asked to be; one that
// is absent is made, by nobody.
func (s *Store) Change(key Key, patch map[string]any) error {
	object, ok := s.Get(key)
	if !ok {
		object = Object{Key: key, Created: time.Now().UTC().Truncate(time.Second)}
	}
	object.Inputs = merge(object.Inputs, patch)
	_, err := s.Put(object)
	return err
}

// merge leaves both of its arguments as they are.
func merge(into, patch map[string]any) map[string]any {
	merged := maps.Clone(into)
	if merged == nil {
		merged = map[string]any{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged, name)
		case map[string]any:
			inner, _ := merged[name].(map[string]any)
			merged[name] = merge(inner, value)
		default:
			merged[name] = value
		}
	}
	return merged
}

// Delete removes the objects; those that are absent are no error.
func (s *Store) Delete(keys ...Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.state
	next.Objects = maps.Clone(next.Objects)
	for _, key := range keys {
		delete(next.Objects, key)
	}
	if len(next.Objects) == len(s.state.Objects) {
		return nil
	}
	if err := s.commit(next); err != nil {
		return err
	}
	for _, key := range keys {
		delete(s.statuses, key)
	}
	return nil
}

// NextSerial returns a number that was never returned before, in this life or an earlier one.
func (s *Store) NextSerial() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.state
	next.Serial++
	if err := s.commit(next); err != nil {
		return 0, err
	}
	return next.Serial, nil
}

// Retain tells whether data (volumes, secrets' values) outlives the objects that own it.
func (s *Store) Retain() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Retain
}

// SetRetain sets what becomes of data when the objects that own it are deleted.
func (s *Store) SetRetain(retain bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.state
	next.Retain = retain
	return s.commit(next)
}

// SetStatus records what a controller says. Of an absent object nothing is recorded.
func (s *Store) SetStatus(key Key, status Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.state.Objects[key]; !ok || reflect.DeepEqual(s.statuses[key], status) {
		return
	}
	s.statuses[key] = status
	s.Notify()
}

// Status returns what a controller last said about the object.
func (s *Store) Status(key Key) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statuses[key]
}

// commit writes the state and makes it the current one. The caller holds mu.
func (s *Store) commit(next state) error {
	file := stateFile{
		Format: format, Serial: next.Serial, Retain: next.Retain,
		Objects: slices.SortedFunc(maps.Values(next.Objects), compare),
	}
	raw, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		return fmt.Errorf("encode the cloud's objects: %w", err)
	}
	if err := WriteFile(s.path, raw, 0o600); err != nil {
		return fmt.Errorf("store the cloud's objects: %w", err)
	}
	s.state = next
	s.Notify()
	return nil
}

func compare(a, b Object) int {
	return cmp.Or(cmp.Compare(a.Key.Kind, b.Key.Kind),
		cmp.Compare(a.Key.Namespace, b.Key.Namespace), cmp.Compare(a.Key.Name, b.Key.Name))
}

func clone(object Object) (Object, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return Object{}, fmt.Errorf("encode %s %s: %w", object.Key.Kind, object.Key.ID(), err)
	}
	var copied Object
	if err := json.Unmarshal(raw, &copied); err != nil {
		return Object{}, fmt.Errorf("decode %s %s: %w", object.Key.Kind, object.Key.ID(), err)
	}
	return copied, nil
}

// WriteFile replaces the file at path as one step that survives a crash:
// afterwards there is the old content or the new, never a part of one.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // gone already once it was renamed
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
