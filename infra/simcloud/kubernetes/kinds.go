package kubernetes

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"coditect.ai/platform/infra/simcloud/store"
)

// kind is what this cluster knows of one kind of object.
type kind struct {
	typed   func() any // a new value of the Go type; nil for custom resources
	cluster bool       // it has no namespace
	awaited bool       // its readiness is waited for
	// immutable are the paths of what cannot be changed in place, "*" being any key.
	immutable []string
}

func typed[T any]() any { return new(T) }

// kinds are the known ones, by apiVersion and kind.
var kinds = map[string]kind{
	"v1/ConfigMap":             {typed: typed[corev1.ConfigMap]},
	"v1/Endpoints":             {typed: typed[corev1.Endpoints]}, //nolint:staticcheck // still part of the API
	"v1/LimitRange":            {typed: typed[corev1.LimitRange]},
	"v1/Namespace":             {typed: typed[corev1.Namespace], cluster: true},
	"v1/PersistentVolume":      {typed: typed[corev1.PersistentVolume], cluster: true},
	"v1/PersistentVolumeClaim": {typed: typed[corev1.PersistentVolumeClaim], awaited: true, immutable: []string{"spec"}},
	"v1/Pod":                   {typed: typed[corev1.Pod], immutable: []string{"spec"}},
	"v1/ResourceQuota":         {typed: typed[corev1.ResourceQuota]},
	"v1/Secret":                {typed: typed[corev1.Secret], immutable: []string{"type"}},
	"v1/Service":               {typed: typed[corev1.Service], immutable: []string{"spec.clusterIP"}},
	"v1/ServiceAccount":        {typed: typed[corev1.ServiceAccount]},

	"apps/v1/DaemonSet":  {typed: typed[appsv1.DaemonSet], awaited: true, immutable: []string{"spec.selector"}},
	"apps/v1/Deployment": {typed: typed[appsv1.Deployment], awaited: true, immutable: []string{"spec.selector"}},
	"apps/v1/StatefulSet": {typed: typed[appsv1.StatefulSet], awaited: true, immutable: []string{
		"spec.selector", "spec.volumeClaimTemplates", "spec.serviceName", "spec.podManagementPolicy",
	}},
	"batch/v1/CronJob": {typed: typed[batchv1.CronJob], awaited: true},
	"batch/v1/Job": {typed: typed[batchv1.Job], awaited: true, immutable: []string{
		"spec.template", "spec.selector", "spec.completions", "spec.completionMode",
	}},

	"autoscaling/v2/HorizontalPodAutoscaler": {typed: typed[autoscalingv2.HorizontalPodAutoscaler]},
	"networking.k8s.io/v1/Ingress":           {typed: typed[networkingv1.Ingress]},
	"networking.k8s.io/v1/NetworkPolicy":     {typed: typed[networkingv1.NetworkPolicy]},
	"policy/v1/PodDisruptionBudget":          {typed: typed[policyv1.PodDisruptionBudget]},
	"scheduling.k8s.io/v1/PriorityClass": {
		typed: typed[schedulingv1.PriorityClass], cluster: true, immutable: []string{"value", "preemptionPolicy"},
	},
	"storage.k8s.io/v1/StorageClass": {typed: typed[storagev1.StorageClass], cluster: true, immutable: []string{
		"provisioner", "parameters", "reclaimPolicy", "volumeBindingMode",
	}},

	"rbac.authorization.k8s.io/v1/ClusterRole": {typed: typed[rbacv1.ClusterRole], cluster: true},
	"rbac.authorization.k8s.io/v1/ClusterRoleBinding": {
		typed: typed[rbacv1.ClusterRoleBinding], cluster: true, immutable: []string{"roleRef"},
	},
	"rbac.authorization.k8s.io/v1/Role":        {typed: typed[rbacv1.Role]},
	"rbac.authorization.k8s.io/v1/RoleBinding": {typed: typed[rbacv1.RoleBinding], immutable: []string{"roleRef"}},

	"gateway.networking.k8s.io/v1/Gateway":      {typed: typed[gatewayv1.Gateway], awaited: true},
	"gateway.networking.k8s.io/v1/GatewayClass": {typed: typed[gatewayv1.GatewayClass], cluster: true},
	"gateway.networking.k8s.io/v1/HTTPRoute":    {typed: typed[gatewayv1.HTTPRoute], awaited: true},
	"gateway.networking.k8s.io/v1/GRPCRoute":    {typed: typed[gatewayv1.GRPCRoute]},

	"apiextensions.k8s.io/v1/CustomResourceDefinition": {cluster: true},
	"apiregistration.k8s.io/v1/APIService":             {cluster: true},
}

// Kinds as they are in store keys.
const (
	Namespace               = "/Namespace"
	Service                 = "/Service"
	ConfigMap               = "/ConfigMap"
	Secret                  = "/Secret"
	PersistentVolumeClaim   = "/PersistentVolumeClaim"
	Deployment              = "apps/Deployment"
	StatefulSet             = "apps/StatefulSet"
	DaemonSet               = "apps/DaemonSet"
	Job                     = "batch/Job"
	CronJob                 = "batch/CronJob"
	HorizontalPodAutoscaler = "autoscaling/HorizontalPodAutoscaler"
	Gateway                 = "gateway.networking.k8s.io/Gateway"
	HTTPRoute               = "gateway.networking.k8s.io/HTTPRoute"
	SecretProviderClass     = "secrets-store.csi.x-k8s.io/SecretProviderClass"
)

// builtIn tells that objects of the API group have no other kinds than those in the table.
func builtIn(group string) bool {
	return group == "" || group == "apps" || group == "batch" || group == "autoscaling" || group == "policy" ||
		group == "networking.k8s.io" || group == "storage.k8s.io" || group == "scheduling.k8s.io" ||
		group == "rbac.authorization.k8s.io" || group == "gateway.networking.k8s.io"
}

// object is what is common to all manifests.
type object struct {
	apiVersion, kind string
	namespace, name  string
	annotations      map[string]any
	known            kind
}

func parse(inputs map[string]any) object {
	metadata, _ := inputs["metadata"].(map[string]any)
	o := object{apiVersion: text(inputs["apiVersion"]), kind: text(inputs["kind"]), name: text(metadata["name"])}
	o.known = kinds[o.apiVersion+"/"+o.kind]
	o.annotations, _ = metadata["annotations"].(map[string]any)
	if !o.known.cluster {
		o.namespace = text(metadata["namespace"])
		if _, given := metadata["namespace"]; !given {
			o.namespace = "default"
		}
	}
	return o
}

func (o object) group() string {
	group, _, found := strings.Cut(o.apiVersion, "/")
	if !found {
		return ""
	}
	return group
}

func (o object) key() store.Key {
	return store.Key{Kind: o.group() + "/" + o.kind, Namespace: o.namespace, Name: o.name}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
