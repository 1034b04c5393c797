package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/simcloud/daemon"
	"coditect.ai/platform/infra/simcloud/store"
	"coditect.ai/platform/stacks"
)

// readyWait bounds how long the gateway may take to answer after the update.
const readyWait = time.Minute

// portWait bounds how long a former simulated cloud may take to let go of the
// gateway's port: it drains its pods first.
const portWait = 30 * time.Second

// Up brings the environment up with the service built beside this executable,
// or brings an existing one to what the repository says. A second Up changes nothing.
func (e *Environment) Up(ctx context.Context) error {
	begun := time.Now()
	return e.apply(ctx, deploy, newJWTSecret, func(cloud *daemon.Client, s *engine.Stack, changes int) error {
		return e.welcome(ctx, cloud, s, changes, time.Since(begun))
	})
}

// apply brings the environment to the committed settings and what the release
// makes of the image built beside this executable, and hands what came of it to
// after. The secret's value comes from its source; where that has none it is
// made by newSecret.
func (e *Environment) apply(ctx context.Context, next func(image string) release, newSecret func() ([]byte, error), after func(*daemon.Client, *engine.Stack, int) error) error {
	unlock, err := e.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := e.roomFor(minFreeDisk); err != nil {
		return err
	}
	doubtful := e.cutOff() || e.doubted

	cloud, err := e.cloud(ctx)
	if err != nil {
		return err
	}
	image, err := e.pushImage(ctx, cloud)
	if err != nil {
		return err
	}
	if err := e.giveSecret(ctx, cloud, newSecret); err != nil {
		return err
	}

	e.say("Updating the environment (the real program, the real engine, a simulated cloud)")
	s, err := e.openStack(ctx, cloud.Providers(), next(image))
	if err != nil {
		return err
	}
	if !doubtful {
		if doubtful, err = e.lost(ctx, cloud, s); err != nil {
			return err
		}
	}
	var patience time.Duration
	if doubtful {
		patience = portWait // an earlier cloud of this checkout may still be letting go of it
	}
	if err := e.portIsFree(ctx, cloud, s, patience); err != nil {
		return err
	}
	changes, err := e.bring(ctx, s, doubtful)
	if err != nil {
		return err
	}
	return after(cloud, s, changes)
}

// bring updates the environment, or what the targets match of it, after healing a
// state that is in doubt. It is marked as under way until it has ended well.
func (e *Environment) bring(ctx context.Context, s *engine.Stack, doubtful bool, targets ...string) (changes int, err error) {
	done, err := e.begin()
	if err != nil {
		return 0, err
	}
	if doubtful {
		if err := e.heal(ctx, s); err != nil {
			return 0, err
		}
	}
	if changes, err = e.update(ctx, s, targets...); err != nil {
		return changes, err
	}
	return changes, done()
}

// jwtSecret is the secret that signs access tokens; the program names it so in every environment.
const jwtSecret = "jwt-secret"

// newJWTSecret is a keyring of one new key, in the format of contract.EnvJWTSecretFile.
func newJWTSecret() ([]byte, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: it ends the process instead
	return []byte(base64.StdEncoding.EncodeToString(key) + "\n"), nil
}

// secretSource is where the environment's secrets come from when it is rebuilt:
// they seal and sign what is in the records, which are of no use with others.
func (e *Environment) secretSource() string { return filepath.Join(e.outside, "secrets", jwtSecret) }

// giveSecret puts the source's value into the simulated Secret Manager, and the
// value that is in force into the source.
func (e *Environment) giveSecret(ctx context.Context, cloud *daemon.Client, newSecret func() ([]byte, error)) error {
	source := e.secretSource()
	value, err := os.ReadFile(source)
	if errors.Is(err, fs.ErrNotExist) {
		value, err = newSecret()
	}
	if err != nil {
		return err
	}
	newest, err := cloud.EnsureSecretVersion(ctx, jwtSecret, value)
	if err != nil {
		return fmt.Errorf("give the secret %s its first version: %w", jwtSecret, err)
	}
	if kept, err := os.ReadFile(source); err == nil && bytes.Equal(kept, newest) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(source), 0o700); err != nil {
		return storage(err, e.outside)
	}
	if err := store.WriteFile(source, newest, 0o600); err != nil {
		return storage(err, e.outside)
	}
	return nil
}

// imageRepository is where the service's images are in the simulated registry.
const imageRepository = "registry.local/coditect/" + contract.Binary

// pushImage puts the service's binary into the simulated registry and returns its reference by digest.
func (e *Environment) pushImage(ctx context.Context, cloud *daemon.Client) (string, error) {
	binary, err := ServiceBinary()
	if err != nil {
		return "", err
	}
	image, err := cloud.PushImage(ctx, imageRepository, binary)
	if err != nil {
		return "", fmt.Errorf("push the service's image: %w", err)
	}
	return image, nil
}

// ServiceBinary is the service built beside this executable.
func ServiceBinary() (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this executable: %w", err)
	}
	binary := filepath.Join(filepath.Dir(executable), contract.Binary)
	if _, err := os.Stat(binary); err != nil {
		return "", problem.New(err, "the service is not built: %s is missing; run `make build`, then run this again.", binary)
	}
	return binary, nil
}

// Prometheus is the one built beside this executable, "" where there is none there.
func Prometheus() string {
	executable, err := os.Executable()
	if err != nil {
		return ""
	}
	binary := filepath.Join(filepath.Dir(executable), "prometheus")
	if _, err := os.Stat(binary); err != nil {
		return ""
	}
	return binary
}

// portIsFree refuses to begin what could not be reached in the end, once patience is over.
func (e *Environment) portIsFree(ctx context.Context, cloud *daemon.Client, s *engine.Stack, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		status, err := cloud.Status(ctx)
		if err != nil {
			return fmt.Errorf("ask the simulated cloud what runs: %w", err)
		}
		if slices.Contains(status.Gateways, "http://"+address(s)) {
			return nil // by this environment's own gateway
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address(s))
		if err == nil {
			return listener.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("try the gateway's address %s: %w", address(s), err)
		}
		if time.Now().After(deadline) {
			return problem.New(err, "port %d of the gateway is taken by another program, perhaps the environment of another checkout: end that one, or set %s:gatewayLocalPort in Pulumi.%s.yaml, then run this again.", s.Settings.Gateway.LocalPort, stacks.Project, Name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// address is where the gateway listens.
func address(s *engine.Stack) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Settings.Gateway.LocalPort))
}

// update runs the program and returns how many resources changed; with targets, of those alone.
func (e *Environment) update(ctx context.Context, s *engine.Stack, targets ...string) (int, error) {
	ch := make(chan events.EngineEvent)
	p := e.follow(ch)
	options := []optup.Option{optup.EventStreams(ch), optup.SuppressOutputs(), optup.SuppressProgress()}
	if len(targets) > 0 {
		options = append(options, optup.Target(targets))
	}
	_, err := s.Up(ctx, options...)
	p.wait()
	if err != nil {
		return p.changes, e.failure(ctx, "The update", p, err)
	}
	return p.changes, nil
}

// welcome waits until the environment answers through its gateway and tells
// the address, the split and what to try.
func (e *Environment) welcome(ctx context.Context, cloud *daemon.Client, s *engine.Stack, changes int, took time.Duration) error {
	base := "http://" + address(s)
	if err := awaitReady(ctx, base+contract.ReadyPath); err != nil {
		return err
	}
	status, err := cloud.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask the simulated cloud what runs: %w", err)
	}
	if changes == 0 {
		e.say("Nothing to change (%.1f s).", took.Seconds())
	} else {
		e.say("%s changed (%.1f s).", count(changes, "resource"), took.Seconds())
	}
	e.say("\nThe environment is up:\n")
	e.describe(status, 0)
	e.say(`
Try:
  curl -s %[1]s/health
  curl -s %[1]s/auth/register -H 'Content-Type: application/json' -d '{"email":"me@example.com","password":"a long enough phrase","first_name":"Me","last_name":"Myself","company":"Mine"}'
  make status    # pods, split, addresses; then kill -9 a pod's process and look again

The README continues from here; make down takes it all away.`, base+contract.BasePath)
	return nil
}

// awaitReady asks url until it answers 200.
func awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	last := errors.New("no answer")
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("ask %s: %w", url, err)
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("it answers %s", res.Status)
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return problem.New(last, "the environment is deployed but not ready at %s after %s (%v): see `make status`, and the pods' logs below .data/%s/simcloud/logs.", url, readyWait, last, Name)
			}
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
