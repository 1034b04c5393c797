package historytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"coditect.ai/platform/app/contract"
)

// World is the service that clients act on.
type World struct {
	// URL is where a client's next request goes, such as "http://127.0.0.1:8080".
	URL func(client int) string
	// Found makes a tenant of users, the first of them its owner and the others
	// members, and returns its id. It is called while clients act.
	Found func(ctx context.Context, users []string) (id string, err error)
}

const (
	users  = 4  // that sessions, logins and tenants belong to
	budget = 24 // acts on one thing, before clients turn to a new one: what porcupine decides at once
)

// Play has clients act at random, count acts in all, until they are done or
// ctx is. The same seed makes the same choices, in an order of the machine's.
func Play(ctx context.Context, w World, h *History, clients, count int, seed uint64) error {
	p := &play{World: w, history: h, names: fmt.Sprintf("h%d-%d", seed, time.Now().UnixNano()%1e6), http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
	defer p.http.CloseIdleConnections()
	if err := p.enroll(ctx); err != nil {
		return err
	}
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			source := rand.New(rand.NewPCG(seed, uint64(c))) //nolint:gosec // to be repeated, not to be secret
			for n := c; n < count && ctx.Err() == nil; n += clients {
				p.act(ctx, &client{play: p, number: c, Rand: source})
			}
		})
	}
	all.Wait()
	return nil
}

// play is what the clients share.
type play struct {
	World
	history *History
	names   string // what names of this play begin with
	http    *http.Client

	ids, tokens [users]string // of the users

	mu     sync.Mutex
	things map[string]*subject // the current ones, by model
	made   int
}

// subject is the thing that clients act on until its budget is spent.
type subject struct {
	name   string
	left   int
	id     string   // of a session or a tenant, once somebody was told
	user   int      // whose session or login it is
	tokens []string // refresh tokens that somebody was told, the last 6
	access string
}

type client struct {
	*play
	*rand.Rand
	number int
}

// enroll registers the users; there are no faults that it does not outlast.
func (p *play) enroll(ctx context.Context) error {
	p.things = map[string]*subject{}
	c := &client{play: p, Rand: rand.New(rand.NewPCG(1, 1))} //nolint:gosec // nothing secret
	for i := range p.ids {
		for n := 0; p.ids[i] == ""; n++ {
			var in signedIn
			answer, err := c.send(ctx, http.MethodPost, "/auth/register", "", c.registration(fmt.Sprintf("%s-user%d-%d@example.org", p.names, i, n), "0"), "", &in)
			if ctx.Err() != nil || err != nil && n > 1000 {
				return fmt.Errorf("register a user: %w", errors.Join(err, ctx.Err()))
			}
			if answer == http.StatusCreated {
				p.ids[i], p.tokens[i] = in.Data.User.ID, in.Data.Tokens.AccessToken
			}
		}
	}
	return nil
}

// current returns the thing of a model, a new one where the last is spent.
func (p *play) current(model string) (s subject, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	thing := p.things[model]
	if thing == nil || thing.left <= 0 {
		p.made++
		thing = &subject{name: fmt.Sprintf("%s-%d", p.names, p.made), left: budget, user: p.made % users}
		p.things[model], fresh = thing, true
	}
	thing.left--
	return *thing, fresh
}

// tell changes what is known of the thing of that name, if it is still the current one.
func (p *play) tell(model, name string, change func(*subject)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if thing := p.things[model]; thing != nil && thing.name == name {
		change(thing)
	}
}

func (p *play) act(ctx context.Context, c *client) {
	switch n := c.IntN(20); {
	case n < 3:
		c.account(ctx)
	case n < 9:
		c.session(ctx)
	case n < 14:
		c.login(ctx)
	default:
		c.tenant(ctx)
	}
}

// do sends a request and records it. into takes the answer of a success, and
// value tells what of it counts.
func (c *client) do(ctx context.Context, model, name string, call Call, method, path, token, body, key string, into any, value func() string) (told bool) {
	begin := c.history.Now()
	status, err := c.send(ctx, method, path, token, body, key, into)
	for errors.Is(err, errNotSent) && ctx.Err() == nil { // whoever serves there is being started again
		c.pause(ctx)
		begin = c.history.Now()
		status, err = c.send(ctx, method, path, token, body, key, into)
	}
	if errors.Is(err, errNotSent) {
		return false
	}
	answer := Answer{Status: status}
	if err != nil || status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		answer.Status = 0
	}
	if answer.Status == 0 {
		c.pause(ctx) // whose answers are unknown will not know more at once
	}
	told = answer.Status >= 200 && answer.Status < 300
	if told && value != nil {
		answer.Value = value()
	}
	c.history.Add(c.number, model, name, begin, call, answer)
	return told
}

func (c *client) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Millisecond):
	}
}

// errNotSent says that nobody has got the request.
var errNotSent = errors.New("not sent")

func (c *client) send(ctx context.Context, method, path, token, body, key string, into any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL(c.number)+contract.BasePath+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNotSent, err)
	}
	// From everywhere, so that no guess of a password slows others down.
	req.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", c.IntN(256), c.IntN(256), c.IntN(256)))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" {
		return 0, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode < 300 && into != nil {
		err = json.Unmarshal(answer, into)
	}
	return resp.StatusCode, err
}

type signedIn struct {
	Data struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
		Tokens struct {
			AccessToken  string `json:"access_token"`
			RefreshToken string `json:"refresh_token"`
		} `json:"tokens"`
	} `json:"data"`
}

// short names a token in a history.
func short(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:6])
}
