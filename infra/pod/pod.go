// Package pod owns what every pod of the platform has in common: labels,
// security contexts, resources, small probes and ports, and [Part], the form in
// which one component tells another what its pods need.
package pod

import (
	"fmt"
	"maps"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/stacks"
)

// Part is what one component adds to the pods that use it.
type Part struct {
	// Labels admit the pods where a network policy asks for them. They never reach a selector.
	Labels         map[string]string
	Env            corev1.EnvVarArray
	Volumes        corev1.VolumeArray
	Mounts         corev1.VolumeMountArray
	InitContainers corev1.ContainerArray
	// Egress is where such a pod must be able to go.
	Egress networkingv1.NetworkPolicyEgressRuleArray
	// Needs must be there before such a pod can start.
	Needs []pulumi.Resource
}

// Platform is the name of what every object is a part of.
const Platform = stacks.Project

// Labels that mean something to a selector or a policy.
const (
	LabelName      = "app.kubernetes.io/name"
	LabelComponent = "app.kubernetes.io/component"
	LabelPartOf    = "app.kubernetes.io/part-of"
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// LabelSlot tells the release slot of an object of the service.
	LabelSlot = "coditect.ai/slot"
)

// Labels of an object: who it is and what it belongs to.
func Labels(name, component string, more map[string]string) pulumi.StringMap {
	labels := map[string]string{
		LabelName: name, LabelComponent: component, LabelPartOf: Platform, LabelManagedBy: "pulumi",
	}
	maps.Copy(labels, more)
	return pulumi.ToStringMap(labels)
}

// Meta is an object's metadata.
func Meta(name string, namespace pulumi.StringInput, labels pulumi.StringMap, annotations map[string]string) *metav1.ObjectMetaArgs {
	meta := &metav1.ObjectMetaArgs{Name: pulumi.String(name), Namespace: namespace, Labels: labels}
	if len(annotations) > 0 {
		meta.Annotations = pulumi.ToStringMap(annotations)
	}
	return meta
}

// Selector matches labels; a selector is fixed for the life of its object.
func Selector(labels map[string]string) *metav1.LabelSelectorArgs {
	return &metav1.LabelSelectorArgs{MatchLabels: pulumi.ToStringMap(labels)}
}

// Security runs a pod's processes as one ordinary user, under the default seccomp profile.
func Security(user int) *corev1.PodSecurityContextArgs {
	return &corev1.PodSecurityContextArgs{
		RunAsNonRoot:        pulumi.Bool(true),
		RunAsUser:           pulumi.Int(user),
		RunAsGroup:          pulumi.Int(user),
		FsGroup:             pulumi.Int(user),
		FsGroupChangePolicy: pulumi.String("OnRootMismatch"),
		SeccompProfile:      &corev1.SeccompProfileArgs{Type: pulumi.String("RuntimeDefault")},
	}
}

// ContainerSecurity takes every privilege that a container can be without.
func ContainerSecurity() *corev1.SecurityContextArgs {
	return &corev1.SecurityContextArgs{
		AllowPrivilegeEscalation: pulumi.Bool(false),
		ReadOnlyRootFilesystem:   pulumi.Bool(true),
		Capabilities:             &corev1.CapabilitiesArgs{Drop: pulumi.ToStringArray([]string{"ALL"})},
	}
}

// MiB and Core are the units of a [Size].
const (
	MiB  = stacks.MiB
	Core = stacks.Core
)

// Size is what a container is promised and what it may take.
type Size struct {
	CPURequest, CPULimit       stacks.CPU
	MemoryRequest, MemoryLimit stacks.Memory
}

// Small is the size of helpers that copy a file or ask one question.
var Small = Size{CPURequest: 10, CPULimit: 500, MemoryRequest: 32 * MiB, MemoryLimit: 128 * MiB}

// Resources renders a size.
func (s Size) Resources() *corev1.ResourceRequirementsArgs {
	return &corev1.ResourceRequirementsArgs{
		Requests: pulumi.StringMap{"cpu": pulumi.String(s.CPURequest.String()), "memory": pulumi.String(s.MemoryRequest.String())},
		Limits:   pulumi.StringMap{"cpu": pulumi.String(s.CPULimit.String()), "memory": pulumi.String(s.MemoryLimit.String())},
	}
}

// Fits tells whether requests stay within limits.
func (s Size) Fits() error {
	if s.CPURequest <= 0 || s.MemoryRequest <= 0 || s.CPURequest > s.CPULimit || s.MemoryRequest > s.MemoryLimit {
		return fmt.Errorf("size: requests (%s CPU, %s) must be above zero and within limits (%s CPU, %s)",
			s.CPURequest, s.MemoryRequest, s.CPULimit, s.MemoryLimit)
	}
	return nil
}

// Value is an environment variable with a fixed value.
func Value(name, value string) corev1.EnvVarArgs {
	return corev1.EnvVarArgs{Name: pulumi.String(name), Value: pulumi.String(value)}
}

// Field is an environment variable with the value of one of the pod's own fields.
func Field(name, path string) corev1.EnvVarArgs {
	return corev1.EnvVarArgs{Name: pulumi.String(name), ValueFrom: &corev1.EnvVarSourceArgs{
		FieldRef: &corev1.ObjectFieldSelectorArgs{FieldPath: pulumi.String(path)},
	}}
}

// Mount mounts a volume of the pod.
func Mount(volume, path string, readOnly bool) corev1.VolumeMountArgs {
	mount := corev1.VolumeMountArgs{Name: pulumi.String(volume), MountPath: pulumi.String(path)}
	if readOnly {
		mount.ReadOnly = pulumi.Bool(true)
	}
	return mount
}

// Scratch is a small volume that lives as long as its pod.
func Scratch(name string) corev1.VolumeArgs {
	return corev1.VolumeArgs{Name: pulumi.String(name), EmptyDir: &corev1.EmptyDirVolumeSourceArgs{
		SizeLimit: pulumi.String("64Mi"),
	}}
}
