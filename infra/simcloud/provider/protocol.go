package provider

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

func marshal(m resource.PropertyMap) (*structpb.Struct, error) {
	return plugin.MarshalProperties(m, plugin.MarshalOptions{
		KeepUnknowns: true, KeepSecrets: true, KeepResources: true,
	})
}

func unmarshal(s *structpb.Struct) (resource.PropertyMap, error) {
	m, err := plugin.UnmarshalProperties(s, plugin.MarshalOptions{
		KeepUnknowns: true, KeepSecrets: true, KeepResources: false, RejectAssets: true,
	})
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "simcloud: %v", err)
	}
	return m, nil
}

// Attach is called by an engine that found this server by PULUMI_DEBUG_PROVIDERS.
func (s *Server) Attach(context.Context, *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// GetPluginInfo tells the version of the provider that is stood in for.
func (s *Server) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: s.version}, nil
}

// Handshake tells what kinds of values are understood.
func (s *Server) Handshake(
	context.Context, *pulumirpc.ProviderHandshakeRequest,
) (*pulumirpc.ProviderHandshakeResponse, error) {
	return &pulumirpc.ProviderHandshakeResponse{AcceptSecrets: true, AcceptResources: true}, nil
}

// GetSchema returns a schema without resources: programs bring their own types.
func (s *Server) GetSchema(
	context.Context, *pulumirpc.GetSchemaRequest,
) (*pulumirpc.GetSchemaResponse, error) {
	schema, err := json.Marshal(map[string]string{"name": s.name, "version": s.version})
	if err != nil {
		return nil, err
	}
	return &pulumirpc.GetSchemaResponse{Schema: string(schema)}, nil
}

// CheckConfig judges the provider's configuration.
func (s *Server) CheckConfig(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	news, err := unmarshal(req.GetNews())
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CheckResponse{
		Inputs: req.GetNews(), Failures: failures(s.backend.CheckConfig(plainMap(news))),
	}, nil
}

// DiffConfig never replaces a provider: there is only one simulated cloud to talk to.
func (s *Server) DiffConfig(_ context.Context, req *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	before, after, err := oldAndNew(req.GetOldInputs(), req.GetNews())
	if err != nil {
		return nil, err
	}
	return detailed(before.Diff(after), func(resource.PropertyPath) bool { return false })
}

// Configure hands the provider's configuration on.
func (s *Server) Configure(_ context.Context, req *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	args, err := unmarshal(req.GetArgs())
	if err != nil {
		return nil, err
	}
	s.backend.Configure(plainMap(args))
	return &pulumirpc.ConfigureResponse{AcceptSecrets: true, SupportsPreview: true, AcceptResources: true}, nil
}

// Cancel ends what is under way.
func (s *Server) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	s.stopAll()
	return &emptypb.Empty{}, nil
}

// Invoke is not simulated.
func (s *Server) Invoke(_ context.Context, req *pulumirpc.InvokeRequest) (*pulumirpc.InvokeResponse, error) {
	return nil, status.Errorf(codes.Unimplemented, "simcloud does not simulate the function %s", req.GetTok())
}

// Call is not simulated.
func (s *Server) Call(_ context.Context, req *pulumirpc.CallRequest) (*pulumirpc.CallResponse, error) {
	return nil, status.Errorf(codes.Unimplemented, "simcloud does not simulate the method %s", req.GetTok())
}

// Construct is not simulated.
func (s *Server) Construct(
	_ context.Context, req *pulumirpc.ConstructRequest,
) (*pulumirpc.ConstructResponse, error) {
	return nil, status.Errorf(codes.Unimplemented, "simcloud does not simulate the component %s", req.GetType())
}

// Check judges a resource's inputs and hands them on as they are.
func (s *Server) Check(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	news, err := unmarshal(req.GetNews())
	if err != nil {
		return nil, err
	}
	request := Request{URN: req.GetUrn(), Type: typeOf(req.GetUrn()), Inputs: plainMap(news)}
	return &pulumirpc.CheckResponse{
		Inputs: req.GetNews(), Failures: failures(s.backend.Check(request)),
	}, nil
}

// Diff compares inputs with inputs: what the cloud fills in is never a change.
func (s *Server) Diff(_ context.Context, req *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	before, after, err := oldAndNew(req.GetOldInputs(), req.GetNews())
	if err != nil {
		return nil, err
	}
	request := Request{
		URN: req.GetUrn(), Type: typeOf(req.GetUrn()), ID: req.GetId(),
		Inputs: plainMap(after), Old: plainMap(before),
	}
	response, err := detailed(properties(request.Old).Diff(properties(request.Inputs)),
		func(path resource.PropertyPath) bool { return s.backend.Replaces(request, path) })
	if err != nil {
		return nil, err
	}
	// Two things cannot have one name at the same time.
	id := s.backend.ID(request.Type, request.Inputs)
	response.DeleteBeforeReplace = len(response.GetReplaces()) > 0 &&
		id != "" && id == s.backend.ID(request.Type, request.Old)
	return response, nil
}

// Create makes a resource, or tells what it would look like.
func (s *Server) Create(ctx context.Context, req *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	inputs, err := unmarshal(req.GetProperties())
	if err != nil {
		return nil, err
	}
	request := Request{
		URN: req.GetUrn(), Type: typeOf(req.GetUrn()), Inputs: plainMap(inputs), Timeout: seconds(req.GetTimeout()),
	}
	var id string
	var outputs map[string]any
	if req.GetPreview() {
		outputs = s.backend.Preview(request)
	} else {
		id, outputs, err = s.backend.Create(ctx, request)
	}
	state, err := result(id, s.conceal(request.Type, outputs, inputs), err)
	if err != nil {
		return nil, err
	}
	marshalled, err := marshal(state)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CreateResponse{Id: id, Properties: marshalled}, nil
}

// Update changes a resource, or tells what it would look like.
func (s *Server) Update(ctx context.Context, req *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	before, inputs, err := oldAndNew(req.GetOldInputs(), req.GetNews())
	if err != nil {
		return nil, err
	}
	request := Request{
		URN: req.GetUrn(), Type: typeOf(req.GetUrn()), ID: req.GetId(),
		Inputs: plainMap(inputs), Old: plainMap(before), Timeout: seconds(req.GetTimeout()),
	}
	var outputs map[string]any
	if req.GetPreview() {
		outputs = s.backend.Preview(request)
	} else {
		outputs, err = s.backend.Update(ctx, request)
	}
	state, err := result(req.GetId(), s.conceal(request.Type, outputs, inputs), err)
	if err != nil {
		return nil, err
	}
	marshalled, err := marshal(state)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.UpdateResponse{Properties: marshalled}, nil
}

// Read returns the live resource; without an id it is absent.
func (s *Server) Read(ctx context.Context, req *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	known, err := unmarshal(req.GetInputs())
	if err != nil {
		return nil, err
	}
	request := Request{URN: req.GetUrn(), Type: typeOf(req.GetUrn()), ID: req.GetId(), Old: plainMap(known)}
	inputs, outputs, err := s.backend.Read(ctx, request)
	if err != nil {
		return nil, err
	}
	if inputs == nil {
		return &pulumirpc.ReadResponse{}, nil
	}
	liveInputs, err := marshal(s.conceal(request.Type, inputs, known))
	if err != nil {
		return nil, err
	}
	state, err := marshal(s.conceal(request.Type, outputs, known))
	if err != nil {
		return nil, err
	}
	return &pulumirpc.ReadResponse{Id: req.GetId(), Inputs: liveInputs, Properties: state}, nil
}

// Delete removes a resource.
func (s *Server) Delete(ctx context.Context, req *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	before, err := unmarshal(req.GetOldInputs())
	if err != nil {
		return nil, err
	}
	err = s.backend.Delete(ctx, Request{
		URN: req.GetUrn(), Type: typeOf(req.GetUrn()), ID: req.GetId(),
		Old: plainMap(before), Timeout: seconds(req.GetTimeout()),
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (s *Server) conceal(typ string, outputs map[string]any, inputs resource.PropertyMap) resource.PropertyMap {
	return concealKeys(conceal(properties(outputs), inputs), s.backend.Secrets(typ))
}

func oldAndNew(olds, news *structpb.Struct) (before, after resource.PropertyMap, err error) {
	if before, err = unmarshal(olds); err != nil {
		return nil, nil, err
	}
	after, err = unmarshal(news)
	return before, after, err
}

// detailed describes a difference path by path.
func detailed(
	diff *resource.ObjectDiff, replaces func(resource.PropertyPath) bool,
) (*pulumirpc.DiffResponse, error) {
	response := &pulumirpc.DiffResponse{
		Changes:         pulumirpc.DiffResponse_DIFF_NONE,
		DetailedDiff:    map[string]*pulumirpc.PropertyDiff{},
		HasDetailedDiff: true,
	}
	for name, change := range plugin.NewDetailedDiffFromObjectDiff(diff, true) {
		path, err := resource.ParsePropertyPath(name)
		if err != nil {
			return nil, status.Errorf(codes.Internal, "simcloud: the changed property %s: %v", name, err)
		}
		response.Changes = pulumirpc.DiffResponse_DIFF_SOME
		// The engine shows these beside a resource, and looks for top-level properties only.
		if top, ok := path[0].(string); ok && !slices.Contains(response.GetDiffs(), top) {
			response.Diffs = append(response.Diffs, top)
		}
		if replaces(path) {
			change = change.ToReplace()
			response.Replaces = append(response.Replaces, name)
		}
		// The two enumerations have the same values.
		response.DetailedDiff[name] = &pulumirpc.PropertyDiff{
			Kind: pulumirpc.PropertyDiff_Kind(change.Kind), InputDiff: true, //nolint:gosec // six small numbers
		}
	}
	return response, nil
}

func failures(found []Failure) []*pulumirpc.CheckFailure {
	list := make([]*pulumirpc.CheckFailure, len(found))
	for i, failure := range found {
		list[i] = &pulumirpc.CheckFailure{Property: failure.Property, Reason: failure.Reason}
	}
	return list
}

func typeOf(urn string) string { return string(resource.URN(urn).Type()) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
