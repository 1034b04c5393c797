package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/database"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/simcloud/daemon"
	simruntime "coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/stacks"
)

// What follows is what a recovery asks of an environment, each part of it fit
// to be done again.

// Settled are the environment's settings, read without the engine.
func (e *Environment) Settled() (stacks.Settings, error) {
	text, err := os.ReadFile(filepath.Join(e.root, engine.File(Name)))
	if err != nil {
		return stacks.Settings{}, fmt.Errorf("read %s: %w", engine.File(Name), err)
	}
	committed, err := engine.Parse(e.root, Name, text)
	if err != nil {
		return stacks.Settings{}, err
	}
	values := map[string]string{}
	for key, value := range e.own(committed) {
		if key.Namespace() == stacks.Project {
			values[key.Name()] = engine.Text(value)
		}
	}
	s, err := stacks.Load(Name, values)
	if err != nil {
		return s, problem.New(err, "%s: %v", engine.File(Name), err)
	}
	return s, nil
}

// bucket is the directory of the environment's backups.
func (e *Environment) bucket() (string, error) {
	s, err := e.Settled()
	return filepath.Join(e.outside, "buckets", s.BackupBucket()), err
}

// records is the directory of the embedded engine.
func (e *Environment) records() (string, error) {
	s, err := e.Settled()
	return simruntime.ClaimDirectory(e.path("simcloud"), s.Cloud.Namespace, database.EmbeddedVolume), err
}

// Backups lists the whole backups in the bucket, the oldest first.
func (e *Environment) Backups(context.Context) ([]contract.Manifest, error) {
	bucket, err := e.bucket()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(bucket)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the backups: %w", err)
	}
	var found []contract.Manifest
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(bucket, entry.Name(), contract.ManifestFile))
		if err != nil {
			continue // unfinished, being removed, or no backup
		}
		var m contract.Manifest
		if json.Unmarshal(text, &m) == nil && m.Format == contract.ManifestFormat && m.ID == entry.Name() {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b contract.Manifest) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return found, nil
}

// Inspect verifies the backup before anything is begun: that it is whole, that
// the secret which its records need is there, and that there is room for them.
func (e *Environment) Inspect(_ context.Context, m contract.Manifest) (contract.Manifest, error) {
	bucket, err := e.bucket()
	if err != nil {
		return m, err
	}
	if m.Engine != contract.EngineEmbedded {
		return m, problem.New(nil, "the backup %s is one of %s, and this environment runs %s: choose one of its own backups.", m.ID, m.Engine, contract.EngineEmbedded)
	}
	if err := verify(filepath.Join(bucket, m.ID, filepath.Base(m.Data)), m); err != nil {
		return m, problem.New(err, "the backup %s is damaged (%v): choose an earlier one with --from.", m.ID, err)
	}
	if _, err := os.Stat(e.secretSource()); err != nil {
		return m, problem.New(err, "the source of secrets has no %s (%s): the records' second factors are sealed with it; put it back, then run this again.", jwtSecret, e.secretSource())
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return m, storage(err, e.dir)
	}
	const growth = 4 // records with their indexes and log are larger than their dump
	return m, e.roomFor(minFreeDisk + growth*uint64(max(m.DataSize, 0)))
}

// verify holds a backup's data against its manifest.
func verify(path string, m contract.Manifest) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	switch {
	case err != nil:
		return err
	case size != m.DataSize:
		return fmt.Errorf("it has %d bytes and its manifest says %d", size, m.DataSize)
	case hex.EncodeToString(sum.Sum(nil)) != m.DataSHA256:
		return errors.New("its content is not that of its manifest")
	}
	return nil
}

// Occupied tells whether the environment holds records.
func (e *Environment) Occupied(context.Context) (bool, error) {
	records, err := e.records()
	if err != nil {
		return false, err
	}
	entries, err := os.ReadDir(records)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for records: %w", err)
	}
	return len(entries) > 0, nil
}

// Infrastructure brings everything up but the service: the gateway has nobody to pass a request to.
func (e *Environment) Infrastructure(ctx context.Context) error {
	return e.apply(ctx, nothing, e.noSecret, func(*daemon.Client, *engine.Stack, int) error { return nil })
}

// nothing puts no release into either slot.
func nothing(string) release { return func(func(string) string, func(string, string)) {} }

func (e *Environment) noSecret() ([]byte, error) {
	return nil, problem.New(fs.ErrNotExist, "the source of secrets has no %s (%s): put it back, then run this again.", jwtSecret, e.secretSource())
}

// Restore fills the empty records with a backup. One that was cut off goes on.
func (e *Environment) Restore(ctx context.Context, m contract.Manifest) error {
	bucket, err := e.bucket()
	if err != nil {
		return err
	}
	// An attempt that was cut off may have done it all.
	if occupied, err := e.Occupied(ctx); err != nil {
		return err
	} else if occupied {
		if c, err := e.Check(ctx); err == nil && c.OK && c.Same(m.Inventory) {
			return nil
		}
	}
	if _, err := e.tool(ctx, contract.RestoreCommand, "--from="+filepath.Join(bucket, m.ID)); err != nil {
		return fmt.Errorf("restore the backup %s: %w", m.ID, err)
	}
	return nil
}

// Check takes stock of the records.
func (e *Environment) Check(ctx context.Context) (contract.Checked, error) {
	var checked contract.Checked
	out, failed := e.tool(ctx, contract.CheckCommand, "--json")
	if err := json.Unmarshal(out, &checked); err != nil {
		return checked, fmt.Errorf("check the records: %w", errors.Join(failed, err))
	}
	return checked, nil // where it failed, the faults say why
}

// Rehearse runs the service behind a gateway on a port that nobody knows, and
// returns its address. Nothing is backed up yet.
func (e *Environment) Rehearse(ctx context.Context) (base, key string, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", fmt.Errorf("find a free port: %w", err)
	}
	base = "http://" + listener.Addr().String()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err = errors.Join(err, listener.Close()); err != nil {
		return "", "", fmt.Errorf("find a free port: %w", err)
	}
	hidden := func(image string) release {
		return func(get func(string) string, set func(string, string)) {
			deploy(image)(get, set)
			set("gatewayLocalPort", port)
			set("backupEvery", "0s")
		}
	}
	err = e.apply(ctx, hidden, e.noSecret, func(*daemon.Client, *engine.Stack, int) error {
		return awaitReady(ctx, base+contract.ReadyPath)
	})
	return base, "", err
}

// Admit lets traffic in: the gateway listens where everybody knows it.
func (e *Environment) Admit(ctx context.Context) (base string, err error) {
	return e.serve(ctx, e.noSecret)
}

// Populate brings everything up but the service, and fills the records with
// users, a session each, instead of whatever is there. It is for a scratch
// environment alone.
func (e *Environment) Populate(ctx context.Context, users int) error {
	if e.settings == nil {
		return errors.New("fill the records with users: it is no scratch environment")
	}
	if err := e.apply(ctx, nothing, newJWTSecret, func(*daemon.Client, *engine.Stack, int) error { return nil }); err != nil {
		return err
	}
	records, err := e.records()
	if err != nil {
		return err
	}
	// An attempt that was cut off has left a part of them.
	if err := os.RemoveAll(records); err != nil {
		return fmt.Errorf("empty the records: %w", err)
	}
	number := strconv.Itoa(users)
	if _, err := e.tool(ctx, contract.PopulateCommand, "--users="+number, "--sessions="+number); err != nil {
		return fmt.Errorf("make %d users: %w", users, err)
	}
	return nil
}

// Version is that of the service built beside this executable.
func (e *Environment) Version(ctx context.Context) (string, error) {
	out, err := e.tool(ctx, "version", "--json")
	if err != nil {
		return "", fmt.Errorf("ask the service for its version: %w", err)
	}
	var built struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(out, &built); err != nil {
		return "", fmt.Errorf("understand the service's version: %w", err)
	}
	return built.Version, nil
}

// tool runs the service's binary on the environment's records and returns what it printed.
func (e *Environment) tool(ctx context.Context, args ...string) ([]byte, error) {
	binary, err := ServiceBinary()
	if err != nil {
		return nil, err
	}
	records, err := e.records()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(records), 0o700); err != nil {
		return nil, storage(err, e.dir)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		contract.EnvStoreEngine + "=" + contract.EngineEmbedded, contract.EnvStoreDir + "=" + records,
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	// It does not outlive this process: another attempt must find the records to itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		text := strings.TrimPrefix(strings.TrimSpace(complaint.String()), contract.Binary+": ")
		if text == "" {
			return out.Bytes(), err
		}
		return out.Bytes(), errors.New(text)
	}
	return out.Bytes(), nil
}

// Wreck destroys the environment as a disaster would, without asking it: every
// process is killed at once and its disk is gone. What is outside stays.
func (e *Environment) Wreck(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if cloud, err := daemon.Connect(ctx, e.path("simcloud")); err == nil {
			if err := syscall.Kill(cloud.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill the simulated cloud: %w", err)
			}
			// Its pods end with it: the kernel sees to that.
		}
		err := os.RemoveAll(e.dir)
		if err == nil {
			return nil
		}
		select { // a process that is just ending may still have written
		case <-ctx.Done():
			return fmt.Errorf("remove the environment's disk: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Raise brings the environment up for the first time and returns its public address.
func (e *Environment) Raise(ctx context.Context) (base string, err error) {
	return e.serve(ctx, newJWTSecret)
}

// serve brings everything up and returns the public address.
func (e *Environment) serve(ctx context.Context, newSecret func() ([]byte, error)) (base string, err error) {
	err = e.apply(ctx, deploy, newSecret, func(_ *daemon.Client, s *engine.Stack, _ int) error {
		base = "http://" + address(s)
		return awaitReady(ctx, base+contract.ReadyPath)
	})
	return base, err
}

// SetAside takes the records out of the environment, whose service is not
// running, and keeps them outside.
func (e *Environment) SetAside(_ context.Context, name string) (string, error) {
	records, err := e.records()
	if err != nil {
		return "", err
	}
	aside := filepath.Join(e.outside, "aside", name)
	if _, err := os.Stat(aside); err == nil {
		return aside, nil
	}
	if _, err := os.Stat(records); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err := os.MkdirAll(filepath.Dir(aside), 0o700); err != nil {
		return "", storage(err, e.outside)
	}
	if err := os.Rename(records, aside); err != nil {
		return "", fmt.Errorf("set the records aside: %w", err)
	}
	return aside, nil
}

// Remove takes everything away, what outlives an environment included. It is
// for a scratch environment alone.
func (e *Environment) Remove(ctx context.Context) error {
	if e.settings == nil {
		return errors.New("remove what outlives the environment: it is no scratch environment")
	}
	if err := e.Wreck(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(e.outside); err != nil {
		return fmt.Errorf("remove %s: %w", e.outside, err)
	}
	return nil
}
