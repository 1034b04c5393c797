package recovery

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
)

// account is a user that a rehearsal makes.
type account struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

func newAccount(kind string) account {
	return account{Email: kind + "-" + strings.ToLower(rand.Text()[:12]) + "@rehearsal.invalid", Password: rand.Text()}
}

// client is a user's side of the API.
type client struct {
	base string
	key  string // let through by a gateway that keeps others out; "" for none
	http *http.Client
}

func newClient(base string) *client {
	return &client{base: base, http: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// statusError is an answer other than the one that was due.
type statusError struct {
	op     string
	status int
	code   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s is answered %d %s", e.op, e.status, e.code)
}

type envelope struct {
	Data       json.RawMessage `json:"data"`
	NextCursor *string         `json:"next_cursor"`
	Error      struct {
		Code string `json:"code"`
	} `json:"error"`
}

// call sends one request and decodes the data of its answer, which must have one of the statuses.
func (c *client) call(ctx context.Context, method, path, token string, body, into any, statuses ...int) (next string, err error) {
	op := method + " " + path
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return "", fmt.Errorf("%s: %w", op, err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+contract.BasePath+path, reader)
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set(contract.HeaderRehearsal, c.key)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end or given up
	text, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	var e envelope
	malformed := json.Unmarshal(text, &e)
	if !slices.Contains(statuses, res.StatusCode) {
		return "", &statusError{op, res.StatusCode, e.Error.Code}
	}
	if into != nil {
		if malformed != nil {
			return "", fmt.Errorf("%s: understand the answer: %w", op, malformed)
		}
		if err := json.Unmarshal(e.Data, into); err != nil {
			return "", fmt.Errorf("%s: understand the answer: %w", op, err)
		}
	}
	if e.NextCursor != nil {
		next = *e.NextCursor
	}
	return next, nil
}

func (c *client) ready(ctx context.Context) error {
	_, err := c.call(ctx, http.MethodGet, strings.TrimPrefix(contract.ReadyPath, contract.BasePath), "", nil, nil, http.StatusOK)
	return err
}

// register makes the account; taken is no error where it may exist already.
func (c *client) register(ctx context.Context, a account, mayExist bool) error {
	statuses := []int{http.StatusCreated}
	if mayExist {
		statuses = append(statuses, http.StatusConflict)
	}
	_, err := c.call(ctx, http.MethodPost, "/auth/register", "", map[string]string{
		"email": a.Email, "password": a.Password, "first_name": "Rehearsal", "last_name": "User", "company": "",
	}, nil, statuses...)
	return err
}

// login returns an access token.
func (c *client) login(ctx context.Context, a account) (string, error) {
	var in struct {
		Tokens struct {
			AccessToken string `json:"access_token"`
		} `json:"tokens"`
	}
	_, err := c.call(ctx, http.MethodPost, "/auth/login", "", map[string]string{"email": a.Email, "password": a.Password, "device": "rehearsal"}, &in, http.StatusOK)
	if err == nil && in.Tokens.AccessToken == "" {
		err = fmt.Errorf("the answer to the login of %s has no token", a.Email)
	}
	return in.Tokens.AccessToken, err
}

type workspace struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// create makes a session and returns its id.
func (c *client) create(ctx context.Context, token, name string) (string, error) {
	var made workspace
	_, err := c.call(ctx, http.MethodPost, "/sessions", token, map[string]string{"name": name, "workspace_path": "/home/rehearsal"}, &made, http.StatusCreated)
	if err == nil && (made.ID == "" || made.Name != name) {
		err = fmt.Errorf("the session that was made is %+v and not named %s", made, name)
	}
	return made.ID, err
}

// sessions returns the ids of the user's sessions.
func (c *client) sessions(ctx context.Context, token string) (map[string]bool, error) {
	ids := map[string]bool{}
	for cursor := ""; ; {
		var page []workspace
		query := url.Values{"limit": {"200"}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		next, err := c.call(ctx, http.MethodGet, "/sessions?"+query.Encode(), token, nil, &page, http.StatusOK)
		if err != nil {
			return nil, err
		}
		for _, w := range page {
			ids[w.ID] = true
		}
		if next == "" {
			return ids, nil
		}
		cursor = next
	}
}

// live lives a whole user's life and leaves nothing of it.
func (c *client) live(ctx context.Context, a account) error {
	if err := c.register(ctx, a, false); err != nil {
		return err
	}
	token, err := c.login(ctx, a)
	if err != nil {
		return err
	}
	id, err := c.create(ctx, token, "canary")
	if err != nil {
		return err
	}
	var got workspace
	if _, err := c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(id), token, nil, &got, http.StatusOK); err != nil {
		return err
	}
	if got.ID != id || got.Name != "canary" {
		return fmt.Errorf("the session %s is read back as %+v", id, got)
	}
	if _, err := c.call(ctx, http.MethodPost, "/auth/logout", token, nil, nil, http.StatusOK); err != nil {
		return err
	}
	if _, err := c.call(ctx, http.MethodGet, "/sessions", token, nil, nil, http.StatusUnauthorized); err != nil {
		return fmt.Errorf("after the logout: %w", err)
	}
	return c.forget(ctx, a)
}

// forget removes the account, if it exists.
func (c *client) forget(ctx context.Context, a account) error {
	token, err := c.login(ctx, a)
	if refused, ok := err.(*statusError); ok && refused.status == http.StatusUnauthorized { //nolint:errorlint // call returns it as it is
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodDelete, "/users/me", token, map[string]string{"password": a.Password}, nil, http.StatusOK)
	return err
}
