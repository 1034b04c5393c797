// Package daemon keeps a simulated cloud running in the background: one process
// for each environment directory, which owns the providers, the pods and the
// gateway. Everybody else is its client.
//
// The process outlives whoever starts it. It ends by Client.Shutdown, by a
// signal, or when its directory is taken away; its pods end with it however it
// ends. What it needs to come back is on disk.
package daemon

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/infra/simcloud/store"
)

const (
	recordName = "daemon.json"
	lockName   = "daemon.lock"
	logName    = "daemon.log"
	// watch is how often the daemon looks whether its directory is still its own.
	watch = 2 * time.Second
	// poll is how often a process looks whether another one has come or gone.
	poll = 20 * time.Millisecond
	// lockPatience is longer than anybody but a daemon holds the lock.
	lockPatience = time.Second
)

// Options of the process that serves.
type Options struct {
	// Directory is the environment's.
	Directory string
	// Buckets is where mounted buckets are, below Directory by default.
	Buckets string
	// Prometheus is the executable that measures the pods, "prometheus" on PATH by default.
	Prometheus string
	// Build tells builds of this program apart; BuildID by default.
	Build string
	// RestartDelay is the base of containers' back-off, 10 s by default.
	RestartDelay time.Duration
}

// ErrRunning says that another daemon serves the directory.
var ErrRunning = errors.New("another daemon serves this directory")

// record is how clients find the daemon. The file is readable by its owner only.
type record struct {
	PID       int       `json:"pid"`
	Build     string    `json:"build"`
	Started   time.Time `json:"started"`
	Address   string    `json:"address"`
	Token     string    `json:"token"`
	Providers string    `json:"providers"`
}

// Serve runs a cloud in the directory until the context ends, SIGTERM or SIGINT
// arrives, a client asks for it, or the directory is taken away.
func Serve(ctx context.Context, o Options) (err error) {
	syscall.Umask(0o077)
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	build := o.Build
	if build == "" {
		if build, err = BuildID(); err != nil {
			return err
		}
	}
	if o.Directory, err = filepath.Abs(o.Directory); err != nil {
		return fmt.Errorf("serve %s: %w", o.Directory, err)
	}
	if err := os.MkdirAll(o.Directory, 0o700); err != nil {
		return fmt.Errorf("serve %s: %w", o.Directory, err)
	}
	lock, err := acquire(ctx, o.Directory, lockPatience)
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // it ends the lock; what it says is for people
	if err := lock.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(lock, "%d", os.Getpid())
	}
	path := filepath.Join(o.Directory, recordName)
	token := rand.Text()
	// After the pods are gone, so that who sees no record sees no pod either.
	defer withdraw(path, token)
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cloud, err := simcloud.Open(simcloud.Options{ //nolint:contextcheck // the cloud ends by Close, in its own order
		Directory: o.Directory, Buckets: o.Buckets, Execute: true, Prometheus: o.Prometheus, Logger: logger, RestartDelay: o.RestartDelay,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Close()) }()
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve the daemon's API: %w", err)
	}
	me := record{
		PID: os.Getpid(), Build: build, Started: time.Now().UTC(),
		Address: socket.Addr().String(), Token: token, Providers: cloud.Providers(),
	}
	api := &api{cloud: cloud, record: me, shutdown: cancel}
	server := &http.Server{
		Handler: api.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()
	if err := write(path, me); err != nil {
		return errors.Join(err, server.Close())
	}
	logger.Info("daemon serves", "pid", me.PID, "build", build, "providers", me.Providers)
	api.wait(ctx, path)
	logger.Info("daemon ends")
	ending, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	err = server.Shutdown(ending)
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// withdraw removes the record if it is this daemon's.
func withdraw(path, token string) {
	if now, err := read(filepath.Dir(path)); err == nil && now.Token == token {
		_ = os.Remove(path) // a record that nobody answers to counts for nothing
	}
}

// acquire takes the directory's lock, which the kernel gives back however this
// process ends. It waits a little: whoever looks whether a daemon is gone holds the
// lock for a moment, too.
func acquire(ctx context.Context, directory string, patience time.Duration) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(directory, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the directory: %w", err)
	}
	for deadline := time.Now().Add(patience); ; {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return file, nil
		case time.Now().After(deadline):
			return nil, errors.Join(fmt.Errorf("%w: %s", ErrRunning, directory), file.Close())
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock the directory: %w", ctx.Err()), file.Close())
		}
	}
}

func write(path string, r record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record the daemon: %w", err)
	}
	if err := store.WriteFile(path, raw, 0o600); err != nil {
		return fmt.Errorf("record the daemon: %w", err)
	}
	return nil
}

// read returns the directory's record. One that cannot be understood is nobody's.
func read(directory string) (record, error) {
	raw, err := os.ReadFile(filepath.Join(directory, recordName))
	if err != nil {
		return record{}, err
	}
	var r record
	if json.Unmarshal(raw, &r) != nil {
		r = record{}
	}
	return r, nil
}

// wait returns when the context ends or the record at path is gone or another's.
func (a *api) wait(ctx context.Context, path string) {
	ticker := time.NewTicker(watch)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			now, err := read(filepath.Dir(path))
			if errors.Is(err, fs.ErrNotExist) || err == nil && now.Token != a.record.Token {
				return
			}
		}
	}
}

// BuildID tells this executable from others: a daemon of another build is
// replaced. It is the Go linker's own id, which depends on content alone:
// building once more without a change writes a new file with the same id.
func BuildID() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this executable: %w", err)
	}
	file, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("read this executable: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	section := file.Section(".note.go.buildid")
	if section == nil {
		return "", fmt.Errorf("read this executable: %s carries no Go build id", path)
	}
	note, err := section.Data()
	if err != nil {
		return "", fmt.Errorf("read this executable: %w", err)
	}
	sum := sha256.Sum256(note)
	return hex.EncodeToString(sum[:8]), nil
}
