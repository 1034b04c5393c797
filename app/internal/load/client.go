package load

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"coditect.ai/platform/app/contract"
)

const (
	// maxAnswer bounds what is read of one answer.
	maxAnswer = 8 << 20
	// maxPause bounds how long a user heeds a Retry-After.
	maxPause = 5 * time.Second
)

// client sends requests over connections that it keeps.
type client struct {
	base      string
	http      *http.Client
	transport *http.Transport
}

func newClient(base string, users int, timeout time.Duration) *client {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConns:        users,
		MaxIdleConnsPerHost: users,
		IdleConnTimeout:     time.Minute,
		ForceAttemptHTTP2:   true,
	}
	return &client{base: base, transport: t, http: &http.Client{
		Transport:     t,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// answer is what came back for one request.
type answer struct {
	status     int
	retryAfter time.Duration
	header     http.Header
	Success    bool            `json:"success"`
	Data       json.RawMessage `json:"data"`
	Error      struct {
		Code string `json:"code"`
	} `json:"error"`
}

// do sends one request and reads the whole answer.
func (c *client) do(ctx context.Context, method, path, token string, body any) (answer, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, fmt.Errorf("encode the body: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return answer{}, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("send: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		a.retryAfter = min(time.Duration(seconds)*time.Second, maxPause)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, errNotOurs
	}
	return a, nil
}

var errNotOurs = errors.New("the answer is not in the service's form")

// greet makes sure that a service answers at base and returns its version.
func greet(ctx context.Context, base string, timeout time.Duration) (string, error) {
	c := newClient(base, 1, timeout)
	defer c.close()
	a, err := c.do(ctx, http.MethodGet, strings.TrimPrefix(contract.HealthPath, contract.BasePath), "", nil)
	if err != nil {
		return "", fmt.Errorf("no service answers at %s: %w", base, err)
	}
	if a.status != http.StatusOK || !a.Success {
		return "", fmt.Errorf("%s is not healthy: it answered %d", base, a.status)
	}
	return a.header.Get(contract.HeaderVersion), nil
}

// names makes addresses that no run shares with another.
type names struct {
	run   string
	count atomic.Int64
}

func newNames() *names { return &names{run: strings.ToLower(rand.Text()[:12])} }

func (n *names) email() string {
	return fmt.Sprintf("load-%s-%d@example.com", n.run, n.count.Add(1))
}
