package gateway

import (
	"strings"
	"time"

	"coditect.ai/platform/infra/simcloud/store"
)

// report is the status of an object that nothing more is to be said of.
func (g *Gateway) report(object store.Object, ready, failed bool, reasons ...string) {
	g.objects.SetStatus(object.Key, store.Status{
		Generation: object.Generation, Ready: ready, Failed: failed, Reasons: reasons,
	})
}

func (g *Gateway) reportGateway(object store.Object, trouble []string) {
	programmed := condition("Programmed", len(trouble) == 0, "Programmed", "Invalid", trouble, object)
	addresses := []any{map[string]any{"type": "IPAddress", "value": "127.0.0.1"}}
	g.objects.SetStatus(object.Key, store.Status{
		Generation: object.Generation,
		Ready:      len(trouble) == 0,
		Failed:     len(trouble) > 0, // whoever waits shall hear of it at once
		Reasons:    trouble,
		Fields: map[string]any{
			"addresses":  addresses,
			"conditions": []any{condition("Accepted", true, "Accepted", "", nil, object), programmed},
		},
	})
}

func (g *Gateway) reportRoute(object store.Object, accepted bool, refused, missing []string) {
	resolved := accepted && len(missing) == 0
	conditions := []any{
		condition("Accepted", accepted, "Accepted", "UnsupportedValue", refused, object),
		condition("ResolvedRefs", len(missing) == 0, "ResolvedRefs", "BackendNotFound", missing, object),
	}
	g.objects.SetStatus(object.Key, store.Status{
		Generation: object.Generation,
		Ready:      resolved,
		Failed:     !accepted,
		Reasons:    append(refused, missing...),
		Fields: map[string]any{"parents": []any{map[string]any{
			"controllerName": "simcloud/gateway", "conditions": conditions,
		}}},
	})
}

func condition(kind string, ok bool, good, bad string, messages []string, object store.Object) map[string]any {
	c := map[string]any{
		"type": kind, "status": "True", "reason": good, "observedGeneration": float64(object.Generation),
		"message": strings.Join(messages, "; "),
	}
	if !ok {
		c["status"], c["reason"] = "False", bad
	}
	return c
}

// RouteStatus is one way in and what becomes of requests there.
type RouteStatus struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Path      string          `json:"path"`
	Exact     bool            `json:"exact,omitempty"`
	Since     time.Time       `json:"since"` // when the weights took force
	Backends  []BackendStatus `json:"backends"`

	rule ruleName
}

// Routes tells how requests are divided.
func (g *Gateway) Routes() []RouteStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]RouteStatus, 0, len(g.routes))
	for _, route := range g.routes {
		if served := g.splits[route.rule]; served != nil {
			route.Backends, route.Since = served.status()
		}
		list = append(list, route)
	}
	return list
}

// Addresses are the URLs of the open listeners.
func (g *Gateway) Addresses() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []string
	for _, object := range g.objects.List("gateway.networking.k8s.io/Gateway", "") {
		list = append(list, g.addresses[object.Key]...)
	}
	return list
}
