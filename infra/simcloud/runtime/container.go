package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// healthyRun is how long a container must run for its failures to be forgotten.
	healthyRun = 10 * time.Minute
	// startRetry is how long to wait after a process could not be started at all.
	startRetry = time.Second
	// minimumGrace is left to a process after a preStop that used up all of its grace.
	minimumGrace = 2 * time.Second
	// Reasons of a container that waits, as Kubernetes calls them.
	reasonImage  = "ImagePullBackOff"
	reasonConfig = "CreateContainerConfigError"
	reasonStart  = "RunContainerError"
	reasonCrash  = "CrashLoopBackOff"
	reasonDone   = "Completed"
)

// container is one container of a pod.
type container struct {
	pod     *pod
	spec    corev1.Container
	log     *logFile
	logPath string

	// Guarded by the runtime's mu.
	status ContainerStatus

	// What the running process was started with; only the container's goroutines use it.
	launched command
}

// ContainerStatus is how a container is.
type ContainerStatus struct {
	Name     string `json:"name"`
	Image    string `json:"image"`
	PID      int    `json:"pid,omitempty"` // 0 while it does not run
	Ready    bool   `json:"ready"`
	Restarts int    `json:"restarts"`
	// Reason and Message tell why it does not run or is not ready.
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	LastExit string `json:"lastExit,omitempty"`

	everReady bool
}

// set changes the status and tells who waits for it.
func (c *container) set(change func(*ContainerStatus)) {
	r := c.pod.runtime
	r.mu.Lock()
	before := c.status
	change(&c.status)
	if c.status.Ready {
		c.status.everReady = true
	}
	changed := before != c.status
	if changed {
		c.pod.refresh()
	}
	r.mu.Unlock()
	if changed {
		r.Notify()
	}
}

// run keeps the container running until the context ends; an init container, until it succeeded.
func (c *container) run(ctx context.Context, initial bool) {
	var failures int
	for launched := false; ctx.Err() == nil; {
		changed := c.pod.runtime.objects.Changed()
		c.launched = command{}
		process, err := c.start()
		if err != nil {
			c.set(func(s *ContainerStatus) { s.Reason, s.Message = reasonOf(err), err.Error() })
			// What is missing may be made at any moment.
			select {
			case <-changed:
				sleep(ctx, eager)
			case <-time.After(startRetry):
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		c.set(func(s *ContainerStatus) {
			if launched {
				s.Restarts++
			}
			s.PID, s.Reason, s.Message = process.cmd.Process.Pid, "", ""
		})
		launched = true
		why := c.supervise(ctx, process)
		c.set(func(s *ContainerStatus) {
			s.PID, s.Ready, s.LastExit = 0, false, process.exit()
			s.Reason, s.Message = reasonCrash, why
			if process.err == nil {
				s.Reason = reasonDone
			}
		})
		if initial && process.err == nil {
			return
		}
		if time.Since(began) >= healthyRun {
			failures = 0
		}
		failures++
		sleep(ctx, c.pod.runtime.backOff(failures))
	}
}

// backOff is how long to wait before the next start: not at all after the first
// failure, then longer and longer.
func (r *Runtime) backOff(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	const doublings = 5 // 10 s becomes 320 s, which is capped at 5 min
	return min(r.restartDelay<<min(failures-2, doublings), 30*r.restartDelay)
}

func reasonOf(err error) string {
	config, image := &configError{}, &imageError{}
	switch {
	case errors.As(err, &image):
		return reasonImage
	case errors.As(err, &config):
		return reasonConfig
	default:
		return reasonStart
	}
}

// imageError says that there is no such image.
type imageError struct{ cause error }

func (e *imageError) Error() string { return e.cause.Error() }

// start makes volumes and variables ready and starts the process.
func (c *container) start() (*process, error) {
	r := c.pod.runtime
	path, name, err := r.images.Resolve(c.spec.Image)
	if err != nil {
		return nil, &imageError{err}
	}
	at, err := c.mounts()
	if err != nil {
		return nil, err
	}
	env, err := r.environment(c.pod, c.spec, at)
	if err != nil {
		return nil, err
	}
	argv, err := arguments(c.spec, name, env, at)
	if err != nil {
		return nil, err
	}
	c.launched = command{path: path, argv: argv, env: env, directory: c.pod.directory, output: c.log}
	return r.spawner.run(c.launched)
}

func (c *container) mounts() (mounts, error) {
	var at mounts
	for _, mount := range c.spec.VolumeMounts {
		i := slices.IndexFunc(c.pod.template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if i < 0 {
			return nil, configErrorf("there is no volume %q", mount.Name)
		}
		outside, err := c.pod.runtime.volume(c.pod, c.pod.template.Spec.Volumes[i])
		if err != nil {
			return nil, err
		}
		if mount.SubPath != "" {
			if !filepath.IsLocal(mount.SubPath) {
				return nil, configErrorf("volume %q: subPath %q leads out of it", mount.Name, mount.SubPath)
			}
			outside = filepath.Join(outside, mount.SubPath)
			if info, err := os.Stat(outside); err != nil || info.IsDir() {
				if err := os.MkdirAll(outside, 0o700); err != nil {
					return nil, fmt.Errorf("volume %q: %w", mount.Name, err)
				}
			}
		}
		at = append(at, mountPoint{filepath.Clean(mount.MountPath), outside})
	}
	slices.SortFunc(at, func(a, b mountPoint) int { return len(b.inside) - len(a.inside) })
	return at, nil
}

// supervise probes the process until it ends, which it makes it do when the
// context ends or a probe says so, and tells why it ended.
func (c *container) supervise(ctx context.Context, process *process) (why string) {
	probing, stopProbing := context.WithCancel(ctx)
	var probes sync.WaitGroup
	defer probes.Wait()
	defer stopProbing()
	unhealthy := make(chan string, 1)
	report := func(kind string, err error) {
		select {
		case unhealthy <- fmt.Sprintf("%s probe failed %v", kind, err):
		default:
		}
	}
	probes.Go(func() { c.probe(probing, &probes, report) })
	select {
	case <-process.done:
		return process.exit()
	case why = <-unhealthy:
		c.set(func(s *ContainerStatus) { s.Ready, s.Reason, s.Message = false, "Unhealthy", why })
		c.terminate(process) //nolint:contextcheck // it outlasts ctx, as Kubernetes' grace does
		return why
	case <-ctx.Done():
		c.terminate(process) //nolint:contextcheck // it begins when ctx ends
		return "the pod was deleted"
	}
}

// probe runs the startup probe and then, side by side, the other two.
func (c *container) probe(ctx context.Context, group *sync.WaitGroup, unhealthy func(kind string, err error)) {
	if c.spec.StartupProbe != nil {
		startup := prober{c.spec.StartupProbe, c.checkOf(c.spec.StartupProbe), func(healthy bool, err error) {
			if !healthy {
				unhealthy("startup", err)
			}
		}}
		if !startup.run(ctx, true) {
			return
		}
	}
	if c.spec.LivenessProbe != nil {
		liveness := prober{c.spec.LivenessProbe, c.checkOf(c.spec.LivenessProbe), func(healthy bool, err error) {
			if !healthy {
				unhealthy("liveness", err)
			}
		}}
		group.Go(func() { liveness.run(ctx, false) })
	}
	if c.spec.ReadinessProbe == nil {
		c.set(func(s *ContainerStatus) { s.Ready = ctx.Err() == nil })
		return
	}
	prober{c.spec.ReadinessProbe, c.checkOf(c.spec.ReadinessProbe), func(healthy bool, err error) {
		c.set(func(s *ContainerStatus) {
			s.Ready, s.Reason, s.Message = healthy, "", ""
			if err != nil {
				s.Reason, s.Message = "Unready", "readiness probe failed "+err.Error()
			}
		})
	}}.run(ctx, false)
}

// terminate ends the process as Kubernetes does: preStop, SIGTERM, and SIGKILL when the grace is over.
func (c *container) terminate(process *process) {
	deadline := time.Now().Add(c.pod.grace())
	if c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil && !c.pod.hurried() {
		pausing, cancel := context.WithDeadline(context.Background(), deadline)
		go func() {
			select {
			case <-process.done:
			case <-c.pod.hurry:
			case <-pausing.Done():
			}
			cancel()
		}()
		if err := c.preStop(pausing, c.spec.Lifecycle.PreStop); err != nil && pausing.Err() == nil {
			_, _ = fmt.Fprintf(c.log, "simcloud: preStop failed: %v\n", err) // it never fails
		}
		cancel()
	}
	process.stop(max(time.Until(deadline), minimumGrace))
}

func (c *container) preStop(ctx context.Context, hook *corev1.LifecycleHandler) error {
	switch {
	case hook.Sleep != nil:
		sleep(ctx, time.Duration(hook.Sleep.Seconds)*time.Second)
		return nil
	case hook.Exec != nil:
		return c.exec(ctx, hook.Exec.Command)
	case hook.HTTPGet != nil:
		return c.httpGet(ctx, hook.HTTPGet)
	default:
		return errors.New("this kind of hook is not simulated")
	}
}

// exec runs a command inside the container: the image's own executable, or sleep.
func (c *container) exec(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return errors.New("exec: no command")
	}
	switch base := filepath.Base(words[0]); {
	case base == "sleep" && len(words) == 2:
		seconds, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			return fmt.Errorf("exec: sleep %q", words[1])
		}
		sleep(ctx, time.Duration(seconds*float64(time.Second)))
		return nil
	case base != filepath.Base(c.launched.path):
		return fmt.Errorf("exec: %q: executable file not found in the image", words[0])
	}
	run := c.launched
	run.argv, run.output = words, io.Discard
	process, err := c.pod.runtime.spawner.run(run)
	if err != nil {
		return err
	}
	select {
	case <-process.done:
		if process.err != nil {
			return fmt.Errorf("exec: %s", process.exit())
		}
		return nil
	case <-ctx.Done():
		process.stop(0)
		return ctx.Err()
	}
}
