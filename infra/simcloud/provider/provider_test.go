package provider_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"coditect.ai/platform/infra/simcloud/internal/simtest"
	"coditect.ai/platform/infra/simcloud/provider"
)

// fake is a backend that does what a resource's name says.
type fake struct {
	provider.Backend

	waiting chan struct{}
	seen    map[string]any
}

func (f *fake) Check(req provider.Request) []provider.Failure {
	f.seen = req.Inputs
	return nil
}

func (f *fake) Secrets(string) []string { return []string{"password"} }

func (f *fake) Create(ctx context.Context, req provider.Request) (string, map[string]any, error) {
	switch resource.URN(req.URN).Name() {
	case "panics":
		panic("on purpose")
	case "waits":
		close(f.waiting)
		<-ctx.Done()
		return "", nil, ctx.Err()
	case "half":
		return "half", req.Inputs, &provider.NotReadyError{Reasons: []string{"one", "two"}}
	default:
		return "id", req.Inputs, nil
	}
}

func serve(t *testing.T) (*fake, pulumirpc.ResourceProviderClient) {
	t.Helper()
	backend := &fake{waiting: make(chan struct{})}
	server := provider.NewServer("fake", "1.2.3", backend, slog.New(slog.DiscardHandler))
	port, err := server.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return backend, simtest.Dial(t, fmt.Sprintf("fake:%d", port), "fake").Client
}

func create(t *testing.T, client pulumirpc.ResourceProviderClient, name string, inputs map[string]any) (*pulumirpc.CreateResponse, error) {
	t.Helper()
	return client.Create(t.Context(), &pulumirpc.CreateRequest{
		Urn: simtest.URN("fake:a:B", name), Properties: simtest.Marshal(t, simtest.Props(inputs)),
	})
}

func TestSecretsGoInAndOut(t *testing.T) {
	_, client := serve(t)
	hidden := resource.MakeSecret(resource.NewProperty("hidden"))
	response, err := create(t, client, "x", map[string]any{
		"plain": "a", "secret": hidden, "password": "b", "list": []any{"c", map[string]any{"deep": hidden}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := simtest.Unmarshal(t, response.GetProperties())
	want := resource.PropertyMap{
		"plain": resource.NewProperty("a"), "secret": hidden, "password": resource.MakeSecret(resource.NewProperty("b")),
		"list": resource.NewProperty([]resource.PropertyValue{
			resource.NewProperty("c"), resource.NewProperty(resource.PropertyMap{"deep": hidden}),
		}),
	}
	if !got.DeepEquals(want) {
		t.Errorf("outputs %v, want %v", got, want)
	}
}

func TestUnknownValuesReachTheBackend(t *testing.T) {
	backend, client := serve(t)
	unknown := resource.MakeComputed(resource.NewProperty(""))
	inputs := simtest.Marshal(t, simtest.Props(map[string]any{"a": unknown, "b": []any{unknown, "x"}, "c": 1}))
	response, err := client.Check(t.Context(), &pulumirpc.CheckRequest{Urn: simtest.URN("fake:a:B", "x"), News: inputs})
	if err != nil {
		t.Fatal(err)
	}
	if !simtest.Unmarshal(t, response.GetInputs()).DeepEquals(simtest.Unmarshal(t, inputs)) {
		t.Errorf("the inputs came back as %v", response.GetInputs())
	}
	if _, ok := backend.seen["a"].(provider.Unknown); !ok {
		t.Errorf("the backend saw %v", backend.seen)
	}
	known, partial := provider.Known(backend.seen)
	if list, ok := known["b"].([]any); !partial || len(known) != 2 || !ok || !slices.Equal(list, []any{nil, "x"}) {
		t.Errorf("known is %v (partial: %t)", known, partial)
	}
}

func TestWhatExistsButIsNotReadyIsRecorded(t *testing.T) {
	_, client := serve(t)
	_, err := create(t, client, "half", map[string]any{"a": "b", "password": "c"})
	for _, detail := range status.Convert(err).Details() {
		if failed, ok := detail.(*pulumirpc.ErrorResourceInitFailed); ok {
			outputs := simtest.Unmarshal(t, failed.GetProperties())
			if failed.GetId() != "half" || len(failed.GetReasons()) != 2 || outputs["a"].V != "b" || !outputs["password"].IsSecret() {
				t.Errorf("recorded: %v", failed)
			}
			return
		}
	}
	t.Errorf("%v does not say what was made", err)
}

func TestPanicIsAnError(t *testing.T) {
	_, client := serve(t)
	if _, err := create(t, client, "panics", nil); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "on purpose") {
		t.Errorf("%v", err)
	}
	if _, err := create(t, client, "x", nil); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestCancelEndsWhatIsUnderWayOnly(t *testing.T) {
	backend, client := serve(t)
	ended := make(chan error, 1)
	go func() {
		_, err := create(t, client, "waits", nil)
		ended <- err
	}()
	<-backend.waiting
	if _, err := client.Cancel(t.Context(), &emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the cancelled create succeeded")
	}
	if _, err := create(t, client, "x", nil); err != nil {
		t.Errorf("after a cancel: %v", err)
	}
}

func TestWhatIsNotSimulatedIsRefused(t *testing.T) {
	_, client := serve(t)
	_, invoke := client.Invoke(t.Context(), &pulumirpc.InvokeRequest{Tok: "fake:a:getB"})
	_, call := client.Call(t.Context(), &pulumirpc.CallRequest{Tok: "fake:a:B/do"})
	_, construct := client.Construct(t.Context(), &pulumirpc.ConstructRequest{Type: "fake:a:C"})
	for what, err := range map[string]error{"fake:a:getB": invoke, "fake:a:B/do": call, "fake:a:C": construct} {
		if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if info, err := client.GetPluginInfo(t.Context(), &emptypb.Empty{}); err != nil || info.GetVersion() != "1.2.3" {
		t.Errorf("version %v (%v)", info, err)
	}
}
