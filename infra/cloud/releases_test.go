package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/slots"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

var (
	formerImage  = "registry.example/api@sha256:" + strings.Repeat("1", 64)
	releaseImage = "registry.example/api@sha256:" + strings.Repeat("2", 64)
)

// region is an environment of the cloud with one stack, one cluster and one load
// balancer, which is told of a route's weights at its second question.
type region struct {
	t        *testing.T
	settings map[string]string // of the last update
	route    map[string]int    // in the cluster
	balancer map[string]int
	asked    int
	images   map[string]string // of the slots' Deployments
	targets  []string
	clock    time.Time
	blind    error
}

func (r *region) Settings() stacks.Settings {
	return stacks.Settings{Cloud: stacks.Cloud{Namespace: "coditect-app"}}
}

func (r *region) Outputs(context.Context) (Outputs, error) {
	return Outputs{Kubeconfig: "kubeconfig"}, nil
}

func (r *region) Last(context.Context) (map[string]string, error) { return maps.Clone(r.settings), nil }

func (r *region) Apply(_ context.Context, settings map[string]string, targets ...string) error {
	maps.Copy(r.settings, settings)
	for _, target := range targets {
		r.targets = append(r.targets, target)
		switch target {
		case slots.RouteTarget:
			split, err := slots.Read(func(key string) string { return r.settings[key] })
			if err != nil {
				return err
			}
			for slot, weight := range split.Weights {
				r.route["coditect-api-v5-"+string(slot)] = weight
			}
			r.asked = 0
		case "**::coditect-api-v5-green*":
			r.images["coditect-api-v5-green"] = r.settings["serviceImageGreen"]
		case "**::coditect-api-v5-blue*":
			r.images["coditect-api-v5-blue"] = r.settings["serviceImageBlue"]
		default:
			return fmt.Errorf("another target: %s", target)
		}
	}
	return nil
}

// Get answers as Kubernetes does, by way of JSON.
func (r *region) Get(_ context.Context, of kube.Resource, namespace, name string, into any) error {
	if namespace != "coditect-app" {
		return fmt.Errorf("the namespace %s", namespace)
	}
	switch of {
	case kube.HTTPRoutes:
		refs := []map[string]any{}
		for service, weight := range r.route {
			refs = append(refs, map[string]any{"name": service, "port": 80, "weight": weight})
		}
		condition := func(kind string) map[string]any {
			return map[string]any{"type": kind, "status": "True", "observedGeneration": 7, "reason": "x", "message": "", "lastTransitionTime": "2026-11-26T00:00:00Z"}
		}
		return through(map[string]any{
			"metadata": map[string]any{"name": name, "generation": 7},
			"spec":     map[string]any{"rules": []any{map[string]any{"backendRefs": refs}}},
			"status":   map[string]any{"parents": []any{map[string]any{"conditions": []any{condition("Accepted"), condition("ResolvedRefs"), condition("Reconciled")}}}},
		}, into)
	case kube.Deployments:
		if r.images[name] == "" {
			return kube.ErrAbsent
		}
		return through(map[string]any{"spec": map[string]any{"replicas": 3}, "status": map[string]any{"readyReplicas": 3}}, into)
	}
	return fmt.Errorf("%v was asked for", of)
}

func (r *region) List(_ context.Context, of kube.Resource, _, selector string, into any) error {
	if of != kube.Pods {
		return fmt.Errorf("%v was asked for", of)
	}
	_, slot, found := strings.Cut(selector, "=coditect-api-v5,")
	_, slot, labelled := strings.Cut(slot, "=")
	if !found || !labelled {
		return fmt.Errorf("the selector %s", selector)
	}
	pod := func(image string, more map[string]any) map[string]any {
		metadata := map[string]any{"name": "x"}
		maps.Copy(metadata, more)
		return map[string]any{
			"metadata": metadata, "spec": map[string]any{"containers": []any{map[string]any{"name": "api", "image": image}}},
			"status": map[string]any{"containerStatuses": []any{map[string]any{"name": "api", "restartCount": 0}}},
		}
	}
	image := r.images["coditect-api-v5-"+slot]
	evicted := pod("older", nil)
	evicted["status"] = map[string]any{"phase": "Failed"}
	return through(map[string]any{"items": []any{pod(image, nil), pod(image, nil), pod("older", map[string]any{"deletionTimestamp": "2026-11-26T00:00:00Z"}), evicted}}, into)
}

func (r *region) Log(context.Context, string, string, string) ([]byte, error) {
	return nil, errors.New("no log was to be read")
}

func through(value, into any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// ServeHTTP is Compute Engine's list of URL maps, as GKE makes them.
func (r *region) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.URL.Path != "/projects/coditect-dev/global/urlMaps" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.asked++; r.asked >= 2 {
		r.balancer = maps.Clone(r.route)
	}
	weighted := []any{}
	for service, weight := range r.balancer {
		if weight > 0 { // one without requests is left out
			weighted = append(weighted, map[string]any{
				"backendService": "https://www.googleapis.com/compute/v1/projects/coditect-dev/global/backendServices/gkegw1-abcd-coditect-app-" + service + "-80-wxyz", "weight": weight,
			})
		}
	}
	answer := map[string]any{"items": []any{
		map[string]any{"name": "another", "defaultService": "https://www.googleapis.com/compute/v1/x/backendServices/frontend-80"},
		map[string]any{"name": "gkegw1-abcd", "pathMatchers": []any{map[string]any{"routeRules": []any{
			map[string]any{"priority": 1, "routeAction": map[string]any{"weightedBackendServices": weighted}},
		}}}},
	}}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		r.t.Error(err)
	}
}

func (r *region) Sample(_ context.Context, slot stacks.Slot, window time.Duration) (rollout.Sample, error) {
	share := float64(r.balancer["coditect-api-v5-"+string(slot)]) / 100
	return rollout.Sample{Requests: 50 * share * window.Seconds(), P99: 90 * time.Millisecond}, r.blind
}

func newRegion(t *testing.T) (*region, *Releases) {
	t.Helper()
	r := &region{
		t: t, settings: map[string]string{"serviceImageBlue": formerImage}, clock: time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC),
		route:  map[string]int{"coditect-api-v5-blue": 100, "coditect-api-v5-green": 0},
		images: map[string]string{"coditect-api-v5-blue": formerImage},
	}
	r.balancer = maps.Clone(r.route)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return r, &Releases{
		Stack: r, Connect: func([]byte) (Cluster, error) { return r, nil },
		Balancer: &URLMaps{project: "coditect-dev", endpoint: server.URL, http: server.Client()},
	}
}

// TestReleaseInTheCloud: the machine of package rollout takes a release through an
// environment of the cloud, by updates of its slot and its route alone.
func TestReleaseInTheCloud(t *testing.T) {
	r, environment := newRegion(t)
	rollouts := rollout.New(rollout.Options{
		Name: "dev", Environment: environment, Metrics: r, Store: workflow.In(t.TempDir()), Owner: workflow.Owner{Name: "ada@desk"},
		Now: func() time.Time { return r.clock },
	})
	plan := rollout.Plan{
		Stages: []rollout.Stage{{Percent: 10, Soak: time.Hour}, {Percent: 100, Soak: time.Hour}},
		Limits: rollout.Limits{Requests: 100, Errors: 0.05, P99: time.Second, P99Ratio: 2, Unready: time.Minute, Window: 10 * time.Minute},
		Retain: time.Hour, Deploy: time.Hour, Shift: time.Hour, Hold: time.Hour,
	}
	s, err := rollouts.Start(t.Context(), rollout.Release{Version: "5.1.0", Image: releaseImage}, plan)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if s.Phase.Ended() {
			break
		}
		r.clock = r.clock.Add(10 * time.Minute)
		if s, err = rollouts.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.Phase != rollout.Completed {
		t.Fatalf("it ends %s: %+v", s.Phase, s)
	}
	if want := []string{"**::coditect-api-v5-green*", slots.RouteTarget, slots.RouteTarget, "**::coditect-api-v5-blue*"}; !reflect.DeepEqual(r.targets, want) {
		t.Errorf("updated %v, want %v", r.targets, want)
	}
	if r.route["coditect-api-v5-green"] != 100 || r.settings["serviceImageGreen"] != releaseImage || r.settings["serviceImageBlue"] != "" || r.settings["gatewayWeightGreen"] != "100" {
		t.Errorf("route %v, settings %v", r.route, r.settings)
	}
}

// TestTrafficOfTheCloud: the load balancer's own weights count, not those that it was asked for.
func TestTrafficOfTheCloud(t *testing.T) {
	r, environment := newRegion(t)
	if err := environment.Shift(t.Context(), rollout.Weights{stacks.Blue: 90, stacks.Green: 10}); err != nil {
		t.Fatal(err)
	}
	tr, err := environment.Traffic(t.Context())
	if err != nil || tr.Asked[stacks.Green] != 10 || tr.Weights[stacks.Green] != 0 || tr.Weights[stacks.Blue] != 100 {
		t.Errorf("before the load balancer has it: %+v, %v", tr, err)
	}
	if tr, err = environment.Traffic(t.Context()); err != nil || tr.Weights[stacks.Green] != 10 || tr.Weights[stacks.Blue] != 90 || !tr.Accepted {
		t.Errorf("once it has: %+v, %v", tr, err)
	}
	r.settings[keyPhase] = string(stacks.PhaseRehearse)
	if err := environment.Shift(t.Context(), rollout.Weights{stacks.Blue: 0, stacks.Green: 100}); err == nil || r.route["coditect-api-v5-green"] != 10 {
		t.Errorf("a recovery is under way, and the route was written: %v", err)
	}
	delete(r.settings, keyPhase)
	if r.settings["serviceImageBlue"] != formerImage {
		t.Errorf("a change of weights lost an image: %v", r.settings)
	}
	pods, err := environment.Pods(t.Context(), stacks.Blue)
	if err != nil || pods.Image != formerImage || pods.Desired != 3 || pods.Ready != 3 {
		t.Errorf("pods %+v, %v", pods, err)
	}
	if pods, err = environment.Pods(t.Context(), stacks.Green); err != nil || pods != (rollout.Pods{}) {
		t.Errorf("pods of an empty slot: %+v, %v", pods, err)
	}
}

// TestURLMaps: in which forms a load balancer may say how it divides, and what is no answer.
func TestURLMaps(t *testing.T) {
	services := []string{"api-blue", "api-green"}
	backend := func(service string) string { return "https://x/backendServices/gkegw1-abcd-ns-" + service + "-80-wxyz" }
	for name, tt := range map[string]struct {
		text string
		want []map[string]int
	}{
		"both weights":      {`{"routeRules":[{"routeAction":{"weightedBackendServices":[{"backendService":"` + backend("api-blue") + `","weight":90},{"backendService":"` + backend("api-green") + `","weight":10}]}}]}`, []map[string]int{{"api-blue": 90, "api-green": 10}}},
		"one of them":       {`{"routeAction":{"weightedBackendServices":[{"backendService":"` + backend("api-green") + `","weight":1}]}}`, []map[string]int{{"api-blue": 0, "api-green": 100}}},
		"no weights":        {`{"pathRules":[{"paths":["/api/v5"],"service":"` + backend("api-blue") + `"}]}`, []map[string]int{{"api-blue": 100, "api-green": 0}}},
		"in thousandths":    {`{"weightedBackendServices":[{"backendService":"` + backend("api-blue") + `","weight":500},{"backendService":"` + backend("api-green") + `","weight":500}]}`, []map[string]int{{"api-blue": 50, "api-green": 50}}},
		"all of weight 0":   {`{"weightedBackendServices":[{"backendService":"` + backend("api-blue") + `","weight":0}]}`, nil},
		"somebody else's":   {`{"defaultService":"` + backend("frontend") + `"}`, nil},
		"a name within one": {`{"defaultService":"https://x/backendServices/gkegw1-abcd-ns-api-bluebird-80-wxyz"}`, nil},
		"nothing":           {`{}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var value any
			if err := json.Unmarshal([]byte(tt.text), &value); err != nil {
				t.Fatal(err)
			}
			if got := splitsOf(value, services); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	for status, want := range map[int]string{http.StatusForbidden: "roles/compute.networkViewer", http.StatusInternalServerError: "500", http.StatusOK: "understand"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>"))
		}))
		u := &URLMaps{project: "p", endpoint: server.URL, http: server.Client()}
		if _, err := u.Weights(t.Context(), services); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %q", status, err, want)
		}
		server.Close()
	}
}
