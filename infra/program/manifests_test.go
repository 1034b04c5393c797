package program_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	kjson "sigs.k8s.io/json"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/companion"
	"coditect.ai/platform/infra/gateway"
	"coditect.ai/platform/infra/pod"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/stacks"
)

// typed makes an empty object of a kind. A kind whose Go type is not to be had is nil.
var typed = map[string]func() any{
	"v1/Namespace":             func() any { return new(corev1.Namespace) },
	"v1/Service":               func() any { return new(corev1.Service) },
	"v1/ServiceAccount":        func() any { return new(corev1.ServiceAccount) },
	"v1/ConfigMap":             func() any { return new(corev1.ConfigMap) },
	"v1/PersistentVolumeClaim": func() any { return new(corev1.PersistentVolumeClaim) },
	"apps/v1/Deployment":       func() any { return new(appsv1.Deployment) },
	"apps/v1/StatefulSet":      func() any { return new(appsv1.StatefulSet) },
	"batch/v1/CronJob":         func() any { return new(batchv1.CronJob) },
	"monitoring.googleapis.com/v1/PodMonitoring": nil,
	"batch/v1/Job":                                      func() any { return new(batchv1.Job) },
	"autoscaling/v2/HorizontalPodAutoscaler":            func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1/NetworkPolicy":                func() any { return new(networkingv1.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":                     func() any { return new(policyv1.PodDisruptionBudget) },
	"gateway.networking.k8s.io/v1/Gateway":              func() any { return new(gatewayv1.Gateway) },
	"gateway.networking.k8s.io/v1/HTTPRoute":            func() any { return new(gatewayv1.HTTPRoute) },
	"networking.gke.io/v1/HealthCheckPolicy":            nil,
	"networking.gke.io/v1/GCPBackendPolicy":             nil,
	"secrets-store.csi.x-k8s.io/v1/SecretProviderClass": nil,
	"rbac.authorization.k8s.io/v1/ClusterRole":          func() any { return new(rbacv1.ClusterRole) },
	"rbac.authorization.k8s.io/v1/ClusterRoleBinding":   func() any { return new(rbacv1.ClusterRoleBinding) },
	"rbac.authorization.k8s.io/v1/Role":                 func() any { return new(rbacv1.Role) },
	"rbac.authorization.k8s.io/v1/RoleBinding":          func() any { return new(rbacv1.RoleBinding) },
	"apiregistration.k8s.io/v1/APIService":              nil,
}

// manifests decodes every Kubernetes object of a plan into its Go type, without
// mercy for a field that the type does not have.
func manifests(t *testing.T, env stacks.Environment) []any {
	t.Helper()
	var objects []any
	for _, m := range plan(t, env) {
		if !strings.HasPrefix(m.Type, "kubernetes:") {
			continue
		}
		apiVersion, _ := m.Inputs["apiVersion"].(string)
		kind, _ := m.Inputs["kind"].(string)
		empty, known := typed[apiVersion+"/"+kind]
		if !known {
			t.Errorf("%s: %s is of a kind that no test knows: %s %s", env, m.Name, apiVersion, kind)
		}
		if empty == nil {
			continue
		}
		raw, err := json.Marshal(m.Inputs)
		if err != nil {
			t.Fatal(err)
		}
		object := empty()
		faults, err := kjson.UnmarshalStrict(raw, object)
		if err != nil {
			t.Errorf("%s: %s %s: %v", env, kind, m.Name, err)
		}
		for _, fault := range faults {
			t.Errorf("%s: %s %s: %v", env, kind, m.Name, fault)
		}
		objects = append(objects, object)
	}
	return objects
}

// of picks the objects of one type.
func of[T any](objects []any) []*T {
	var found []*T
	for _, object := range objects {
		if o, ok := object.(*T); ok {
			found = append(found, o)
		}
	}
	return found
}

// workload is a pod template and where it came from.
type workload struct {
	name string
	corev1.PodTemplateSpec
}

func workloads(objects []any) []workload {
	var found []workload
	for _, d := range of[appsv1.Deployment](objects) {
		found = append(found, workload{d.Name, d.Spec.Template})
	}
	for _, s := range of[appsv1.StatefulSet](objects) {
		found = append(found, workload{s.Name, s.Spec.Template})
	}
	for _, j := range of[batchv1.Job](objects) {
		found = append(found, workload{j.Name, j.Spec.Template})
	}
	for _, c := range of[batchv1.CronJob](objects) {
		found = append(found, workload{c.Name, c.Spec.JobTemplate.Spec.Template})
	}
	return found
}

func TestManifestsAreStrictlyTyped(t *testing.T) {
	for _, env := range stacks.Environments() {
		if len(manifests(t, env)) == 0 {
			t.Errorf("%s has no objects", env)
		}
	}
}

func TestMountsHaveVolumes(t *testing.T) {
	for _, env := range stacks.Environments() {
		for _, w := range workloads(manifests(t, env)) {
			mountsHaveVolumes(t, env, w)
		}
	}
}

func mountsHaveVolumes(t *testing.T, env stacks.Environment, w workload) {
	t.Helper()
	volumes := map[string]bool{"data": w.name == "foundationdb"} // the StatefulSet's claim
	for _, v := range w.Spec.Volumes {
		if volumes[v.Name] {
			t.Errorf("%s: %s has two volumes %s", env, w.name, v.Name)
		}
		volumes[v.Name] = true
	}
	for _, c := range slices.Concat(w.Spec.InitContainers, w.Spec.Containers) {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: %s/%s mounts %s, which is no volume", env, w.name, c.Name, m.Name)
			}
		}
	}
}

// Probes, ports, variables, files and the time to leave are those of the service's contract.
func TestServiceKeepsTheContract(t *testing.T) {
	for _, env := range stacks.Environments() {
		objects := manifests(t, env)
		deployments := slices.DeleteFunc(of[appsv1.Deployment](objects), notTheAPI)
		if env != stacks.Staging && len(deployments) == 0 {
			t.Errorf("%s has a release and no Deployment", env)
		}
		for _, d := range deployments {
			spec := d.Spec.Template.Spec
			c := spec.Containers[0]
			for what, probe := range map[string]*corev1.Probe{
				contract.HealthPath: c.LivenessProbe, contract.HealthPath + " at start": c.StartupProbe, contract.ReadyPath: c.ReadinessProbe,
			} {
				want, _, _ := strings.Cut(what, " ")
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != want || probe.HTTPGet.Port.IntValue() != contract.Port {
					t.Errorf("%s: %s: probe of %s is %+v", env, d.Name, what, probe)
				}
			}
			variables := map[string]string{}
			for _, v := range c.Env {
				variables[v.Name] = v.Value
			}
			for name, want := range variablesOf(env) {
				if variables[name] != want {
					t.Errorf("%s: %s: %s is %q, want %q", env, d.Name, name, variables[name], want)
				}
			}
			if slot := d.Spec.Selector.MatchLabels["coditect.ai/slot"]; variables[contract.EnvSlot] != slot || d.Name != service.SlotName(slot) {
				t.Errorf("%s: %s runs as slot %q and is selected as %q", env, d.Name, variables[contract.EnvSlot], slot)
			}
			if !slices.Equal(c.Args, []string{contract.ServeCommand}) {
				t.Errorf("%s: %s runs %v", env, d.Name, c.Args)
			}
			leave := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds)*time.Second + contract.DrainPause + contract.ShutdownGrace
			if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; grace <= leave {
				t.Errorf("%s: %s is killed after %s and needs %s to leave", env, d.Name, grace, leave)
			}
		}
	}
}

// notTheAPI tells the workloads beside it.
func notTheAPI(d *appsv1.Deployment) bool {
	return d.Spec.Selector.MatchLabels[pod.LabelName] != service.App
}

func variablesOf(env stacks.Environment) map[string]string {
	want := map[string]string{
		contract.EnvListen:         ":8080",
		contract.EnvInternalListen: ":9090",
		contract.EnvStoreEngine:    contract.EngineFoundationDB,
		contract.EnvJWTSecretFile:  path.Join(contract.SecretsMountPath, contract.JWTSecretFile),
		contract.EnvClusterFile:    path.Join(contract.ClusterFileMountPath, "fdb.cluster"),
		contract.EnvDrainPause:     contract.DrainPause.String(),
		contract.EnvShutdownGrace:  contract.ShutdownGrace.String(),
		contract.EnvTrustedProxies: "2", // the load balancer adds the client's address and its own
	}
	if env == stacks.Local {
		want[contract.EnvListen] = "$(POD_IP):8080"
		want[contract.EnvInternalListen] = "$(POD_IP):9090"
		want[contract.EnvStoreEngine] = contract.EngineEmbedded
		want[contract.EnvStoreDir] = contract.StoreMountPath
		want[contract.EnvClusterFile] = ""
		want[contract.EnvTrustedProxies] = "1"
	}
	return want
}

// A slot begins with its floor, never fewer than two; from then on either the program
// or the autoscaler sets the number of pods, never both.
func TestOneOwnerOfReplicas(t *testing.T) {
	for _, env := range stacks.Environments() {
		objects := manifests(t, env)
		left := map[string]bool{}
		for _, m := range plan(t, env) {
			if m.Type == "kubernetes:apps/v1:Deployment" {
				left[m.Name] = slices.Contains(m.Ignored, "spec.replicas")
			}
		}
		scaled := map[string]bool{}
		for _, h := range of[autoscalingv2.HorizontalPodAutoscaler](objects) {
			scaled[h.Spec.ScaleTargetRef.Name] = true
			if h.Spec.MinReplicas == nil || *h.Spec.MinReplicas < 2 {
				t.Errorf("%s: %s may scale below two", env, h.Name)
			}
		}
		for _, d := range slices.DeleteFunc(of[appsv1.Deployment](objects), notTheAPI) {
			if d.Spec.Replicas == nil || *d.Spec.Replicas < 2 {
				t.Errorf("%s: %s begins with fewer than two pods", env, d.Name)
			}
			if left[d.Name] != scaled[d.Name] {
				t.Errorf("%s: %s: replicas left alone: %t, autoscaler: %t", env, d.Name, left[d.Name], scaled[d.Name])
			}
		}
	}
}

// In a cloud, autoscalers look at CPU and at the gauge that the service has and its
// pods are scraped for; where nothing collects it, at CPU alone.
func TestAutoscalersReadWhatIsCollected(t *testing.T) {
	seen := 0
	for _, env := range stacks.Environments() {
		for _, h := range of[autoscalingv2.HorizontalPodAutoscaler](manifests(t, env)) {
			seen++
			if len(h.Spec.Metrics) != 2 || h.Spec.Metrics[0].Resource == nil || h.Spec.Metrics[1].Pods == nil {
				t.Fatalf("%s: %s looks at %+v, want CPU and pods' requests under way", env, h.Name, h.Spec.Metrics)
			}
			pods := h.Spec.Metrics[1].Pods
			if want := "prometheus.googleapis.com|" + contract.MetricInFlight + "|gauge"; pods.Metric.Name != want {
				t.Errorf("%s: %s looks at %q, want %q", env, h.Name, pods.Metric.Name, want)
			}
			if pods.Target.Type != autoscalingv2.AverageValueMetricType || pods.Target.AverageValue.Value() != 40 {
				t.Errorf("%s: %s aims at %+v, want 40 in each pod", env, h.Name, pods.Target)
			}
		}
	}
	if seen == 0 {
		t.Error("no environment has an autoscaler")
	}
	values := committed(t, stacks.Prod)
	maps.Copy(values, added(stacks.Prod))
	values["serviceInFlightTarget"] = "0"
	alone, err := run(stacks.Prod, values, program.Deploy)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range alone {
		if m.Type == "coditect:scaling:Scaling" || strings.HasPrefix(m.Type, "kubernetes:apiregistration") {
			t.Errorf("%s is made for nobody", m.Name)
		}
		if strings.Contains(fmt.Sprint(m.Inputs), "|gauge") {
			t.Errorf("%s reads a metric that nobody answers for", m.Name)
		}
	}
}

// The route always names both slots' Services, with the weights of the settings,
// and the Services lead to the pods' port.
func TestRoute(t *testing.T) {
	for _, env := range stacks.Environments() {
		objects := manifests(t, env)
		services := map[string]*corev1.Service{}
		for _, s := range of[corev1.Service](objects) {
			services[s.Name] = s
		}
		want := map[stacks.Slot]int32{stacks.Blue: 100, stacks.Green: 0}
		if env == stacks.Dev || env == stacks.Prod {
			want = map[stacks.Slot]int32{stacks.Blue: 90, stacks.Green: 10}
		}
		for _, route := range of[gatewayv1.HTTPRoute](objects) {
			if route.Name != gateway.Route {
				continue
			}
			rule := route.Spec.Rules[0]
			if *rule.Matches[0].Path.Value != contract.BasePath || len(rule.BackendRefs) != len(want) {
				t.Errorf("%s: route serves %s with %d backends", env, *rule.Matches[0].Path.Value, len(rule.BackendRefs))
			}
			for i, slot := range stacks.Slots() {
				ref := rule.BackendRefs[i]
				backend := services[string(ref.Name)]
				if string(ref.Name) != service.SlotName(string(slot)) || *ref.Weight != want[slot] || backend == nil {
					t.Errorf("%s: backend %d is %s with weight %d, want %s with %d", env, i, ref.Name, *ref.Weight, service.SlotName(string(slot)), want[slot])
					continue
				}
				port := backend.Spec.Ports[0]
				if port.Port != *ref.Port || port.TargetPort.IntValue() != contract.Port || backend.Spec.Selector["coditect.ai/slot"] != string(slot) {
					t.Errorf("%s: service %s leads astray: %+v", env, backend.Name, backend.Spec)
				}
			}
		}
	}
}

// The health check of the load balancer asks what readiness asks.
func TestLoadBalancerChecksReadiness(t *testing.T) {
	for _, env := range stacks.Environments() {
		checks := 0
		for _, m := range plan(t, env) {
			if m.Inputs["kind"] != "HealthCheckPolicy" || !strings.HasPrefix(m.Name, gateway.Route) {
				continue
			}
			checks++
			raw, err := json.Marshal(m.Inputs)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(raw), `"requestPath":"`+contract.ReadyPath+`"`) {
				t.Errorf("%s: %s asks something else: %s", env, m.Name, raw)
			}
		}
		if want := map[bool]int{true: len(stacks.Slots())}[env.Cloud()]; checks != want {
			t.Errorf("%s has %d health checks, want %d", env, checks, want)
		}
	}
}

// FoundationDB's pods survive what Kubernetes does to pods.
func TestDatabase(t *testing.T) {
	for _, env := range stacks.Environments() {
		objects := manifests(t, env)
		sets := of[appsv1.StatefulSet](objects)
		if !env.Cloud() {
			if claims := of[corev1.PersistentVolumeClaim](objects); len(sets) != 0 || len(claims) != 1 {
				t.Errorf("%s: %d StatefulSets and %d volumes", env, len(sets), len(claims))
			}
			continue
		}
		if len(sets) != 1 {
			t.Fatalf("%s: %d StatefulSets", env, len(sets))
		}
		spec := sets[0].Spec
		if spec.PodManagementPolicy != appsv1.ParallelPodManagement || spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType ||
			spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType ||
			spec.PersistentVolumeClaimRetentionPolicy.WhenScaled != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
			t.Errorf("%s: the StatefulSet may lose data: %+v", env, spec)
		}
		c := spec.Template.Spec.Containers[0]
		if c.LivenessProbe != nil || c.ReadinessProbe.TCPSocket == nil || c.StartupProbe.TCPSocket == nil {
			t.Errorf("%s: probes of the database must be TCP and never kill", env)
		}
		args := strings.Join(c.Args, " ")
		for _, want := range []string{
			"--cluster-file=/var/fdb/data/fdb.cluster", "--logdir=/var/fdb/data ", "--public-address=$(POD_IP):4500", "--locality-zoneid=$(NODE_NAME)",
			"--memory=7372MiB", "--cache-memory=2048MiB",
			"@foundationdb-0.fdb-cluster.coditect-app.svc.cluster.local:4500,foundationdb-1.", "foundationdb-2.fdb-cluster.coditect-app.svc.cluster.local:4500 ",
		} {
			if !strings.Contains(args, want) {
				t.Errorf("%s: fdbserver lacks %s: %s", env, want, args)
			}
		}
	}
}

// TestLegacyWithoutRoute: API v2 out of the route keeps its pods, and nothing leads to them.
func TestLegacyWithoutRoute(t *testing.T) {
	for routed, want := range map[string]int{"true": 1, "false": 0} {
		values := committed(t, stacks.Prod)
		maps.Copy(values, added(stacks.Prod))
		values["legacyRouted"] = routed
		resources, err := run(stacks.Prod, values, program.Deploy)
		if err != nil {
			t.Fatal(err)
		}
		deployments, routes := 0, 0
		for _, r := range resources {
			switch {
			case r.Name == companion.LegacyApp && strings.HasSuffix(r.Type, ":Deployment"):
				deployments++
			case r.Name == companion.LegacyApp+"-httproute":
				routes++
			}
		}
		if deployments != 1 || routes != want {
			t.Errorf("legacyRouted %s: %d Deployments, %d routes", routed, deployments, routes)
		}
	}
}
