package runtime

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// keptImages is how many images of one repository stay besides those in use.
const keptImages = 5

// Images is the simulated registry: one executable for each image, in a
// directory <repository>/<digest>/<name>.
type Images struct{ directory string }

// NewImages returns the registry in the directory.
func NewImages(directory string) *Images { return &Images{directory: directory} }

var repositoryName = regexp.MustCompile(`^[a-z0-9]+([._:/-][a-z0-9]+)*$`)

// Push copies the executable at path into the repository and returns the
// reference of the image, "<repository>@sha256:<digest>". The same content has the
// same reference. Old images for which inUse is false are removed.
func (i *Images) Push(repository, path string, inUse func(reference string) bool) (reference string, err error) {
	if !repositoryName.MatchString(repository) {
		return "", fmt.Errorf("push an image: %q is not a repository's name", repository)
	}
	home := filepath.Join(i.directory, url.PathEscape(repository))
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", fmt.Errorf("push an image: %w", err)
	}
	temp, err := os.MkdirTemp(home, ".push-*")
	if err != nil {
		return "", fmt.Errorf("push an image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	digest, err := copyExecutable(path, filepath.Join(temp, filepath.Base(path)))
	if err != nil {
		return "", fmt.Errorf("push an image: %w", err)
	}
	reference = repository + "@sha256:" + digest
	target := filepath.Join(home, digest)
	if _, _, err := i.Resolve(reference); err == nil {
		now := time.Now()
		return reference, os.Chtimes(target, now, now)
	}
	if err := os.Rename(temp, target); err != nil { //nolint:gosec // of a repository's name that was checked
		return "", fmt.Errorf("push an image: %w", err)
	}
	return reference, i.prune(home, repository, inUse)
}

func copyExecutable(from, to string) (digest string, err error) {
	source, err := os.Open(from) //nolint:gosec // the owner of the environment names it
	if err != nil {
		return "", err
	}
	defer source.Close() //nolint:errcheck // only read
	if info, err := source.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(fmt.Errorf("%s is not a file", from), err)
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700) //nolint:gosec // it is to be executed
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(target, hash), source)
	if err = errors.Join(err, target.Sync(), target.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// prune removes all but the youngest images.
func (i *Images) prune(home, repository string, inUse func(string) bool) error {
	entries, err := os.ReadDir(home)
	if err != nil {
		return fmt.Errorf("remove old images: %w", err)
	}
	type image struct {
		digest string
		pushed time.Time
	}
	var images []image
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		images = append(images, image{entry.Name(), info.ModTime()})
	}
	slices.SortFunc(images, func(a, b image) int { return cmp.Or(b.pushed.Compare(a.pushed), cmp.Compare(a.digest, b.digest)) })
	var failed []error
	for n, image := range images {
		if n >= keptImages && !inUse(repository+"@sha256:"+image.digest) {
			failed = append(failed, os.RemoveAll(filepath.Join(home, image.digest)))
		}
	}
	return errors.Join(failed...)
}

// Resolve returns the image's executable and its name.
func (i *Images) Resolve(reference string) (path, name string, err error) {
	repository, digest, found := strings.Cut(reference, "@sha256:")
	if !found {
		return "", "", fmt.Errorf("image %q is not referred to by digest", reference)
	}
	if !repositoryName.MatchString(repository) || len(digest) != 2*sha256.Size || strings.ContainsAny(digest, "/.") {
		return "", "", fmt.Errorf("image %q is not a well-formed reference", reference)
	}
	home := filepath.Join(i.directory, url.PathEscape(repository), digest)
	entries, err := os.ReadDir(home)
	if err != nil || len(entries) != 1 {
		return "", "", fmt.Errorf("image %q was never pushed to this environment's registry", reference)
	}
	return filepath.Join(home, entries[0].Name()), entries[0].Name(), nil
}
