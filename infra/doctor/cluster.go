package doctor

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coditect.ai/platform/infra/kube"
)

// Cluster is what the ladder reads of a cluster.
type Cluster interface {
	Get(ctx context.Context, r kube.Resource, namespace, name string, into any) error
	List(ctx context.Context, r kube.Resource, namespace, selector string, into any) error
	Log(ctx context.Context, namespace, pod, container string) ([]byte, error)
}

// Names are what the program calls what the ladder looks for.
type Names struct {
	Namespace string
	App       string // the service's app.kubernetes.io/name
	// Container serves the API.
	Container string
	Want      Probes
	// Database is the app of FoundationDB's pods, Service the headless one,
	// ClusterFile the ConfigMap and File its key; all empty where there is none.
	Database, Service, ClusterFile, File string
}

const byName = "app.kubernetes.io/name="

// Observe reads the service from a cluster.
func Observe(ctx context.Context, c Cluster, names Names) (Workload, error) {
	w := Workload{Namespace: names.Namespace, Want: names.Want}
	var pods corev1.PodList
	if err := c.List(ctx, kube.Pods, names.Namespace, byName+names.App, &pods); err != nil {
		return w, err
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp != nil {
			continue // it leaves
		}
		p, err := observed(ctx, c, &pods.Items[i], names.Container)
		if err != nil {
			return w, err
		}
		w.Pods = append(w.Pods, p)
	}
	if names.Database == "" {
		return w, nil
	}
	d := &Database{Service: names.Service, Pods: map[string]bool{}}
	w.Database = d
	var config corev1.ConfigMap
	err := c.Get(ctx, kube.ConfigMaps, names.Namespace, names.ClusterFile, &config)
	if err != nil && !errors.Is(err, kube.ErrAbsent) {
		return w, err
	}
	d.ClusterFile = config.Data[names.File]
	var service corev1.Service
	err = c.Get(ctx, kube.Services, names.Namespace, names.Service, &service)
	if err != nil && !errors.Is(err, kube.ErrAbsent) {
		return w, err
	}
	d.Named = err == nil && service.Spec.ClusterIP == corev1.ClusterIPNone
	var servers corev1.PodList
	if err := c.List(ctx, kube.Pods, names.Namespace, byName+names.Database, &servers); err != nil {
		return w, err
	}
	for i := range servers.Items {
		if owner := metav1.GetControllerOf(&servers.Items[i]); owner != nil && owner.Kind == "StatefulSet" { // no job's
			d.Pods[servers.Items[i].Name] = isReady(&servers.Items[i])
		}
	}
	return w, nil
}

// observed reads one pod, and what its container wrote.
func observed(ctx context.Context, c Cluster, pod *corev1.Pod, container string) (Pod, error) {
	p := Pod{Name: pod.Name, Ready: isReady(pod)}
	p.Probes = ProbesOf(pod.Spec, container)
	for _, spec := range pod.Spec.Containers {
		if spec.Name == container {
			p.Image = spec.Image
		}
	}
	begun := false
	for _, status := range pod.Status.InitContainerStatuses {
		if ended := status.State.Terminated; ended == nil || ended.ExitCode != 0 {
			p.Preparing, begun = status.Name, status.State.Waiting == nil || status.LastTerminationState.Terminated != nil
			break
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name != container {
			continue
		}
		p.Restarts = int(status.RestartCount)
		if waiting := status.State.Waiting; waiting != nil {
			p.Waiting, p.Message = waiting.Reason, waiting.Message
		}
		for _, ended := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
			if ended != nil && p.Exited == nil {
				code := int(ended.ExitCode)
				p.Exited, p.Killed = &code, ended.Reason == "OOMKilled"
			}
		}
	}
	text := func(of string) (string, error) {
		raw, err := c.Log(ctx, pod.Namespace, pod.Name, of)
		if errors.Is(err, kube.ErrAbsent) {
			return "", nil
		}
		return string(raw), err
	}
	var err error
	switch { // of what never began there is no log to be had
	case p.Preparing != "" && begun:
		p.PreparingLog, err = text(p.Preparing)
	case p.Preparing == "" && (p.Waiting == "" || p.Exited != nil):
		p.Log, err = text(container)
	}
	return p, err
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// ProbesOf tells where a pod's container is asked.
func ProbesOf(pod corev1.PodSpec, container string) Probes {
	for _, spec := range pod.Containers {
		if spec.Name == container {
			return Probes{Readiness: asked(spec.ReadinessProbe), Liveness: asked(spec.LivenessProbe)}
		}
	}
	return Probes{}
}

// asked is where a probe asks, as PORT/PATH.
func asked(probe *corev1.Probe) string {
	if probe == nil || probe.HTTPGet == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s%s", probe.HTTPGet.Port.String(), probe.HTTPGet.Path)
}
