package simcloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"coditect.ai/platform/infra/simcloud/collector"
	"coditect.ai/platform/infra/simcloud/gateway"
	"coditect.ai/platform/infra/simcloud/gcp"
	"coditect.ai/platform/infra/simcloud/kubernetes"
	"coditect.ai/platform/infra/simcloud/provider"
	"coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/infra/simcloud/store"
)

// Versions of the providers that are stood in for.
const (
	gcpVersion        = "7.38.0"
	kubernetesVersion = "4.24.0"
)

// Options of a Cloud.
type Options struct {
	// Directory holds all that the cloud keeps. One Cloud at a time may use it.
	Directory string
	// Buckets is where mounted buckets are, "buckets" below Directory by default. Elsewhere
	// they outlive the cloud, as buckets outlive a cluster.
	Buckets string
	// Execute runs Deployments and serves Gateways; otherwise objects are recorded
	// and reported ready, which is enough to apply a program for a real environment.
	Execute bool
	// Prometheus is the executable that measures the pods, "prometheus" on PATH by default.
	Prometheus string
	// Logger is where it tells what it does; nowhere by default.
	Logger *slog.Logger
	// RestartDelay is the base of containers' back-off, 10 s by default.
	RestartDelay time.Duration
}

// Cloud is the simulated cloud.
type Cloud struct {
	Objects *store.Store
	Vault   *gcp.Vault
	// Runtime, Gateway and Collector are nil unless the cloud executes.
	Runtime   *runtime.Runtime
	Gateway   *gateway.Gateway
	Collector *collector.Collector

	servers   []*provider.Server
	providers string
	// stops end the controllers one after the other.
	stops []func()
}

// Open reads what the directory holds, brings the pods and listeners back, and serves the providers.
func Open(o Options) (*Cloud, error) {
	logger := cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	directory, err := filepath.Abs(o.Directory)
	if err != nil {
		return nil, fmt.Errorf("open the simulated cloud: %w", err)
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("open the simulated cloud: %w", err)
	}
	c := &Cloud{}
	if c.Objects, err = store.Open(filepath.Join(directory, "objects.json")); err != nil {
		return nil, err
	}
	if c.Vault, err = gcp.OpenVault(filepath.Join(directory, "secrets.json"), c.Objects); err != nil {
		return nil, err
	}
	var releaser kubernetes.Releaser
	if o.Execute {
		if c.Runtime, err = runtime.New(runtime.Options{
			Directory: directory, Buckets: o.Buckets, Objects: c.Objects, Secrets: c.Vault, Logger: logger,
			Images: runtime.NewImages(filepath.Join(directory, "images")), RestartDelay: o.RestartDelay,
		}); err != nil {
			return nil, fmt.Errorf("open the simulated cloud: %w", err)
		}
		c.Gateway = gateway.New(c.Objects, c.Runtime, logger)
		measured := filepath.Join(directory, "prometheus")
		if err := os.MkdirAll(measured, 0o700); err != nil {
			return nil, fmt.Errorf("open the simulated cloud: %w", err)
		}
		c.Collector = collector.New(collector.Options{
			Directory: measured, Prometheus: o.Prometheus, Objects: c.Objects, Pods: c.Runtime, Logger: logger,
		})
		releaser = c.Runtime
	}
	err = c.serve(logger, kubernetes.New(c.Objects, releaser, time.Now), gcp.New(c.Objects, c.Vault, time.Now))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if o.Execute {
		// The way in closes before what lies behind it.
		c.run(c.Gateway.Run)
		c.run(c.Runtime.Run)
		c.run(c.Collector.Run)
	}
	return c, nil
}

func (c *Cloud) serve(logger *slog.Logger, cluster, cloud provider.Backend) error {
	for _, server := range []struct {
		name, version string
		backend       provider.Backend
	}{{"gcp", gcpVersion, cloud}, {"kubernetes", kubernetesVersion, cluster}} {
		s := provider.NewServer(server.name, server.version, server.backend, logger)
		port, err := s.Serve()
		if err != nil {
			return err
		}
		c.servers = append(c.servers, s)
		if c.providers != "" {
			c.providers += ","
		}
		c.providers += fmt.Sprintf("%s:%d", server.name, port)
	}
	return nil
}

func (c *Cloud) run(controller func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { controller(ctx) })
	c.stops = append(c.stops, func() {
		cancel()
		running.Wait()
	})
}

// Providers is the value of PULUMI_DEBUG_PROVIDERS with which an engine finds the providers.
func (c *Cloud) Providers() string { return c.providers }

// Close stops serving, closes the listeners and ends all pods.
func (c *Cloud) Close() error {
	var failed []error
	for _, server := range c.servers {
		failed = append(failed, server.Stop())
	}
	for _, stop := range c.stops {
		stop()
	}
	return errors.Join(failed...)
}
