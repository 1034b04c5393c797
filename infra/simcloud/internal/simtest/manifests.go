package simtest

// Namespace is where the tests' objects are.
const Namespace = "shop"

func meta(name string) map[string]any {
	return map[string]any{"name": name, "namespace": Namespace}
}

// NamespaceObject is the namespace itself.
func NamespaceObject() map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": Namespace}}
}

// Deployment runs the test server, which answers with its version.
func Deployment(name, image, version string, replicas int) map[string]any {
	labels := map[string]any{"app": name}
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(name),
		"spec": map[string]any{
			"replicas": replicas, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec": map[string]any{
					"terminationGracePeriodSeconds": 10,
					"containers": []any{map[string]any{
						"name": "server", "image": image,
						"env": []any{
							map[string]any{"name": "POD_IP", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "status.podIP"}}},
							map[string]any{"name": "LISTEN", "value": "$(POD_IP):8080"},
							map[string]any{"name": "VERSION", "value": version},
						},
						"ports":          []any{map[string]any{"name": "http", "containerPort": 8080}},
						"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/ready", "port": "http"}, "periodSeconds": 1},
						"lifecycle":      map[string]any{"preStop": map[string]any{"sleep": map[string]any{"seconds": 1}}},
					}},
				},
			},
		},
	}
}

// Container is a Deployment's first container, to be changed.
func Container(deployment map[string]any) map[string]any {
	template, _ := deployment["spec"].(map[string]any)["template"].(map[string]any)
	containers, _ := template["spec"].(map[string]any)["containers"].([]any)
	container, _ := containers[0].(map[string]any)
	return container
}

// PodSpec is a Deployment's pod specification, to be changed.
func PodSpec(deployment map[string]any) map[string]any {
	template, _ := deployment["spec"].(map[string]any)["template"].(map[string]any)
	spec, _ := template["spec"].(map[string]any)
	return spec
}

// SetEnv adds a variable to a Deployment's first container.
func SetEnv(deployment map[string]any, name, value string) map[string]any {
	container := Container(deployment)
	env, _ := container["env"].([]any)
	container["env"] = append(env, map[string]any{"name": name, "value": value})
	return deployment
}

// Service is in front of the Deployment of the same name.
func Service(name string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": meta(name),
		"spec": map[string]any{
			"selector": map[string]any{"app": name},
			"ports":    []any{map[string]any{"port": 80, "targetPort": "http"}},
		},
	}
}

// Gateway listens on the port.
func Gateway(port int) map[string]any {
	return map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": meta("front"),
		"spec": map[string]any{
			"gatewayClassName": "simcloud",
			"listeners":        []any{map[string]any{"name": "http", "protocol": "HTTP", "port": port}},
		},
	}
}

// Weighted is a backend of a route.
type Weighted struct {
	Service string
	Weight  int
}

// Route divides what comes in below the path.
func Route(name, path string, backends ...Weighted) map[string]any {
	var refs []any
	for _, b := range backends {
		refs = append(refs, map[string]any{"name": b.Service, "port": 80, "weight": b.Weight})
	}
	return map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta(name),
		"spec": map[string]any{
			"parentRefs": []any{map[string]any{"name": "front"}},
			"rules": []any{map[string]any{
				"matches":     []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": path}}},
				"backendRefs": refs,
			}},
		},
	}
}
