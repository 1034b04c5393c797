// Command image makes the OCI image of a static binary of the service, keeps
// it as an OCI layout, pushes it where it is asked to, and prints its digest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"coditect.ai/platform/infra/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "image: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	var r image.Release
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&r.Binary, "binary", "", "the static binary, a `file`")
	flags.StringVar(&r.Version, "version", "", "the binary's `version`")
	flags.StringVar(&r.Commit, "commit", "", "the binary's `commit`")
	created := flags.Int64("created", 0, "time of the commit, in `seconds` since 1970")
	directory := flags.String("layout", "", "keep the image as an OCI layout in this `directory`, in place of what is there")
	push := flags.String("push", "", "push the image to this `repository`, with the version as its tag")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *created > 0 {
		r.Created = time.Unix(*created, 0)
	}
	img, err := image.Build(r)
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("the image's digest: %w", err)
	}
	if *directory != "" {
		if err := keep(img, *directory); err != nil {
			return fmt.Errorf("keep the image in %s: %w", *directory, err)
		}
	}
	if *push == "" {
		fmt.Fprintln(out, digest)
		return nil
	}
	reference, err := send(ctx, img, *push, r.Version)
	if err != nil {
		return fmt.Errorf("push the image to %s: %w", *push, err)
	}
	fmt.Fprintln(out, reference)
	return nil
}

// keep writes a layout beside the directory and puts it in its place.
func keep(img v1.Image, directory string) (err error) {
	fresh := directory + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	path, err := layout.Write(fresh, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendImage(img); err != nil {
		return err
	}
	if err := os.RemoveAll(directory); err != nil {
		return err
	}
	return os.Rename(fresh, directory)
}

// send pushes the image and returns its reference by digest. Who may push is
// what Docker's configuration on this machine says.
func send(ctx context.Context, img v1.Image, repository, version string) (string, error) {
	into, err := name.NewRepository(repository)
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if err := remote.Write(into.Digest(digest.String()), img, options...); err != nil {
		return "", err
	}
	if err := remote.Tag(into.Tag(version), img, options...); err != nil {
		return "", err
	}
	return into.Digest(digest.String()).String(), nil
}
