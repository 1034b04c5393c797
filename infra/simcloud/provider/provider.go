// Package provider speaks Pulumi's resource provider protocol on behalf of a
// simulated cloud.
//
// It owns what is the same for every cloud: the marshalling of values with their
// secrets and unknowns, detailed diffs, previews that change nothing, errors that
// make the engine record a resource which is there but not ready, cancellation.
// What a resource is, is a Backend's business.
package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Request is what the engine asks about one resource.
type Request struct {
	URN  string
	Type string
	ID   string
	// Inputs are the new inputs; Old is what they were before.
	Inputs, Old map[string]any
	// Timeout is zero unless the program sets one.
	Timeout time.Duration
}

// Failure is an input that is not accepted.
type Failure struct{ Property, Reason string }

// Backend is one simulated cloud. Inputs may hold Unknown in Check, ID, Replaces and Preview only.
type Backend interface {
	// CheckConfig judges the provider's own configuration.
	CheckConfig(config map[string]any) []Failure
	// Configure takes the provider's configuration. Several providers of one program
	// may come here, and nothing later tells which of them a request belongs to.
	Configure(config map[string]any)
	// Check judges a resource's inputs.
	Check(req Request) []Failure
	// ID is the id that a resource with these inputs has, or "" while it is not known.
	ID(typ string, inputs map[string]any) string
	// Replaces tells whether the change at the path cannot be made in place.
	Replaces(req Request, path resource.PropertyPath) bool
	// Secrets names the properties that are secret whatever the program says.
	Secrets(typ string) []string
	// Preview returns the outputs as far as they are known before a create or update.
	Preview(req Request) map[string]any
	// Create makes the resource; with a *NotReadyError it exists nevertheless.
	Create(ctx context.Context, req Request) (id string, outputs map[string]any, err error)
	// Update changes the resource; with a *NotReadyError it is changed nevertheless.
	Update(ctx context.Context, req Request) (outputs map[string]any, err error)
	// Read returns the live resource, or nil maps if it is absent.
	Read(ctx context.Context, req Request) (inputs, outputs map[string]any, err error)
	// Delete removes the resource; absence is success.
	Delete(ctx context.Context, req Request) error
}

// NotReadyError says that a resource was made or changed, but does not work (yet).
type NotReadyError struct{ Reasons []string }

func (e *NotReadyError) Error() string { return strings.Join(e.Reasons, "; ") }

// Server serves one Backend to Pulumi engines.
type Server struct {
	pulumirpc.UnimplementedResourceProviderServer

	name    string
	version string
	backend Backend
	logger  *slog.Logger

	stopped chan bool    // closed by Stop
	done    <-chan error // closed when nothing is served any more

	mu      sync.Mutex
	running context.Context    //nolint:containedctx // what Cancel ends; every request listens to it
	cancel  context.CancelFunc // of running
}

// NewServer returns a server for the package of that name.
func NewServer(name, version string, backend Backend, logger *slog.Logger) *Server {
	s := &Server{
		name: name, version: version, backend: backend, logger: logger.With("provider", name), stopped: make(chan bool),
	}
	s.running, s.cancel = context.WithCancel(context.Background())
	return s
}

// Serve serves on a free loopback port until Stop. It is called once.
func (s *Server) Serve() (port int, err error) {
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: s.stopped,
		Init: func(server *grpc.Server) error {
			pulumirpc.RegisterResourceProviderServer(server, s)
			return nil
		},
		Options: []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.intercept)},
	})
	if err != nil {
		return 0, fmt.Errorf("serve the %s provider: %w", s.name, err)
	}
	s.done = handle.Done
	return handle.Port, nil
}

// Stop ends what is under way and stops serving.
func (s *Server) Stop() error {
	s.stopAll()
	close(s.stopped)
	if err := <-s.done; err != nil {
		return fmt.Errorf("stop the %s provider: %w", s.name, err)
	}
	return nil
}

// intercept ends requests on Cancel and turns a panic into an error: this process
// has more to look after than one request.
func (s *Server) intercept(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (reply any, err error) {
	if strings.HasSuffix(info.FullMethod, "/Cancel") {
		return handler(ctx, req)
	}
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(running, cancel)() //nolint:contextcheck // either of the two ends the request
	defer func() {
		if cause := recover(); cause != nil {
			s.logger.Error("provider panicked", "method", info.FullMethod, "cause", cause)
			err = status.Errorf(codes.Internal, "simcloud: %s panicked: %v", info.FullMethod, cause)
		}
	}()
	return handler(ctx, req)
}

// stopAll ends what is under way; later requests are not affected.
func (s *Server) stopAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
	s.running, s.cancel = context.WithCancel(context.Background())
}

// result turns the outcome of a create or update into what the engine understands.
func result(id string, outputs resource.PropertyMap, err error) (resource.PropertyMap, error) {
	notReady := &NotReadyError{}
	if !errors.As(err, &notReady) {
		return outputs, err
	}
	marshalled, marshalErr := marshal(outputs)
	if marshalErr != nil {
		return nil, marshalErr
	}
	detailed, detailErr := status.New(codes.Unknown, err.Error()).WithDetails(&pulumirpc.ErrorResourceInitFailed{
		Id: id, Properties: marshalled, Reasons: notReady.Reasons,
	})
	if detailErr != nil {
		return nil, fmt.Errorf("describe why %s is not ready: %w", id, detailErr)
	}
	return nil, detailed.Err()
}
