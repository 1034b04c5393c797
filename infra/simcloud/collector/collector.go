// Package collector measures the pods: it runs a real Prometheus, which scrapes
// what PodMonitorings select, as Managed Service for Prometheus does on GKE.
//
// It owns that process, its targets and its data. Without an executable of
// Prometheus on this machine nothing is measured, and its status says so.
package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/infra/simcloud/store"
)

// podMonitoring is the kind of the objects that are acted on.
const podMonitoring = "monitoring.googleapis.com/PodMonitoring"

// Pods are what is measured.
type Pods interface {
	Running(namespace string, selector labels.Selector) []runtime.Endpoint
	Changed() <-chan struct{}
}

// Options of a Collector.
type Options struct {
	// Directory holds the data, of which no more than 256 MB and six hours are kept.
	Directory string
	// Prometheus is the executable, "prometheus" on PATH by default.
	Prometheus string
	Objects    *store.Store
	Pods       Pods
	Logger     *slog.Logger
}

// Collector runs Prometheus from the first PodMonitoring on.
type Collector struct {
	Options

	mu     sync.Mutex
	status Status
}

// Status is how the measuring goes. It is the zero value while nothing is to be measured.
type Status struct {
	// Address of Prometheus' HTTP API, "" while it does not run.
	Address string `json:"address,omitempty"`
	// Trouble says why nothing is measured.
	Trouble string `json:"trouble,omitempty"`
	// Targets is how many ports of pods are scraped.
	Targets int `json:"targets"`
}

// New returns a collector that does nothing before Run.
func New(o Options) *Collector { return &Collector{Options: o} }

// Status tells how it goes.
func (c *Collector) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

func (c *Collector) set(change func(*Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
}

// Run measures until the context ends, and then ends Prometheus.
func (c *Collector) Run(ctx context.Context) {
	var prometheus sync.WaitGroup
	defer prometheus.Wait()
	started := false
	for ctx.Err() == nil {
		objects, pods := c.Objects.Changed(), c.Pods.Changed()
		again := retry
		wanted, targets := c.targets()
		if !started && wanted {
			started = true
			prometheus.Go(func() { c.supervise(ctx) })
		}
		if started {
			c.set(func(s *Status) { s.Targets = len(targets) })
			if err := c.write(targets); err != nil {
				c.Logger.Warn("targets are not up to date", "error", err)
			} else {
				again = idle
			}
		}
		timer := time.NewTimer(again)
		select {
		case <-objects:
		case <-pods:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

const (
	idle  = time.Minute
	retry = time.Second
)

// monitoring is as much of a PodMonitoring as is acted on.
type monitoring struct {
	Spec struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     intstr.IntOrString `json:"port"`
			Path     string             `json:"path"`
			Interval string             `json:"interval"`
		} `json:"endpoints"`
		TargetLabels struct {
			FromPod []struct {
				From string `json:"from"`
				To   string `json:"to"`
			} `json:"fromPod"`
		} `json:"targetLabels"`
	} `json:"spec"`
}

// group is one target in the form of Prometheus' files of targets.
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// targets are the ports that PodMonitorings select; wanted tells whether there is a PodMonitoring.
func (c *Collector) targets() (wanted bool, targets []group) {
	for _, object := range c.Objects.List(podMonitoring, "") {
		wanted = true
		status := store.Status{Generation: object.Generation, Ready: true}
		found, err := c.targetsOf(object)
		if err != nil {
			status = store.Status{Generation: object.Generation, Failed: true, Reasons: []string{err.Error()}}
		}
		c.Objects.SetStatus(object.Key, status)
		targets = append(targets, found...)
	}
	return wanted, targets
}

func (c *Collector) targetsOf(object store.Object) (targets []group, err error) {
	m := monitoring{}
	if err := object.Decode(&m); err != nil {
		return nil, err
	}
	selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("spec.selector: %w", err)
	}
	for _, endpoint := range m.Spec.Endpoints {
		interval, err := model.ParseDuration(endpoint.Interval)
		if err != nil || interval == 0 {
			return nil, fmt.Errorf("spec.endpoints[].interval %q is no duration above zero", endpoint.Interval)
		}
		for _, pod := range c.Pods.Running(object.Key.Namespace, selector) {
			port, ok := number(pod.Ports, endpoint.Port)
			if !ok {
				continue
			}
			labels := map[string]string{
				"namespace": object.Key.Namespace, "job": object.Key.Name, "pod": pod.Pod,
				"instance": pod.Pod + ":" + endpoint.Port.String(), "top_level_controller_name": pod.Owner,
				model.ScrapeIntervalLabel: interval.String(), model.ScrapeTimeoutLabel: interval.String(),
			}
			if endpoint.Path != "" {
				labels[model.MetricsPathLabel] = endpoint.Path
			}
			for _, label := range m.Spec.TargetLabels.FromPod {
				if value, there := pod.Labels[label.From]; there {
					labels[label.To] = value
				}
			}
			targets = append(targets, group{[]string{net.JoinHostPort(pod.Address, strconv.Itoa(int(port)))}, labels})
		}
	}
	return targets, nil
}

func number(ports map[string]int32, port intstr.IntOrString) (int32, bool) {
	if port.Type == intstr.Int {
		return port.IntVal, true
	}
	n, ok := ports[port.StrVal]
	return n, ok
}

func (c *Collector) path(name string) string { return filepath.Join(c.Directory, name) }

// write tells Prometheus of the targets; it watches the file.
func (c *Collector) write(targets []group) error {
	if targets == nil {
		targets = []group{}
	}
	raw, err := json.Marshal(targets)
	if err != nil {
		return fmt.Errorf("encode the targets: %w", err)
	}
	return replace(c.path("targets.json"), raw)
}
