// Package bucket reads and keeps small objects in a bucket of Google Cloud
// Storage: what backups have recorded, and the progress of rollouts and
// recoveries, which outlives whoever works on them and the environment that
// they are about.
//
// A [Store] is a [workflow.Store]: each write states the generation that it
// replaces, so of two writers one is refused. It speaks Cloud Storage's JSON API
// itself, which takes three requests, since the client library brings gRPC and
// much else with it.
package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/workflow"
)

const (
	endpoint = "https://storage.googleapis.com"
	// scope allows reading and writing objects, and nothing else.
	scope = "https://www.googleapis.com/auth/devstorage.read_write"
	// timeout bounds one request, and maxDocument what one document may hold, in bytes.
	timeout     = 30 * time.Second
	maxDocument = 8 << 20
	// maxPages bounds a list, of a thousand names a page.
	maxPages = 1000
)

// Bucket is one of Google Cloud Storage.
type Bucket struct {
	name, endpoint string
	http           *http.Client
}

// Open is a bucket with the credentials that Google's tools find on this
// machine. Nothing is asked of it yet.
func Open(ctx context.Context, name string) (*Bucket, error) {
	source, err := google.DefaultTokenSource(ctx, scope)
	if err != nil {
		return nil, problem.New(err, "this machine has no credentials for Google Cloud: `gcloud auth application-default login`, then run this again.")
	}
	client := oauth2.NewClient(ctx, source)
	client.Timeout = timeout
	return &Bucket{name: name, endpoint: endpoint, http: client}, nil
}

// Read returns an object's content, or [workflow.ErrAbsent].
func (b *Bucket) Read(ctx context.Context, name string) ([]byte, error) {
	content, _, err := b.read(ctx, name)
	return content, err
}

func (b *Bucket) read(ctx context.Context, name string) ([]byte, workflow.Version, error) {
	from := b.endpoint + "/storage/v1/b/" + url.PathEscape(b.name) + "/o/" + url.PathEscape(name) + "?alt=media"
	content, version, err := b.do(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, "", fmt.Errorf("read gs://%s/%s: %w", b.name, name, err)
	}
	if version == "" {
		return nil, "", fmt.Errorf("read gs://%s/%s: the answer tells no generation", b.name, name)
	}
	return content, version, nil
}

// Names lists the objects whose names begin with the prefix, in order.
func (b *Bucket) Names(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	query := url.Values{"prefix": {prefix}, "fields": {"items(name),nextPageToken"}}
	for range maxPages {
		content, _, err := b.do(ctx, http.MethodGet, b.endpoint+"/storage/v1/b/"+url.PathEscape(b.name)+"/o?"+query.Encode(), nil)
		if errors.Is(err, workflow.ErrAbsent) {
			err = b.absent()
		}
		if err != nil {
			return nil, fmt.Errorf("list gs://%s/%s: %w", b.name, prefix, err)
		}
		var page struct {
			Items []struct {
				Name string `json:"name"`
			} `json:"items"`
			Next string `json:"nextPageToken"`
		}
		if err := json.Unmarshal(content, &page); err != nil {
			return nil, fmt.Errorf("list gs://%s/%s: %w", b.name, prefix, err)
		}
		for _, item := range page.Items {
			names = append(names, item.Name)
		}
		if page.Next == "" {
			slices.Sort(names)
			return names, nil
		}
		query.Set("pageToken", page.Next)
	}
	return nil, fmt.Errorf("list gs://%s/%s: it has more than %d pages", b.name, prefix, maxPages)
}

// Store is a [workflow.Store] of the documents below a prefix.
type Store struct {
	*Bucket

	prefix string
}

var _ workflow.Store = (*Store)(nil)

// Store keeps documents below a prefix.
func (b *Bucket) Store(prefix string) *Store { return &Store{b, prefix} }

func (s *Store) object(key string) string { return path.Join(s.prefix, key+".json") }

// Get implements [workflow.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, workflow.Version, error) {
	return s.read(ctx, s.object(key))
}

// Put implements [workflow.Store]. A write whose answer was lost may be done;
// the next one is then refused as changed.
func (s *Store) Put(ctx context.Context, key string, content []byte, was workflow.Version) (workflow.Version, error) {
	if len(content) > maxDocument {
		return "", fmt.Errorf("save gs://%s/%s: %d bytes are more than a document may hold", s.name, s.object(key), len(content))
	}
	if was == "" {
		was = "0" // which is what the API calls an object that is not there
	}
	query := url.Values{"uploadType": {"media"}, "name": {s.object(key)}, "ifGenerationMatch": {string(was)}}
	to := s.endpoint + "/upload/storage/v1/b/" + url.PathEscape(s.name) + "/o?" + query.Encode()
	answer, _, err := s.do(ctx, http.MethodPost, to, content)
	if err != nil {
		return "", fmt.Errorf("save gs://%s/%s: %w", s.name, s.object(key), err)
	}
	var made struct {
		Generation workflow.Version `json:"generation"`
	}
	if err := json.Unmarshal(answer, &made); err != nil || made.Generation == "" {
		return "", errors.Join(fmt.Errorf("save gs://%s/%s: the answer tells no generation", s.name, s.object(key)), err)
	}
	return made.Generation, nil
}

// do sends a request, classifies its answer and returns it with the generation that it tells.
func (b *Bucket) do(ctx context.Context, method, to string, body []byte) ([]byte, workflow.Version, error) {
	request, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := b.http.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	content, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return nil, "", err
	}
	switch {
	case response.StatusCode == http.StatusOK && len(content) > maxDocument:
		return nil, "", errors.New("the document is too large to be one of ours")
	case response.StatusCode == http.StatusOK:
		return content, workflow.Version(response.Header.Get("X-Goog-Generation")), nil
	case response.StatusCode == http.StatusNotFound && method == http.MethodGet && !strings.Contains(string(content), "bucket does not exist"):
		return nil, "", workflow.ErrAbsent
	case response.StatusCode == http.StatusPreconditionFailed:
		return nil, "", workflow.ErrChanged
	case response.StatusCode == http.StatusNotFound:
		return nil, "", b.absent()
	case response.StatusCode == http.StatusUnauthorized, response.StatusCode == http.StatusForbidden:
		return nil, "", problem.New(nil, "these credentials may not use the bucket %s: it takes roles/storage.objectUser on it.", b.name)
	}
	return nil, "", fmt.Errorf("Cloud Storage answers %s", response.Status) //nolint:staticcheck // its name
}

func (b *Bucket) absent() error {
	return problem.New(nil, "there is no bucket %s: `pulumi up` makes it.", b.name)
}
