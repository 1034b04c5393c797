// Package kubernetes is the simulated cluster's API: which objects it accepts,
// what a change to them means, and when they count as ready.
//
// Objects are kept as they were asked for. Controllers (the packages runtime and
// gateway) act on them and report back through the store, so that this package
// needs to know none of them.
package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/uuid"

	"coditect.ai/platform/infra/simcloud/provider"
	"coditect.ai/platform/infra/simcloud/store"
)

// Annotations of Pulumi's Kubernetes provider that are respected.
const (
	annotationTimeout   = "pulumi.com/timeoutSeconds"
	annotationSkipAwait = "pulumi.com/skipAwait"
)

// defaultTimeout bounds the wait for readiness where the program sets no other.
const defaultTimeout = 10 * time.Minute

// Releaser ends what runs for objects that are being deleted.
type Releaser interface {
	// Release returns once nothing runs for the object and, for a claim, its storage is
	// dealt with as the reclaim policy says.
	Release(ctx context.Context, key store.Key) error
}

// Backend is the simulated API server. It implements provider.Backend.
type Backend struct {
	objects *store.Store
	// releaser is nil where nothing is executed: there, everything is ready at once.
	releaser Releaser
	now      func() time.Time
}

// New returns the API server of a cluster. Without a releaser objects are only recorded.
func New(objects *store.Store, releaser Releaser, now func() time.Time) *Backend {
	return &Backend{objects: objects, releaser: releaser, now: now}
}

// CheckConfig refuses what this provider cannot honour.
func (b *Backend) CheckConfig(config map[string]any) []provider.Failure {
	if _, ok := config["namespace"]; ok {
		return []provider.Failure{{
			Property: "namespace",
			Reason:   "simcloud has no default namespace of a provider: set metadata.namespace on each object",
		}}
	}
	return nil
}

// Configure has nothing to set up: there is one cluster, whatever a kubeconfig says.
func (b *Backend) Configure(map[string]any) {}

// ID is "namespace/name", or "name" for what has no namespace.
func (b *Backend) ID(_ string, inputs map[string]any) string {
	o := parse(inputs)
	if o.name == "" {
		return ""
	}
	return o.key().ID()
}

// Secrets of Secrets are secret.
func (b *Backend) Secrets(typ string) []string {
	if typ == "kubernetes:core/v1:Secret" {
		return []string{"data", "stringData"}
	}
	return nil
}

// Replaces tells what the API server refuses to change in place.
func (b *Backend) Replaces(req provider.Request, path resource.PropertyPath) bool {
	o := parse(req.Old)
	immutable := append([]string{"apiVersion", "kind", "metadata.name", "metadata.namespace"}, o.known.immutable...)
	if frozen, _ := req.Old["immutable"].(bool); frozen {
		immutable = append(immutable, "data", "stringData", "binaryData", "immutable")
	}
	if o.key().Kind == PersistentVolumeClaim && grows(req.Old, req.Inputs) {
		immutable = slices.DeleteFunc(immutable, func(name string) bool {
			return name == "spec" && matches(path, "spec.resources.requests.storage")
		})
	}
	return slices.ContainsFunc(immutable, func(name string) bool { return matches(path, name) })
}

// matches tells whether the changed path is the named one, lies below it, or encloses it.
func matches(path resource.PropertyPath, name string) bool {
	names := strings.Split(name, ".")
	for i := range min(len(path), len(names)) {
		if path[i] != names[i] {
			return false
		}
	}
	return true
}

func grows(before, after map[string]any) bool {
	size := func(inputs map[string]any) (quantity.Quantity, error) {
		value, _ := lookup(inputs, "spec", "resources", "requests", "storage")
		return quantity.ParseQuantity(text(value))
	}
	old, err := size(before)
	if err != nil {
		return false
	}
	grown, err := size(after)
	return err == nil && grown.Cmp(old) >= 0
}

// Preview returns the manifest itself: no more is known.
func (b *Backend) Preview(req provider.Request) map[string]any { return req.Inputs }

// Create makes the object and waits until it is ready.
func (b *Backend) Create(ctx context.Context, req provider.Request) (string, map[string]any, error) {
	o := parse(req.Inputs)
	key := o.key()
	if existing, ok := b.objects.Get(key); ok && existing.URN != req.URN {
		return "", nil, status.Errorf(codes.AlreadyExists, "%s %q already exists; it was made by %s",
			o.kind, key.ID(), existing.URN)
	}
	outputs, err := b.apply(ctx, req, o)
	return key.ID(), outputs, err
}

// Update changes the object, or makes it again if it went missing, and waits until it is ready.
func (b *Backend) Update(ctx context.Context, req provider.Request) (map[string]any, error) {
	return b.apply(ctx, req, parse(req.Inputs))
}

func (b *Backend) apply(ctx context.Context, req provider.Request, o object) (map[string]any, error) {
	key := o.key()
	if o.namespace != "" && !slices.Contains([]string{"default", "kube-system", "kube-public"}, o.namespace) {
		if _, ok := b.objects.Get(store.Key{Kind: Namespace, Name: o.namespace}); !ok {
			return nil, status.Errorf(codes.NotFound, "%s %q: namespaces %q not found", o.kind, key.ID(), o.namespace)
		}
	}
	stored, ok := b.objects.Get(key)
	if !ok {
		stored = store.Object{Key: key, UID: string(uuid.NewUUID()), Created: b.now().UTC().Truncate(time.Second)}
	}
	stored.URN, stored.Inputs = req.URN, req.Inputs
	stored, err := b.objects.Put(stored)
	if err != nil {
		return nil, err
	}
	if b.releaser == nil || !o.known.awaited || text(o.annotations[annotationSkipAwait]) == "true" {
		return b.live(stored), nil
	}
	timeout, err := timeoutOf(req, o)
	if err != nil {
		return nil, err
	}
	err = b.await(ctx, stored, timeout)
	return b.live(stored), err
}

func timeoutOf(req provider.Request, o object) (time.Duration, error) {
	if given := text(o.annotations[annotationTimeout]); given != "" {
		seconds, err := strconv.Atoi(given)
		if err != nil || seconds <= 0 {
			return 0, status.Errorf(codes.InvalidArgument, "%s %q: annotation %s: %q is not a number of seconds",
				o.kind, o.key().ID(), annotationTimeout, given)
		}
		return time.Duration(seconds) * time.Second, nil
	}
	if req.Timeout > 0 {
		return req.Timeout, nil
	}
	return defaultTimeout, nil
}

// await waits until a controller says that this generation of the object is ready.
func (b *Backend) await(ctx context.Context, object store.Object, timeout time.Duration) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	subject := fmt.Sprintf("%s %q", kindName(object.Key), object.Key.ID())
	for {
		changed := b.objects.Changed()
		current, ok := b.objects.Get(object.Key)
		if !ok {
			return &provider.NotReadyError{Reasons: []string{subject + " was deleted while it was waited for"}}
		}
		seen := b.objects.Status(object.Key)
		up := seen.Generation >= current.Generation
		why := func(verdict string) error {
			return &provider.NotReadyError{Reasons: append([]string{subject + " " + verdict}, seen.Reasons...)}
		}
		switch {
		case up && seen.Ready:
			return nil
		case up && seen.Failed:
			return why("failed")
		}
		select {
		case <-changed:
		case <-deadline.C:
			return why(fmt.Sprintf("is not ready after %s", timeout))
		case <-ctx.Done():
			return why("is not ready: the wait was cancelled")
		}
	}
}

// live is the object as a cluster shows it.
func (b *Backend) live(object store.Object) map[string]any {
	outputs := maps.Clone(object.Inputs)
	metadata := map[string]any{}
	if given, ok := object.Inputs["metadata"].(map[string]any); ok {
		metadata = maps.Clone(given)
	}
	metadata["uid"] = object.UID
	metadata["generation"] = float64(object.Generation)
	metadata["creationTimestamp"] = object.Created.Format(time.RFC3339)
	if object.Key.Namespace != "" {
		metadata["namespace"] = object.Key.Namespace
	}
	outputs["metadata"] = metadata
	if fields := b.objects.Status(object.Key).Fields; fields != nil {
		outputs["status"] = fields
	}
	return outputs
}

// Read returns the live object.
func (b *Backend) Read(_ context.Context, req provider.Request) (inputs, outputs map[string]any, err error) {
	key, err := b.key(req)
	if err != nil {
		return nil, nil, err
	}
	object, ok := b.objects.Get(key)
	if !ok {
		return nil, nil, nil
	}
	return object.Inputs, b.live(object), nil
}

// key finds the object's key from its manifest or, for an import, from its type and id.
func (b *Backend) key(req provider.Request) (store.Key, error) {
	if len(req.Old) > 0 {
		return parse(req.Old).key(), nil
	}
	_, rest, _ := strings.Cut(req.Type, ":")
	apiVersion, kind, found := strings.Cut(rest, ":")
	if !found {
		return store.Key{}, status.Errorf(codes.InvalidArgument, "simcloud does not know the resource type %s", req.Type)
	}
	metadata := map[string]any{"name": req.ID}
	if namespace, name, found := strings.Cut(req.ID, "/"); found {
		metadata = map[string]any{"namespace": namespace, "name": name}
	}
	return parse(map[string]any{
		"apiVersion": strings.TrimPrefix(apiVersion, "core/"), "kind": kind, "metadata": metadata,
	}).key(), nil
}

// Delete removes the object once nothing runs for it any more; a namespace takes along what is in it.
func (b *Backend) Delete(ctx context.Context, req provider.Request) error {
	key, err := b.key(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeoutOrDefault(req.Timeout))
	defer cancel()
	if key.Kind == Namespace {
		inside := b.objects.Select(func(k store.Key) bool { return k.Namespace == key.Name })
		// What runs goes first, since it holds on to claims.
		slices.SortStableFunc(inside, func(a, b store.Object) int { return rank(a.Key) - rank(b.Key) })
		for _, object := range inside {
			if err := b.remove(ctx, object.Key); err != nil {
				return err
			}
		}
	}
	return b.remove(ctx, key)
}

func (b *Backend) remove(ctx context.Context, key store.Key) error {
	if _, ok := b.objects.Get(key); !ok {
		return nil
	}
	// A claim stays until it is released, so that a crash in between leaves a claim
	// whose deletion is tried again. Of all else the controllers must see the deletion.
	if key.Kind != PersistentVolumeClaim {
		if err := b.objects.Delete(key); err != nil {
			return err
		}
	}
	if b.releaser != nil {
		if err := b.releaser.Release(ctx, key); err != nil {
			return status.Errorf(codes.DeadlineExceeded, "delete %s %q: %v", kindName(key), key.ID(), err)
		}
	}
	return b.objects.Delete(key)
}

func rank(key store.Key) int {
	switch key.Kind {
	case Deployment, StatefulSet, DaemonSet, Job, CronJob:
		return 0
	default:
		return 1
	}
}

func timeoutOrDefault(timeout time.Duration) time.Duration {
	if timeout > 0 {
		return timeout
	}
	return defaultTimeout
}

func kindName(key store.Key) string {
	return key.Kind[strings.LastIndex(key.Kind, "/")+1:]
}
