package gateway

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"coditect.ai/platform/infra/simcloud/kubernetes"
	"coditect.ai/platform/infra/simcloud/store"
)

// entry is one way into a listener: a match of a route's rule.
type entry struct {
	hostnames []string
	path      string
	exact     bool
	order     int // of routes and rules, the earlier one first
	split     *split
	services  map[*backend]*service
}

// service is a Service's pods as seen at one moment.
type service struct {
	endpoints []string
	next      atomic.Uint64
}

// turn returns the endpoints, beginning with the one whose turn it is.
func (s *service) turn() []string {
	if len(s.endpoints) == 0 {
		return nil
	}
	at := int(s.next.Add(1) % uint64(len(s.endpoints))) //nolint:gosec // below the length
	return slices.Concat(s.endpoints[at:], s.endpoints[:at])
}

// table is everything that one listener serves, best match first.
type table []*entry

// sorted puts exact paths before prefixes, longer ones before shorter ones, and older rules first.
func (t table) sorted() table {
	slices.SortStableFunc(t, func(a, b *entry) int {
		if a.exact != b.exact {
			if a.exact {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), cmp.Compare(a.order, b.order))
	})
	return t
}

func (t table) find(r *http.Request) *entry {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for _, e := range t {
		if e.matches(strings.ToLower(host), r.URL.Path) {
			return e
		}
	}
	return nil
}

func (e *entry) matches(host, path string) bool {
	if len(e.hostnames) > 0 && !slices.ContainsFunc(e.hostnames, func(name string) bool {
		suffix, wild := strings.CutPrefix(name, "*")
		return name == host || wild && strings.HasSuffix(host, suffix) && host != suffix[1:]
	}) {
		return false
	}
	if e.exact {
		return path == e.path
	}
	rest, below := strings.CutPrefix(path, strings.TrimSuffix(e.path, "/"))
	return below && (rest == "" || rest[0] == '/')
}

func (e *entry) serve(p *proxy, w http.ResponseWriter, r *http.Request) {
	chosen := e.split.pick()
	if chosen == nil {
		refuse(w, http.StatusInternalServerError, "no_backend", "every weight of the route is zero")
		return
	}
	to := e.services[chosen]
	if to == nil {
		e.split.answered(chosen, http.StatusInternalServerError)
		refuse(w, http.StatusInternalServerError, "no_service", "the route leads to a Service or port that does not exist: "+chosen.name)
		return
	}
	endpoints := to.turn()
	if len(endpoints) == 0 {
		e.split.answered(chosen, http.StatusServiceUnavailable)
		refuse(w, http.StatusServiceUnavailable, "unavailable", "no pod of "+chosen.name+" is ready")
		return
	}
	p.serve(w, r, target{split: e.split, backend: chosen, endpoints: endpoints})
}

// unsupported tells what of a route this gateway does not do.
func unsupported(route *gatewayv1.HTTPRoute) []string {
	var found []string
	note := func(ok bool, format string, args ...any) {
		if !ok {
			found = append(found, fmt.Sprintf(format, args...)+" is not simulated")
		}
	}
	for i, rule := range route.Spec.Rules {
		note(len(rule.Filters) == 0, "rules[%d].filters", i)
		note(rule.Timeouts == nil, "rules[%d].timeouts", i)
		note(rule.SessionPersistence == nil, "rules[%d].sessionPersistence", i)
		for j, match := range rule.Matches {
			at := fmt.Sprintf("rules[%d].matches[%d]", i, j)
			note(len(match.Headers) == 0, "%s.headers", at)
			note(len(match.QueryParams) == 0, "%s.queryParams", at)
			note(match.Method == nil, "%s.method", at)
			note(match.Path == nil || match.Path.Type == nil || *match.Path.Type != gatewayv1.PathMatchRegularExpression,
				"%s.path.type RegularExpression", at)
		}
		for j, to := range rule.BackendRefs {
			at := fmt.Sprintf("rules[%d].backendRefs[%d]", i, j)
			note(len(to.Filters) == 0, "%s.filters", at)
			note(to.Kind == nil || *to.Kind == "Service", "%s.kind", at)
			note(to.Namespace == nil || string(*to.Namespace) == route.Namespace, "%s.namespace other than the route's", at)
		}
	}
	return found
}

// entries are the ways in that a route's rule opens.
func entries(route *gatewayv1.HTTPRoute, rule gatewayv1.HTTPRouteRule, order int) []*entry {
	var hostnames []string
	for _, name := range route.Spec.Hostnames {
		hostnames = append(hostnames, strings.ToLower(string(name)))
	}
	if len(rule.Matches) == 0 {
		return []*entry{{hostnames: hostnames, path: "/", order: order}}
	}
	var list []*entry
	for _, match := range rule.Matches {
		e := &entry{hostnames: hostnames, path: "/", order: order}
		if match.Path != nil {
			e.exact = match.Path.Type != nil && *match.Path.Type == gatewayv1.PathMatchExact
			if match.Path.Value != nil {
				e.path = *match.Path.Value
			}
		}
		list = append(list, e)
	}
	return list
}

// backends are a rule's, without anything served yet.
func backends(rule gatewayv1.HTTPRouteRule) []*backend {
	var list []*backend
	for _, to := range rule.BackendRefs {
		b := &backend{name: string(to.Name), weight: 1, classes: map[string]uint64{}}
		if to.Port != nil {
			b.port = *to.Port
		}
		if to.Weight != nil {
			b.weight = int(*to.Weight)
		}
		list = append(list, b)
	}
	return list
}

// resolve finds the pods behind a port of a Service.
func (g *Gateway) resolve(namespace string, b *backend) (*service, error) {
	object, ok := g.objects.Get(store.Key{Kind: kubernetes.Service, Namespace: namespace, Name: b.name})
	if !ok {
		return nil, fmt.Errorf("service %q not found", b.name)
	}
	spec := &corev1.Service{}
	if err := object.Decode(spec); err != nil {
		return nil, err
	}
	for _, port := range spec.Spec.Ports {
		if port.Port == b.port {
			found := &service{}
			for _, pod := range g.pods.Endpoints(namespace, spec.Spec.Selector) {
				if number := targetPort(port, pod.Ports); number != 0 {
					found.endpoints = append(found.endpoints, net.JoinHostPort(pod.Address, strconv.Itoa(int(number))))
				}
			}
			return found, nil
		}
	}
	return nil, fmt.Errorf("service %q has no port %d", b.name, b.port)
}

func targetPort(port corev1.ServicePort, named map[string]int32) int32 {
	switch {
	case port.TargetPort.Type == intstr.String:
		return named[port.TargetPort.StrVal]
	case port.TargetPort.IntVal != 0:
		return port.TargetPort.IntVal
	default:
		return port.Port
	}
}
