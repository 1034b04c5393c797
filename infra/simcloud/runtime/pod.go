package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"coditect.ai/platform/infra/simcloud/store"
)

// pod is a set of containers that live and die together.
type pod struct {
	runtime   *Runtime
	owner     store.Key
	namespace string
	name      string
	uid       string
	address   string
	revision  string // of the template
	template  corev1.PodTemplateSpec
	directory string
	created   time.Time

	initial    []*container
	containers []*container

	stop  context.CancelFunc
	hurry chan struct{} // closed when there is no time for preStop
	done  chan struct{} // closed when nothing of it runs any more

	// Guarded by the runtime's mu.
	terminating bool
	readySince  time.Time // zero while it is not ready
}

// PodStatus is how a pod is.
type PodStatus struct {
	Name        string            `json:"name"`
	Address     string            `json:"address"`
	Revision    string            `json:"revision"`
	Ready       bool              `json:"ready"`
	Terminating bool              `json:"terminating,omitempty"`
	Created     time.Time         `json:"created"`
	Containers  []ContainerStatus `json:"containers"`
}

// launch starts the pod's life, or leaves nothing of it behind.
func (p *pod) launch() error {
	if err := p.prepare(); err != nil {
		return errors.Join(err, p.closeLogs(), removeAll(p.directory),
			removeAll(p.runtime.logDirectory(p.namespace, p.name)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go p.live(ctx)
	return nil
}

// prepare makes the pod's directory, its containers and their logs.
func (p *pod) prepare() error {
	if err := os.MkdirAll(p.directory, 0o700); err != nil {
		return fmt.Errorf("pod %s/%s: %w", p.namespace, p.name, err)
	}
	for _, spec := range p.template.Spec.InitContainers {
		if err := p.add(&p.initial, spec); err != nil {
			return err
		}
	}
	for _, spec := range p.template.Spec.Containers {
		if err := p.add(&p.containers, spec); err != nil {
			return err
		}
	}
	return nil
}

func (p *pod) add(to *[]*container, spec corev1.Container) error {
	c := &container{pod: p, spec: spec, logPath: p.logPath(spec.Name)}
	c.status = ContainerStatus{Name: spec.Name, Image: spec.Image, Reason: "ContainerCreating"}
	var err error
	if c.log, err = openLog(c.logPath); err != nil {
		return err
	}
	*to = append(*to, c)
	return nil
}

func (p *pod) logPath(container string) string {
	return filepath.Join(p.runtime.logDirectory(p.namespace, p.name), container+".log")
}

// live runs the containers until the pod is stopped, and clears up.
func (p *pod) live(ctx context.Context) {
	defer close(p.done)
	for _, c := range p.initial {
		c.run(ctx, true)
	}
	var running sync.WaitGroup
	for _, c := range p.containers {
		running.Go(func() { c.run(ctx, false) })
	}
	running.Wait()
	<-ctx.Done()
	p.stop()
	if err := errors.Join(p.closeLogs(), removeAll(p.directory)); err != nil {
		p.runtime.logger.Warn("a pod left something behind", "pod", p.namespace+"/"+p.name, "error", err)
	}
}

func (p *pod) closeLogs() error {
	var failed []error
	for _, c := range slices.Concat(p.initial, p.containers) {
		failed = append(failed, c.log.Close())
	}
	return errors.Join(failed...)
}

// grace is how long the pod's processes have to end.
func (p *pod) grace() time.Duration {
	if seconds := p.template.Spec.TerminationGracePeriodSeconds; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return 30 * time.Second
}

func (p *pod) hurried() bool {
	select {
	case <-p.hurry:
		return true
	default:
		return false
	}
}

// refresh derives the pod's readiness from its containers'. The caller holds the runtime's mu.
func (p *pod) refresh() {
	for _, c := range p.containers {
		if !c.status.Ready {
			p.readySince = time.Time{}
			return
		}
	}
	if p.readySince.IsZero() {
		p.readySince = time.Now()
	}
}

func (p *pod) ready() bool { return !p.terminating && !p.readySince.IsZero() }

// running tells whether the pod has processes, or had some and is to have them again.
func (p *pod) running() bool {
	return slices.ContainsFunc(p.containers, func(c *container) bool {
		return c.status.PID != 0 || c.status.Restarts > 0 && !p.terminating
	})
}

// available tells whether the pod has been ready for long enough, or in what time it will have been.
func (p *pod) available(after time.Duration) (ok bool, in time.Duration) {
	if !p.ready() {
		return false, 0
	}
	in = after - time.Since(p.readySince)
	return in <= 0, in
}

// statuses are the containers' as they are at the moment. The caller holds the runtime's mu.
func (p *pod) statuses() []ContainerStatus {
	var list []ContainerStatus
	for _, c := range p.initial {
		if c.status.Reason != reasonDone {
			list = append(list, c.status)
		}
	}
	for _, c := range p.containers {
		list = append(list, c.status)
	}
	return list
}

// problems tells what keeps the pod from being ready, and whether waiting will not
// help. The caller holds the runtime's mu.
func (p *pod) problems() (reasons []string, hopeless bool) {
	for _, s := range p.statuses() {
		if s.Ready {
			continue
		}
		reason := fmt.Sprintf("pod %s, container %s: ", p.name, s.Name)
		switch {
		case s.Reason != "":
			reason += s.Reason
		default:
			reason += "not ready"
		}
		if s.Message != "" {
			reason += ": " + s.Message
		}
		if s.Restarts > 0 {
			reason += fmt.Sprintf(" (restarted %d times, last %s)", s.Restarts, s.LastExit)
		}
		if s.Restarts > 0 || s.Reason == reasonCrash {
			if lines, err := tail(p.logPath(s.Name), 5); err == nil && len(lines) > 0 {
				reason += "\n    | " + strings.ReplaceAll(string(lines), "\n", "\n    | ")
			}
		}
		reasons = append(reasons, reason)
		hopeless = hopeless || s.Reason == reasonImage ||
			(s.Reason == reasonCrash || s.Reason == reasonDone) && !s.everReady && s.Restarts >= hopelessRestarts
	}
	return reasons, hopeless
}
