package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

const (
	dialTimeout   = 2 * time.Second
	headerTimeout = 60 * time.Second
	// replayable is the largest body that is kept to be sent once more when a
	// connection turns out to be closed before anything was sent over it.
	replayable = 64 << 10
)

// target is what a request was routed to.
type target struct {
	split     *split
	backend   *backend
	endpoints []string // of pods, the one whose turn it is first
}

type targetKey struct{}

// proxy forwards requests that carry a target.
type proxy struct {
	transport http.RoundTripper
	reverse   *httputil.ReverseProxy
}

func newProxy() *proxy {
	p := &proxy{transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConns:          1024,
		MaxIdleConnsPerHost:   256,
		DisableCompression:    true,
	}}
	p.reverse = &httputil.ReverseProxy{
		Transport: p,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: targetOf(r.In.Context()).endpoints[0]})
			r.Out.Host = r.In.Host
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
		},
		ModifyResponse: func(response *http.Response) error {
			to := targetOf(response.Request.Context())
			to.split.answered(to.backend, response.StatusCode)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			to := targetOf(r.Context())
			code, name := http.StatusBadGateway, "bad_gateway"
			var timeout net.Error
			switch {
			case errors.Is(err, context.Canceled):
				code = 499 // the client has gone: nobody reads this
			case isDial(err):
				code, name = http.StatusServiceUnavailable, "unavailable"
			case errors.As(err, &timeout) && timeout.Timeout():
				code, name = http.StatusGatewayTimeout, "timeout"
			}
			to.split.answered(to.backend, code)
			refuse(w, code, name, "the gateway got no answer from "+to.backend.name)
		},
	}
	return p
}

func targetOf(ctx context.Context) target {
	to, _ := ctx.Value(targetKey{}).(target)
	return to
}

func (p *proxy) serve(w http.ResponseWriter, r *http.Request, to target) {
	p.reverse.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), targetKey{}, to)))
}

// RoundTrip tries the pods in turn as long as nothing has reached one of them. A
// request that may be repeated is given one more pod when a connection breaks.
func (p *proxy) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := keepBody(request); err != nil {
		return nil, err
	}
	endpoints := targetOf(request.Context()).endpoints
	repeats := 1
	var failed error
	for _, endpoint := range endpoints {
		attempt := request.Clone(request.Context())
		attempt.URL.Host = endpoint
		if request.GetBody != nil {
			body, err := request.GetBody()
			if err != nil {
				return nil, err
			}
			attempt.Body = body
		} else if request.Body != nil {
			// The transport closes it even if it has sent nothing.
			attempt.Body = io.NopCloser(request.Body)
		}
		response, err := p.transport.RoundTrip(attempt)
		if err == nil {
			return response, nil
		}
		failed = err
		switch {
		case request.Context().Err() != nil:
			return nil, err
		case isDial(err):
		case repeatable(request) && repeats > 0:
			repeats--
		default:
			return nil, err
		}
	}
	return nil, failed
}

// keepBody makes a small body one that can be sent again.
func keepBody(request *http.Request) error {
	if request.Body == nil || request.Body == http.NoBody || request.ContentLength <= 0 || request.ContentLength > replayable {
		return nil
	}
	content, err := io.ReadAll(request.Body)
	if err != nil {
		return err
	}
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	return nil
}

func isDial(err error) bool {
	operation := &net.OpError{}
	return errors.As(err, &operation) && operation.Op == "dial"
}

func repeatable(request *http.Request) bool {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return request.Body == nil || request.Body == http.NoBody
	default:
		return false
	}
}

// refuse answers in the gateway's own name.
func refuse(w http.ResponseWriter, status int, code, message string) {
	body, err := json.Marshal(map[string]any{
		"success": false, "error": map[string]string{"code": code, "message": message},
	})
	if err != nil {
		body = nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone
}
