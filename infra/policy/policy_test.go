package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"coditect.ai/platform/infra/policy"
)

// sound is a Deployment that no rule finds fault with.
const sound = `{
  "spec": {"template": {"spec": {
    "automountServiceAccountToken": false,
    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{
      "name": "api", "image": "registry/api@sha256:0123456789012345678901234567890123456789012345678901234567890123",
      "ports": [{"containerPort": 8080}],
      "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
      "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
      "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}
    }]
  }}}
}`

func resource(t *testing.T, token, inputs string) policy.Resource {
	t.Helper()
	r := policy.Resource{Type: token, Name: "x"}
	if err := json.Unmarshal([]byte(inputs), &r.Inputs); err != nil {
		t.Fatal(err)
	}
	return r
}

// Every rule finds what breaks it, and finds nothing in what keeps it.
func TestRules(t *testing.T) {
	const deployment, nodes, cluster = "kubernetes:apps/v1:Deployment", "gcp:container/nodePool:NodePool", "gcp:container/cluster:Cluster"
	broken := map[string][]policy.Resource{}
	breaks := func(rule string, r policy.Resource) { broken[rule] = append(broken[rule], r) }
	// spoil is the sound Deployment with a part of its text replaced.
	spoil := func(rule, old, now string) {
		t.Helper()
		if !strings.Contains(sound, old) {
			t.Fatalf("the sound Deployment has no %s", old)
		}
		breaks(rule, resource(t, deployment, strings.Replace(sound, old, now, 1)))
	}
	digest := "registry/api@sha256:0123456789012345678901234567890123456789012345678901234567890123"
	spoil("exact-image", digest, "registry/api:latest")
	spoil("exact-image", digest, "registry/api")
	spoil("exact-image", digest, "registry/api:1.2")
	spoil("limits", `"limits": {"cpu": "1", "memory": "64Mi"}`, `"limits": {"cpu": "1"}`)
	spoil("limits", `"limits": {"cpu": "1", "memory": "64Mi"}`, `"limits": {"cpu": "10m", "memory": "64Mi"}`)
	spoil("limits", `"requests": {"cpu": "100m", "memory": "64Mi"},`, ``)
	spoil("probes", `"readinessProbe": {"httpGet": {"path": "/", "port": 8080}},`, ``)
	spoil("restricted", `"runAsNonRoot": true`, `"runAsNonRoot": false`)
	spoil("restricted", `, "seccompProfile": {"type": "RuntimeDefault"}`, ``)
	spoil("restricted", `"allowPrivilegeEscalation": false`, `"allowPrivilegeEscalation": true`)
	spoil("restricted", `"drop": ["ALL"]`, `"drop": ["ALL"], "add": ["NET_ADMIN"]`)
	spoil("restricted", `"drop": ["ALL"]`, `"drop": ["KILL"]`)
	spoil("restricted", `"readOnlyRootFilesystem": true`, `"readOnlyRootFilesystem": false`)
	spoil("restricted", `"automountServiceAccountToken"`, `"hostNetwork": true, "automountServiceAccountToken"`)
	spoil("restricted", `"automountServiceAccountToken"`, `"volumes": [{"name": "v", "hostPath": {"path": "/"}}], "automountServiceAccountToken"`)
	spoil("own-account", `"automountServiceAccountToken": false,`, ``)
	spoil("no-secret-in-variables", `"name": "api",`, `"name": "api", "env": [{"name": "SMTP_PASSWORD", "value": "x"}],`)
	spoil("no-secret-in-variables", `"name": "api",`, `"name": "api", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],`)
	breaks("exact-image", resource(t, "kubernetes:batch/v1:CronJob", `{"spec": {"jobTemplate": `+strings.Replace(sound, digest, "a:b", 1)+`}}`))
	breaks("one-entry", resource(t, "kubernetes:core/v1:Service", `{"spec": {"type": "LoadBalancer"}}`))
	breaks("one-entry", resource(t, "kubernetes:core/v1:Service", `{"spec": {"type": "NodePort"}}`))
	breaks("one-entry", resource(t, "kubernetes:networking.k8s.io/v1:Ingress", `{}`))
	breaks("named-rights", resource(t, "kubernetes:rbac.authorization.k8s.io/v1:Role", `{"rules": [{"verbs": ["*"]}]}`))
	breaks("named-rights", resource(t, "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding", `{"roleRef": {"name": "cluster-admin"}}`))
	breaks("protected-data", resource(t, "gcp:artifactregistry/repository:Repository", `{}`))
	breaks("protected-data", resource(t, "kubernetes:apps/v1:StatefulSet", `{}`))
	breaks("least-privilege", resource(t, "gcp:projects/iAMMember:IAMMember", `{"role": "roles/editor", "member": "serviceAccount:a"}`))
	breaks("least-privilege", resource(t, "gcp:projects/iAMMember:IAMMember", `{"role": "roles/storage.admin", "member": "serviceAccount:a"}`))
	breaks("least-privilege", resource(t, "gcp:storage/bucketIAMMember:BucketIAMMember", `{"role": "roles/storage.objectViewer", "member": "allUsers"}`))
	breaks("private-nodes", resource(t, cluster, `{"workloadIdentityConfig": {"workloadPool": "p"}, "masterAuthorizedNetworksConfig": {}}`))
	breaks("private-nodes", resource(t, cluster, `{"privateClusterConfig": {"enablePrivateNodes": true}, "masterAuthorizedNetworksConfig": {}}`))
	breaks("private-nodes", resource(t, cluster, `{"privateClusterConfig": {"enablePrivateNodes": true}, "workloadIdentityConfig": {"workloadPool": "p"}}`))
	breaks("private-nodes", resource(t, nodes, `{"nodeConfig": {"serviceAccount": "a"}}`))
	breaks("private-nodes", resource(t, nodes, `{"nodeConfig": {"shieldedInstanceConfig": {"enableSecureBoot": true}}}`))
	breaks("private-nodes", resource(t, "gcp:compute/firewall:Firewall", `{"sourceRanges": ["0.0.0.0/0"], "allows": [{"protocol": "tcp"}]}`))
	breaks("private-buckets", resource(t, "gcp:storage/bucket:Bucket", `{"publicAccessPrevention": "enforced", "versioning": {"enabled": true}}`))
	breaks("private-buckets", resource(t, "gcp:storage/bucket:Bucket", `{"uniformBucketLevelAccess": true, "versioning": {"enabled": true}}`))
	breaks("private-buckets", resource(t, "gcp:storage/bucket:Bucket", `{"uniformBucketLevelAccess": true, "publicAccessPrevention": "enforced"}`))
	breaks("no-secret-in-state", resource(t, "kubernetes:core/v1:Secret", `{"stringData": {"a": "b"}}`))
	breaks("no-secret-in-state", resource(t, "gcp:secretmanager/secretVersion:SecretVersion", `{"secretData": "x"}`))
	breaks("no-secret-in-state", policy.Resource{Type: deployment, Name: "x", Secrets: true})

	for _, rule := range policy.Rules() {
		if rule.Doc == "" || len(broken[rule.Name]) == 0 {
			t.Errorf("%s has no reason, or nothing shows that it can fail", rule.Name)
		}
	}
	for rule, resources := range broken {
		for _, r := range resources {
			found := policy.Check(policy.Environment{Durable: true}, []policy.Resource{r})
			if !slices.ContainsFunc(found, func(f policy.Finding) bool { return f.Rule == rule && f.Problem != "" }) {
				t.Errorf("%s lets pass %s %v; found: %v", rule, r.Type, r.Inputs, found)
			}
		}
	}
}

func TestSoundResourcesPass(t *testing.T) {
	bucket := resource(t, "gcp:storage/bucket:Bucket", `{"uniformBucketLevelAccess": true, "publicAccessPrevention": "enforced", "versioning": {"enabled": true}}`)
	bucket.Protect = true
	sounds := []policy.Resource{
		resource(t, "kubernetes:apps/v1:Deployment", sound), bucket,
		resource(t, "kubernetes:batch/v1:CronJob", `{"spec": {"jobTemplate": `+sound+`}}`),
		resource(t, "kubernetes:core/v1:Service", `{"spec": {"type": "ClusterIP"}}`),
		resource(t, "kubernetes:core/v1:Service", `{"metadata": {"annotations": {"networking.gke.io/load-balancer-type": "Internal"}}, "spec": {"type": "LoadBalancer"}}`),
		resource(t, "gcp:projects/iAMMember:IAMMember", `{"role": "roles/artifactregistry.reader", "member": "serviceAccount:a"}`),
		resource(t, "gcp:compute/firewall:Firewall", `{"sourceRanges": ["35.191.0.0/16"]}`),
	}
	if found := policy.Check(policy.Environment{Durable: true}, sounds); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	// Where no data is relied on, nothing need be protected.
	if found := policy.Check(policy.Environment{}, []policy.Resource{resource(t, "kubernetes:apps/v1:StatefulSet", sound)}); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}
