package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"coditect.ai/platform/app/contract"
)

// A process that is told to sends each request's span, with those of the store
// below it, and writes the trace's id into its log. It leaves with everything sent.
func TestTracesReachTheCollector(t *testing.T) {
	t.Parallel()
	const callers = "0af7651916cd43dd8448eb211c80319c"
	var mu sync.Mutex
	spans := map[string]*traces.Span{} // of the caller's trace; the process writes to the store on its own account, too
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var sent collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &sent) != nil {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range sent.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					if hex.EncodeToString(span.GetTraceId()) == callers {
						spans[span.GetName()] = span
					}
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer server.Close()
	api := serveChild(t, settings(t.TempDir(), "CODITECT_TRACE_URL="+server.URL, "CODITECT_TRACE_SHARE=1"))
	api.waitReady()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.url+"/auth/register", strings.NewReader(registration("trace@example.org")))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Traceparent", "00-"+callers+"-b7ad6b7169203331-00") // not sampled by the caller, who does not decide
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	resp.Body.Close()
	must(t, api.cmd.Process.Signal(syscall.SIGTERM))
	must(t, api.exit(time.Minute))

	mu.Lock()
	defer mu.Unlock()
	request, write := spans["POST "+contract.BasePath+"/auth/register"], spans["store write"]
	if request == nil || write == nil {
		t.Fatalf("spans %v", spans)
	}
	if len(write.GetParentSpanId()) == 0 {
		t.Errorf("the spans do not hang together: %v\n%v", request, write)
	}
	attributes := map[string]string{}
	for _, a := range append(request.GetAttributes(), write.GetAttributes()...) {
		attributes[a.GetKey()] = a.GetValue().String()
	}
	for key, want := range map[string]string{"http.response.status_code": "201", "coditect.attempts": "1", "coditect.outcome": "ok", "http.route": "/auth/register"} {
		if !strings.Contains(attributes[key], want) {
			t.Errorf("%s is %q, want %s", key, attributes[key], want)
		}
	}
	if log := api.log(); !strings.Contains(log, `"logging.googleapis.com/trace":"`+callers+`"`) {
		t.Errorf("no trace id in the log:\n%s", log)
	}
}
