// Package gcp is the simulated Google Cloud: resources that are recorded under
// the ids and with the computed outputs that the real ones have, and Secret
// Manager's values.
//
// A small table says what is special of a type; a type that is not in it works
// by the usual rules.
package gcp

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"coditect.ai/platform/infra/simcloud/provider"
	"coditect.ai/platform/infra/simcloud/store"
)

// Backend is the simulated cloud. It implements provider.Backend.
type Backend struct {
	objects *store.Store
	vault   *Vault
	now     func() time.Time

	mu sync.Mutex
	// defaults are what the provider's configuration gives to resources: project, region, zone.
	defaults map[string]any
}

// New returns the cloud.
func New(objects *store.Store, vault *Vault, now func() time.Time) *Backend {
	return &Backend{objects: objects, vault: vault, now: now, defaults: map[string]any{"project": "simcloud"}}
}

// CheckConfig accepts everything.
func (b *Backend) CheckConfig(map[string]any) []provider.Failure { return nil }

// Configure takes over the defaults of resources.
func (b *Backend) Configure(config map[string]any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range []string{"project", "region", "zone"} {
		if value, ok := config[name].(string); ok && value != "" {
			b.defaults[name] = value
		}
	}
}

// Check wants what the type requires.
func (b *Backend) Check(req provider.Request) []provider.Failure {
	var found []provider.Failure
	for _, name := range kindOf(req.Type).required {
		if value, ok := req.Inputs[name]; !ok || value == nil || value == "" {
			found = append(found, provider.Failure{Property: name, Reason: "required"})
		}
	}
	return found
}

// ID expands the type's template, as far as it is known before there is a resource.
func (b *Backend) ID(typ string, inputs map[string]any) string {
	if id, ok := expand(kindOf(typ).id, b.complete(provider.Request{Type: typ, Inputs: inputs})); ok {
		return id
	}
	return ""
}

// Secrets are the versions' values.
func (b *Backend) Secrets(typ string) []string {
	if typ == versionType {
		return []string{"secretData"}
	}
	return nil
}

// Replaces looks into the type's table.
func (b *Backend) Replaces(req provider.Request, path resource.PropertyPath) bool {
	name, _ := path[0].(string)
	return name == "project" || slices.Contains(kindOf(req.Type).replaces, name)
}

// Preview fills in what can be known.
func (b *Backend) Preview(req provider.Request) map[string]any {
	outputs := b.complete(req)
	existing, exists := b.objects.Get(store.Key{Kind: req.Type, Name: req.ID})
	kind := kindOf(req.Type)
	outputs["id"] = unknownUnless(expand(kind.id, outputs))
	for _, output := range kind.outputs {
		switch value, ok := existing.Outputs[output.name]; {
		case exists && ok:
			outputs[output.name] = value
		case strings.HasPrefix(output.template, "<"):
			outputs[output.name] = provider.Unknown{}
		default:
			outputs[output.name] = unknownUnless(expand(output.template, outputs))
		}
	}
	delete(outputs, "id")
	return outputs
}

func unknownUnless(value string, known bool) any {
	if !known {
		return provider.Unknown{}
	}
	return value
}

// Create records the resource.
func (b *Backend) Create(_ context.Context, req provider.Request) (string, map[string]any, error) {
	outputs := b.complete(req)
	if req.Type == versionType {
		number, err := b.addVersion(req.Inputs)
		if err != nil {
			return "", nil, err
		}
		outputs["version"] = strconv.Itoa(number)
	}
	kind := kindOf(req.Type)
	if strings.Contains(kind.id, "{number}") {
		serial, err := b.value(number, outputs)
		if err != nil {
			return "", nil, err
		}
		outputs["number"] = serial
	}
	id, ok := expand(kind.id, outputs)
	if !ok {
		return "", nil, status.Errorf(codes.InvalidArgument, "%s: the id %s needs inputs that are not set", req.Type, kind.id)
	}
	key := store.Key{Kind: req.Type, Name: id}
	stored, exists := b.objects.Get(key)
	if exists && stored.URN != req.URN {
		return "", nil, status.Errorf(codes.AlreadyExists, "googleapi: Error 409: %s already exists; it was made by %s", id, stored.URN)
	}
	if !exists {
		stored = store.Object{Key: key, Created: b.now().UTC()}
		outputs["id"] = id
		for _, output := range kind.outputs {
			if _, given := req.Inputs[output.name]; given {
				continue
			}
			value, err := b.value(output.template, outputs)
			if err != nil {
				return "", nil, err
			}
			outputs[output.name] = value
		}
		delete(outputs, "id")
		delete(outputs, "number")
		stored.Outputs = computed(outputs, req.Inputs)
	}
	stored.URN, stored.Inputs = req.URN, req.Inputs
	stored, err := b.objects.Put(stored)
	return id, live(stored), err
}

// Update records the new inputs; what was computed stays.
func (b *Backend) Update(_ context.Context, req provider.Request) (map[string]any, error) {
	stored, ok := b.objects.Get(store.Key{Kind: req.Type, Name: req.ID})
	if !ok {
		return nil, status.Errorf(codes.NotFound, "googleapi: Error 404: %s not found; refresh the stack to make it again", req.ID)
	}
	stored.URN, stored.Inputs = req.URN, req.Inputs
	stored, err := b.objects.Put(stored)
	return live(stored), err
}

// Read returns the live resource.
func (b *Backend) Read(_ context.Context, req provider.Request) (inputs, outputs map[string]any, err error) {
	stored, ok := b.objects.Get(store.Key{Kind: req.Type, Name: req.ID})
	if !ok {
		return nil, nil, nil
	}
	return stored.Inputs, live(stored), nil
}

// Delete forgets the resource and, unless data is retained, a secret's values.
func (b *Backend) Delete(_ context.Context, req provider.Request) error {
	key := store.Key{Kind: req.Type, Name: req.ID}
	stored, ok := b.objects.Get(key)
	if !ok {
		return nil
	}
	if name, isSecret := stored.Inputs["secretId"].(string); isSecret && req.Type == secretType && !b.objects.Retain() {
		if err := b.vault.Remove(name); err != nil {
			return err
		}
	}
	return b.objects.Delete(key)
}

// complete adds to the inputs what the cloud assumes where nothing is said.
func (b *Backend) complete(req provider.Request) map[string]any {
	all := maps.Clone(req.Inputs)
	if all == nil {
		all = map[string]any{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	assume := func(name string, value any) {
		if _, given := all[name]; !given && value != nil {
			all[name] = value
		}
	}
	assume("project", b.defaults["project"])
	template := kindOf(req.Type).id
	if strings.Contains(template, "{region}") {
		assume("region", b.defaults["region"])
	}
	if strings.Contains(template, "{location}") {
		assume("location", "global")
	}
	if strings.Contains(template, "{name}") && req.URN != "" {
		assume("name", strings.ToLower(resource.URN(req.URN).Name()))
	}
	return all
}

func (b *Backend) addVersion(inputs map[string]any) (int, error) {
	id, _ := inputs["secret"].(string)
	value, _ := inputs["secretData"].(string)
	data := []byte(value)
	if encoded, _ := inputs["isSecretDataBase64"].(bool); encoded {
		var err error
		if data, err = base64.StdEncoding.DecodeString(value); err != nil {
			return 0, status.Errorf(codes.InvalidArgument, "secretData is not base64: %v", err)
		}
	}
	return b.vault.Add(id[strings.LastIndex(id, "/")+1:], data)
}

func (b *Backend) value(template string, values map[string]any) (any, error) {
	switch template {
	case now:
		return b.now().UTC().Format(time.RFC3339), nil
	case records:
		name, _ := expand("_acme-challenge.{domain}.", values)
		data, _ := expand("{name}.authorize.certificatemanager.goog.", values)
		return []any{map[string]any{"name": name, "type": "CNAME", "data": data}}, nil
	case authority:
		return map[string]any{"clusterCaCertificate": base64.StdEncoding.EncodeToString([]byte("simulated"))}, nil
	case address, number:
		serial, err := b.objects.NextSerial()
		if err != nil {
			return nil, err
		}
		if template == number {
			return strconv.FormatUint(1e17+serial, 10), nil
		}
		return fmt.Sprintf("198.18.%d.%d", serial/254%256, 1+serial%254), nil
	}
	value, _ := expand(template, values)
	return value, nil
}

var placeholder = regexp.MustCompile(`\{(\w+)\}`)

// expand fills in a template; known is false if a value is missing or not known yet.
func expand(template string, values map[string]any) (result string, known bool) {
	known = true
	result = placeholder.ReplaceAllStringFunc(template, func(name string) string {
		value, ok := values[name[1:len(name)-1]].(string)
		known = known && ok && value != ""
		return value
	})
	return result, known
}

// computed is what the outputs have beyond the inputs.
func computed(outputs, inputs map[string]any) map[string]any {
	rest := maps.Clone(outputs)
	for name := range inputs {
		delete(rest, name)
	}
	return rest
}

func live(object store.Object) map[string]any {
	outputs := maps.Clone(object.Inputs)
	if outputs == nil {
		outputs = map[string]any{}
	}
	maps.Copy(outputs, object.Outputs)
	return outputs
}
