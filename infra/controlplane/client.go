package controlplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Object is a whole manifest, as JSON has it.
type Object = map[string]any

// Client speaks to the API server as its administrator. It is safe for concurrent use.
type Client struct {
	url, token  string
	certificate []byte
	http        *http.Client

	mu    sync.Mutex
	kinds map[string]kind
}

// kind is where the objects of an apiVersion and kind are kept.
type kind struct {
	Name       string `json:"name"` // the plural, in paths
	Kind       string `json:"kind"`
	Namespaced bool   `json:"namespaced"`
}

// RefusalError is the API server's answer to what it does not accept.
type RefusalError struct {
	Code    int    `json:"code"` // HTTP's
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (r *RefusalError) Error() string {
	return fmt.Sprintf("refused (%d %s): %s", r.Code, r.Reason, r.Message)
}

// Answer is an object as the API server has it, and what it warned of.
type Answer struct {
	Object   Object
	Warnings []string
}

func newClient(url, token string, certificate []byte) *Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	return &Client{
		url: url, token: token, certificate: certificate, kinds: map[string]kind{},
		http: &http.Client{
			Timeout:   time.Minute,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		},
	}
}

// Kubeconfig is how other clients reach the server as its administrator.
func (c *Client) Kubeconfig() []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
contexts: [{name: c, context: {cluster: c, user: admin}}]
current-context: c
users: [{name: admin, user: {token: %q}}]
`, c.url, base64.StdEncoding.EncodeToString(c.certificate), c.token)
}

// Apply applies an object from the server's side, with strict validation of its
// fields. What the server does not accept is a *RefusalError.
func (c *Client) Apply(ctx context.Context, object Object) (Answer, error) {
	collection, err := c.collection(ctx, object)
	if err != nil {
		return Answer{}, err
	}
	path := collection + "/" + url.PathEscape(Name(object)) + "?fieldManager=coditect&force=true&fieldValidation=Strict"
	return c.send(ctx, http.MethodPatch, path, "application/apply-patch+yaml", object)
}

// Admit asks whether an object could be created, with strict validation of its
// fields and every admission rule, and creates nothing.
func (c *Client) Admit(ctx context.Context, object Object) (Answer, error) {
	collection, err := c.collection(ctx, object)
	if err != nil {
		return Answer{}, err
	}
	return c.send(ctx, http.MethodPost, collection+"?fieldManager=coditect&fieldValidation=Strict&dryRun=All", "application/json", object)
}

// ApplyStatus sets the status of an object, which must be there, as its controller would.
func (c *Client) ApplyStatus(ctx context.Context, object Object) error {
	collection, err := c.collection(ctx, object)
	if err != nil {
		return err
	}
	path := collection + "/" + url.PathEscape(Name(object)) + "/status?fieldManager=coditect-status&force=true&fieldValidation=Strict"
	_, err = c.send(ctx, http.MethodPatch, path, "application/apply-patch+yaml", object)
	return err
}

// Get returns the object of the same kind and name as the server has it now.
func (c *Client) Get(ctx context.Context, object Object) (Object, error) {
	collection, err := c.collection(ctx, object)
	if err != nil {
		return nil, err
	}
	answer, err := c.send(ctx, http.MethodGet, collection+"/"+url.PathEscape(Name(object)), "", nil)
	return answer.Object, err
}

// List returns the objects of a kind in a namespace that a label selector selects.
func (c *Client) List(ctx context.Context, apiVersion, kind, namespace, selector string) ([]Object, error) {
	like := Object{"apiVersion": apiVersion, "kind": kind, "metadata": Object{"namespace": namespace}}
	collection, err := c.collection(ctx, like)
	if err != nil {
		return nil, err
	}
	answer, err := c.send(ctx, http.MethodGet, collection+"?labelSelector="+url.QueryEscape(selector), "", nil)
	if err != nil {
		return nil, err
	}
	var found []Object
	items, _ := answer.Object["items"].([]any)
	for _, item := range items {
		if object, ok := item.(Object); ok {
			object["apiVersion"], object["kind"] = apiVersion, kind // a list leaves them out
			found = append(found, object)
		}
	}
	return found, nil
}

// Gone removes a pod that has ended from the server, as its node does at last. A
// pod that is gone already is no error.
func (c *Client) Gone(ctx context.Context, pod Object) error {
	collection, err := c.collection(ctx, pod)
	if err != nil {
		return err
	}
	options := Object{
		"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
		"preconditions": Object{"uid": metadata(pod)["uid"]},
	}
	_, err = c.send(ctx, http.MethodDelete, collection+"/"+url.PathEscape(Name(pod)), "application/json", options)
	if refusal := (*RefusalError)(nil); errors.As(err, &refusal) && (refusal.Code == http.StatusNotFound || refusal.Code == http.StatusConflict) {
		return nil
	}
	return err
}

// Serves tells whether the server keeps objects of an object's kind by now: a
// kind that a definition adds is there a moment after it.
func (c *Client) Serves(ctx context.Context, apiVersion, kind string) bool {
	_, err := c.find(ctx, apiVersion, kind)
	return err == nil
}

// Name is an object's name.
func Name(object Object) string {
	name, _ := metadata(object)["name"].(string)
	return name
}

// Kind is an object's apiVersion and kind.
func Kind(object Object) (apiVersion, kind string) {
	apiVersion, _ = object["apiVersion"].(string)
	kind, _ = object["kind"].(string)
	return apiVersion, kind
}

func metadata(object Object) Object {
	m, _ := object["metadata"].(Object)
	return m
}

func group(apiVersion string) string {
	if strings.Contains(apiVersion, "/") {
		return "/apis/" + apiVersion
	}
	return "/api/" + apiVersion
}

// collection is the path of an object's siblings.
func (c *Client) collection(ctx context.Context, object Object) (string, error) {
	apiVersion, name := Kind(object)
	k, err := c.find(ctx, apiVersion, name)
	if err != nil {
		return "", err
	}
	path := group(apiVersion)
	if k.Namespaced {
		namespace, _ := metadata(object)["namespace"].(string)
		if namespace == "" {
			return "", fmt.Errorf("%s %s names no namespace", name, Name(object))
		}
		path += "/namespaces/" + url.PathEscape(namespace)
	}
	return path + "/" + k.Name, nil
}

func (c *Client) find(ctx context.Context, apiVersion, name string) (kind, error) {
	key := apiVersion + "/" + name
	c.mu.Lock()
	k, known := c.kinds[key]
	c.mu.Unlock()
	if known {
		return k, nil
	}
	answer, err := c.send(ctx, http.MethodGet, group(apiVersion), "", nil)
	if err != nil {
		return kind{}, fmt.Errorf("ask which kinds %s has: %w", apiVersion, err)
	}
	raw, err := json.Marshal(answer.Object["resources"])
	if err != nil {
		return kind{}, fmt.Errorf("read the kinds of %s: %w", apiVersion, err)
	}
	var all []kind
	if err := json.Unmarshal(raw, &all); err != nil {
		return kind{}, fmt.Errorf("read the kinds of %s: %w", apiVersion, err)
	}
	for _, k := range all {
		if k.Kind == name && !strings.Contains(k.Name, "/") { // a slash: a part of an object, such as its status
			c.mu.Lock()
			c.kinds[key] = k
			c.mu.Unlock()
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("the API server has no %s in %s", name, apiVersion)
}

const largestAnswer = 16 << 20

func (c *Client) send(ctx context.Context, method, path, contentType string, body Object) (Answer, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return Answer{}, fmt.Errorf("write %s: %w", path, err)
		}
		content = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, content)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", "application/json")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		refusal := &RefusalError{Code: response.StatusCode, Message: string(raw)}
		_ = json.Unmarshal(raw, refusal) // an answer that is no Status is told as it is
		return Answer{}, refusal
	}
	answer := Answer{Warnings: response.Header.Values("Warning")}
	if err := json.Unmarshal(raw, &answer.Object); err != nil {
		return Answer{}, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return answer, nil
}
