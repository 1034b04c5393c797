package image_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/image"
)

const (
	version = "v5.1.0"
	commit  = "0123456789abcdef0123456789abcdef01234567"
	created = 1_790_000_000
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeImage runs `make image` into a new directory, and returns that and what it printed last.
func makeImage(t *testing.T, more ...string) (dir, printed string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	must(t, err)
	dir = t.TempDir()
	args := append([]string{
		"--no-print-directory", "-C", root, "image",
		"VERSION=" + version, "COMMIT=" + commit, fmt.Sprintf("CREATED=%d", created), "IMAGE_DIR=" + dir,
	}, more...)
	out, err := exec.CommandContext(t.Context(), "make", args...).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("make image: %v\n%s%s", err, out, exit.Stderr)
		}
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return dir, lines[len(lines)-1]
}

// Two builds give one digest; what is pushed is pulled again by it, and runs
// from its own file system alone, as the user that the contract names.
func TestImageRunsFromScratch(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/coditect/coditect-api"

	dir, digest := makeImage(t)
	_, reference := makeImage(t, "PUSH="+repository)
	if reference != repository+"@"+digest || !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("the first build is %s, the second %s", digest, reference)
	}
	kept, err := layout.ImageIndexFromPath(filepath.Join(dir, "oci"))
	must(t, err)
	index, err := kept.IndexManifest()
	must(t, err)
	if len(index.Manifests) != 1 || index.Manifests[0].Digest.String() != digest {
		t.Errorf("the layout holds %v", index.Manifests)
	}

	parsed, err := name.NewDigest(reference)
	must(t, err)
	pulled, err := remote.Image(parsed, remote.WithContext(t.Context()))
	must(t, err)
	tagged, err := remote.Head(parsed.Tag(version), remote.WithContext(t.Context()))
	must(t, err)
	if tagged.Digest.String() != digest {
		t.Errorf("the tag %s is of %s", version, tagged.Digest)
	}
	config, err := pulled.ConfigFile()
	must(t, err)
	if config.Config.User != fmt.Sprintf("%d:%d", contract.UserID, contract.UserID) || config.OS != "linux" || config.Created.Unix() != created ||
		config.Config.Labels["org.opencontainers.image.revision"] != commit {
		t.Errorf("%+v", config)
	}
	runImage(t, pulled, config)
}

// runImage starts the image as a container runtime would, without one: its file
// system is the root, its user is not, and its entry point and variables are
// what it says. The secrets are mounted, and ports are the test's own.
func runImage(t *testing.T, img v1.Image, config *v1.ConfigFile) {
	t.Helper()
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755))
	extract(t, img, root)
	secrets := filepath.Join(root, contract.SecretsMountPath)
	must(t, os.MkdirAll(secrets, 0o755))
	start := func(environ []string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), config.Config.Entrypoint[0], args...)
		cmd.Env, cmd.Dir = append(config.Config.Env, environ...), config.Config.WorkingDir
		cmd.SysProcAttr = confined(root)
		return cmd
	}
	if out, err := start(nil, "keygen", "/tmp/key").CombinedOutput(); err != nil {
		t.Fatalf("keygen: %v\n%s", err, out)
	}
	must(t, os.Rename(filepath.Join(root, "tmp", "key"), filepath.Join(secrets, contract.JWTSecretFile)))

	address := freeAddress(t)
	service := start([]string{contract.EnvListen + "=" + address, contract.EnvInternalListen + "=off", contract.EnvDrainPause + "=0s"}, config.Config.Cmd...)
	var logs strings.Builder
	service.Stderr = &logs
	must(t, service.Start())
	ended := make(chan error, 1)
	go func() { ended <- service.Wait() }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + address + contract.ReadyPath)
		if err == nil {
			must(t, resp.Body.Close())
			if resp.StatusCode == http.StatusOK && resp.Header.Get(contract.HeaderVersion) == version {
				break
			}
		}
		select {
		case err := <-ended:
			t.Fatalf("ended: %v\n%s", err, &logs)
		default:
		}
		if time.Now().After(deadline) {
			_ = service.Process.Kill()
			<-ended
			t.Fatalf("does not get ready: %v\n%s", err, &logs)
		}
	}
	must(t, service.Process.Signal(syscall.SIGTERM))
	if err := <-ended; err != nil {
		t.Errorf("left with %v\n%s", err, &logs)
	}
}

// confined is a process whose root is the directory and whose user is the
// contract's: by the right to change both, or, without it, in a user namespace
// in which the test's own user is that one.
func confined(root string) *syscall.SysProcAttr {
	if os.Geteuid() == 0 {
		return &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: contract.UserID, Gid: contract.UserID}}
	}
	return &syscall.SysProcAttr{
		Chroot: root, Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: contract.UserID, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: contract.UserID, HostID: os.Getgid(), Size: 1}},
	}
}

// extract unpacks the image's layers into the directory, with the owners that
// they name where the test may say so. It refuses what a release has no use for.
func extract(t *testing.T, img v1.Image, into string) {
	t.Helper()
	packed := mutate.Extract(img)
	defer packed.Close()
	for r := tar.NewReader(packed); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		if header.ModTime.Unix() != created {
			t.Errorf("%s is of %v", header.Name, header.ModTime)
		}
		path := filepath.Join(into, filepath.Clean("/"+header.Name))
		switch header.Typeflag {
		case tar.TypeDir:
			must(t, os.Mkdir(path, 0o700))
		case tar.TypeReg:
			content, err := io.ReadAll(r)
			must(t, err)
			must(t, os.WriteFile(path, content, 0o600))
		default:
			t.Fatalf("%s has the type %q", header.Name, header.Typeflag)
		}
		if os.Geteuid() == 0 {
			must(t, os.Chown(path, header.Uid, header.Gid))
		}
		must(t, os.Chmod(path, header.FileInfo().Mode().Perm()))
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, socket.Close())
	return socket.Addr().String()
}

// What cannot run from scratch, or does not say what it is, makes no image.
func TestRefusesReleases(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755))
	shared, err := exec.LookPath("make") // any program that needs a library
	must(t, err)
	good := image.Release{Binary: shared, Version: version, Commit: commit, Created: time.Unix(created, 0)}
	for name, tt := range map[string]struct {
		change func(*image.Release)
		want   string
	}{
		"libraries":  {func(*image.Release) {}, "build it with CGO_ENABLED=0"},
		"no program": {func(r *image.Release) { r.Binary = text }, "no program for Linux"},
		"no file":    {func(r *image.Release) { r.Binary = text + ".none" }, "no such file"},
		"no version": {func(r *image.Release) { r.Version = "" }, "the version is empty"},
		"no commit":  {func(r *image.Release) { r.Commit = "" }, "the commit is empty"},
		"no time":    {func(r *image.Release) { r.Created = time.Time{} }, "the time of the commit is missing"},
	} {
		release := good
		tt.change(&release)
		if _, err := image.Build(release); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
