package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/pkg/apis/clientauthentication/v1beta1"
	"k8s.io/client-go/tools/clientcmd"
)

// Plugin is the command by which a kubeconfig of GKE asks for a token.
const Plugin = "gke-gcloud-auth-plugin"

// TokenFile is where a pod finds the token of its own service account.
const TokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path

// reread is how long a token is taken for good before the file is looked at again: the kubelet renews it.
const reread = 10 * time.Minute

// Credential answers as [Plugin] does, with the token in a file: of all that a pod
// could show, its own service account may do least.
func Credential(out io.Writer, file string, now time.Time) error {
	token, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the pod's own token: %w", err)
	}
	return json.NewEncoder(out).Encode(v1beta1.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: v1beta1.SchemeGroupVersion.String(), Kind: "ExecCredential"},
		Status: &v1beta1.ExecCredentialStatus{
			Token: strings.TrimSpace(string(token)), ExpirationTimestamp: &metav1.Time{Time: now.Add(reread)},
		},
	})
}

// Detour leads to the control plane from within its cluster. A kubeconfig names
// the public address, which does not answer pods; the certificate is the same.
type Detour struct {
	public, inside string
	dialer         net.Dialer
}

// NewDetour is that of the cluster of a kubeconfig, whose control plane answers at the inside address.
func NewDetour(kubeconfig []byte, inside string) (*Detour, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("understand the kubeconfig: %w", err)
	}
	server, err := url.Parse(config.Host)
	if err != nil || server.Scheme != "https" || server.Host == "" {
		return nil, fmt.Errorf("understand the kubeconfig: %q is no control plane's URL", config.Host)
	}
	port := server.Port()
	if port == "" {
		port = "443"
	}
	return &Detour{public: net.JoinHostPort(server.Hostname(), port), inside: inside, dialer: net.Dialer{Timeout: timeout}}, nil
}

// Dial connects to the address, or, where that is the control plane's, to it from within.
func (d *Detour) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address == d.public {
		address = d.inside
	}
	return d.dialer.DialContext(ctx, network, address)
}

// Serve is a proxy on loopback for processes that are told of it by HTTPS_PROXY. It
// ends with the context.
func (d *Detour) Serve(ctx context.Context) (proxy string, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on loopback: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(d.pass), ReadHeaderTimeout: timeout}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	go func() { _ = server.Serve(listener) }() // until it is closed
	return "http://" + listener.Addr().String(), nil
}

// pass joins the two ends of a connection that a client asks for.
func (d *Detour) pass(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	there, err := d.Dial(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close() //nolint:errcheck // both ends are done with
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer here.Close() //nolint:errcheck // as above
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	ended := make(chan struct{}, 2)
	join := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from) // whichever end breaks, both are told by the end of the connection
		ended <- struct{}{}
	}
	go join(there, buffered)
	go join(here, there)
	<-ended // an end that has nothing more to say has nothing more to hear: TLS closes both ways
}

// Inside is the control plane's address within the cluster that this process is a pod of.
func Inside() (string, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return "", errors.New("this process is in no pod of a cluster")
	}
	return net.JoinHostPort(host, port), nil
}
