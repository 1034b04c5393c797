package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/fault"
)

// statusClientGone is what logs and metrics show for a client that left before its answer.
const statusClientGone = 499

// call is one request on its way through.
type call struct {
	api   *API
	w     http.ResponseWriter
	r     *http.Request
	route *Route
	start time.Time
	id    string

	// For handlers; set as far as the route asks for them.
	backend *Backend
	access  auth.Access
	pathID  uuid.UUID // {id}
	subID   uuid.UUID // the id that follows it, whatever its name
	onceKey string
	query   map[string]string

	// The answer.
	status int
	size   int
	err    error
}

// send writes the whole answer.
func (c *call) send(status int, body []byte) {
	h := c.w.Header()
	c.status, c.size = status, len(body)
	if !c.route.Probe { // which nobody navigates to
		h["Content-Disposition"] = attachment
		h["Referrer-Policy"] = noReferrer
	}
	if body != nil {
		h["Content-Type"] = jsonType
		if f := c.route.file; f != nil && status == http.StatusOK {
			h["Content-Type"] = f.kind
		}
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // fails only when the client has gone, and then nobody is left to tell
}

// refuse answers with err's fault.
func (c *call) refuse(err error) {
	c.err = err
	f := faultOf(err)
	h := c.w.Header()
	status := statusOf(f.Code)
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge(f))
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", retryAfter(f.RetryAfter))
	}
	c.send(status, encodeFailure(f, c.id))
	if errors.Is(c.r.Context().Err(), context.Canceled) {
		c.status = statusClientGone // nobody was there to be answered
	}
}

// retryAfter writes a wait in whole seconds, rounded up.
func retryAfter(wait time.Duration) string {
	return strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
}

// finish is deferred around the whole call: it turns a panic into an answer,
// then counts and logs.
func (c *call) finish() {
	if p := recover(); p != nil {
		c.api.opts.Metrics.Panicked()
		c.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		if c.status == 0 {
			c.send(http.StatusInternalServerError, encodeFailure(faultOf(c.err), c.id))
		}
	}
	took := c.api.opts.Now().Sub(c.start)
	method := methodLabel(c.r.Method)
	c.api.opts.Metrics.Done(c.route.Path, method, c.status, took)
	c.log(method, took)
	c.api.opts.Tracer.Done(c.r, c.route.Path, method, c.id, c.status)
}

// address is the client's.
func (c *call) address() string { return clientAddress(c.r, c.api.opts.TrustedProxies) }

func (c *call) log(method string, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case c.route.Probe:
		level = slog.LevelDebug
	case c.status >= http.StatusInternalServerError:
		level = slog.LevelError
	}
	log := c.api.opts.Log
	if !log.Enabled(c.r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(
		attrs,
		slog.String("request_id", c.id),
		slog.Group(
			"httpRequest",
			slog.String("requestMethod", method),
			slog.String("requestUrl", c.route.Path),
			slog.Int("status", c.status),
			slog.Int("responseSize", c.size),
			slog.String("latency", strconv.FormatFloat(took.Seconds(), 'f', 6, 64)+"s"),
			slog.String("remoteIp", c.address()),
		),
	)
	if c.access.UserID != uuid.Nil {
		attrs = append(attrs, slog.String("user_id", c.access.UserID.String()), slog.String("tenant_id", c.access.TenantID.String()))
	}
	if c.err != nil {
		attrs = append(attrs, slog.String("code", string(fault.CodeOf(c.err))), slog.String("cause", c.err.Error()))
	}
	attrs = append(attrs, c.api.opts.Tracer.TraceOf(c.r)...)
	log.LogAttrs(c.r.Context(), level, "request", attrs...)
}

// methodLabel keeps what clients invent out of the metrics' labels.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "other"
	}
}
