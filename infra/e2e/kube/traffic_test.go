package kube

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coditect.ai/platform/infra/controlplane"
)

// realApp is the workload whose pods are processes.
const realApp = "coditect-api-v5"

const image = "us-central1-docker.pkg.dev/coditect-test/coditect/api@sha256:"

func slotOf(pod string) string {
	slot, _, _ := strings.Cut(strings.TrimPrefix(pod, realApp+"-"), "-")
	return slot
}

// TestTraffic sends requests through the production plan's gateway, routes and
// Services to processes of the service. Its weights split them, and neither a
// change of weights nor the replacement of a slot's pods loses one.
func TestTraffic(t *testing.T) {
	t.Parallel()
	with := ownNetwork(t)
	ctx, c := start(t)
	plan := filepath.Join(plans, "prod.golden.yaml")
	all := objects(t, plan)
	gateway := first(t, all, "Gateway")
	certificate, authority := ended(t, gateway)
	for _, o := range all {
		apply(ctx, t, c, o)
	}
	apply(ctx, t, c, certificate)
	const address = "127.0.1.9"
	inhabit(ctx, t, c, with, plan, realApp, address)
	releases := os.Getenv("CODITECT_RELEASES")
	next := image + strings.Repeat("9", 64)
	k := startKubelet(ctx, t, c, all, map[string]string{
		imageOf(named(t, all, "Deployment", realApp+"-blue")):  filepath.Join(releases, "stable", "coditect-api"),
		imageOf(named(t, all, "Deployment", realApp+"-green")): filepath.Join(releases, "canary", "coditect-api"),
		next: filepath.Join(releases, "next", "coditect-api"),
	})
	becomeReady(ctx, t, c, all)

	host, _ := listener(gateway, 1)["hostname"].(string)
	l := newLoad(ctx, t, host, address, authority)
	redirected(ctx, t, l, host)
	stop := l.start(ctx)
	defer func() { stop() }()
	route := named(t, all, "HTTPRoute", realApp)
	shift := func(blue, green int, canary string) {
		t.Helper()
		weigh(ctx, t, c, route, blue, green)
		share := float64(green) / float64(blue+green)
		// Close enough to tell the new weights from those before, as often as it takes.
		await(ctx, t, c, func() string {
			if seen := l.sample(ctx, t, 200); !agrees(seen, canary, share, 2) {
				return fmt.Sprintf("%d/%d is not in force: %v", blue, green, seen)
			}
			return ""
		})
		seen := l.sample(ctx, t, 1000)
		t.Logf("weights %d/%d: %v", blue, green, seen)
		if !agrees(seen, canary, share, 5) {
			t.Errorf("weights %d/%d split the requests %v", blue, green, seen)
		}
	}
	shift(100, 0, "canary")
	shift(90, 10, "canary")
	shift(50, 50, "canary")
	none(t, l, "changes of weights")

	green := named(t, all, "Deployment", realApp+"-green")
	container(green)["image"] = next
	apply(ctx, t, c, green)
	await(ctx, t, c, func() string { return replaced(ctx, c, green, next) })
	shift(50, 50, "next")
	none(t, l, "the replacement of a slot's pods")

	shift(0, 100, "next")
	shift(100, 0, "next")
	stop()
	none(t, l, "all of it")
	answered, _ := l.counts()
	t.Logf("answered by version: %v, none lost", answered)

	scaled(ctx, t, c, all, l)

	// A process that is killed takes requests with it: the load would have noticed.
	stop = l.start(ctx)
	await(ctx, t, c, func() string {
		if _, lost := l.counts(); len(lost) > 0 {
			t.Logf("a killed process lost: %s", lost[0])
			return ""
		}
		k.crash("blue")
		return "no request was lost with the process that answers it"
	})
}

// none fails the test if a request was lost.
func none(t *testing.T, l *load, during string) {
	t.Helper()
	if _, lost := l.counts(); len(lost) > 0 {
		t.Fatalf("%d requests were lost during %s:\n%s", len(lost), during, strings.Join(lost[:min(10, len(lost))], "\n"))
	}
}

// redirected: who asks without TLS is sent to where there is.
func redirected(ctx context.Context, t *testing.T, l *load, host string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/a?b=c", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := l.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	to := response.Header.Get("Location")
	if want := "https://" + host + "/a?b=c"; response.StatusCode != http.StatusMovedPermanently || to != want {
		t.Errorf("without TLS: %d to %q, want 301 to %q", response.StatusCode, to, want)
	}
}

// weigh sets the weights of a route's two slots.
func weigh(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, route object, blue, green int) {
	t.Helper()
	changed := clone(route)
	for i, weight := range []int{blue, green} {
		item(item(child(changed, "spec")["rules"], 0)["backendRefs"], i)["weight"] = weight
	}
	apply(ctx, t, c, changed)
}

// replaced complains while a Deployment has pods of another image, those that are leaving among them.
func replaced(ctx context.Context, c *controlplane.ControlPlane, deployment object, image string) string {
	now, err := c.Get(ctx, deployment)
	if err != nil {
		return err.Error()
	}
	if complaint := judges["Deployment"](now); complaint != "" {
		return complaint
	}
	labels := child(deployment, "spec", "selector", "matchLabels")
	selector := fmt.Sprintf("coditect.ai/slot=%v,app.kubernetes.io/name=%v", labels["coditect.ai/slot"], labels["app.kubernetes.io/name"])
	pods, err := c.List(ctx, "v1", "Pod", child(deployment, "metadata")["namespace"].(string), selector)
	if err != nil {
		return err.Error()
	}
	for _, pod := range pods {
		if podContainer(pod)["image"] != image {
			return title(pod) + " has not left"
		}
	}
	return ""
}

func imageOf(deployment object) string {
	name, _ := container(deployment)["image"].(string)
	return name
}

func named(t *testing.T, all []object, kind, name string) object {
	t.Helper()
	for _, o := range all {
		if _, k := controlplane.Kind(o); k == kind && controlplane.Name(o) == name {
			return o
		}
	}
	t.Fatalf("the plan has no %s %s", kind, name)
	return nil
}
