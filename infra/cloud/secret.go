package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"coditect.ai/platform/infra/problem"
)

const (
	secretsEndpoint = "https://secretmanager.googleapis.com" //nolint:gosec // an address
	// cloudScope is the only one that Secret Manager takes; what it allows is IAM's to say.
	cloudScope    = "https://www.googleapis.com/auth/cloud-platform"
	secretTimeout = 30 * time.Second
)

// Secrets asks a project's Secret Manager, whose values it never reads.
type Secrets struct {
	project, endpoint string
	http              *http.Client
}

// OpenSecrets is a project's Secret Manager with the credentials that Google's
// tools find on this machine.
func OpenSecrets(ctx context.Context, project string) (*Secrets, error) {
	source, err := google.DefaultTokenSource(ctx, cloudScope)
	if err != nil {
		return nil, problem.New(err, "this machine has no credentials for Google Cloud: `gcloud auth application-default login`, then run this again.")
	}
	client := oauth2.NewClient(ctx, source)
	client.Timeout = secretTimeout
	return &Secrets{project, secretsEndpoint, client}, nil
}

// Ready tells whether the newest version of a secret can be read by who may.
func (s *Secrets) Ready(ctx context.Context, secret string) error {
	from := fmt.Sprintf("%s/v1/projects/%s/secrets/%s/versions/latest", s.endpoint, url.PathEscape(s.project), url.PathEscape(secret))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return fmt.Errorf("ask for the secret %s: %w", secret, err)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask for the secret %s: %w", secret, err)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	_ = res.Body.Close() // read to its end or given up
	if err != nil {
		return fmt.Errorf("ask for the secret %s: %w", secret, err)
	}
	var version struct {
		State string `json:"state"`
	}
	switch {
	case res.StatusCode == http.StatusNotFound:
		return problem.New(nil, "the secret %s of project %s has no value, and the records' second factors are sealed with it: add the value that it had (gcloud secrets versions add), then run this again.", secret, s.project)
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("ask for the secret %s: Secret Manager answers %s", secret, res.Status)
	case json.Unmarshal(text, &version) != nil || version.State != "ENABLED":
		return problem.New(nil, "the newest version of the secret %s of project %s is %q and not enabled: enable it, then run this again.", secret, s.project, version.State)
	}
	return nil
}
