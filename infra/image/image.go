// Package image makes the service's OCI image of a static binary, without
// Docker and without a base image: what the binary needs of a file system, and
// nothing else, no shell among it. The same binary gives the same digest on
// every machine: nothing of the machine, its clock or its users gets in.
//
// It makes the image of the embedded engine. The image with FoundationDB's
// client needs that client's library, and is app/Dockerfile's.
package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"coditect.ai/platform/app/contract"
)

// certificates is where Go, and most others, look for the authorities to trust.
const certificates = "etc/ssl/certs/ca-certificates.crt"

// Release is what an image is made of.
type Release struct {
	Binary  string    // the file; a program for Linux that needs no library
	Version string    // both are what the binary says of itself
	Commit  string    //
	Created time.Time // of the commit, so that the image does not depend on when it is built
}

func (r Release) check() error {
	var faults []error
	if r.Version == "" {
		faults = append(faults, errors.New("the version is empty"))
	}
	if r.Commit == "" {
		faults = append(faults, errors.New("the commit is empty"))
	}
	if r.Created.IsZero() {
		faults = append(faults, errors.New("the time of the commit is missing"))
	}
	program, err := elf.Open(r.Binary)
	if err != nil {
		return errors.Join(append(faults, fmt.Errorf("%s is no program for Linux: %w", r.Binary, err))...)
	}
	defer program.Close() //nolint:errcheck // only read
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			faults = append(faults, fmt.Errorf("%s needs libraries, and the image has none: build it with CGO_ENABLED=0", r.Binary))
		}
	}
	return errors.Join(faults...)
}

// Build makes the image. The error names every fault of the release.
func Build(r Release) (v1.Image, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	r.Created = r.Created.UTC().Truncate(time.Second)
	program, err := os.ReadFile(r.Binary)
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	// What changes least lies lowest, so that a release moves one layer.
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	for _, part := range []struct {
		what  string
		files []file
	}{
		{"the file system", filesystem()},
		{"the service", []file{{name: contract.Binary, mode: 0o555, content: program}}},
	} {
		layer, err := r.layer(part.files)
		if err != nil {
			return nil, fmt.Errorf("make an image: %s: %w", part.what, err)
		}
		img, err = mutate.Append(img, mutate.Addendum{
			Layer: layer, MediaType: types.OCILayer,
			History: v1.History{Created: v1.Time{Time: r.Created}, CreatedBy: "make image", Comment: part.what},
		})
		if err != nil {
			return nil, fmt.Errorf("make an image: %s: %w", part.what, err)
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	config = config.DeepCopy()
	config.Created, config.OS, config.Architecture = v1.Time{Time: r.Created}, "linux", runtime.GOARCH
	config.Config = v1.Config{
		Entrypoint: []string{"/" + contract.Binary},
		Cmd:        []string{contract.ServeCommand},
		User:       fmt.Sprintf("%d:%d", contract.UserID, contract.UserID),
		WorkingDir: "/",
		Env: []string{
			fmt.Sprintf("%s=:%d", contract.EnvListen, contract.Port),
			fmt.Sprintf("%s=:%d", contract.EnvInternalListen, contract.InternalPort),
			contract.EnvStoreDir + "=" + contract.StoreMountPath,
			contract.EnvJWTSecretFile + "=" + contract.SecretsMountPath + "/" + contract.JWTSecretFile,
		},
		ExposedPorts: map[string]struct{}{
			strconv.Itoa(contract.Port) + "/tcp": {}, strconv.Itoa(contract.InternalPort) + "/tcp": {},
		},
		StopSignal: "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":    contract.ServiceName,
			"org.opencontainers.image.version":  r.Version,
			"org.opencontainers.image.revision": r.Commit,
			"org.opencontainers.image.created":  r.Created.Format(time.RFC3339),
		},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	return img, nil
}

// file is one entry of a layer. A directory's name ends in a slash.
type file struct {
	name    string
	mode    int64
	owner   int // user and group
	content []byte
}

// filesystem is what a program expects of the machine around it.
func filesystem() []file {
	user := strconv.Itoa(contract.UserID)
	directory := func(name string) file { return file{name: name, mode: 0o755} }
	return []file{
		directory("etc/"),
		{name: "etc/passwd", mode: 0o444, content: []byte("root:x:0:0:root:/:/nonexistent\ncoditect:x:" + user + ":" + user + ":" + contract.ServiceName + ":/:/nonexistent\n")},
		{name: "etc/group", mode: 0o444, content: []byte("root:x:0:\ncoditect:x:" + user + ":\n")},
		directory("etc/ssl/"), directory("etc/ssl/certs/"),
		{name: certificates, mode: 0o444, content: authorities()},
		{name: "tmp/", mode: 0o1777},
		directory("var/"), directory("var/lib/"),
		{name: contract.StoreMountPath[1:] + "/", mode: 0o700, owner: contract.UserID},
	}
}

// authorities are those that Mozilla trusts without conditions, which a file of
// certificates could not say, as of the version in go.mod.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.Bytes()
}

// layer packs files as of the release's time.
func (r Release) layer(files []file) (v1.Layer, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		header := &tar.Header{
			Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner,
			ModTime: r.Created, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
		}
		if f.name[len(f.name)-1] == '/' {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer),
	)
}
