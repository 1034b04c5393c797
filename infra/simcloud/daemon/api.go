package daemon

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/infra/simcloud/collector"
	"coditect.ai/platform/infra/simcloud/gateway"
	"coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/infra/simcloud/store"
)

// Status is how the environment is.
type Status struct {
	PID       int                      `json:"pid"`
	Build     string                   `json:"build"`
	Started   time.Time                `json:"started"`
	Retain    bool                     `json:"retain"` // data outlives the objects that own it
	Objects   int                      `json:"objects"`
	Gateways  []string                 `json:"gateways"` // URLs of the open listeners
	Workloads []runtime.WorkloadStatus `json:"workloads"`
	Routes    []gateway.RouteStatus    `json:"routes"`
	Metrics   collector.Status         `json:"metrics"`
}

// api answers the clients.
type api struct {
	cloud    *simcloud.Cloud
	record   record
	shutdown func()
}

const maxRequest = 1 << 20

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("POST /images", call(func(in pushRequest) (pushResponse, error) {
		reference, err := a.cloud.Runtime.PushImage(in.Repository, in.Path)
		return pushResponse{reference}, err
	}))
	mux.HandleFunc("POST /secrets", call(func(in secretRequest) (secretResponse, error) {
		value, err := a.cloud.Vault.Ensure(in.Name, in.Value)
		a.cloud.Objects.Notify() // a container may be waiting for it
		return secretResponse{value}, err
	}))
	mux.HandleFunc("POST /retain", call(func(in retainRequest) (struct{}, error) {
		return struct{}{}, a.cloud.Objects.SetRetain(in.Retain)
	}))
	mux.HandleFunc("GET /objects", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, a.cloud.Objects.Select(func(store.Key) bool { return true }))
	})
	mux.HandleFunc("POST /objects/change", call(func(in changeRequest) (struct{}, error) {
		return struct{}{}, a.cloud.Objects.Change(in.Key, in.Patch)
	}))
	mux.HandleFunc("POST /objects/delete", call(func(in store.Key) (struct{}, error) {
		return struct{}{}, a.cloud.Objects.Delete(in)
	}))
	mux.HandleFunc("GET /logs", a.logs)
	mux.HandleFunc("POST /shutdown", call(func(struct{}) (struct{}, error) {
		a.shutdown()
		return struct{}{}, nil
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := []byte("Bearer " + a.record.Token)
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), token) != 1 {
			http.Error(w, "wrong token", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type (
	pushRequest    struct{ Repository, Path string }
	pushResponse   struct{ Reference string }
	secretResponse struct{ Value []byte }
	retainRequest  struct{ Retain bool }
	changeRequest  struct {
		Key   store.Key
		Patch map[string]any
	}
	secretRequest struct {
		Name  string
		Value []byte
	}
)

// call is a handler of one JSON value for another.
func call[In, Out any](do func(In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(io.LimitReader(r.Body, maxRequest)).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := do(in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		answer(w, out)
	}
}

func answer(w http.ResponseWriter, value any) {
	raw, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw) // the client may have gone
}

func (a *api) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, Status{
		PID: a.record.PID, Build: a.record.Build, Started: a.record.Started, Retain: a.cloud.Objects.Retain(),
		Objects:  len(a.cloud.Objects.Select(func(store.Key) bool { return true })),
		Gateways: a.cloud.Gateway.Addresses(), Workloads: a.cloud.Runtime.Workloads(), Routes: a.cloud.Gateway.Routes(),
		Metrics: a.cloud.Collector.Status(),
	})
}

func (a *api) logs(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	lines, err := strconv.Atoi(query.Get("lines"))
	if err != nil || lines < 1 {
		http.Error(w, errors.Join(errors.New("lines must be a number above zero"), err).Error(), http.StatusBadRequest)
		return
	}
	content, err := a.cloud.Runtime.Logs(query.Get("namespace"), query.Get("pod"), lines)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(content) //nolint:gosec // plain text, for a client with the token
}
