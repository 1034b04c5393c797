package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
)

// Route is one row of the route table.
type Route struct {
	Method   string
	Path     string // a template; {id} is a UUID
	Probe    bool   // asked all the time: needs no backend, is logged at debug
	SignedIn bool   // needs an access token
	Role     string // the least that the caller must be in the tenant {id}; "" where there is none
	Status   int    // of success
	Query    []Param
	Request  reflect.Type // of the body; nil where the route takes none
	Optional bool         // the body may be absent
	Once     bool         // takes an Idempotency-Key
	Answer   reflect.Type // of the success envelope's data
	Bare     bool         // Answer is the whole body: there is no envelope
	Large    bool         // the answer may have hundreds of KiB: see unsent

	run  func(ctx context.Context, c *call) ([]byte, error)
	file *file // instead of run
}

// Param is one query parameter; all are optional.
type Param struct{ Name, Type, Doc string }

// unmatched is the route of requests that no row is for, in logs and metrics.
var unmatched = Route{Path: "unmatched"}

// Routes returns the route table, in the order in which the router tries it.
func Routes() []Route {
	const base = contract.BasePath
	get, post, del := http.MethodGet, http.MethodPost, http.MethodDelete
	return slices.Concat([]Route{
		always(Route{Method: get, Path: contract.HealthPath, Probe: true, Status: http.StatusOK}, Health{Service: contract.ServiceName, Status: "healthy"}),
		answers(Route{Method: get, Path: contract.ReadyPath, Probe: true, Status: http.StatusOK}, ready),

		answers(Route{Method: get, Path: base + "/sessions/{id}", SignedIn: true, Status: http.StatusOK}, getSession),
		answers(Route{Method: del, Path: base + "/sessions/{id}", SignedIn: true, Status: http.StatusOK}, deleteSession),
		takes(Route{Method: http.MethodPatch, Path: base + "/sessions/{id}", SignedIn: true, Status: http.StatusOK, Optional: true}, updateSession),
		takes(Route{Method: post, Path: base + "/sessions", SignedIn: true, Status: http.StatusCreated, Optional: true, Once: true}, createSession),
		lists(Route{Method: get, Path: base + "/sessions", SignedIn: true, Status: http.StatusOK, Query: pageQuery()}, listSessions),

		takes(Route{Method: post, Path: base + "/auth/register", Status: http.StatusCreated, Once: true}, register),
		takes(Route{Method: post, Path: base + "/auth/login", Status: http.StatusOK}, login),
		takes(Route{Method: post, Path: base + "/auth/refresh", Status: http.StatusOK}, refresh),
		takes(Route{Method: post, Path: base + "/auth/logout", SignedIn: true, Status: http.StatusOK, Optional: true}, logout),
	}, accountRoutes(), factorRoutes(), tenantRoutes())
}

// takes completes a route whose handler takes a body.
func takes[In, Out any](route Route, handle func(context.Context, *call, In) (Out, error)) Route {
	route.Request, route.Answer = reflect.TypeFor[In](), reflect.TypeFor[Out]()
	route.run = func(ctx context.Context, c *call) ([]byte, error) {
		var in In
		if err := readBody(c.w, c.r, route.Optional, &in); err != nil {
			return nil, err
		}
		out, err := handle(ctx, c, in)
		if err != nil {
			return nil, err
		}
		return encode(Success[Out]{Success: true, Data: out})
	}
	return route
}

// answers completes a route whose handler takes no body.
func answers[Out any](route Route, handle func(context.Context, *call) (Out, error)) Route {
	route.Answer = reflect.TypeFor[Out]()
	route.run = func(ctx context.Context, c *call) ([]byte, error) {
		out, err := handle(ctx, c)
		if err != nil {
			return nil, err
		}
		return encode(Success[Out]{Success: true, Data: out})
	}
	return route
}

// always completes a route with one answer for everyone, encoded once.
func always[Out any](route Route, out Out) Route {
	route.Answer = reflect.TypeFor[Out]()
	body, err := encode(Success[Out]{Success: true, Data: out})
	route.run = func(context.Context, *call) ([]byte, error) { return body, err }
	return route
}

// lists completes a route that answers with a page: items and the cursor of
// the next page, "" after the last.
func lists[Item any](route Route, handle func(context.Context, *call) ([]Item, string, error)) Route {
	route.Answer, route.Large = reflect.TypeFor[[]Item](), true
	route.run = func(ctx context.Context, c *call) ([]byte, error) {
		items, next, err := handle(ctx, c)
		if err != nil {
			return nil, err
		}
		page := &Page{}
		if next != "" {
			page.NextCursor = &next
		}
		return encode(Success[[]Item]{Success: true, Data: items, Page: page})
	}
	return route
}

func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return body, nil
}

// resource is one path with the routes of its methods.
type resource struct {
	path   string
	routes []Route
	none   Route    // stands for the methods without a route, in logs and metrics
	allow  []string // the Allow header
}

// resources groups routes by path and keeps their order.
func resources(routes []Route) []*resource {
	var all []*resource
	for _, route := range routes {
		i := slices.IndexFunc(all, func(r *resource) bool { return r.path == route.Path })
		if i < 0 {
			i = len(all)
			all = append(all, &resource{path: route.Path, none: Route{Path: route.Path}})
		}
		all[i].routes = append(all[i].routes, route)
	}
	for _, res := range all {
		var methods []string
		for _, route := range res.routes {
			methods = append(methods, route.Method)
			if route.Method == http.MethodGet {
				methods = append(methods, http.MethodHead)
			}
		}
		res.allow = []string{strings.Join(append(methods, http.MethodOptions), ", ")}
	}
	return all
}

// serve finds the method's route and takes the call through the steps that
// every route has. vars are the parts of the path.
func (res *resource) serve(c *call, vars map[string]string) {
	method := c.r.Method
	switch method {
	case http.MethodOptions:
		res.options(c)
		return
	case http.MethodHead:
		method = http.MethodGet // net/http leaves the body out
	}
	i := slices.IndexFunc(res.routes, func(route Route) bool { return route.Method == method })
	if i < 0 {
		c.route = &res.none
		c.w.Header()["Allow"] = res.allow
		c.refuse(errMethod)
		return
	}
	c.route = &res.routes[i]
	if c.disturbed() {
		return
	}
	if c.route.file != nil {
		c.sendFile(c.route.file)
		return
	}
	body, err := c.work(vars)
	if err != nil {
		c.refuse(err)
		return
	}
	if c.route.Large {
		release := c.api.unsent.take(c.access.UserID, len(body))
		if release == nil {
			c.refuse(errUnread)
			return
		}
		defer release()
	}
	c.send(c.route.Status, body)
}

// options answers OPTIONS, a browser's preflight included.
func (res *resource) options(c *call) {
	c.route = &res.none
	h := c.w.Header()
	h["Allow"] = res.allow
	if h.Get("Access-Control-Allow-Headers") != "" {
		h["Access-Control-Allow-Methods"] = res.allow
	}
	c.send(http.StatusNoContent, nil)
}

// work checks what stands in the request's head, cheapest first, then runs the route.
func (c *call) work(vars map[string]string) ([]byte, error) {
	if c.route.Probe {
		return c.route.run(c.r.Context(), c)
	}
	if c.backend = c.api.backend.Load(); c.backend == nil {
		return nil, errNotOpen
	}
	if c.route.SignedIn {
		token, err := bearer(c.r.Header)
		if err != nil {
			return nil, err
		}
		if c.access, err = c.backend.Auth.Verify(token); err != nil {
			return nil, err
		}
	}
	for name, text := range vars {
		id, err := parseID(text)
		if err != nil {
			return nil, err
		}
		if name == "id" {
			c.pathID = id
		} else {
			c.subID = id
		}
	}
	var err error
	if c.route.Once {
		if c.onceKey, err = idempotencyKey(c.r.Header); err != nil {
			return nil, err
		}
	}
	if c.query, err = readQuery(c.r.URL.RawQuery, c.route.Query); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), c.api.opts.RequestTimeout)
	defer cancel()
	return c.route.run(ctx, c)
}

// parseID reads a UUID in its one canonical form; anything else is no one's id.
func parseID(text string) (uuid.UUID, error) {
	const canonical = len("00000000-0000-0000-0000-000000000000")
	id, err := uuid.Parse(text)
	if err != nil || len(text) != canonical {
		return uuid.Nil, errNoThing
	}
	return id, nil
}
