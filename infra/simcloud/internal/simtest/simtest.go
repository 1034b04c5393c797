// Package simtest is what simcloud's tests share: the image that they run, an
// engine's side of the provider protocol, and manifests.
package simtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// Main runs a package's tests with the path of the test server in image.
func Main(m *testing.M, image *string) (code int) {
	directory, err := os.MkdirTemp("", "simcloud-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(directory) //nolint:errcheck // the system clears up what is left there
	*image = filepath.Join(directory, "server")
	build := exec.Command("go", "build", "-trimpath", "-o", *image, //nolint:noctx // bounded by the tests' time
		"coditect.ai/platform/infra/simcloud/testdata/server")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the test server: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// Engine is an engine that drives one provider.
type Engine struct {
	t      *testing.T
	Client pulumirpc.ResourceProviderClient
}

// Dial connects to the named provider out of a PULUMI_DEBUG_PROVIDERS value.
func Dial(t *testing.T, providers, name string) *Engine {
	t.Helper()
	for entry := range strings.SplitSeq(providers, ",") {
		if found, port, _ := strings.Cut(entry, ":"); found == name {
			connection, err := grpc.NewClient("127.0.0.1:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = connection.Close() })
			return &Engine{t: t, Client: pulumirpc.NewResourceProviderClient(connection)}
		}
	}
	t.Fatalf("there is no provider %q in %q", name, providers)
	return nil
}

// Marshal turns properties into the protocol's form.
func Marshal(t *testing.T, m resource.PropertyMap) *structpb.Struct {
	t.Helper()
	s, err := plugin.MarshalProperties(m, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true, KeepResources: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Unmarshal is the way back.
func Unmarshal(t *testing.T, s *structpb.Struct) resource.PropertyMap {
	t.Helper()
	m, err := plugin.UnmarshalProperties(s, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true, KeepResources: true})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Props turns JSON's types into properties; values that are properties already stay as they are.
func Props(m map[string]any) resource.PropertyMap {
	return resource.NewPropertyMapFromMapRepl(m, nil, func(v any) (resource.PropertyValue, bool) {
		value, ok := v.(resource.PropertyValue)
		return value, ok
	})
}

// Type is the resource type of a manifest.
func Type(manifest map[string]any) string {
	version, _ := manifest["apiVersion"].(string)
	if !strings.Contains(version, "/") {
		version = "core/" + version
	}
	return fmt.Sprintf("kubernetes:%s:%s", version, manifest["kind"])
}

// URN names a resource.
func URN(typ, name string) string { return "urn:pulumi:test::simcloud::" + typ + "::" + name }

func urnOf(manifest map[string]any) string {
	metadata, _ := manifest["metadata"].(map[string]any)
	return URN(Type(manifest), fmt.Sprint(metadata["name"]))
}

func idOf(manifest map[string]any) string {
	metadata, _ := manifest["metadata"].(map[string]any)
	if namespace, ok := metadata["namespace"]; ok {
		return fmt.Sprintf("%s/%s", namespace, metadata["name"])
	}
	return fmt.Sprint(metadata["name"])
}

// Check returns the check failures as "property: reason".
func (e *Engine) Check(urn string, inputs map[string]any) []string {
	e.t.Helper()
	response, err := e.Client.Check(e.t.Context(), &pulumirpc.CheckRequest{Urn: urn, News: Marshal(e.t, Props(inputs))})
	if err != nil {
		e.t.Fatal(err)
	}
	var failures []string
	for _, failure := range response.GetFailures() {
		failures = append(failures, failure.GetProperty()+": "+failure.GetReason())
	}
	return failures
}

// TryCreate checks and creates a manifest, and returns the error and its reasons.
func (e *Engine) TryCreate(ctx context.Context, manifest map[string]any) error {
	e.t.Helper()
	if failures := e.Check(urnOf(manifest), manifest); len(failures) > 0 { //nolint:contextcheck // ctx is for the wait alone
		return errors.New(strings.Join(failures, "; "))
	}
	_, err := e.Client.Create(ctx, &pulumirpc.CreateRequest{Urn: urnOf(manifest), Properties: Marshal(e.t, Props(manifest))})
	return Reasons(err)
}

// Create creates manifests, all at the same time as an engine does, and wants them ready.
func (e *Engine) Create(manifests ...map[string]any) {
	e.t.Helper()
	failed := make(chan error, len(manifests))
	for _, manifest := range manifests {
		go func() { failed <- e.TryCreate(e.t.Context(), manifest) }()
	}
	for range manifests {
		if err := <-failed; err != nil {
			e.t.Fatal(err)
		}
	}
}

// TryUpdate changes an object.
func (e *Engine) TryUpdate(before, after map[string]any) error {
	e.t.Helper()
	_, err := e.Client.Update(e.t.Context(), &pulumirpc.UpdateRequest{
		Urn: urnOf(after), Id: idOf(before), OldInputs: Marshal(e.t, Props(before)), News: Marshal(e.t, Props(after)),
	})
	return Reasons(err)
}

// Update changes an object and wants it ready.
func (e *Engine) Update(before, after map[string]any) {
	e.t.Helper()
	if err := e.TryUpdate(before, after); err != nil {
		e.t.Fatal(err)
	}
}

// Delete removes objects, one after the other.
func (e *Engine) Delete(manifests ...map[string]any) {
	e.t.Helper()
	for _, manifest := range manifests {
		if _, err := e.Client.Delete(e.t.Context(), &pulumirpc.DeleteRequest{
			Urn: urnOf(manifest), Id: idOf(manifest), OldInputs: Marshal(e.t, Props(manifest)),
		}); err != nil {
			e.t.Fatal(err)
		}
	}
}

// Reasons adds to an error why a resource is not ready.
func Reasons(err error) error {
	if said, ok := status.FromError(err); ok && err != nil {
		for _, detail := range said.Details() {
			if failed, ok := detail.(*pulumirpc.ErrorResourceInitFailed); ok {
				return fmt.Errorf("initialisation failed of %s: %s", failed.GetId(), strings.Join(failed.GetReasons(), "\n"))
			}
		}
	}
	return err
}

// Eventually waits until the condition holds.
func Eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("after 20 s still not: %s", what)
}

// FreePort returns a port that nobody listens on, out of a range from which the
// kernel takes none for a client's end of a connection.
func FreePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(12_000) //nolint:gosec // no secret
		socket, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := socket.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("there is no free port")
	return 0
}

// CreateResource creates a resource that is no manifest and returns its id and outputs.
func (e *Engine) CreateResource(typ, name string, inputs map[string]any) (id string, outputs resource.PropertyMap) {
	e.t.Helper()
	if failures := e.Check(URN(typ, name), inputs); len(failures) > 0 {
		e.t.Fatal(failures)
	}
	response, err := e.Client.Create(e.t.Context(), &pulumirpc.CreateRequest{
		Urn: URN(typ, name), Properties: Marshal(e.t, Props(inputs)),
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return response.GetId(), Unmarshal(e.t, response.GetProperties())
}

// DeleteResource removes such a resource.
func (e *Engine) DeleteResource(typ, name, id string) {
	e.t.Helper()
	if _, err := e.Client.Delete(e.t.Context(), &pulumirpc.DeleteRequest{Urn: URN(typ, name), Id: id}); err != nil {
		e.t.Fatal(err)
	}
}
