package recovery

import (
	"bytes"
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

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/workflow"
)

// fake is an environment whose records and bucket are in memory and whose
// service is a real HTTP server with as much of the API as a rehearsal uses.
// What it holds outlives whoever operates it, as the real one's does.
type fake struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	serving  bool
	key      string   // of the rehearsal: others are kept out
	records  *records // nil where there are none
	backups  []contract.Manifest
	bucket   map[string]*records
	damaged  map[string]bool
	noSecret bool
	full     bool
	change   func(*records) // happens to records while they are restored
	aside    map[string]*records
	calls    []string
	serial   int
}

// records are what the service keeps.
type records struct {
	Users    map[string]string   // password by address
	Sessions map[string][]string // ids by address
	Tokens   map[string]string   // address by access token
}

func (r *records) clone() *records {
	sessions := map[string][]string{}
	for user, ids := range r.Sessions {
		sessions[user] = slices.Clone(ids)
	}
	return &records{Users: maps.Clone(r.Users), Sessions: sessions, Tokens: map[string]string{}}
}

func newRecords() *records {
	return &records{Users: map[string]string{}, Sessions: map[string][]string{}, Tokens: map[string]string{}}
}

func (r *records) inventory() contract.Inventory {
	sessions, all := 0, []string{}
	for user, ids := range r.Sessions {
		sessions += len(ids)
		all = append(all, ids...)
		_ = user
	}
	all = append(all, slices.Collect(maps.Keys(r.Users))...)
	slices.Sort(all)
	return contract.Inventory{
		SchemaVersion: 1, Counts: map[string]int64{"users": int64(len(r.Users)), "sessions": int64(sessions)},
		Fingerprint: "sha256:" + strings.Join(all, ","),
	}
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, bucket: map[string]*records{}, damaged: map[string]bool{}, aside: map[string]*records{}}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) called(name string) func() {
	f.mu.Lock()
	f.calls = append(f.calls, name)
	return f.mu.Unlock
}

func (f *fake) Backups(context.Context) ([]contract.Manifest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.serving { // continuous: whoever looks finds a new one
		f.backUp(time.Now().UTC())
	}
	return slices.Clone(f.backups), nil
}

// backUp adds a backup. The caller holds mu.
func (f *fake) backUp(at time.Time) {
	f.serial++
	m := contract.Manifest{Format: 1, ID: fmt.Sprintf("backup-%04d", f.serial), CreatedAt: at, Inventory: f.records.inventory()}
	f.bucket[m.ID] = f.records.clone()
	f.backups = append(f.backups, m)
}

func (f *fake) Inspect(_ context.Context, m contract.Manifest) (contract.Manifest, error) {
	defer f.called("inspect")()
	switch {
	case f.damaged[m.ID]:
		return m, errors.New("the backup is damaged")
	case f.noSecret:
		return m, errors.New("the source of secrets has no jwt-secret")
	}
	return m, nil
}

func (f *fake) Version(context.Context) (string, error) { return "v5", nil }

func (f *fake) Occupied(context.Context) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.records != nil, nil
}

func (f *fake) Infrastructure(context.Context) error {
	defer f.called("infrastructure")()
	f.serving = false
	return nil
}

func (f *fake) SetAside(_ context.Context, name string) (string, error) {
	defer f.called("set-aside")()
	if _, done := f.aside[name]; !done && f.records != nil {
		f.aside[name], f.records = f.records, nil
	}
	return name, nil
}

func (f *fake) Restore(_ context.Context, m contract.Manifest) error {
	defer f.called("restore")()
	if f.full {
		return errors.New("no space left on device")
	}
	if f.records != nil {
		if f.records.inventory().Same(m.Inventory) {
			return nil
		}
		return errors.New("the store is not empty")
	}
	f.records = f.bucket[m.ID].clone()
	if f.change != nil {
		f.change(f.records)
	}
	return nil
}

func (f *fake) Check(context.Context) (contract.Checked, error) {
	defer f.called("check")()
	if f.records == nil {
		return contract.Checked{}, errors.New("there is no store")
	}
	return contract.Checked{Inventory: f.records.inventory(), OK: true}, nil
}

func (f *fake) Rehearse(context.Context) (base, key string, err error) {
	defer f.called("rehearse")()
	f.key = "key"
	return f.server.URL, f.key, nil
}

func (f *fake) Admit(context.Context) (string, error) {
	defer f.called("admit")()
	f.serving, f.key = true, ""
	return f.server.URL, nil
}

func (f *fake) Up(context.Context) (string, error) {
	defer f.called("up")()
	f.serving = true
	return f.server.URL, nil
}

func (f *fake) Populate(_ context.Context, users int) error {
	defer f.called("populate")()
	f.records = newRecords()
	for i := range users {
		f.records.Users[fmt.Sprintf("user-%d", i)] = ""
	}
	return nil
}

func (f *fake) Wreck(context.Context) error {
	defer f.called("wreck")()
	f.records, f.serving, f.key = nil, false, ""
	return nil
}

func (f *fake) Remove(context.Context) error {
	defer f.called("remove")()
	f.records, f.serving, f.backups, f.bucket = nil, false, nil, map[string]*records{}
	return nil
}

// serve is the service.
func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := func(status int, data any) {
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(map[string]any{"data": data}); err != nil {
			f.t.Log(err) // the client may have gone
		}
	}
	if f.key != "" && r.Header.Get(contract.HeaderRehearsal) != f.key {
		answer(http.StatusNotFound, nil)
		return
	}
	if f.records == nil {
		answer(http.StatusServiceUnavailable, nil)
		return
	}
	var in map[string]string
	_ = json.NewDecoder(r.Body).Decode(&in)
	user := f.records.Tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	switch op := r.Method + " " + strings.TrimPrefix(r.URL.Path, contract.BasePath); {
	case op == "GET /ready":
		answer(http.StatusOK, nil)
	case op == "POST /auth/register":
		if _, taken := f.records.Users[in["email"]]; taken {
			answer(http.StatusConflict, nil)
			return
		}
		f.records.Users[in["email"]] = in["password"]
		answer(http.StatusCreated, nil)
	case op == "POST /auth/login":
		if p, known := f.records.Users[in["email"]]; !known || p != in["password"] {
			answer(http.StatusUnauthorized, nil)
			return
		}
		f.serial++
		token := fmt.Sprintf("token-%d", f.serial)
		f.records.Tokens[token] = in["email"]
		answer(http.StatusOK, map[string]any{"tokens": map[string]string{"access_token": token}})
	case user == "":
		answer(http.StatusUnauthorized, nil)
	case op == "POST /sessions":
		f.serial++
		id := fmt.Sprintf("%s/%d", in["name"], f.serial)
		f.records.Sessions[user] = append(f.records.Sessions[user], id)
		answer(http.StatusCreated, workspace{ID: id, Name: in["name"]})
	case op == "GET /sessions":
		list := []workspace{}
		for _, id := range f.records.Sessions[user] {
			list = append(list, workspace{ID: id})
		}
		answer(http.StatusOK, list)
	case r.Method == http.MethodGet && strings.HasPrefix(op, "GET /sessions/"):
		id := strings.TrimPrefix(op, "GET /sessions/")
		name, _, _ := strings.Cut(id, "/")
		answer(http.StatusOK, workspace{ID: id, Name: name})
	case op == "POST /auth/logout":
		maps.DeleteFunc(f.records.Tokens, func(_, owner string) bool { return owner == user })
		answer(http.StatusOK, nil)
	case op == "DELETE /users/me":
		delete(f.records.Users, user)
		delete(f.records.Sessions, user)
		answer(http.StatusOK, nil)
	default:
		answer(http.StatusNotFound, nil)
	}
}

// memory is a store that is quick: the one of files is proven in its own package.
type memory struct {
	mu      sync.Mutex
	content map[string][]byte
	version map[string]int
}

func newMemory() *memory { return &memory{content: map[string][]byte{}, version: map[string]int{}} }

func (m *memory) Get(_ context.Context, key string) ([]byte, workflow.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version[key] == 0 {
		return nil, "", workflow.ErrAbsent
	}
	return m.content[key], workflow.Version(strconv.Itoa(m.version[key])), nil
}

func (m *memory) Put(_ context.Context, key string, content []byte, was workflow.Version) (workflow.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	current := ""
	if m.version[key] > 0 {
		current = strconv.Itoa(m.version[key])
	}
	if string(was) != current {
		return "", workflow.ErrChanged
	}
	m.version[key]++
	m.content[key] = bytes.Clone(content)
	return workflow.Version(strconv.Itoa(m.version[key])), nil
}

var errKilled = errors.New("the process is dead")

// mortal is a store whose process dies at its nth write: before it, or just after.
type mortal struct {
	workflow.Store

	mu    sync.Mutex
	left  int
	after bool
	died  bool
}

func (m *mortal) Put(ctx context.Context, key string, content []byte, was workflow.Version) (workflow.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.died {
		return "", errKilled
	}
	if m.left--; m.left > 0 {
		return m.Store.Put(ctx, key, content, was)
	}
	m.died = true
	if m.after {
		if _, err := m.Store.Put(ctx, key, content, was); err != nil {
			return "", err
		}
	}
	return "", errKilled
}

// alive tells whether the process has not died.
func (m *mortal) alive() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.died
}
