package kubernetes

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	strict "sigs.k8s.io/json"

	"coditect.ai/platform/infra/simcloud/provider"
)

// Check judges a manifest: a known kind must fit its Go type exactly.
func (b *Backend) Check(req provider.Request) []provider.Failure {
	inputs, partial := provider.Known(req.Inputs)
	o := parse(inputs)
	if o.apiVersion == "" || o.kind == "" {
		return []provider.Failure{{Property: "kind", Reason: "simcloud takes whole manifests: apiVersion and kind are required"}}
	}
	if want := typeToken(o.apiVersion, o.kind); want != req.Type {
		return []provider.Failure{{Property: "kind", Reason: fmt.Sprintf(
			"simcloud does not know the resource type %s; an object of %s, kind %s, is a %s", req.Type, o.apiVersion, o.kind, want)}}
	}
	if o.known.typed == nil && builtIn(o.group()) {
		return []provider.Failure{{Property: "kind", Reason: fmt.Sprintf("no kind %q in version %q", o.kind, o.apiVersion)}}
	}
	found := decode(inputs, o)
	if o.name == "" && !isUnknown(req.Inputs, "metadata", "name") {
		found = append(found, provider.Failure{Property: "metadata.name", Reason: "required: simcloud does not name objects"})
	}
	for _, problem := range nameProblems(o) {
		found = append(found, provider.Failure{Property: "metadata.name", Reason: problem})
	}
	if o.known.cluster && isSet(inputs, "metadata", "namespace") {
		found = append(found, provider.Failure{Property: "metadata.namespace", Reason: o.kind + " has no namespace"})
	}
	if len(found) > 0 || partial || o.known.typed == nil {
		return found
	}
	return semantics(inputs, o)
}

func typeToken(apiVersion, kind string) string {
	if !strings.Contains(apiVersion, "/") {
		apiVersion = "core/" + apiVersion
	}
	return "kubernetes:" + apiVersion + ":" + kind
}

func nameProblems(o object) []string {
	if o.name == "" {
		return nil
	}
	switch o.kind {
	case "Service":
		return validation.IsDNS1035Label(o.name)
	case "Namespace":
		return validation.IsDNS1123Label(o.name)
	case "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding":
		return nil
	default:
		return validation.IsDNS1123Subdomain(o.name)
	}
}

var (
	unknownField = regexp.MustCompile(`^unknown field "(.+)"$`)
	wrongType    = regexp.MustCompile(`cannot unmarshal (\S+) into Go struct field (?:[^.\s]+\.)?(\S+) of type (\S+)`)
)

// decode reads the manifest strictly into its type; of a custom resource that is its metadata.
func decode(inputs map[string]any, o object) []provider.Failure {
	into := any(&struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}{})
	subject := map[string]any{"apiVersion": inputs["apiVersion"], "kind": inputs["kind"], "metadata": inputs["metadata"]}
	if o.known.typed != nil {
		into, subject = o.known.typed(), inputs
	}
	raw, err := json.Marshal(subject)
	if err != nil {
		return []provider.Failure{{Reason: err.Error()}}
	}
	problems, err := strict.UnmarshalStrict(raw, into)
	if err != nil {
		problems = append(problems, err)
	}
	found := make([]provider.Failure, 0, len(problems))
	for _, problem := range problems {
		found = append(found, describe(problem.Error()))
	}
	return found
}

func describe(problem string) provider.Failure {
	if match := unknownField.FindStringSubmatch(problem); match != nil {
		return provider.Failure{Property: match[1], Reason: "unknown field"}
	}
	if match := wrongType.FindStringSubmatch(problem); match != nil {
		return provider.Failure{Property: match[2], Reason: fmt.Sprintf("a %s where %s is wanted", match[1], match[3])}
	}
	return provider.Failure{Reason: problem}
}

// semantics judges what the API server would refuse although it is well typed.
func semantics(inputs map[string]any, o object) []provider.Failure {
	raw, err := json.Marshal(inputs)
	if err != nil {
		return []provider.Failure{{Reason: err.Error()}}
	}
	into := o.known.typed()
	if err := json.Unmarshal(raw, into); err != nil {
		return []provider.Failure{{Reason: err.Error()}}
	}
	var found findings
	switch object := into.(type) {
	case *appsv1.Deployment:
		found.selector(object.Spec.Selector, object.Spec.Template.Labels)
		found.pod(object.Spec.Template.Spec)
	case *appsv1.StatefulSet:
		found.selector(object.Spec.Selector, object.Spec.Template.Labels)
		claims := object.Spec.Template.Spec
		for _, claim := range object.Spec.VolumeClaimTemplates {
			claims.Volumes = append(claims.Volumes, corev1.Volume{Name: claim.Name})
		}
		found.pod(claims)
	case *appsv1.DaemonSet:
		found.selector(object.Spec.Selector, object.Spec.Template.Labels)
		found.pod(object.Spec.Template.Spec)
	case *batchv1.Job:
		found.pod(object.Spec.Template.Spec)
	case *corev1.Service:
		found.service(object.Spec)
	case *corev1.PersistentVolumeClaim:
		found.require(len(object.Spec.AccessModes) > 0, "spec.accessModes", "required")
		found.require(!object.Spec.Resources.Requests.Storage().IsZero(), "spec.resources.requests.storage", "required")
	case *gatewayv1.Gateway:
		found.require(object.Spec.GatewayClassName != "", "spec.gatewayClassName", "required")
		found.require(len(object.Spec.Listeners) > 0, "spec.listeners", "at least one is required")
		found.listeners(object.Spec.Listeners)
	case *gatewayv1.HTTPRoute:
		found.route(object.Spec)
	}
	return found
}

// findings collects failures.
type findings []provider.Failure

func (f *findings) require(ok bool, property, reason string) {
	if !ok {
		*f = append(*f, provider.Failure{Property: property, Reason: reason})
	}
}

func (f *findings) selector(selector *metav1.LabelSelector, template map[string]string) {
	if selector == nil {
		f.require(false, "spec.selector", "required")
		return
	}
	matches, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		f.require(false, "spec.selector", err.Error())
		return
	}
	f.require(!matches.Empty(), "spec.selector", "an empty selector is not allowed")
	f.require(matches.Matches(labels.Set(template)), "spec.template.metadata.labels", "the selector does not match them")
}

func (f *findings) pod(spec corev1.PodSpec) {
	const path = "spec.template.spec"
	volumes := map[string]bool{}
	for i, volume := range spec.Volumes {
		f.require(volume.Name != "" && !volumes[volume.Name],
			fmt.Sprintf("%s.volumes[%d].name", path, i), "required and used once")
		volumes[volume.Name] = true
	}
	f.require(len(spec.Containers) > 0, path+".containers", "at least one is required")
	names := map[string]bool{}
	for i, container := range spec.InitContainers {
		f.container(fmt.Sprintf("%s.initContainers[%d]", path, i), container, names, volumes)
	}
	for i, container := range spec.Containers {
		f.container(fmt.Sprintf("%s.containers[%d]", path, i), container, names, volumes)
	}
}

func (f *findings) container(path string, container corev1.Container, names, volumes map[string]bool) {
	f.require(container.Name != "" && !names[container.Name], path+".name", "required and used once")
	names[container.Name] = true
	f.require(container.Image != "", path+".image", "required")
	ports := map[string]bool{}
	for i, port := range container.Ports {
		at := fmt.Sprintf("%s.ports[%d]", path, i)
		f.require(validPort(port.ContainerPort), at+".containerPort", "must be between 1 and 65535")
		f.require(port.Name == "" || !ports[port.Name], at+".name", "used twice")
		ports[port.Name] = true
	}
	for i, mount := range container.VolumeMounts {
		at := fmt.Sprintf("%s.volumeMounts[%d]", path, i)
		f.require(volumes[mount.Name], at+".name", fmt.Sprintf("there is no volume %q", mount.Name))
		f.require(strings.HasPrefix(mount.MountPath, "/"), at+".mountPath", "must be an absolute path")
	}
	for i, variable := range container.Env {
		f.require(variable.Name != "", fmt.Sprintf("%s.env[%d].name", path, i), "required")
		f.require(variable.Value == "" || variable.ValueFrom == nil,
			fmt.Sprintf("%s.env[%d].valueFrom", path, i), "not together with a value")
	}
	for resource, limit := range container.Resources.Limits {
		request, ok := container.Resources.Requests[resource]
		f.require(!ok || request.Cmp(limit) <= 0,
			fmt.Sprintf("%s.resources.requests.%s", path, resource), "must not be above the limit")
	}
	f.probe(path+".startupProbe", container.StartupProbe, ports)
	f.probe(path+".readinessProbe", container.ReadinessProbe, ports)
	f.probe(path+".livenessProbe", container.LivenessProbe, ports)
}

func (f *findings) probe(path string, probe *corev1.Probe, ports map[string]bool) {
	if probe == nil {
		return
	}
	handlers := 0
	for _, set := range []bool{probe.HTTPGet != nil, probe.TCPSocket != nil, probe.Exec != nil, probe.GRPC != nil} {
		if set {
			handlers++
		}
	}
	f.require(handlers == 1, path, "exactly one of httpGet, tcpSocket, exec, grpc is required")
	if probe.HTTPGet != nil && probe.HTTPGet.Port.StrVal != "" {
		f.require(ports[probe.HTTPGet.Port.StrVal], path+".httpGet.port", "the container has no port of this name")
	}
}

func (f *findings) service(spec corev1.ServiceSpec) {
	f.require(len(spec.Ports) > 0 || spec.ClusterIP == corev1.ClusterIPNone, "spec.ports", "at least one is required")
	names := map[string]bool{}
	for i, port := range spec.Ports {
		at := fmt.Sprintf("spec.ports[%d]", i)
		f.require(validPort(port.Port), at+".port", "must be between 1 and 65535")
		f.require(len(spec.Ports) == 1 || port.Name != "", at+".name", "required where there are several ports")
		f.require(!names[port.Name], at+".name", "used twice")
		names[port.Name] = true
	}
}

func (f *findings) listeners(listeners []gatewayv1.Listener) {
	names := map[gatewayv1.SectionName]bool{}
	for i, listener := range listeners {
		at := fmt.Sprintf("spec.listeners[%d]", i)
		f.require(listener.Name != "" && !names[listener.Name], at+".name", "required and used once")
		names[listener.Name] = true
		f.require(validPort(listener.Port), at+".port", "must be between 1 and 65535")
		f.require(listener.Protocol != "", at+".protocol", "required")
	}
}

func (f *findings) route(spec gatewayv1.HTTPRouteSpec) {
	for i, rule := range spec.Rules {
		for j, match := range rule.Matches {
			if match.Path != nil && match.Path.Value != nil {
				f.require(strings.HasPrefix(*match.Path.Value, "/"),
					fmt.Sprintf("spec.rules[%d].matches[%d].path.value", i, j), "must be an absolute path")
			}
		}
		for j, backend := range rule.BackendRefs {
			at := fmt.Sprintf("spec.rules[%d].backendRefs[%d]", i, j)
			f.require(backend.Name != "", at+".name", "required")
			f.require(backend.Port != nil, at+".port", "required for a Service")
			f.require(backend.Weight == nil || *backend.Weight >= 0 && *backend.Weight <= 1_000_000,
				at+".weight", "must be between 0 and 1000000")
		}
	}
}

func validPort[T ~int32](port T) bool { return port >= 1 && port <= 65535 }

func isSet(inputs map[string]any, path ...string) bool {
	_, ok := lookup(inputs, path...)
	return ok
}

func isUnknown(inputs map[string]any, path ...string) bool {
	for i := range path {
		if value, ok := lookup(inputs, path[:i+1]...); ok {
			if _, unknown := value.(provider.Unknown); unknown {
				return true
			}
		}
	}
	return false
}

func lookup(inputs map[string]any, path ...string) (any, bool) {
	var value any = inputs
	for _, key := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[key]; !ok {
			return nil, false
		}
	}
	return value, true
}
