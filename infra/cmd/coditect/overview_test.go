package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/cloud"
	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/workflow"
)

// far is an environment of the cloud, as it is looked at from here.
type far struct {
	out     cloud.Outputs
	outErr  error
	weights map[string]int // nil: there is no route
	held    string         // condition of the route that does not hold
	pods    map[string]int // ready ones of two, by Deployment
	cluster error
	status  int // of what answers at the address
	objects map[string]string
	bucket  error

	outputs, reads, lists int
	clock                 time.Time
}

func (f *far) Get(ctx context.Context, of kube.Resource, namespace, name string, into any) error {
	f.reads++
	switch {
	case errors.Is(f.cluster, context.DeadlineExceeded): // it drops what it is asked
		<-ctx.Done()
		return ctx.Err()
	case f.cluster != nil:
		return f.cluster
	case namespace != "coditect-app":
		return fmt.Errorf("the namespace %s", namespace)
	case of == kube.HTTPRoutes && f.weights == nil:
		return kube.ErrAbsent
	case of == kube.HTTPRoutes:
		refs, conditions := []map[string]any{}, []map[string]any{}
		for service, weight := range f.weights {
			refs = append(refs, map[string]any{"name": service, "weight": weight})
		}
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			status := "True"
			if kind == f.held {
				status = "False"
			}
			conditions = append(conditions, map[string]any{"type": kind, "status": status})
		}
		return object(map[string]any{
			"spec": map[string]any{"rules": []any{map[string]any{"backendRefs": refs}}}, "status": map[string]any{"parents": []any{map[string]any{"conditions": conditions}}},
		}, into)
	}
	ready, there := f.pods[name]
	if of != kube.Deployments || !there {
		return kube.ErrAbsent
	}
	return object(map[string]any{"spec": map[string]any{"replicas": 2}, "status": map[string]any{"readyReplicas": ready}}, into)
}

func object(value, into any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func (f *far) List(context.Context, kube.Resource, string, string, any) error {
	return errors.New("no list was to be read")
}

func (f *far) Log(context.Context, string, string, string) ([]byte, error) {
	return nil, errors.New("no log was to be read")
}

func (f *far) Names(_ context.Context, prefix string) ([]string, error) {
	f.lists++
	var names []string
	for name := range f.objects {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, f.bucket
}

func (f *far) Read(_ context.Context, name string) ([]byte, error) {
	return []byte(f.objects[name]), f.bucket
}

// newFar is healthy, in the middle of a release.
func newFar(t *testing.T) (*far, *overview) {
	t.Helper()
	f := &far{
		weights: map[string]int{"coditect-api-v5-blue": 90, "coditect-api-v5-green": 10},
		pods:    map[string]int{"coditect-api-v5-blue": 2, "coditect-api-v5-green": 2}, status: http.StatusOK,
		objects: map[string]string{
			"versions/coditect/2026-11-26T02:10:00Z.json": "{}", "versions/coditect/2026-11-26T02:15:00Z.json": "{}",
			"proven/2026-11-21T05:30:00Z.json": `{"at":"2026-11-21T05:30:00Z","backup":"manifests/coditect/x","by":"drill","rto":300,"ok":true}`,
		},
		clock: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != contract.ReadyPath {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(f.status)
	}))
	t.Cleanup(server.Close)
	f.out = cloud.Outputs{Address: server.URL + contract.BasePath, Kubeconfig: "kubeconfig"}
	store := workflow.In(t.TempDir())
	save := func(key string, state any) {
		t.Helper()
		raw, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), key, raw, ""); err != nil {
			t.Fatal(err)
		}
	}
	release := rollout.State{Release: rollout.Release{Version: "5.3.0"}, Phase: rollout.Soaking}
	release.Format, release.Plan.Stages = 1, []rollout.Stage{{Percent: 10}, {Percent: 100}}
	save(rollout.Key, release)
	legacy := retire.State{Phase: retire.Watching}
	legacy.Format = 1
	save(retire.Key, legacy)
	return f, &overview{
		name: "prod", namespace: "coditect-app", bucket: f, store: store, http: server.Client(), now: func() time.Time { return f.clock },
		outputs: func(context.Context) (cloud.Outputs, error) { f.outputs++; return f.out, f.outErr },
		connect: func([]byte) (cloud.Cluster, error) { return f, nil },
	}
}

func look(t *testing.T, o *overview) console.Snapshot {
	t.Helper()
	return console.New(console.Options{Environment: "prod", Sources: o.sources(), Now: o.now}).Look(t.Context())
}

func TestOverview(t *testing.T) {
	for name, c := range map[string]struct {
		harm           func(*far)
		health, detail string
		unread         string // what could not be read; "" if all could
		exit           error
	}{
		"healthy":                               {func(*far) {}, console.Healthy, "", "", nil},
		"a pod short":                           {func(f *far) { f.pods["coditect-api-v5-green"] = 1 }, console.Degraded, "Some pods", "", errFindings},
		"no pod with traffic":                   {func(f *far) { clear(f.pods) }, console.Down, "No pod", "", errFindings},
		"no route":                              {func(f *far) { f.weights = nil }, console.Down, "No route", "", errFindings},
		"a route that is not in use yet":        {func(f *far) { f.held = "Accepted" }, console.Degraded, "has not taken the route over", "", errFindings},
		"no answer at the address":              {func(f *far) { f.status = http.StatusBadGateway }, console.Degraded, "502", "", errFindings},
		"a cluster that is silent":              {func(f *far) { f.cluster = errors.New("timed out") }, console.Unknown, "The service does", "environment: timed out", errFindings},
		"a cluster that drops what it is asked": {func(f *far) { f.cluster = context.DeadlineExceeded }, console.Unknown, "The service does", "environment: context deadline exceeded", errFindings},
		"nothing answers": {func(f *far) {
			f.cluster, f.out.Address = errors.New("timed out"), "http://127.0.0.1:1/api/v5"
		}, console.Down, "does not answer at its address", "environment: timed out", errFindings},
		"never brought up":               {func(f *far) { f.out = cloud.Outputs{} }, console.Absent, "pulumi up", "", errFindings},
		"outputs that are not to be had": {func(f *far) { f.outErr = errors.New("no backend") }, console.Unknown, "outputs", "environment: no backend", errFindings},
		"a bucket that is silent":        {func(f *far) { f.bucket = errors.New("no bucket") }, console.Healthy, "", "recovery: list the recorded versions: no bucket", errFindings},
	} {
		t.Run(name, func(t *testing.T) {
			f, o := newFar(t)
			c.harm(f)
			s := look(t, o)
			if len(s.Environments) != 1 || s.Environments[0].Health != c.health || !strings.Contains(s.Environments[0].Detail, c.detail) || c.detail == "" && s.Environments[0].Detail != "" {
				t.Errorf("it is %+v, want %s, %q", s.Environments, c.health, c.detail)
			}
			if got := strings.Join(s.Unread, "; "); !strings.Contains(got, c.unread) || (got == "") != (c.unread == "") {
				t.Errorf("unread is %q, want %q", got, c.unread)
			}
			// What else there is to see is seen.
			if s.Rollout == nil || s.Retirement == nil || (s.Proven == nil) != (f.bucket != nil) {
				t.Errorf("of the rest is seen %+v", s)
			}
			if err := tellSnapshot(&bytes.Buffer{}, s, false); !errors.Is(err, c.exit) {
				t.Errorf("the command ends with %v, want %v", err, c.exit)
			}
		})
	}
}

// What a person and a machine are told.
func TestStatusOfACloud(t *testing.T) {
	_, o := newFar(t)
	s := look(t, o)
	s.Environments[0].URL = "https://coditect.ai/api/v5"
	var text, machine bytes.Buffer
	if err := errors.Join(tellSnapshot(&text, s, false), tellSnapshot(&machine, s, true)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"prod is healthy  https://coditect.ai/api/v5\n", "coditect-api-v5-green      10 %  2 of 2 pods ready\n", "Release: 5.3.0 ", "API v2 has one pod, which is watched",
		"Newest moment that can be restored: coditect/2026-11-26T02:15:00Z.\n", "Last proven restore: 2026-11-21", "back after 5m",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not told:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "\x1b") {
		t.Error("what is no terminal is written to in colour")
	}
	var back console.Snapshot
	if err := json.Unmarshal(machine.Bytes(), &back); err != nil || !reflect.DeepEqual(back.Environments, s.Environments) || back.Actions != nil {
		t.Errorf("for machines it is %s: %v", machine.String(), err)
	}
}

// A page that is looked at does not ask a cloud at each look.
func TestOverviewAsksSeldom(t *testing.T) {
	f, o := newFar(t)
	c := console.New(console.Options{Environment: "prod", Sources: o.sources(), Now: o.now})
	asked := func(outputs, reads, lists int) {
		t.Helper()
		c.Look(t.Context())
		if f.outputs != outputs || f.reads != reads || f.lists != lists {
			t.Errorf("it was asked %d times for outputs, %d objects, %d lists; want %d, %d, %d", f.outputs, f.reads, f.lists, outputs, reads, lists)
		}
	}
	asked(1, 3, 3)
	asked(1, 3, 3)
	f.clock = f.clock.Add(lookEvery)
	asked(1, 6, 3)
	f.clock = f.clock.Add(backupsEvery)
	asked(1, 9, 6)
	// A cluster that was made anew has another address.
	f.cluster = errors.New("timed out")
	f.clock = f.clock.Add(lookEvery)
	asked(1, 10, 6)
	f.cluster = nil
	f.clock = f.clock.Add(lookEvery)
	asked(2, 13, 6)
	// What leads nowhere is not asked for at each look, and is not forgotten for that.
	f.cluster, f.outErr = errors.New("timed out"), errors.New("no backend")
	f.clock = f.clock.Add(lookEvery)
	asked(2, 14, 6)
	f.clock = f.clock.Add(lookEvery)
	asked(2, 15, 6)
	f.clock = f.clock.Add(outputsEvery)
	asked(3, 15, 6)
	f.cluster = nil
	f.clock = f.clock.Add(lookEvery)
	asked(3, 18, 6)
}

// What is offered of a cloud is what its commands can do there.
func TestCloudActions(t *testing.T) {
	_, o := newFar(t)
	s := look(t, o)
	to := func(words ...string) []string { return append(append([]string{"coditect"}, words...), "--env", "prod") }
	offered := map[string]bool{}
	for _, a := range cloudActions(to) {
		if a.When == nil || a.When(s) {
			offered[a.ID] = true
		}
		if a.Consequence == "" || a.Command[len(a.Command)-1] != "prod" {
			t.Errorf("%+v", a)
		}
		cmd, rest, err := command().Find(a.Command[1:])
		if err != nil || !cmd.Runnable() {
			t.Errorf("%v is no command: %v", a.Command, err)
		} else if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%v: %v", a.Command, err)
		}
	}
	for id, want := range map[string]bool{"drift": true, "recover": true, "promote": true, "abort": true, "retire-promote": true, "retire-abort": true, "up": false, "down": false, "drill": false} {
		if offered[id] != want {
			t.Errorf("%s is offered: %t, want %t", id, offered[id], want)
		}
	}
}

// One document that cannot be read hides no other, and what failed is asked for again soon.
func TestHalfOfTheReleases(t *testing.T) {
	f, o := newFar(t)
	_, version, err := o.store.Get(t.Context(), rollout.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.store.Put(t.Context(), rollout.Key, []byte("{"), version); err != nil {
		t.Fatal(err)
	}
	f.bucket = errors.New("no bucket")
	c := console.New(console.Options{Environment: "prod", Sources: o.sources(), Now: o.now})
	if s := c.Look(t.Context()); s.Rollout != nil || s.Retirement == nil || len(s.Unread) != 2 {
		t.Errorf("seen is %+v", s)
	}
	f.bucket, f.clock = nil, f.clock.Add(lookEvery)
	if s := c.Look(t.Context()); s.Proven == nil || len(s.Unread) != 1 {
		t.Errorf("after the bucket is back, seen is %+v", s)
	}
}
