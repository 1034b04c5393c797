package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"coditect.ai/platform/app/contract"
)

// nowhere is a cluster file whose coordinator nobody is: the service must answer without its database.
const nowhere = "verify:verify@127.0.0.1:1\n"

// checkHealth starts the service with an engine, asks for its health until it
// answers, and has it leave. It returns how long the answer took to come.
func checkHealth(ctx context.Context, path, engine string, want expected) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, want.within)
	defer cancel()
	dir, err := os.MkdirTemp("", "verify-*")
	if err != nil {
		return 0, fmt.Errorf("it cannot be started: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	key, cluster := filepath.Join(dir, "key"), filepath.Join(dir, "fdb.cluster")
	if out, err := command(ctx, path, nil, "keygen", key).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("`keygen` failed: %w%s", reason(ctx.Err(), err), lastWords(out))
	}
	if err := os.WriteFile(cluster, []byte(nowhere), 0o600); err != nil {
		return 0, fmt.Errorf("it cannot be started: %w", err)
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return 0, fmt.Errorf("it cannot be started: %w", err)
	}
	var logs bytes.Buffer
	cmd := command(ctx, path, []string{
		contract.EnvListen + "=" + address, contract.EnvInternalListen + "=off",
		contract.EnvStoreEngine + "=" + engine, contract.EnvStoreDir + "=" + filepath.Join(dir, "store"), contract.EnvClusterFile + "=" + cluster,
		contract.EnvJWTSecretFile + "=" + key, contract.EnvDrainPause + "=0s",
	}, contract.ServeCommand)
	cmd.Stdout, cmd.Stderr = &logs, &logs
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("`%s` does not start: %w", contract.ServeCommand, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, which ctx ends at the latest
	for {
		err := askHealth(ctx, address, want.version)
		if err == nil {
			took = time.Since(begin)
			break
		}
		select {
		case how := <-ended:
			if ctx.Err() != nil {
				return 0, late(err, engine, want, logs.Bytes())
			}
			return 0, fmt.Errorf("`%s` with the engine %s ended (%s) before it answered %s%s",
				contract.ServeCommand, engine, state(how), contract.HealthPath, lastWords(logs.Bytes()))
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("`%s` with the engine %s ended by itself after its first answer: %w", contract.ServeCommand, engine, err)
	}
	if how := <-ended; how != nil {
		return 0, fmt.Errorf("`%s` with the engine %s did not leave in order when told to: %w%s",
			contract.ServeCommand, engine, reason(ctx.Err(), how), lastWords(logs.Bytes()))
	}
	return took, nil
}

// late is the reason to refuse a program that runs and gives no right answer.
func late(last error, engine string, want expected, logs []byte) error {
	return fmt.Errorf("`%s` with the engine %s has not answered %s within %v: %w%s",
		contract.ServeCommand, engine, contract.HealthPath, want.within, last, lastWords(logs))
}

func command(ctx context.Context, path string, environ []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.WaitDelay = append([]string{}, environ...), time.Second
	return cmd
}

// state tells how a process ended, also where that is no error.
func state(how error) string {
	if how == nil {
		return "exit status 0"
	}
	return how.Error()
}

// askHealth accepts only this service's answer, of this version.
func askHealth(ctx context.Context, address, version string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+contract.HealthPath, nil)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	var answer struct {
		Data struct {
			Service string `json:"service"`
			Status  string `json:"status"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("answered %d and no JSON: %w", resp.StatusCode, err)
	}
	if have := resp.Header.Get(contract.HeaderVersion); resp.StatusCode != http.StatusOK || answer.Data.Service != contract.ServiceName || have != version {
		return fmt.Errorf("answered %d as %q, version %q", resp.StatusCode, answer.Data.Service, have)
	}
	return nil
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return socket.Addr().String(), socket.Close()
}
