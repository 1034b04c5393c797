package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Control starts kube-controller-manager and kube-scheduler, the executables at
// these paths: from now on objects are acted on. What they do is to be waited for;
// Alive tells whether they still can.
func (c *ControlPlane) Control(ctx context.Context, manager, scheduler string) error {
	access, err := c.access()
	if err != nil {
		return err
	}
	if _, err := c.run(ctx, manager,
		"--kubeconfig", access, "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file", filepath.Join(c.dir, "accounts.key"), "--root-ca-file", c.authority(),
		"--horizontal-pod-autoscaler-sync-period", "1s", // in a cluster 15 s
	); err != nil {
		return err
	}
	_, err = c.run(ctx, scheduler, "--kubeconfig", access, "--leader-elect=false", "--secure-port=0")
	return err
}

// Nodes starts kwok, a kubelet without containers for all nodes that there are.
// The stages, objects of its kind Stage, say what becomes of nodes and pods; pods
// get addresses of the range.
func (c *ControlPlane) Nodes(ctx context.Context, kwok string, stages []Object, addresses string) error {
	access, err := c.access()
	if err != nil {
		return err
	}
	var text []byte
	for _, stage := range stages {
		one, err := json.Marshal(stage)
		if err != nil {
			return fmt.Errorf("write the stages of pods: %w", err)
		}
		text = slices.Concat(text, []byte("---\n"), one, []byte("\n"))
	}
	config := filepath.Join(c.dir, "stages.yaml")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return fmt.Errorf("write the stages of pods: %w", err)
	}
	_, err = c.run(ctx, kwok, "--kubeconfig", access, "--config", config, "--manage-all-nodes",
		"--cidr", addresses, "--node-ip", "192.0.2.2", "--node-lease-duration-seconds", "40")
	return err
}

// Route starts Traefik as an implementation of the Gateway API, listening on the
// address at the ports; secure ones among them end TLS.
func (c *ControlPlane) Route(ctx context.Context, traefik, address string, ports map[int]bool) error {
	token := filepath.Join(c.dir, "gateway.token")
	if err := os.WriteFile(token, []byte(c.token), 0o600); err != nil {
		return fmt.Errorf("write the gateway's token: %w", err)
	}
	args := []string{
		"--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.level=INFO",
		"--providers.kubernetesgateway=true", "--providers.kubernetesgateway.endpoint=" + c.url,
		"--providers.kubernetesgateway.token=" + token, "--providers.kubernetesgateway.certauthfilepath=" + c.authority(),
		"--providers.kubernetesgateway.statusaddress.ip=" + address,
	}
	for port, secure := range ports {
		name := "port" + strconv.Itoa(port)
		args = append(args, fmt.Sprintf("--entrypoints.%s.address=%s:%d", name, address, port))
		if secure {
			args = append(args, "--entrypoints."+name+".http.tls=true")
		}
	}
	_, err := c.run(ctx, traefik, args...)
	return err
}

// access is the file that tells daemons where the API server is and who they are.
func (c *ControlPlane) access() (string, error) {
	path := filepath.Join(c.dir, "access.yaml")
	if err := os.WriteFile(path, c.Kubeconfig(), 0o600); err != nil {
		return "", fmt.Errorf("write how the API server is reached: %w", err)
	}
	return path, nil
}
