// Package local owns the environment `local`: the same Pulumi program, run by
// the same engine as every other environment, against the simulated cloud of
// this machine. It prepares what a cloud would already have (a registry with
// the image, a secret with a value), runs the update, heals what an earlier
// run left half done, and tells what runs.
//
// Everything that it keeps is below .data/local in the repository:
//
//	lock      held by the one command that changes the environment
//	updating  there while an update runs; found by the next one, it means the last was cut off
//	pulumi/   the engine's workspace, state and log
//	simcloud/ the simulated cloud: objects, images, volumes, pod logs
//
// What an environment of the cloud does not hold itself is not in there but in
// .data/outside/local, and outlives it: the bucket of its backups, and the
// source of its secrets.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/simcloud/daemon"
)

// Name is the environment's name: its stack, its settings file, its folder.
const Name = "local"

// minFreeDisk is what an update needs at the least for state, image and data, in bytes.
const minFreeDisk = 256 << 20

// Environment is the local environment of one checkout.
type Environment struct {
	root string // the repository
	dir  string // root/.data/local
	// outside holds what outlives the environment: buckets/ and secrets/.
	outside string
	// settings are on top of the committed ones.
	settings map[string]string
	// doubted lets the next update begin with a comparison of the state with what is there.
	doubted bool
	out     io.Writer
}

// Open finds the checkout that holds start and returns its local environment,
// which writes progress to out. Nothing is touched yet.
func Open(start string, out io.Writer) (*Environment, error) {
	root, err := filepath.Abs(start)
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "Pulumi.yaml")); err == nil {
			return &Environment{
				root: root, dir: filepath.Join(root, ".data", Name), outside: filepath.Join(root, ".data", "outside", Name), out: out,
			}, nil
		}
		parent := filepath.Dir(root)
		if parent == root {
			return nil, problem.New(fs.ErrNotExist, "no Pulumi.yaml in %s or above: run this inside the repository.", start)
		}
		root = parent
	}
}

// Scratch is an environment of the same repository beside e, with settings of
// its own on top of the committed ones, which tells
// its progress to out. It shares nothing with e; all of it,
// what outlives an environment included, is below dir.
func (e *Environment) Scratch(dir string, settings map[string]string, out io.Writer) *Environment {
	return &Environment{
		root: e.root, dir: filepath.Join(dir, "environment"), outside: filepath.Join(dir, "outside"), settings: settings, out: out,
	}
}

// Doubt lets the next Up compare the state with what is really there before it
// updates, so that it mends what was changed outside.
func (e *Environment) Doubt() { e.doubted = true }

// Root is the repository's directory.
func (e *Environment) Root() string { return e.root }

func (e *Environment) path(parts ...string) string {
	return filepath.Join(append([]string{e.dir}, parts...)...)
}

func (e *Environment) say(format string, args ...any) { fmt.Fprintf(e.out, format+"\n", args...) }

// lock makes this process the only one that changes the environment, and
// returns the function that lets go. The kernel lets go too when it dies.
func (e *Environment) lock() (func(), error) {
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, storage(err, e.dir)
	}
	f, err := os.OpenFile(e.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, storage(err, e.dir)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 16)
		n, _ := f.ReadAt(holder, 0)
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, problem.New(err, "process %s is changing the local environment at this moment: wait until it has ended, then run this again.", holder[:n])
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(io.NewOffsetWriter(f, 0), "%d", os.Getpid())
	}
	return func() { _ = f.Close() }, nil
}

// roomFor refuses to start what would fail half way for want of disk.
func (e *Environment) roomFor(bytes uint64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(e.dir, &st); err != nil {
		return storage(err, e.dir)
	}
	if free := st.Bavail * uint64(st.Bsize); free < bytes { //nolint:gosec // a block size is positive
		return problem.New(syscall.ENOSPC, "the disk of %s has %d MB left and the environment needs %d MB: free some space, then run this again.", e.dir, free>>20, bytes>>20)
	}
	return nil
}

// storage turns what a disk can answer into what to do about it.
func storage(err error, path string) error {
	if mend := disk(err, path); mend != nil {
		return mend
	}
	return fmt.Errorf("write below %s: %w", path, err)
}

// disk tells what to do where err is a disk's answer; nil where it is none.
func disk(err error, path string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return problem.New(err, "the disk of %s is full: free some space, then run this again.", path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return problem.New(err, "%s cannot be written to: mend its permissions, then run this again.", path)
	}
	return nil
}

// cloud starts this checkout's simulated cloud, or finds it running.
func (e *Environment) cloud(ctx context.Context) (*daemon.Client, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this executable: %w", err)
	}
	client, err := daemon.Start(ctx, daemon.StartOptions{
		Directory:  e.path("simcloud"),
		Executable: executable,
		Args:       []string{"simcloud", "--dir", e.path("simcloud"), "--buckets", filepath.Join(e.outside, "buckets")},
	})
	switch {
	case err == nil:
		return client, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, daemon.ErrRunning):
		return nil, problem.New(err, "the simulated cloud hangs: %v; end that process (kill -9), then run this again.", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return nil, storage(err, e.dir)
	}
	return nil, problem.New(err, "the simulated cloud does not start: %v\nMend that and run this again; where a file is damaged, remove it: what it held is made anew.", err)
}
