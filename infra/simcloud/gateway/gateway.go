// Package gateway makes Gateways and HTTPRoutes work: listeners on this machine,
// requests divided by weight among Services, and among a Service's ready pods.
//
// It owns the listeners, the split and its counters, and reports on both kinds of
// objects through the store.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"coditect.ai/platform/infra/simcloud/kubernetes"
	"coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/infra/simcloud/store"
)

// Class is the gatewayClassName of Gateways that are served.
const Class = "simcloud"

const (
	// retry is how often a port that was taken is tried again.
	retry = time.Second
	// farewell is how long requests under way may take when a listener closes.
	farewell = 10 * time.Second
)

// Pods are where the traffic goes.
type Pods interface {
	Endpoints(namespace string, selector map[string]string) []runtime.Endpoint
	Changed() <-chan struct{}
}

// Gateway serves all Gateways of the cluster.
type Gateway struct {
	objects *store.Store
	pods    Pods
	logger  *slog.Logger
	proxy   *proxy

	closing sync.WaitGroup // of listeners, until their last request is answered

	mu        sync.Mutex
	listeners map[int32]*listener    // by port
	splits    map[ruleName]*split    // of the rules that are served
	routes    []RouteStatus          // without their backends' counters
	addresses map[store.Key][]string // of the Gateways
}

// ruleName names a rule across changes of it.
type ruleName struct {
	route store.Key
	rule  int
}

// listener is an open port.
type listener struct {
	server *http.Server
	table  atomic.Pointer[table]
	closed chan struct{} // the port is free again
	done   chan struct{} // nothing is served any more
}

// New returns a gateway that does nothing before Run.
func New(objects *store.Store, pods Pods, logger *slog.Logger) *Gateway {
	return &Gateway{
		objects: objects, pods: pods, logger: logger, proxy: newProxy(),
		listeners: map[int32]*listener{}, splits: map[ruleName]*split{},
	}
}

// Run makes the listeners and their tables agree with the objects until the
// context ends, and then closes them, letting requests under way finish.
func (g *Gateway) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		objects, pods := g.objects.Changed(), g.pods.Changed()
		again := g.reconcile() //nolint:contextcheck // listeners end by close, not with ctx
		timer := time.NewTimer(again)
		select {
		case <-objects:
		case <-pods:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	g.mu.Lock()
	for _, l := range g.listeners {
		g.closing.Go(func() { g.close(l) }) //nolint:contextcheck // it begins when ctx ends
	}
	g.mu.Unlock()
	g.closing.Wait()
	return nil
}

// reconcile brings everything up to date and returns when to look again.
func (g *Gateway) reconcile() (again time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	again = time.Minute
	tables := map[int32]table{}
	owners := map[int32]store.Key{}
	gateways := map[store.Key]*gatewayv1.Gateway{}
	trouble := map[store.Key][]string{}
	g.addresses = map[store.Key][]string{}
	for _, object := range g.objects.List(kubernetes.Gateway, "") {
		gateway := &gatewayv1.Gateway{}
		if err := object.Decode(gateway); err != nil {
			g.report(object, false, true, err.Error())
			continue
		}
		if gateway.Spec.GatewayClassName != Class {
			g.report(object, true, false)
			continue
		}
		gateway.Namespace = object.Key.Namespace
		gateways[object.Key] = gateway
		for _, spec := range gateway.Spec.Listeners {
			port := spec.Port
			err := g.admit(object.Key, spec, owners)
			if err == nil {
				err = g.listen(port)
			}
			if err != nil {
				trouble[object.Key] = append(trouble[object.Key], err.Error())
				again = retry
				continue
			}
			tables[port] = nil
			g.addresses[object.Key] = append(g.addresses[object.Key], "http://127.0.0.1:"+strconv.Itoa(int(port)))
		}
		g.reportGateway(object, trouble[object.Key])
	}
	g.attach(gateways, tables)
	for port, l := range g.listeners {
		t, wanted := tables[port]
		if !wanted {
			delete(g.listeners, port)
			g.closing.Go(func() { g.close(l) })
			<-l.closed // so that the next step may open it
			continue
		}
		t = t.sorted()
		l.table.Store(&t)
	}
	return again
}

// admit tells why a listener cannot be served.
func (g *Gateway) admit(gateway store.Key, spec gatewayv1.Listener, owners map[int32]store.Key) error {
	if spec.Protocol != gatewayv1.HTTPProtocolType {
		return fmt.Errorf("listener %s: protocol %s is not simulated, only HTTP", spec.Name, spec.Protocol)
	}
	if owner, taken := owners[spec.Port]; taken && owner != gateway {
		return fmt.Errorf("listener %s: port %d belongs to the Gateway %s already", spec.Name, spec.Port, owner.ID())
	}
	owners[spec.Port] = gateway
	return nil
}

// listen opens the port unless it is open.
func (g *Gateway) listen(port int32) error {
	if g.listeners[port] != nil {
		return nil
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
	socket, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s (%w): end the program that uses the port, or choose another one "+
			"for the environment's gateway (spec.listeners[].port of the Gateway)", address, err)
	}
	l := &listener{closed: make(chan struct{}), done: make(chan struct{})}
	l.table.Store(&table{})
	l.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(g.logger.Handler(), slog.LevelDebug),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if e := l.table.Load().find(r); e != nil {
				e.serve(g.proxy, w, r)
				return
			}
			refuse(w, http.StatusNotFound, "not_found", "no route leads there")
		}),
	}
	l.server.RegisterOnShutdown(func() { close(l.closed) })
	g.listeners[port] = l
	g.logger.Info("gateway listens", "address", address)
	go func() {
		defer close(l.done)
		if err := l.server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			g.logger.Error("gateway stopped listening", "address", address, "error", err)
		}
	}()
	return nil
}

func (g *Gateway) close(l *listener) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if err := l.server.Shutdown(ctx); err != nil {
		g.logger.Warn("requests were cut off", "error", errors.Join(err, l.server.Close()))
	}
	<-l.done
}

// attach adds the routes to the tables of the listeners that they ask for.
func (g *Gateway) attach(gateways map[store.Key]*gatewayv1.Gateway, tables map[int32]table) {
	served := map[ruleName]*split{}
	g.routes = nil
	for order, object := range g.objects.List(kubernetes.HTTPRoute, "") {
		route := &gatewayv1.HTTPRoute{}
		if err := object.Decode(route); err != nil {
			g.report(object, false, true, err.Error())
			continue
		}
		route.Namespace = object.Key.Namespace
		ports, problems, ours := parents(route, gateways)
		if !ours {
			// Of a Gateway that is only recorded, or not there yet.
			ready := g.recordedParents(route)
			g.report(object, ready, false, problems...)
			continue
		}
		refused := unsupported(route)
		if problems = append(problems, refused...); len(problems) > 0 {
			g.reportRoute(object, false, problems, nil)
			continue
		}
		var missing []string
		for i, rule := range route.Spec.Rules {
			name := ruleName{object.Key, i}
			services := map[*backend]*service{}
			current := g.current(name, rule)
			served[name] = current
			for _, b := range current.backends {
				to, err := g.resolve(object.Key.Namespace, b)
				if err != nil {
					missing = append(missing, err.Error())
					continue
				}
				services[b] = to
			}
			for _, e := range entries(route, rule, order) {
				e.split, e.services = current, services
				g.routes = append(g.routes, RouteStatus{
					Namespace: object.Key.Namespace, Name: object.Key.Name, Path: e.path, Exact: e.exact, rule: name,
				})
				for _, port := range ports {
					tables[port] = append(tables[port], e)
				}
			}
		}
		g.reportRoute(object, true, nil, missing)
	}
	g.splits = served
}

// current is the rule's split: the one that is served, as long as its weights are the same.
func (g *Gateway) current(name ruleName, rule gatewayv1.HTTPRouteRule) *split {
	fresh := newSplit(backends(rule), time.Now())
	if old := g.splits[name]; old != nil && fresh.inherit(old) {
		return old
	}
	return fresh
}

// parents are the open ports of the Gateways that the route names. ours tells
// whether any of them is served here.
func parents(route *gatewayv1.HTTPRoute, gateways map[store.Key]*gatewayv1.Gateway) (ports []int32, problems []string, ours bool) {
	for _, ref := range route.Spec.ParentRefs {
		key := store.Key{Kind: kubernetes.Gateway, Namespace: route.Namespace, Name: string(ref.Name)}
		if ref.Namespace != nil {
			key.Namespace = string(*ref.Namespace)
		}
		gateway, ok := gateways[key]
		if !ok {
			problems = append(problems, fmt.Sprintf("gateway %q not found", key.ID()))
			continue
		}
		ours = true
		attached := false
		for _, spec := range gateway.Spec.Listeners {
			wanted := (ref.SectionName == nil || *ref.SectionName == spec.Name) && (ref.Port == nil || *ref.Port == spec.Port)
			if wanted && (key.Namespace == route.Namespace || admitsAll(spec)) {
				attached = true
				if !slices.Contains(ports, spec.Port) {
					ports = append(ports, spec.Port)
				}
			}
		}
		if !attached {
			problems = append(problems, fmt.Sprintf("no listener of gateway %q admits the route", key.ID()))
		}
	}
	return ports, problems, ours
}

func admitsAll(spec gatewayv1.Listener) bool {
	return spec.AllowedRoutes != nil && spec.AllowedRoutes.Namespaces != nil && spec.AllowedRoutes.Namespaces.From != nil &&
		*spec.AllowedRoutes.Namespaces.From == gatewayv1.NamespacesFromAll
}

// recordedParents tells whether all Gateways that the route names exist.
func (g *Gateway) recordedParents(route *gatewayv1.HTTPRoute) bool {
	for _, ref := range route.Spec.ParentRefs {
		key := store.Key{Kind: kubernetes.Gateway, Namespace: route.Namespace, Name: string(ref.Name)}
		if ref.Namespace != nil {
			key.Namespace = string(*ref.Namespace)
		}
		if _, ok := g.objects.Get(key); !ok {
			return false
		}
	}
	return true
}
