package kube

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/controlplane"
)

// adapterApp is the workload that answers for metrics.
const adapterApp = "custom-metrics-stackdriver-adapter"

// scaled: requests that wait make the autoscaler add pods to the slot that they
// wait in, by the real controller and the service's own gauge.
func scaled(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, all []object, l *load) {
	t.Helper()
	answerMetrics(ctx, t, c, all)
	for _, o := range all {
		if _, kind := controlplane.Kind(o); kind == "APIService" {
			await(ctx, t, c, func() string {
				now, err := c.Get(ctx, o)
				if err != nil {
					return err.Error()
				}
				if complaint := conditions(child(now, "status")["conditions"], 0, "Available"); complaint != "" {
					return title(o) + ": " + complaint
				}
				return ""
			})
		}
	}
	const waiting = 180 // of three pods each 60, where 40 are the target
	address, err := url.Parse(l.base)
	if err != nil {
		t.Fatal(err)
	}
	for range waiting {
		defer l.wait(ctx, t, address.Host).Close()
	}
	slot := named(t, all, "Deployment", realApp+"-blue")
	floor := number(child(slot, "spec"), "replicas")
	await(ctx, t, c, func() string {
		now, err := c.Get(ctx, slot)
		if err != nil {
			return err.Error()
		}
		scaler, err := c.Get(ctx, named(t, all, "HorizontalPodAutoscaler", realApp+"-blue"))
		if err != nil {
			return err.Error()
		}
		wanted := number(child(now, "spec"), "replicas")
		if wanted > floor {
			t.Logf("with %d requests under way the slot has %d pods instead of %d", waiting, wanted, floor)
			return ""
		}
		status, _ := json.Marshal(scaler["status"])
		return fmt.Sprintf("the slot keeps %d pods; the autoscaler's status: %s", wanted, status)
	})
}

// wait opens a request that stays under way: it promises a body and keeps it back.
func (l *load) wait(ctx context.Context, t *testing.T, host string) net.Conn {
	t.Helper()
	transport := l.client.Transport.(*http.Transport)
	raw, err := transport.DialContext(ctx, "tcp", net.JoinHostPort(host, "443"))
	if err != nil {
		t.Fatal(err)
	}
	config := transport.TLSClientConfig.Clone()
	config.ServerName, config.NextProtos = host, []string{"http/1.1"}
	connection := tls.Client(raw, config)
	if _, err := fmt.Fprintf(connection, "POST %s/sessions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		contract.BasePath, host, l.token); err != nil {
		t.Fatal(err)
	}
	return connection
}

// answerMetrics stands for the adapter and all that is behind it, Managed
// Prometheus and Cloud Monitoring: at the address of the adapter's pod it answers
// the custom metrics API with what the pods' own metrics say, scraped as the plan's
// PodMonitoring has it.
func answerMetrics(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, all []object) {
	t.Helper()
	adapters, err := c.List(ctx, "v1", "Pod", child(named(t, all, "Deployment", adapterApp), "metadata")["namespace"].(string), "app.kubernetes.io/name="+adapterApp)
	if err != nil || len(adapters) != 1 {
		t.Fatalf("the adapter has %d pods, not 1 (%v)", len(adapters), err)
	}
	port := item(podContainer(adapters[0])["ports"], 0)["containerPort"]
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("%v:%v", child(adapters[0], "status")["podIP"], port))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		group, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/apis/"), "/namespaces/")
		w.Header().Set("Content-Type", "application/json")
		if rest == "" {
			_ = json.NewEncoder(w).Encode(object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": []any{}})
			return
		}
		namespace, metric, _ := strings.Cut(rest, "/pods/*/")
		name, known := strings.CutPrefix(metric, "prometheus.googleapis.com|")
		name, gauge := strings.CutSuffix(name, "|gauge")
		if !known || !gauge {
			http.Error(w, "no such metric: "+metric, http.StatusNotFound)
			return
		}
		pods, err := c.List(r.Context(), "v1", "Pod", namespace, r.URL.Query().Get("labelSelector"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		items := []any{}
		for _, pod := range pods {
			if value := scrape(r.Context(), named(t, all, "PodMonitoring", realApp), pod, name); value != "" {
				items = append(items, object{
					"describedObject": object{"kind": "Pod", "apiVersion": "/v1", "namespace": namespace, "name": controlplane.Name(pod)},
					"metric":          object{"name": metric}, "timestamp": time.Now().UTC().Format(time.RFC3339), "value": value,
				})
			}
		}
		_ = json.NewEncoder(w).Encode(object{"kind": "MetricValueList", "apiVersion": group, "metadata": object{}, "items": items})
	}))
	server.Listener.Close()
	server.Listener = listener
	server.StartTLS()
	t.Cleanup(server.Close)
}

// scrape is the value of a pod's metric, "" where there is none.
func scrape(ctx context.Context, monitoring, pod object, metric string) string {
	endpoint := item(child(monitoring, "spec")["endpoints"], 0)
	ports := podContainer(pod)["ports"].([]any)
	for i := range ports {
		if item(ports, i)["name"] != endpoint["port"] {
			continue
		}
		address := fmt.Sprintf("http://%v:%v%v", child(pod, "status")["podIP"], item(ports, i)["containerPort"], endpoint["path"])
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return ""
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "" // it starts or leaves
		}
		defer response.Body.Close()
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if name, value, found := strings.Cut(lines.Text(), " "); found && (name == metric || strings.HasPrefix(name, metric+"{")) {
				return value
			}
		}
	}
	return ""
}
