package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// Version tells two contents of a key apart; "" is that of a key without one.
type Version string

// Store keeps small documents by name. Its two operations are what an object
// store offers with preconditions on generations.
type Store interface {
	// Get returns the content of key and its version, or ErrAbsent.
	Get(ctx context.Context, key string) ([]byte, Version, error)
	// Put replaces the content of key, durably and at once, if its version is
	// still was; otherwise it changes nothing and returns ErrChanged. It returns
	// the new version.
	Put(ctx context.Context, key string, content []byte, was Version) (Version, error)
}

// Errors of a [Store].
var (
	ErrAbsent  = errors.New("nothing is saved under this name")
	ErrChanged = errors.New("another process has saved something newer")
)

// Directory is a [Store] of files, for the processes of one machine.
type Directory struct{ path string }

// In is the store in a directory, which is made when something is put there.
func In(path string) *Directory { return &Directory{path} }

var keyForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,99}$`)

func (d *Directory) file(key string) (string, error) {
	if !keyForm.MatchString(key) {
		return "", fmt.Errorf("%q is no name for a document: lower-case letters, digits, dots and hyphens", key)
	}
	return filepath.Join(d.path, key+".json"), nil
}

// Get implements [Store].
func (d *Directory) Get(_ context.Context, key string) ([]byte, Version, error) {
	path, err := d.file(key)
	if err != nil {
		return nil, "", err
	}
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", fmt.Errorf("%s: %w", path, ErrAbsent)
	case err != nil:
		return nil, "", fmt.Errorf("read what is saved: %w", err)
	}
	return content, versionOf(content), nil
}

// Put implements [Store].
func (d *Directory) Put(ctx context.Context, key string, content []byte, was Version) (Version, error) {
	path, err := d.file(key)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of what is saved: %w", err)
	}
	unlock, err := d.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	_, current, err := d.Get(ctx, key)
	if err != nil && !errors.Is(err, ErrAbsent) {
		return "", err
	}
	if current != was {
		return "", fmt.Errorf("%s: %w", path, ErrChanged)
	}
	if err := replace(path, content); err != nil {
		return "", fmt.Errorf("save %s: %w", path, err)
	}
	return versionOf(content), nil
}

func versionOf(content []byte) Version {
	sum := sha256.Sum256(content)
	return Version(hex.EncodeToString(sum[:]))
}

// lock is held for one Put, so waiting for it is short.
func (d *Directory) lock() (func(), error) {
	f, err := os.OpenFile(filepath.Join(d.path, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock what is saved: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock what is saved: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// replace puts content at path in one step that survives a crash.
func replace(path string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already once it was renamed
	_, err = temp.Write(content)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
