package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
)

// The test binary is also the programs that tests start, kill and measure as
// processes of their own.
const (
	childVariable = "TEST_CHILD"
	childAPI      = "api"  // coditect-api, with the arguments that follow
	childBare     = "bare" // the bare net/http handlers that benchmarks compare with
)

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case childAPI:
		main()
	case childBare:
		serveBare()
	default:
		os.Exit(m.Run())
	}
}

// child is a running process of coditect-api.
type child struct {
	tb   testing.TB
	cmd  *exec.Cmd
	url  string
	logs string // the file that its standard error goes to
	done chan error
}

// settings returns an environment for a process whose data lies in dir.
func settings(dir string, more ...string) []string {
	return append([]string{
		childVariable + "=" + childAPI, "PATH=" + os.Getenv("PATH"),
		contract.EnvListen + "=127.0.0.1:0", contract.EnvInternalListen + "=off", contract.EnvDrainPause + "=0s",
		contract.EnvStoreDir + "=" + filepath.Join(dir, "store"),
		contract.EnvJWTSecretFile + "=" + keyFile(dir),
	}, more...)
}

// keyFile makes the key of the processes whose data lies in dir.
func keyFile(dir string) string {
	file := filepath.Join(dir, "jwt-secret")
	keygenCommand(context.Background(), console{out: io.Discard, err: os.Stderr}, []string{"--if-missing", file})
	return file
}

// program returns coditect-api as a process that has not started.
func program(tb testing.TB, environ []string, args ...string) *exec.Cmd {
	tb.Helper()
	self, err := os.Executable()
	must(tb, err)
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), self, args...)
	cmd.Env = environ
	return cmd
}

// serveChild starts `coditect-api serve` and returns once it serves.
func serveChild(tb testing.TB, environ []string) *child {
	tb.Helper()
	self, err := os.Executable()
	must(tb, err)
	return serveProgram(tb, self, environ)
}

// serveProgram does so with another binary.
func serveProgram(tb testing.TB, binary string, environ []string) *child {
	tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), binary, "serve")
	cmd.Env = environ
	file, err := os.CreateTemp(tb.TempDir(), "log-*")
	must(tb, err)
	c := &child{tb: tb, cmd: cmd, logs: file.Name(), done: make(chan error, 1)}
	c.cmd.Stderr = file
	must(tb, c.cmd.Start())
	must(tb, file.Close())
	go func() { c.done <- c.cmd.Wait() }()
	tb.Cleanup(c.kill)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if address := c.address(); address != "" {
			c.url = "http://" + address + contract.BasePath
			return c
		}
		if time.Now().After(deadline) {
			tb.Fatalf("does not serve:\n%s", c.log())
		}
	}
}

func (c *child) log() string {
	text, err := os.ReadFile(c.logs)
	must(c.tb, err)
	return string(text)
}

// address finds in the log where the process serves.
func (c *child) address() string {
	for line := range strings.Lines(c.log()) {
		var entry struct {
			Message string `json:"message"`
			Address string `json:"address"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "serving" {
			return entry.Address
		}
	}
	return ""
}

// waitReady returns once /ready answers 200.
func (c *child) waitReady() {
	c.tb.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		if status, _, err := call(c.tb.Context(), http.MethodGet, c.url+"/ready", "", ""); err == nil && status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			c.tb.Fatalf("does not get ready:\n%s", c.log())
		}
	}
}

// kill ends the process as a power cut would; it is harmless once it has ended.
func (c *child) kill() {
	if c.done == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGKILL) // has ended already
	<-c.done
	c.done = nil
}

// exit waits for the end of a process that was told to leave.
func (c *child) exit(within time.Duration) error {
	c.tb.Helper()
	select {
	case err := <-c.done:
		c.done = nil
		return err
	case <-time.After(within):
		c.tb.Fatalf("still runs after %v:\n%s", within, c.log())
		return nil
	}
}

// call sends one request and returns the answer's status and body.
func call(ctx context.Context, method, url, token, body string) (int, []byte, error) {
	return callWith(ctx, http.DefaultClient, method, url, token, body)
}

func callWith(ctx context.Context, client *http.Client, method, url, token, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// registered is what tests use of the answer to a registration.
type registered struct {
	Data struct {
		Tokens struct {
			AccessToken string `json:"access_token"`
		} `json:"tokens"`
	} `json:"data"`
}

// createdSession is what tests use of the answer to a creation.
type createdSession struct {
	Data struct {
		ID string `json:"id"`
	} `json:"data"`
}

const password = "correct horse battery staple"

func registration(email string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q,"first_name":"Ada","last_name":"Lovelace","company":"Engines"}`, email, password)
}

// register signs a new user up and returns their access token.
func (c *child) register(email string) string {
	c.tb.Helper()
	status, body, err := call(c.tb.Context(), http.MethodPost, c.url+"/auth/register", "", registration(email))
	must(c.tb, err)
	if status != http.StatusCreated {
		c.tb.Fatalf("register: %d %s", status, body)
	}
	var in registered
	must(c.tb, json.NewDecoder(bytes.NewReader(body)).Decode(&in))
	return in.Data.Tokens.AccessToken
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
