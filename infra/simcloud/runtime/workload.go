package runtime

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coditect.ai/platform/infra/simcloud/kubernetes"
	"coditect.ai/platform/infra/simcloud/store"
)

// idle is how long the controller sleeps when nothing changes.
const idle = 30 * time.Second

// reconcile makes one step from what runs to what was asked for, and returns when to look again.
func (r *Runtime) reconcile() (next time.Duration) {
	next = idle
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, object := range r.objects.List(kubernetes.Deployment, "") {
		deployment, err := decodeDeployment(object)
		if err != nil {
			r.objects.SetStatus(object.Key, store.Status{
				Generation: object.Generation, Failed: true, Reasons: []string{err.Error()},
			})
			continue
		}
		if again := r.roll(object, deployment); again > 0 {
			next = min(next, again)
		}
	}
	for _, p := range r.pods {
		if _, wanted := r.objects.Get(p.owner); !wanted {
			r.terminate(p)
		}
	}
	r.reportOthers()
	return next
}

func decodeDeployment(object store.Object) (*appsv1.Deployment, error) {
	deployment := &appsv1.Deployment{}
	return deployment, object.Decode(deployment)
}

// replicas is how many pods a Deployment wants: what it says, or what an autoscaler at least keeps, or one.
func (r *Runtime) replicas(key store.Key, deployment *appsv1.Deployment) int {
	if deployment.Spec.Replicas != nil {
		return int(*deployment.Spec.Replicas)
	}
	for _, object := range r.objects.List(kubernetes.HorizontalPodAutoscaler, key.Namespace) {
		scaler := &autoscalingv2.HorizontalPodAutoscaler{}
		if err := object.Decode(scaler); err != nil {
			continue
		}
		target := scaler.Spec.ScaleTargetRef
		if target.Kind == "Deployment" && target.Name == key.Name && scaler.Spec.MinReplicas != nil {
			return int(*scaler.Spec.MinReplicas)
		}
	}
	return 1
}

// fleet is the pods of a Deployment that are not on their way out.
type fleet struct {
	current, old  []*pod
	leaving       int           // pods that still end
	after         time.Duration // minReadySeconds
	availableIn   time.Duration // until the next pod counts as available
	currentUp     int           // available ones of the current revision
	up            int           // available ones of all
	currentsReady int
}

func (r *Runtime) fleet(owner store.Key, revision string, after time.Duration) fleet {
	f := fleet{after: after}
	for _, id := range slices.Sorted(maps.Keys(r.pods)) {
		p := r.pods[id]
		if p.owner != owner {
			continue
		}
		if p.terminating {
			f.leaving++
			continue
		}
		available, in := p.available(after)
		if in > 0 && (f.availableIn == 0 || in < f.availableIn) {
			f.availableIn = in
		}
		if available {
			f.up++
		}
		if p.revision != revision {
			f.old = append(f.old, p)
			continue
		}
		f.current = append(f.current, p)
		if available {
			f.currentUp++
		}
		if p.ready() {
			f.currentsReady++
		}
	}
	return f
}

// roll moves a Deployment towards its template and size, within maxSurge and
// maxUnavailable, and reports how far it is. The caller holds mu.
func (r *Runtime) roll(object store.Object, deployment *appsv1.Deployment) (again time.Duration) {
	desired := r.replicas(object.Key, deployment)
	revision, err := revisionOf(deployment.Spec.Template)
	if r.objects.Status(object.Key).Generation < object.Generation {
		r.giveUp(object.Key, revision)
	}
	if err == nil {
		f := r.fleet(object.Key, revision, time.Duration(deployment.Spec.MinReadySeconds)*time.Second)
		if deployment.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
			err = r.recreate(object.Key, f, desired, revision, deployment.Spec.Template)
		} else {
			err = r.rollingStep(object.Key, f, desired, revision, deployment)
		}
	}
	f := r.fleet(object.Key, revision, time.Duration(deployment.Spec.MinReadySeconds)*time.Second)
	status := store.Status{
		Generation: object.Generation,
		Ready:      err == nil && len(f.old) == 0 && len(f.current) == desired && f.currentUp == desired,
		Fields: map[string]any{
			"observedGeneration": float64(object.Generation),
			"replicas":           float64(len(f.current) + len(f.old)), "updatedReplicas": float64(len(f.current)),
			"readyReplicas": float64(f.currentsReady), "availableReplicas": float64(f.up),
		},
	}
	if !status.Ready {
		status.Reasons = []string{fmt.Sprintf("%d of %d pods of the new revision are available", f.currentUp, desired)}
	}
	for _, p := range f.current {
		reasons, hopeless := p.problems()
		status.Reasons = append(status.Reasons, reasons...)
		status.Failed = status.Failed || hopeless
	}
	if err != nil {
		status.Reasons = append(status.Reasons, err.Error())
		again = time.Second
	}
	r.objects.SetStatus(object.Key, status)
	return cmp.Or(again, f.availableIn)
}

// giveUp ends pods of a revision that waiting does not help: where the same is asked
// for once more, it is tried with new ones. The caller holds mu.
func (r *Runtime) giveUp(owner store.Key, revision string) {
	for _, p := range r.fleet(owner, revision, 0).current {
		if _, hopeless := p.problems(); hopeless {
			r.terminate(p)
		}
	}
}

func (r *Runtime) recreate(owner store.Key, f fleet, desired int, revision string, template corev1.PodTemplateSpec) error {
	for _, p := range f.old {
		r.terminate(p)
	}
	if len(f.old) > 0 || f.leaving > 0 && len(f.current) == 0 {
		return nil
	}
	return r.scale(owner, f, desired, revision, template)
}

// scale brings the current revision to a size.
func (r *Runtime) scale(owner store.Key, f fleet, size int, revision string, template corev1.PodTemplateSpec) error {
	for range size - len(f.current) {
		if err := r.create(owner, revision, template); err != nil {
			return err
		}
	}
	for _, p := range leastUseful(f.current)[:max(0, len(f.current)-size)] {
		r.terminate(p)
	}
	return nil
}

func (r *Runtime) rollingStep(owner store.Key, f fleet, desired int, revision string, deployment *appsv1.Deployment) error {
	surge, unavailable, err := bounds(deployment.Spec.Strategy.RollingUpdate, desired)
	if err != nil {
		return err
	}
	size := min(desired, max(len(f.current), desired+surge-len(f.old)))
	if err := r.scale(owner, f, size, revision, deployment.Spec.Template); err != nil {
		return err
	}
	// Old pods that do not work go first, as far as that leaves the new ones time to come up.
	atLeast := desired - unavailable
	spare := len(f.current) + len(f.old) - atLeast - (len(f.current) - f.currentUp)
	usable := f.up - atLeast
	for _, p := range leastUseful(f.old) {
		switch available, _ := p.available(f.after); {
		case !available && spare > 0:
			spare--
			r.terminate(p)
		case available && usable > 0 && spare > 0:
			usable, spare = usable-1, spare-1
			r.terminate(p)
		}
	}
	return nil
}

// leastUseful orders pods as they should go: those that are not ready first, then the youngest.
func leastUseful(pods []*pod) []*pod {
	return slices.SortedStableFunc(slices.Values(pods), func(a, b *pod) int {
		if a.ready() != b.ready() {
			if b.ready() {
				return -1
			}
			return 1
		}
		return b.created.Compare(a.created)
	})
}

// bounds are maxSurge, rounded up, and maxUnavailable, rounded down; both are a quarter by default.
func bounds(update *appsv1.RollingUpdateDeployment, desired int) (surge, unavailable int, err error) {
	quarter := intstr.FromString("25%")
	surgeSpec, unavailableSpec := &quarter, &quarter
	if update != nil && update.MaxSurge != nil {
		surgeSpec = update.MaxSurge
	}
	if update != nil && update.MaxUnavailable != nil {
		unavailableSpec = update.MaxUnavailable
	}
	if surge, err = intstr.GetScaledValueFromIntOrPercent(surgeSpec, desired, true); err != nil {
		return 0, 0, fmt.Errorf("maxSurge: %w", err)
	}
	if unavailable, err = intstr.GetScaledValueFromIntOrPercent(unavailableSpec, desired, false); err != nil {
		return 0, 0, fmt.Errorf("maxUnavailable: %w", err)
	}
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable, nil
}

// revisionOf is a short fingerprint of a template.
func revisionOf(template corev1.PodTemplateSpec) (string, error) {
	raw, err := json.Marshal(template)
	if err != nil {
		return "", fmt.Errorf("fingerprint the pod template: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:5]), nil
}

// reportOthers speaks of the workloads that are not run and of claims, which are ready at once.
func (r *Runtime) reportOthers() {
	for _, kind := range []string{
		kubernetes.StatefulSet, kubernetes.DaemonSet, kubernetes.Job, kubernetes.CronJob,
	} {
		for _, object := range r.objects.List(kind, "") {
			r.objects.SetStatus(object.Key, store.Status{
				Generation: object.Generation, Failed: true, Reasons: r.refusal(object),
			})
		}
	}
	for _, object := range r.objects.List(kubernetes.PersistentVolumeClaim, "") {
		r.objects.SetStatus(object.Key, store.Status{
			Generation: object.Generation, Ready: true, Fields: map[string]any{"phase": "Bound"},
		})
	}
}

func (r *Runtime) refusal(object store.Object) []string {
	var workload struct {
		Spec struct {
			Template    corev1.PodTemplateSpec
			JobTemplate batchv1.JobTemplateSpec
		}
	}
	if err := object.Decode(&workload); err != nil {
		return []string{err.Error()}
	}
	var reasons []string
	for _, c := range append(workload.Spec.Template.Spec.Containers, workload.Spec.JobTemplate.Spec.Template.Spec.Containers...) {
		if _, _, err := r.images.Resolve(c.Image); err != nil {
			reasons = append(reasons, fmt.Sprintf("container %s: %s: %v", c.Name, reasonImage, err))
		}
	}
	return append(reasons, "simcloud runs Deployments only")
}

// WorkloadStatus is how a Deployment is.
type WorkloadStatus struct {
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"`
	Desired   int         `json:"desired"`
	Ready     int         `json:"ready"`
	Complete  bool        `json:"complete"` // all pods are of the current template and available
	Reasons   []string    `json:"reasons,omitempty"`
	Pods      []PodStatus `json:"pods"`
}

// Workloads tells how the Deployments are.
func (r *Runtime) Workloads() []WorkloadStatus {
	objects := r.objects.List(kubernetes.Deployment, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]WorkloadStatus, 0, len(objects))
	for _, object := range objects {
		deployment, err := decodeDeployment(object)
		if err != nil {
			continue
		}
		status := r.objects.Status(object.Key)
		w := WorkloadStatus{
			Namespace: object.Key.Namespace, Name: object.Key.Name, Desired: r.replicas(object.Key, deployment),
			Complete: status.Ready && status.Generation == object.Generation, Reasons: status.Reasons,
		}
		for _, id := range slices.Sorted(maps.Keys(r.pods)) {
			p := r.pods[id]
			if p.owner != object.Key {
				continue
			}
			if p.ready() {
				w.Ready++
			}
			w.Pods = append(w.Pods, PodStatus{
				Name: p.name, Address: p.address, Revision: p.revision, Ready: p.ready(),
				Terminating: p.terminating, Created: p.created, Containers: p.statuses(),
			})
		}
		list = append(list, w)
	}
	return list
}
