package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/infra/simcloud/store"
)

// ErrNotRunning says that no daemon serves the directory.
var ErrNotRunning = errors.New("no daemon serves this directory")

// Client talks to a daemon.
type Client struct {
	directory string
	record    record
	http      *http.Client
}

// Connect returns a client of the daemon that serves the directory, or ErrNotRunning.
func Connect(ctx context.Context, directory string) (*Client, error) {
	found, err := read(directory)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNotRunning, directory)
	}
	c := &Client{directory: directory, record: found, http: &http.Client{Timeout: time.Minute}}
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if status, err := c.Status(asking); err != nil || status.PID != found.PID {
		return nil, fmt.Errorf("%w: %s: %w", ErrNotRunning, directory, errors.Join(errors.New("it left a record behind"), err))
	}
	return c, nil
}

// Providers is the value of PULUMI_DEBUG_PROVIDERS with which an engine finds the providers.
func (c *Client) Providers() string { return c.record.Providers }

// Build is the daemon's build.
func (c *Client) Build() string { return c.record.Build }

// PID is the daemon's process id.
func (c *Client) PID() int { return c.record.PID }

// PushImage copies the executable at path into the environment's registry and
// returns the image's reference with its digest.
func (c *Client) PushImage(ctx context.Context, repository, path string) (reference string, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("push an image: %w", err)
	}
	var out pushResponse
	err = c.post(ctx, "/images", pushRequest{repository, path}, &out)
	return out.Reference, err
}

// EnsureSecretVersion gives the secret of Secret Manager a first version if it has
// none, and returns its newest. It may come before the secret itself is made; pods
// can read it once it is.
func (c *Client) EnsureSecretVersion(ctx context.Context, secretID string, value []byte) (newest []byte, err error) {
	var out secretResponse
	err = c.post(ctx, "/secrets", secretRequest{secretID, value}, &out)
	return out.Value, err
}

// Volume is the directory of a claim's data.
func (c *Client) Volume(namespace, claim string) string {
	return runtime.ClaimDirectory(c.directory, namespace, claim)
}

// SetReclaimPolicy tells whether volumes and secrets' values outlive the objects that own them.
func (c *Client) SetReclaimPolicy(ctx context.Context, retain bool) error {
	return c.post(ctx, "/retain", retainRequest{retain}, &struct{}{})
}

// Objects are all that are there, in the order of their keys.
func (c *Client) Objects(ctx context.Context) ([]store.Object, error) {
	raw, err := c.do(ctx, http.MethodGet, "/objects", nil)
	if err != nil {
		return nil, err
	}
	var objects []store.Object
	if err := json.Unmarshal(raw, &objects); err != nil {
		return nil, fmt.Errorf("understand the daemon's objects: %w", err)
	}
	return objects, nil
}

// ChangeObject merges patch (RFC 7386) into what an object was asked to be, behind
// Pulumi's back, as somebody with a console would. One that is absent is made.
func (c *Client) ChangeObject(ctx context.Context, key store.Key, patch map[string]any) error {
	return c.post(ctx, "/objects/change", changeRequest{key, patch}, &struct{}{})
}

// DeleteObject removes an object behind Pulumi's back, as an accident would. The
// kind is "apps/Deployment" or "/Service".
func (c *Client) DeleteObject(ctx context.Context, kind, namespace, name string) error {
	return c.post(ctx, "/objects/delete", store.Key{Kind: kind, Namespace: namespace, Name: name}, &struct{}{})
}

// Status tells how the environment is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var status Status
	raw, err := c.do(ctx, http.MethodGet, "/status", nil)
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(raw, &status); err != nil {
		return status, fmt.Errorf("understand the daemon's status: %w", err)
	}
	return status, nil
}

// Logs returns the last lines of a pod, which may be gone already.
func (c *Client) Logs(ctx context.Context, namespace, pod string, lines int) (string, error) {
	query := url.Values{"namespace": {namespace}, "pod": {pod}, "lines": {strconv.Itoa(lines)}}
	raw, err := c.do(ctx, http.MethodGet, "/logs?"+query.Encode(), nil)
	return string(raw), err
}

// Shutdown ends the daemon and all of its pods, and returns when they are gone.
func (c *Client) Shutdown(ctx context.Context) error {
	if err := c.post(ctx, "/shutdown", struct{}{}, &struct{}{}); err != nil {
		return err
	}
	for {
		// The lock is free only when the pods are gone.
		lock, err := acquire(ctx, c.directory, 0)
		if err == nil {
			return lock.Close()
		}
		if !errors.Is(err, ErrRunning) {
			return nil // the directory is gone, and the daemon with it
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return fmt.Errorf("wait for the daemon (pid %d) to end: %w", c.record.PID, ctx.Err())
		}
	}
}

func (c *Client) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	raw, err := c.do(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("understand the daemon: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.record.Address+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+c.record.Token)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	raw, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(raw)))
	}
	return raw, nil
}
