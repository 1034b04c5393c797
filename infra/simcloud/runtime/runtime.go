// Package runtime makes Deployments run: their pods' containers are processes of
// this machine.
//
// It owns processes, their addresses, volumes, logs, probes, restarts and rolling
// updates, and reports on workloads through the store. What it cannot give a
// process is a namespace: no own file system, so that paths in variables and
// arguments are rewritten to where a volume really is; no own network, so that a
// process must listen on its pod's address; no limits of memory or CPU and no
// other user.
package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/uuid"

	"coditect.ai/platform/infra/simcloud/kubernetes"
	"coditect.ai/platform/infra/simcloud/store"
)

const (
	// hopelessRestarts of a container that was never ready end the wait for it.
	hopelessRestarts = 4
	// settle is how long changes are collected before the controller looks at them.
	settle = 10 * time.Millisecond
	// keptLogs is how many dead pods' logs are kept.
	keptLogs = 20
)

// Secrets is where the values of secrets come from.
type Secrets interface {
	Access(name, version string) ([]byte, error)
}

// Options of a Runtime.
type Options struct {
	Directory string
	// Buckets is where mounted buckets are, "buckets" below Directory by default.
	Buckets string
	Objects *store.Store
	Secrets Secrets
	Images  *Images
	Logger  *slog.Logger
	// RestartDelay is the wait before the second restart, doubling with each one after
	// it up to thirty times as much; 10 s by default.
	RestartDelay time.Duration
	// Address gives the pod of a serial number its address, which is this machine's
	// own; by default one of loopback.
	Address func(serial uint64) string
}

// Runtime runs pods. Its Notifier tells of every change to them.
type Runtime struct {
	store.Notifier

	directory    string
	buckets      string
	objects      *store.Store
	secrets      Secrets
	images       *Images
	logger       *slog.Logger
	restartDelay time.Duration
	address      func(serial uint64) string
	spawner      *spawner // of Run

	mu   sync.Mutex
	pods map[string]*pod // by "namespace/name"
}

// New returns a runtime that does nothing before Run. What an earlier life left of
// its pods runs no more and is removed.
func New(o Options) (*Runtime, error) {
	if err := removeAll(filepath.Join(o.Directory, "pods")); err != nil {
		return nil, err
	}
	r := &Runtime{
		directory: o.Directory, buckets: cmp.Or(o.Buckets, filepath.Join(o.Directory, "buckets")), objects: o.Objects, secrets: o.Secrets, images: o.Images, logger: o.Logger,
		restartDelay: cmp.Or(o.RestartDelay, 10*time.Second),
		address:      o.Address,
		pods:         map[string]*pod{},
	}
	if r.address == nil {
		r.address = r.loopback
	}
	return r, nil
}

// Run makes what runs agree with what was asked for until the context ends, then
// stops all pods. It is called once.
func (r *Runtime) Run(ctx context.Context) {
	r.spawner = newSpawner()
	for ctx.Err() == nil {
		objects, pods := r.objects.Changed(), r.Changed()
		next := r.reconcile() //nolint:contextcheck // pods end by stopAll, not with ctx
		timer := time.NewTimer(next)
		select {
		case <-objects:
		case <-pods:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		sleep(ctx, settle)
	}
	r.stopAll()
	r.spawner.close()
}

// stopAll ends every pod, without the pauses that are for the sake of traffic.
func (r *Runtime) stopAll() {
	r.mu.Lock()
	var pods []*pod
	for _, p := range r.pods {
		close(p.hurry)
		pods = append(pods, p)
		r.terminate(p)
	}
	r.mu.Unlock()
	for _, p := range pods {
		<-p.done
	}
}

// create starts a pod. The caller holds mu.
func (r *Runtime) create(owner store.Key, revision string, template corev1.PodTemplateSpec) error {
	serial, err := r.objects.NextSerial()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s-%04x", owner.Name, revision, serial)
	p := &pod{
		runtime: r, owner: owner, namespace: owner.Namespace, name: name, uid: string(uuid.NewUUID()),
		address: r.address(serial), revision: revision, template: template,
		directory: filepath.Join(r.directory, "pods", owner.Namespace, name),
		created:   time.Now(), hurry: make(chan struct{}), done: make(chan struct{}),
	}
	if err := p.launch(); err != nil {
		return err
	}
	id := p.namespace + "/" + p.name
	r.pods[id] = p
	r.logger.Info("pod created", "pod", id, "address", p.address)
	go func() {
		<-p.done
		r.mu.Lock()
		delete(r.pods, id)
		r.mu.Unlock()
		r.logger.Info("pod ended", "pod", id)
		r.pruneLogs(p.namespace)
		r.Notify()
	}()
	return nil
}

// terminate lets a pod end. It is out of every Service at once. The caller holds mu.
func (r *Runtime) terminate(p *pod) {
	if !p.terminating {
		p.terminating = true
		r.logger.Info("pod terminating", "pod", p.namespace+"/"+p.name)
		p.stop()
		r.Notify()
	}
}

// loopback gives each pod its own loopback address. Environments of one machine
// start at different ones, so that they hardly ever meet.
func (r *Runtime) loopback(serial uint64) string {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(r.directory)) // never fails
	sum := hash.Sum64()
	host := (sum>>8+serial)%65_534 + 1
	return fmt.Sprintf("127.%d.%d.%d", 64+sum%64, host>>8, host&0xff)
}

func (r *Runtime) logDirectory(namespace, pod string) string {
	return filepath.Join(r.directory, "logs", namespace, pod)
}

// pruneLogs removes the oldest logs of pods that are gone.
func (r *Runtime) pruneLogs(namespace string) {
	home := filepath.Join(r.directory, "logs", namespace)
	entries, err := os.ReadDir(home)
	if err != nil {
		return
	}
	type dead struct {
		path  string
		ended time.Time
	}
	var logs []dead
	r.mu.Lock()
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && r.pods[namespace+"/"+entry.Name()] == nil {
			logs = append(logs, dead{filepath.Join(home, entry.Name()), info.ModTime()})
		}
	}
	r.mu.Unlock()
	slices.SortFunc(logs, func(a, b dead) int { return b.ended.Compare(a.ended) })
	for _, old := range logs[min(keptLogs, len(logs)):] {
		if err := removeAll(old.path); err != nil {
			r.logger.Warn("an old log stays", "error", err)
		}
	}
}

// Endpoint is a pod, as others reach it.
type Endpoint struct {
	Pod     string
	Owner   string // the name of its Deployment
	Labels  map[string]string
	Address string
	Ports   map[string]int32 // by name
}

// Endpoints returns the ready pods that the labels select, in order of their names.
func (r *Runtime) Endpoints(namespace string, selector map[string]string) []Endpoint {
	if len(selector) == 0 {
		return nil
	}
	return r.endpoints(namespace, labels.SelectorFromSet(selector), (*pod).ready)
}

// Running returns the selected pods that have processes, or whose processes have
// failed, ready or not, in order of their names.
func (r *Runtime) Running(namespace string, selector labels.Selector) []Endpoint {
	return r.endpoints(namespace, selector, (*pod).running)
}

func (r *Runtime) endpoints(namespace string, selector labels.Selector, wanted func(*pod) bool) []Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []Endpoint
	for _, p := range r.pods {
		if p.namespace != namespace || !wanted(p) || !selector.Matches(labels.Set(p.template.Labels)) {
			continue
		}
		endpoint := Endpoint{Pod: p.name, Owner: p.owner.Name, Labels: p.template.Labels, Address: p.address, Ports: map[string]int32{}}
		for _, c := range p.template.Spec.Containers {
			for _, port := range c.Ports {
				endpoint.Ports[port.Name] = port.ContainerPort
			}
		}
		found = append(found, endpoint)
	}
	slices.SortFunc(found, func(a, b Endpoint) int { return cmp.Compare(a.Pod, b.Pod) })
	return found
}

// Release implements kubernetes.Releaser.
func (r *Runtime) Release(ctx context.Context, key store.Key) error {
	for {
		changed := r.Changed()
		users := r.users(key)
		if len(users) == 0 {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("still in use by pods %v: %w", users, context.Cause(ctx))
		}
	}
	if key.Kind == kubernetes.PersistentVolumeClaim && !r.objects.Retain() {
		return removeAll(r.claimDirectory(key.Namespace, key.Name))
	}
	return nil
}

// users are the pods that run for the object or use it.
func (r *Runtime) users(key store.Key) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var users []string
	for _, p := range r.pods {
		mounts := key.Kind == kubernetes.PersistentVolumeClaim && p.namespace == key.Namespace &&
			slices.ContainsFunc(p.template.Spec.Volumes, func(v corev1.Volume) bool {
				return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == key.Name
			})
		if p.owner == key || mounts {
			users = append(users, p.name)
		}
	}
	slices.Sort(users)
	return users
}

// PushImage adds an image to the registry.
func (r *Runtime) PushImage(repository, path string) (reference string, err error) {
	used := map[string]bool{}
	for _, object := range r.objects.List(kubernetes.Deployment, "") {
		if d, err := decodeDeployment(object); err == nil {
			for _, c := range slices.Concat(d.Spec.Template.Spec.InitContainers, d.Spec.Template.Spec.Containers) {
				used[c.Image] = true
			}
		}
	}
	reference, err = r.images.Push(repository, path, func(reference string) bool { return used[reference] })
	r.objects.Notify() // a container may be waiting for it
	return reference, err
}

// Logs returns the last lines of a pod's containers.
func (r *Runtime) Logs(namespace, pod string, lines int) ([]byte, error) {
	if !filepath.IsLocal(namespace) || !filepath.IsLocal(pod) {
		return nil, fmt.Errorf("logs of %s/%s: no such pod", namespace, pod)
	}
	files, err := filepath.Glob(filepath.Join(r.logDirectory(namespace, pod), "*.log"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("logs of %s/%s: no such pod", namespace, pod), err)
	}
	var all []byte
	for _, file := range files {
		part, err := tail(file, lines)
		if err != nil {
			return nil, err
		}
		if len(part) > 0 {
			all = append(append(all, part...), '\n')
		}
	}
	return all, nil
}
