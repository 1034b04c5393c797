package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
)

// load is a steady stream of requests through the gateway, each of which has one
// right answer: a signed-in user reads, and a write without a token is refused by
// the service itself. Anything else is a lost request.
type load struct {
	client *http.Client
	base   string // https://host/api/v5
	token  string // of a user that was registered through the gateway

	mu       sync.Mutex
	answered map[string]int // by the version of the service that answered
	lost     []string
}

const workers, pause = 6, 5 * time.Millisecond

// newLoad reaches the host at an address, trusts the authority, and signs a user in.
func newLoad(ctx context.Context, t *testing.T, host, address string, authority *x509.CertPool) *load {
	t.Helper()
	l := &load{
		base: "https://" + host + contract.BasePath, answered: map[string]int{},
		client: &http.Client{
			Timeout:       20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				TLSClientConfig:     &tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12},
				MaxIdleConnsPerHost: workers,
				DialContext: func(ctx context.Context, network, asked string) (net.Conn, error) {
					_, port, err := net.SplitHostPort(asked)
					if err != nil {
						return nil, err
					}
					return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(address, port))
				},
			},
		},
	}
	t.Cleanup(l.client.CloseIdleConnections)
	status, body, _, err := l.ask(ctx, http.MethodPost, l.base+"/auth/register",
		object{"email": "proof@example.com", "password": "a long enough sentence", "first_name": "Proof", "last_name": "Reader"})
	if err != nil || status != http.StatusCreated {
		t.Fatalf("register a user through the gateway: %d %s (%v)", status, body, err)
	}
	var registered struct {
		Data struct {
			Tokens struct {
				Access string `json:"access_token"`
			} `json:"tokens"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &registered); err != nil || registered.Data.Tokens.Access == "" {
		t.Fatalf("register a user through the gateway: no token in %s (%v)", body, err)
	}
	l.token = registered.Data.Tokens.Access
	return l
}

// ask returns the answer's status, body and the version that answered.
func (l *load) ask(ctx context.Context, method, url string, body object) (status int, answer []byte, version string, err error) {
	var content io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, "", err
		}
		content = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return 0, nil, "", err
	}
	request.GetBody = nil // nothing is sent twice behind our back
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	} else {
		request.Header.Set("Authorization", "Bearer "+l.token)
	}
	response, err := l.client.Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, answer, response.Header.Get(contract.HeaderVersion), err
}

// start sends requests until the returned function is called, which waits for the last of them.
func (l *load) start(ctx context.Context) (stop func()) {
	sending, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; sending.Err() == nil; i++ {
				l.one(ctx, i%3 == 0)
				time.Sleep(pause)
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

func (l *load) one(ctx context.Context, write bool) {
	method, url, wanted, body := http.MethodGet, l.base+"/users/me", http.StatusOK, object(nil)
	if write {
		method, url, wanted, body = http.MethodPost, l.base+"/sessions", http.StatusUnauthorized, object{"name": "x"}
	}
	status, answer, version, err := l.ask(ctx, method, url, body)
	if ctx.Err() != nil {
		return // the test has ended: nobody counts
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || status != wanted || version == "" {
		l.lost = append(l.lost, fmt.Sprintf("%s %s %s: %d %.200s (%v)", time.Now().Format(time.TimeOnly), method, url, status, answer, err))
		return
	}
	l.answered[version]++
}

// counts are the answers so far, by version, and the requests that were lost.
func (l *load) counts() (answered map[string]int, lost []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.answered), l.lost
}

// sample counts the next n answers or a few more, by version.
func (l *load) sample(ctx context.Context, t *testing.T, n int) map[string]int {
	t.Helper()
	before, _ := l.counts()
	for {
		now, _ := l.counts()
		sum := 0
		for version, count := range before {
			now[version] -= count
		}
		for _, count := range now {
			sum += count
		}
		if sum >= n {
			return now
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d of %d requests were answered in time", sum, n)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// agrees tells whether a sample can come from a split that gives the canary this
// share: exactly where one side gets nothing, else within so many standard deviations.
func agrees(sample map[string]int, canary string, share, deviations float64) bool {
	sum := 0
	for _, count := range sample {
		sum += count
	}
	n := float64(sum)
	if share == 0 || share == 1 {
		return float64(sample[canary]) == n*share
	}
	return math.Abs(float64(sample[canary])-n*share) <= deviations*math.Sqrt(n*share*(1-share))
}
