// Package backup owns backups on disk: a directory each, with the store's data
// and a manifest that says what it is. The data is logical, pairs of keys and
// values in order, so one engine's backup can be restored into another.
//
// A backup is whole when its manifest is there: that is written last, at once,
// after the data has been read back. Whatever ends a backup earlier leaves a
// directory without one, which the next backup removes.
//
// It knows the store, and neither engines nor keys.
package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store"
)

const (
	dataFile = "data.gz"
	lockFile = ".lock"
	idForm   = "20060102T150405.000Z" // of a backup's id, which is its moment
)

var idPattern = regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z$`)

// Program says which build makes a backup, and of which engine.
type Program struct{ Engine, Version, Commit string }

// Dir is a directory of backups.
type Dir struct {
	Path    string
	Program Program
	Now     func() time.Time

	full func(io.Writer) io.Writer // in tests: a disk that fills up
}

// ErrBusy says that another process is making a backup into the directory.
var ErrBusy = errors.New("another process is making a backup there")

// Take makes a backup of the store while others use it, and returns its manifest.
func (d Dir) Take(ctx context.Context, st *store.Store) (m contract.Manifest, err error) {
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return m, fmt.Errorf("make the directory of backups: %w", err)
	}
	unlock, err := d.lock()
	if err != nil {
		return m, err
	}
	defer unlock()
	if err := d.tidy(); err != nil {
		return m, err
	}
	now := d.Now().UTC()
	m = contract.Manifest{
		Format: contract.ManifestFormat, ID: now.Format(idForm), Engine: d.Program.Engine, CreatedAt: now,
		ProgramVersion: d.Program.Version, Commit: d.Program.Commit, Data: dataFile,
	}
	dir := filepath.Join(d.Path, m.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return m, fmt.Errorf("make the backup's directory: %w", err)
	}
	defer func() {
		if err != nil { // on a full disk this makes room again
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := d.write(ctx, st, filepath.Join(dir, dataFile), &m); err != nil {
		return m, fmt.Errorf("write the backup's data: %w", err)
	}
	m.InventoryAt = d.Now().UTC()
	m.Versions = []contract.VersionAt{{At: m.InventoryAt, ReadVersion: m.Inventory.ReadVersion}}
	if err := verify(dir, m); err != nil {
		return m, fmt.Errorf("read the backup back: %w", err)
	}
	if err := WriteManifest(dir, m); err != nil {
		return m, err
	}
	return m, syncDir(d.Path)
}

// write dumps the store to a new file and describes it in m.
func (d Dir) write(ctx context.Context, st *store.Store, file string, m *contract.Manifest) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := &counted{sum: sha256.New()}
	disk := io.Writer(f)
	if d.full != nil {
		disk = d.full(f)
	}
	buffered := bufio.NewWriterSize(io.MultiWriter(disk, sum), 1<<20)
	enc, err := newEncoder(buffered)
	if err != nil {
		return err
	}
	if m.Inventory, err = st.Dump(ctx, enc.put); err != nil {
		return err
	}
	if err := errors.Join(enc.close(), buffered.Flush(), f.Sync()); err != nil {
		return err
	}
	m.DataSize, m.DataSHA256 = sum.size, sum.hex()
	return nil
}

// counted is the size and the hash of what is written to it.
type counted struct {
	size int64
	sum  hash.Hash
}

func (c *counted) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.sum.Write(p)
}

func (c *counted) hex() string { return hex.EncodeToString(c.sum.Sum(nil)) }

// verify holds the data in dir against its manifest, byte for byte and pair by pair.
func verify(dir string, m contract.Manifest) error {
	f, err := os.Open(filepath.Join(dir, m.Data))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // was only read
	sum := &counted{sum: sha256.New()}
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if sum.size != m.DataSize || sum.hex() != m.DataSHA256 {
		return fmt.Errorf("%w: it has %d bytes and SHA-256 %s, its manifest says %d and %s", errDamaged, sum.size, sum.hex(), m.DataSize, m.DataSHA256)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return decode(f, func(kv.Pair) error { return nil })
}

// lock keeps other processes from making a backup into the directory.
func (d Dir) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(d.Path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the directory of backups: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which lets go of the lock
}

// tidy removes what backups that never ended have left. The directory is locked.
func (d Dir) tidy() error {
	all, err := d.List()
	if err != nil {
		return err
	}
	for _, b := range all {
		if !b.Whole && b.Fault == nil {
			if err := os.RemoveAll(filepath.Join(d.Path, b.ID)); err != nil {
				return fmt.Errorf("remove an unfinished backup: %w", err)
			}
		}
	}
	return nil
}

// Backup is one in a directory. It is whole, or unfinished, or Fault says why
// its manifest cannot be used.
type Backup struct {
	ID       string
	Whole    bool
	Manifest contract.Manifest
	Fault    error
}

// List returns the backups in the directory, oldest first.
func (d Dir) List() ([]Backup, error) {
	entries, err := os.ReadDir(d.Path) // in order of names, which is that of time
	if err != nil {
		return nil, fmt.Errorf("list the backups: %w", err)
	}
	var all []Backup
	for _, e := range entries {
		if !e.IsDir() || !idPattern.MatchString(e.Name()) {
			continue
		}
		b := Backup{ID: e.Name()}
		b.Manifest, err = ReadManifest(filepath.Join(d.Path, e.Name()))
		switch {
		case err == nil:
			b.Whole = true
		case !errors.Is(err, fs.ErrNotExist):
			b.Fault = err
		}
		all = append(all, b)
	}
	return all, nil
}

// Prune removes the oldest whole backups until keep are left, and returns their ids.
func (d Dir) Prune(keep int) (removed []string, err error) {
	unlock, err := d.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := d.List()
	if err != nil {
		return nil, err
	}
	whole := slices.DeleteFunc(all, func(b Backup) bool { return !b.Whole })
	for len(whole) > keep {
		dir := filepath.Join(d.Path, whole[0].ID)
		// The manifest goes first, for good: half a backup never looks whole.
		if err := errors.Join(os.Remove(filepath.Join(dir, contract.ManifestFile)), syncDir(dir), os.RemoveAll(dir)); err != nil {
			return removed, fmt.Errorf("remove an old backup: %w", err)
		}
		removed, whole = append(removed, whole[0].ID), whole[1:]
	}
	return removed, nil
}

// WriteManifest writes dir's manifest: whole and durable, or not at all.
func WriteManifest(dir string, m contract.Manifest) (err error) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	file := filepath.Join(dir, contract.ManifestFile)
	tmp, err := os.CreateTemp(dir, ".manifest-*") // 0600
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write the manifest: %w", err), os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(append(text, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}

// ReadManifest reads dir's manifest. It is fs.ErrNotExist in an unfinished backup.
func ReadManifest(dir string) (m contract.Manifest, err error) {
	file := filepath.Join(dir, contract.ManifestFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return m, fmt.Errorf("read the manifest: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s is no manifest: %w", file, err)
	}
	if m.Format < 1 || m.Format > contract.ManifestFormat {
		return m, fmt.Errorf("%s has format %d and this release knows 1 to %d", file, m.Format, contract.ManifestFormat)
	}
	return m, nil
}

// syncDir makes the names in a directory outlast a power failure.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
