package runtime

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"coditect.ai/platform/infra/simcloud/kubernetes"
)

// environment returns the container's variables, in the order in which they may refer to each other.
func (r *Runtime) environment(p *pod, container corev1.Container, at mounts) ([]string, error) {
	values := map[string]string{
		"PATH":     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME": p.name,
		"HOME":     p.directory,
	}
	order := []string{"PATH", "HOSTNAME", "HOME"}
	set := func(name, value string) {
		if _, ok := values[name]; !ok {
			order = append(order, name)
		}
		values[name] = value
	}
	for _, source := range container.EnvFrom {
		var data map[string][]byte
		var err error
		switch {
		case source.ConfigMapRef != nil:
			data, err = r.data(kubernetes.ConfigMap, p.namespace, source.ConfigMapRef.Name, source.ConfigMapRef.Optional)
		case source.SecretRef != nil:
			data, err = r.data(kubernetes.Secret, p.namespace, source.SecretRef.Name, source.SecretRef.Optional)
		}
		if err != nil {
			return nil, err
		}
		for key, value := range data {
			set(source.Prefix+key, at.translate(string(value)))
		}
	}
	for _, variable := range container.Env {
		value, ok, err := r.variable(p, container, variable)
		if err != nil {
			return nil, err
		}
		if ok {
			set(variable.Name, at.translate(substitute(value, values)))
		}
	}
	list := make([]string, 0, len(order))
	for _, name := range order {
		list = append(list, name+"="+values[name])
	}
	return list, nil
}

// variable returns a variable's value; ok is false if it is optional and absent.
func (r *Runtime) variable(p *pod, container corev1.Container, v corev1.EnvVar) (value string, ok bool, err error) {
	if v.ValueFrom == nil {
		return v.Value, true, nil
	}
	from := func(kind, name, key string, optional *bool) (string, bool, error) {
		data, err := r.data(kind, p.namespace, name, optional)
		if err != nil {
			return "", false, err
		}
		value, ok := data[key]
		if !ok && (optional == nil || !*optional) {
			return "", false, configErrorf("couldn't find key %s in %s %s", key, strings.TrimPrefix(kind, "/"), name)
		}
		return string(value), ok, nil
	}
	switch source := v.ValueFrom; {
	case source.FieldRef != nil:
		value, err := p.field(source.FieldRef.FieldPath)
		return value, err == nil, err
	case source.ConfigMapKeyRef != nil:
		ref := source.ConfigMapKeyRef
		return from(kubernetes.ConfigMap, ref.Name, ref.Key, ref.Optional)
	case source.SecretKeyRef != nil:
		ref := source.SecretKeyRef
		return from(kubernetes.Secret, ref.Name, ref.Key, ref.Optional)
	case source.ResourceFieldRef != nil:
		value, err := resourceField(container, source.ResourceFieldRef)
		return value, err == nil, err
	default:
		return "", false, configErrorf("variable %s: this kind of source is not simulated", v.Name)
	}
}

// field is a value out of the pod itself.
func (p *pod) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return p.name, nil
	case "metadata.namespace":
		return p.namespace, nil
	case "metadata.uid":
		return p.uid, nil
	case "status.podIP", "status.podIPs":
		return p.address, nil
	case "status.hostIP":
		return "127.0.0.1", nil
	case "spec.nodeName":
		return "simcloud", nil
	case "spec.serviceAccountName":
		return p.template.Spec.ServiceAccountName, nil
	}
	for prefix, values := range map[string]map[string]string{
		"metadata.labels": p.template.Labels, "metadata.annotations": p.template.Annotations,
	} {
		if key, ok := strings.CutPrefix(path, prefix+"['"); ok {
			return values[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", configErrorf("the field %s is not simulated", path)
}

// resourceField is a limit or request, in units of the divisor and rounded up.
func resourceField(container corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := container.Resources.Limits
	if kind == "requests" {
		list = container.Resources.Requests
	}
	quantity, ok := list[corev1.ResourceName(name)]
	if !ok {
		return "", configErrorf("the container has no %s", ref.Resource)
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == "cpu" {
		return strconv.FormatInt(ceil(quantity.MilliValue(), divisor.MilliValue()), 10), nil
	}
	return strconv.FormatInt(ceil(quantity.Value(), divisor.Value()), 10), nil
}

func ceil(value, divisor int64) int64 { return (value + divisor - 1) / divisor }

var reference = regexp.MustCompile(`\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)`)

// substitute replaces $(NAME); $$ is a dollar sign, and an unknown name stays as it is.
func substitute(value string, values map[string]string) string {
	return reference.ReplaceAllStringFunc(value, func(match string) string {
		if match == "$$" {
			return "$"
		}
		if known, ok := values[match[2:len(match)-1]]; ok {
			return known
		}
		return match
	})
}

// arguments returns the container's argument list for an image with the named executable.
func arguments(container corev1.Container, name string, env []string, at mounts) ([]string, error) {
	values := map[string]string{}
	for _, variable := range env {
		key, value, _ := strings.Cut(variable, "=")
		values[key] = value
	}
	words := slices.Concat(container.Command, container.Args)
	if len(container.Command) == 0 {
		words = slices.Concat([]string{name}, container.Args)
	}
	if filepath.Base(words[0]) != name {
		return nil, configErrorf("exec: %q: executable file not found in the image, which holds only %q", words[0], name)
	}
	for i := range words[1:] {
		words[i+1] = at.translate(substitute(words[i+1], values))
	}
	return words, nil
}
