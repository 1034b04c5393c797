package policy

import (
	"regexp"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// template finds the pod template of a workload.
func template(r Resource) (corev1.PodSpec, bool) {
	if !strings.HasPrefix(r.Type, "kubernetes:") {
		return corev1.PodSpec{}, false
	}
	switch kind(r.Type) {
	case "Deployment", "StatefulSet", "DaemonSet", "Job":
		w, ok := decode[struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}](r.Inputs)
		return w.Spec.Template.Spec, ok
	case "CronJob":
		w, ok := decode[batchv1.CronJob](r.Inputs)
		return w.Spec.JobTemplate.Spec.Template.Spec, ok
	}
	return corev1.PodSpec{}, false
}

// containers calls visit for each container of a workload.
func containers(r Resource, visit func(c corev1.Container)) {
	if spec, ok := template(r); ok {
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			visit(c)
		}
	}
}

type report = func(format string, args ...any)

// exactImage is a digest, or a version of three numbers that its maker never moves,
// with that of what is inside, or of GKE's build, where there are two.
var exactImage = regexp.MustCompile(`(@sha256:[0-9a-f]{64}|:v?\d+\.\d+\.\d+(-\d+\.\d+\.\d+|-gke\.\d+)?)$`)

var workloadRules = []Rule{
	{"exact-image", "What runs must be what was reviewed: a tag like latest changes under it.", func(_ Environment, r Resource, found report) {
		containers(r, func(c corev1.Container) {
			if !exactImage.MatchString(c.Image) {
				found("container %s runs %s, which can change under it: name a digest, or a full version", c.Name, c.Image)
			}
		})
	}},
	{"limits", "A container without limits takes its neighbours' memory and CPU.", func(_ Environment, r Resource, found report) {
		containers(r, func(c corev1.Container) {
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
				if request.IsZero() || limit.Cmp(request) < 0 {
					found("container %s requests %s of %s and is limited to %s: state both, the limit no less", c.Name, &request, name, &limit)
				}
			}
		})
	}},
	{"probes", "Traffic goes to a pod that says it is ready, and a rolling change waits for it.", func(_ Environment, r Resource, found report) {
		if k := kind(r.Type); k != "Deployment" && k != "StatefulSet" {
			return
		}
		spec, ok := template(r)
		if !ok {
			return
		}
		for _, c := range spec.Containers {
			if len(c.Ports) > 0 && c.ReadinessProbe == nil {
				found("container %s has ports and no readiness probe", c.Name)
			}
		}
	}},
	{"restricted", "A container that is broken into must be a small room.", func(_ Environment, r Resource, found report) {
		spec, ok := template(r)
		if !ok {
			return
		}
		if s := spec.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot {
			found("its pods may run as root: set runAsNonRoot")
		}
		if s := spec.SecurityContext; s == nil || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			found("its pods may make any system call: set the seccomp profile RuntimeDefault")
		}
		if spec.HostNetwork || spec.HostPID || spec.HostIPC {
			found("its pods share the node's namespaces")
		}
		for _, v := range spec.Volumes {
			if v.HostPath != nil {
				found("volume %s is the node's own directory", v.Name)
			}
		}
		containers(r, func(c corev1.Container) {
			s := c.SecurityContext
			if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Privileged != nil && *s.Privileged ||
				s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
				found("container %s can gain privileges: drop all capabilities and forbid escalation", c.Name)
			}
			if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				found("container %s can change its own files: make the root file system read-only", c.Name)
			}
		})
	}},
	{"own-account", "A token of the cluster's API is given to those alone who use it.", func(_ Environment, r Resource, found report) {
		spec, ok := template(r)
		if !ok {
			return
		}
		if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			if spec.ServiceAccountName == "" || spec.ServiceAccountName == "default" {
				found("its pods are given the token of the namespace's default account")
			}
		}
	}},
	{"one-entry", "The gateway is the only way in.", func(_ Environment, r Resource, found report) {
		switch {
		case !strings.HasPrefix(r.Type, "kubernetes:"):
		case kind(r.Type) == "Ingress":
			found("an Ingress is a second way in: add a route to the gateway")
		case kind(r.Type) == "Service":
			internal := at(r.Inputs, "metadata", "annotations", "networking.gke.io/load-balancer-type") == "Internal"
			if t := at(r.Inputs, "spec", "type"); t == "NodePort" || t == "LoadBalancer" && !internal {
				found("a Service of type %v is a second way in: use ClusterIP behind the gateway", t)
			}
		}
	}},
	{"named-rights", "A role names what it may do; a star is everything that is yet to come.", func(_ Environment, r Resource, found report) {
		if !strings.HasPrefix(r.Type, "kubernetes:rbac.authorization.k8s.io") {
			return
		}
		leaves("", r.Inputs, func(path string, value any) {
			if value == "*" {
				found("%s is a star", path)
			}
			if value == "cluster-admin" {
				found("%s gives all of the cluster", path)
			}
		})
	}},
}
