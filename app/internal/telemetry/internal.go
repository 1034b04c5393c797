package telemetry

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime/debug"

	"coditect.ai/platform/app/contract"
)

// InternalHandler serves what only operators may see: metrics, profiles and
// build information. It belongs on the internal listener alone.
func InternalHandler(m *Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+contract.MetricsPath, m.Handler())
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/build", func(w http.ResponseWriter, _ *http.Request) {
		info, ok := debug.ReadBuildInfo()
		if !ok {
			http.Error(w, "built without module information", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprint(w, info) // the client has gone away
	})
	return mux
}
