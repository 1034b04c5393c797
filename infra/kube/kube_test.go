package kube_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/problem"
)

// client is one of a server that answers with the given handler.
func client(t *testing.T, serve http.HandlerFunc) *kube.Client {
	t.Helper()
	server := httptest.NewTLSServer(serve)
	t.Cleanup(server.Close)
	c, err := kube.New(fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
users: [{name: u, user: {token: secret}}]
`, server.URL, base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func status(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"code":%d}`, reason, reason, code)
}

func TestReads(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("Authorization") != "Bearer secret":
			status(w, http.StatusUnauthorized, "Unauthorized")
		case r.URL.Path == "/apis/batch/v1/namespaces/ns/jobs/restore":
			fmt.Fprint(w, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"restore"},"status":{"succeeded":1,"later":true}}`)
		case r.URL.Path == "/api/v1/namespaces/ns/pods" && r.URL.Query().Get("labelSelector") == "job-name=restore":
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"restore-x"}}]}`)
		case r.URL.Path == "/api/v1/namespaces/ns/pods/restore-x/log" && r.URL.Query().Get("container") == "restore":
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "restored")
		case strings.Contains(r.URL.Path, "/hidden/"):
			status(w, http.StatusForbidden, "Forbidden")
		default:
			status(w, http.StatusNotFound, "NotFound")
		}
	})
	ctx := t.Context()
	var job batchv1.Job
	if err := c.Get(ctx, kube.Jobs, "ns", "restore", &job); err != nil || job.Name != "restore" || job.Status.Succeeded != 1 {
		t.Errorf("%+v %v", job, err)
	}
	var pods corev1.PodList
	if err := c.List(ctx, kube.Pods, "ns", "job-name=restore", &pods); err != nil || len(pods.Items) != 1 || pods.Items[0].Name != "restore-x" {
		t.Errorf("%+v %v", pods, err)
	}
	if text, err := c.Log(ctx, "ns", "restore-x", "restore"); err != nil || string(text) != "restored" {
		t.Errorf("%q %v", text, err)
	}
	if err := c.Get(ctx, kube.Jobs, "ns", "other", &job); !errors.Is(err, kube.ErrAbsent) {
		t.Errorf("an absent object: %v", err)
	}
	var mend *problem.Error
	if err := c.Get(ctx, kube.StatefulSets, "hidden", "x", &struct{}{}); !errors.As(err, &mend) || !strings.Contains(mend.Text, "does not let you read statefulsets hidden/x") {
		t.Errorf("a forbidden object: %v", err)
	}
}

func TestFaultsOfACluster(t *testing.T) {
	if _, err := kube.New([]byte("clusters: {")); err == nil {
		t.Error("a kubeconfig that is none is taken")
	}
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/broken") {
			fmt.Fprint(w, `{"status":`)
			return
		}
		status(w, http.StatusServiceUnavailable, "etcd is gone")
	})
	for _, name := range []string{"broken", "down"} {
		if err := c.Get(t.Context(), kube.Jobs, "ns", name, &batchv1.Job{}); err == nil || errors.Is(err, kube.ErrAbsent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
