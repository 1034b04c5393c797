package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"coditect.ai/platform/infra/problem"
)

const (
	computeEndpoint = "https://compute.googleapis.com/compute/v1"
	computeScope    = "https://www.googleapis.com/auth/compute.readonly"
	metricsScope    = "https://www.googleapis.com/auth/monitoring.read"
	// maxMaps bounds what is read of one answer, in bytes.
	maxMaps = 16 << 20
)

// URLMaps is the [Balancer] of Google Cloud: the URL maps that GKE's Gateway
// controller makes of routes are what the load balancer divides requests by.
type URLMaps struct {
	project, endpoint string
	http              *http.Client
}

var _ Balancer = (*URLMaps)(nil)

// NewURLMaps reads those of a project, with the credentials that Google's tools
// find on this machine.
func NewURLMaps(ctx context.Context, project string) (*URLMaps, error) {
	source, err := google.DefaultTokenSource(ctx, computeScope)
	if err != nil {
		return nil, noCredentials(err)
	}
	client := oauth2.NewClient(ctx, source)
	client.Timeout = 30 * time.Second
	return &URLMaps{project: project, endpoint: computeEndpoint, http: client}, nil
}

// MetricsToken returns bearers for Managed Service for Prometheus.
func MetricsToken(ctx context.Context) (func(context.Context) (string, error), error) {
	source, err := google.DefaultTokenSource(ctx, metricsScope)
	if err != nil {
		return nil, noCredentials(err)
	}
	return func(context.Context) (string, error) {
		token, err := source.Token()
		if err != nil {
			return "", noCredentials(err)
		}
		return token.AccessToken, nil
	}, nil
}

func noCredentials(err error) error {
	return problem.New(err, "this machine has no credentials for Google Cloud: `gcloud auth application-default login`, then run this again.")
}

// Weights implements [Balancer].
func (u *URLMaps) Weights(ctx context.Context, services []string) (map[string]int, error) {
	var found [][]map[string]int
	page := ""
	for {
		query := url.Values{}
		if page != "" {
			query.Set("pageToken", page)
		}
		maps, next, err := u.page(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, one := range maps {
			if splits := splitsOf(one, services); len(splits) > 0 {
				found = append(found, splits)
			}
		}
		if page = next; page == "" {
			break
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("no URL map of project %s leads to %s", u.project, strings.Join(services, " or "))
	case len(found) > 1:
		return nil, fmt.Errorf("%d URL maps of project %s lead to %s", len(found), u.project, strings.Join(services, " or "))
	}
	split := found[0][0]
	for _, other := range found[0][1:] {
		for _, name := range services {
			if other[name] != split[name] {
				return nil, fmt.Errorf("the URL map divides requests by %v in one place and by %v in another", split, other)
			}
		}
	}
	return split, nil
}

func (u *URLMaps) page(ctx context.Context, query url.Values) (maps []any, next string, err error) {
	from := u.endpoint + "/projects/" + url.PathEscape(u.project) + "/global/urlMaps?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, "", fmt.Errorf("read the URL maps: %w", err)
	}
	response, err := u.http.Do(request)
	if err != nil {
		return nil, "", fmt.Errorf("read the URL maps: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, "", problem.New(nil, "these credentials may not read the URL maps of project %s: it takes roles/compute.networkViewer.", u.project)
	default:
		return nil, "", fmt.Errorf("read the URL maps: Compute Engine answers %s", response.Status)
	}
	var answer struct {
		Items []any  `json:"items"`
		Next  string `json:"nextPageToken"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxMaps)).Decode(&answer); err != nil {
		return nil, "", fmt.Errorf("understand the URL maps: %w", err)
	}
	return answer.Items, answer.Next, nil
}

// splitsOf finds every place of a URL map that leads to one of the services, and
// how requests are divided there. A backend of weight 0 may be left out, and one
// that has all requests may be named without a weight.
func splitsOf(value any, services []string) []map[string]int {
	switch node := value.(type) {
	case []any:
		var splits []map[string]int
		for _, item := range node {
			splits = append(splits, splitsOf(item, services)...)
		}
		return splits
	case map[string]any:
		weighted, _ := node["weightedBackendServices"].([]any)
		if split := divided(weighted, services); split != nil {
			return []map[string]int{split}
		}
		var splits []map[string]int
		for key, item := range node {
			if name, ok := item.(string); ok && (key == "service" || key == "defaultService") {
				if of := serviceOf(name, services); of != "" {
					splits = append(splits, whole(of, services))
				}
				continue
			}
			splits = append(splits, splitsOf(item, services)...)
		}
		return splits
	}
	return nil
}

// divided is a list of weighted backends in percent; nil if none of the services is there.
func divided(weighted []any, services []string) map[string]int {
	split, total := whole("", services), 0.0
	ours := false
	parts := map[string]float64{}
	for _, item := range weighted {
		backend, _ := item.(map[string]any)
		name, _ := backend["backendService"].(string)
		weight, _ := backend["weight"].(float64)
		total += weight
		if of := serviceOf(name, services); of != "" {
			ours = true
			parts[of] += weight
		}
	}
	if !ours || total <= 0 {
		return nil
	}
	for name, part := range parts {
		split[name] = int(100*part/total + 0.5)
	}
	return split
}

func whole(of string, services []string) map[string]int {
	split := map[string]int{}
	for _, name := range services {
		split[name] = 0
	}
	if of != "" {
		split[of] = 100
	}
	return split
}

// serviceOf is which Service a backend service was made for: GKE names it after
// namespace, Service, port and a sum of them.
func serviceOf(backendService string, services []string) string {
	for _, name := range services {
		if strings.Contains(path.Base(backendService), "-"+name+"-") {
			return name
		}
	}
	return ""
}
