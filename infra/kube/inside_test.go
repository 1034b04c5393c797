package kube_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"coditect.ai/platform/infra/kube"
)

// A control plane that is known by an address which nothing answers at is reached
// from within, with the pod's own token and the certificate of that address, by
// this process and by one that is told of a proxy.
func TestDetour(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer of-the-pod" && r.URL.Path != "/version" {
			status(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"status":{"phase":"Failed"}}`)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("of-the-pod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var answer bytes.Buffer
	now := time.Now()
	if err := kube.Credential(&answer, token, now); err != nil {
		t.Fatal(err)
	}
	plugin := "#!/bin/sh\ncat <<'END'\n" + answer.String() + "END\n"
	if err := os.WriteFile(filepath.Join(dir, kube.Plugin), []byte(plugin), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	// The address is one that is for documentation alone; the certificate of httptest names example.com.
	config := fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://example.com", certificate-authority-data: %s}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: %s, provideClusterInfo: true}}}]
`, base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})), kube.Plugin)
	detour, err := kube.NewDetour(config, server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := detour.New(config)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := client.Get(t.Context(), kube.Pods, "ns", "a", &pod); err != nil || pod.Status.Phase != corev1.PodFailed {
		t.Errorf("%s, %v", pod.Status.Phase, err)
	}

	proxy, err := detour.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	through, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(server.Certificate())
	other := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through), TLSClientConfig: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}}}
	// The control plane by its public name, and what is no control plane as it is named.
	for _, to := range []string{"https://example.com/version", server.URL + "/version"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := other.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(text), "Pod") {
			t.Errorf("%s: %s %s %v", to, response.Status, text, err)
		}
		_ = response.Body.Close()
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxy, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = plain.Body.Close()
	if plain.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a plain request through the proxy: %s", plain.Status)
	}
	if _, err := kube.NewDetour([]byte("apiVersion: v1\nkind: Config\n"), "10.0.0.1:443"); err == nil {
		t.Error("a kubeconfig without a cluster is taken")
	}
	if err := kube.Credential(io.Discard, filepath.Join(dir, "none"), now); err == nil {
		t.Error("a pod without a token shows one")
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := kube.Inside(); err == nil {
		t.Error("a process of no pod is inside")
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.30.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if address, err := kube.Inside(); err != nil || address != "10.30.0.1:443" {
		t.Errorf("inside is %s, %v", address, err)
	}
}
