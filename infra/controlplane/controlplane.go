// Package controlplane runs a real Kubernetes API server, with its etcd, on
// loopback for as long as a test needs one. Objects are validated, defaulted,
// admitted and stored as in any cluster, and nothing acts on them before Control,
// Nodes and Route add real controllers and scheduler, a kubelet without containers,
// and an implementation of the Gateway API.
package controlplane

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Options say what to run and where.
type Options struct {
	APIServer string // path of the kube-apiserver's executable
	Etcd      string // path of etcd's executable
	Dir       string // an empty directory for data, keys and logs; Stop leaves it
}

// ControlPlane is a running API server.
type ControlPlane struct {
	*Client
	dir     string
	daemons []*daemon // in the order in which they were started
}

// Start returns once the API server is ready, or fails when ctx ends or a
// daemon does. A port taken by another process between its choice and its use
// is not waited for: Start chooses again.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	var err error
	for attempt := range 3 {
		var c *ControlPlane
		c, err = start(ctx, o, filepath.Join(o.Dir, strconv.Itoa(attempt)))
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			return c, err
		}
	}
	return nil, err
}

func start(ctx context.Context, o Options, dir string) (c *ControlPlane, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the control plane's directory: %w", err)
	}
	token := rand.Text()
	if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(token+",admin,admin,system:masters\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the administrator's token: %w", err)
	}
	if err := writeKey(filepath.Join(dir, "accounts.key")); err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	client, peer, secure := ports[0], ports[1], ports[2]

	c = &ControlPlane{dir: dir}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	clientURL, peerURL := "http://127.0.0.1:"+client, "http://127.0.0.1:"+peer
	etcd, err := c.run(ctx, o.Etcd,
		"--data-dir", filepath.Join(dir, "etcd"), "--name", "etcd", "--unsafe-no-fsync",
		"--listen-client-urls", clientURL, "--advertise-client-urls", clientURL,
		"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "etcd="+peerURL,
	)
	if err != nil {
		return nil, err
	}
	if err := etcd.until(ctx, func() bool { return answers(ctx, http.DefaultClient, clientURL+"/health", "") }); err != nil {
		return nil, err
	}
	apiserver, err := c.run(ctx, o.APIServer,
		"--etcd-servers", clientURL, "--bind-address", "127.0.0.1", "--secure-port", secure, "--cert-dir", filepath.Join(dir, "certificates"),
		// No other host is to reach it, and a machine without a default route has no address to tell.
		"--advertise-address", "192.0.2.1", "--endpoint-reconciler-type", "none",
		// What registers itself for an API group is asked at its pod: no proxy makes Services' addresses real.
		"--enable-aggregator-routing=true",
		"--token-auth-file", filepath.Join(dir, "tokens.csv"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-key-file", filepath.Join(dir, "accounts.key"), "--service-account-signing-key-file", filepath.Join(dir, "accounts.key"),
	)
	if err != nil {
		return nil, err
	}
	url := "https://127.0.0.1:" + secure
	if err := apiserver.until(ctx, func() bool {
		certificate, err := os.ReadFile(c.authority())
		if err != nil {
			return false
		}
		c.Client = newClient(url, token, certificate)
		return answers(ctx, c.http, url+"/readyz", token)
	}); err != nil {
		return nil, err
	}
	return c, nil
}

// Stop ends the daemons; nothing of them is left when it returns.
func (c *ControlPlane) Stop() {
	for _, d := range slices.Backward(c.daemons) {
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // it may have ended already; its data is thrown away
		<-d.done
	}
}

// Alive is an error that names a daemon which has ended by itself, with the end of its log.
func (c *ControlPlane) Alive() error {
	for _, d := range c.daemons {
		select {
		case <-d.done:
			return fmt.Errorf("%s has ended; the end of its log:\n%s", d.name(), tail(d.log))
		default:
		}
	}
	return nil
}

// authority is the file of the certificate that the API server is known by.
func (c *ControlPlane) authority() string {
	return filepath.Join(c.dir, "certificates", "apiserver.crt")
}

func answers(ctx context.Context, client *http.Client, url, token string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// daemon is a process that is to run until it is stopped.
type daemon struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

func (d *daemon) name() string { return filepath.Base(d.cmd.Path) }

// run starts a daemon that dies with this process, however this one ends.
func (c *ControlPlane) run(ctx context.Context, path string, args ...string) (*daemon, error) {
	name := filepath.Base(path)
	output, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	d := &daemon{cmd: cmd, log: output.Name(), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ends a process with the thread that started it: this one waits for it.
		runtime.LockOSThread()
		defer close(d.done)
		defer func() { _ = output.Close() }()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the log says why it ended
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.daemons = append(c.daemons, d)
	return d, nil
}

// until waits for a condition that a living daemon brings about.
func (d *daemon) until(ctx context.Context, ready func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready() {
			return nil
		}
		select {
		case <-d.done:
			return fmt.Errorf("%s ended before it was ready; the end of its log:\n%s", d.name(), tail(d.log))
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready in time: %w; the end of its log:\n%s", d.name(), ctx.Err(), tail(d.log))
		case <-tick.C:
		}
	}
}

func tail(path string) string {
	const most = 4000
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// freePorts finds ports of loopback that nobody listens on.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = l.Close() }() // all at the end, so that they differ
		address, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, errors.New("find a free port: no TCP address")
		}
		ports = append(ports, strconv.Itoa(address.Port))
	}
	return ports, nil
}

func writeKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make the key of service accounts: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("write the key of service accounts: %w", err)
	}
	return nil
}
