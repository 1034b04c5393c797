package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"coditect.ai/platform/app/contract"
)

// tracePath is where every collector takes traces.
const tracePath = "/v1/traces"

// Bounds of what waits to be sent: beyond them spans are dropped, and requests never wait.
const (
	traceQueue   = 2048
	traceBatch   = 512
	traceTimeout = 5 * time.Second
)

// Tracer makes spans and sends them by OTLP over HTTP, in the background. A nil
// Tracer makes none.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// TraceConfig says where traces go.
type TraceConfig struct {
	URL     string  // of the OTLP endpoint; "" for no traces
	Share   float64 // of requests that are traced, by their trace id, whatever the caller asks for
	Version string
	Slot    string
	Log     *slog.Logger // hears of failing exports
}

// NewTracer returns a tracer, nil where c has no URL. It connects when it has something to send.
func NewTracer(c TraceConfig) (*Tracer, error) {
	if c.URL == "" {
		return nil, nil
	}
	endpoint := strings.TrimSuffix(c.URL, "/")
	if !strings.HasSuffix(endpoint, tracePath) {
		endpoint += tracePath
	}
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(endpoint), otlptracehttp.WithTimeout(traceTimeout))
	if err != nil {
		return nil, fmt.Errorf("prepare to send traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { // the library has one for the process
		c.Log.Warn("traces were not sent", slog.String("cause", err.Error()))
	}))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.TraceIDRatioBased(c.Share)),
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(traceQueue), sdktrace.WithMaxExportBatchSize(traceBatch), sdktrace.WithExportTimeout(traceTimeout)),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", contract.ServiceName),
			attribute.String("service.version", c.Version),
			attribute.String("coditect.slot", c.Slot),
		)),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer(contract.ServiceName)}, nil
}

// Close sends what waits, within the context.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// Request begins the span of a request, as a child of the caller's where a
// traceparent names one, and returns the request with the span in its context.
func (t *Tracer) Request(r *http.Request) *http.Request {
	if t == nil {
		return r
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, _ = t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx)
}

// Done ends the span of a request. route is a template of the route table.
func (t *Tracer) Done(r *http.Request, route, method, requestID string, status int) {
	if t == nil {
		return
	}
	span := trace.SpanFromContext(r.Context())
	if span.IsRecording() {
		span.SetName(method + " " + route)
		span.SetAttributes(
			attribute.String("http.request.method", method), attribute.String("http.route", route),
			attribute.Int("http.response.status_code", status), attribute.String("coditect.request_id", requestID),
		)
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}

// TraceOf returns the attributes that tie a log line to the request's trace: its
// own span, or the caller's where this process makes none.
func (t *Tracer) TraceOf(r *http.Request) []slog.Attr {
	if t == nil {
		return Trace(r.Header.Get("Traceparent"))
	}
	span := trace.SpanContextFromContext(r.Context())
	return []slog.Attr{
		slog.String("logging.googleapis.com/trace", span.TraceID().String()),
		slog.String("logging.googleapis.com/spanId", span.SpanID().String()),
		slog.Bool("logging.googleapis.com/trace_sampled", span.IsSampled()),
	}
}

// Transactions returns an observer of the store's transactions: it counts and
// times them, and makes a span of each below the request's.
func (t *Tracer) Transactions(m *Metrics, now func() time.Time) func(context.Context, string) (context.Context, func(int, string)) {
	return func(ctx context.Context, kind string) (context.Context, func(int, string)) {
		begin := now()
		var span trace.Span
		if t != nil {
			ctx, span = t.tracer.Start(ctx, "store "+kind)
		}
		return ctx, func(attempts int, outcome string) {
			m.transaction(kind, outcome, attempts, now().Sub(begin))
			if span == nil {
				return
			}
			span.SetAttributes(attribute.Int("coditect.attempts", attempts), attribute.String("coditect.outcome", outcome))
			span.End()
		}
	}
}
