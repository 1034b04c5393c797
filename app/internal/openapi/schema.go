package openapi

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// schema describes a type. Structs are described once, below components.
func (b *builder) schema(t reflect.Type, request bool) object {
	switch t {
	case reflect.TypeFor[uuid.UUID]():
		return object{"type": "string", "format": "uuid"}
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[jsontext.Value](), reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := b.schema(t.Elem(), request)
		if request { // stands for an optional member
			return inner
		}
		if kind, ok := inner["type"].(string); ok {
			inner["type"] = []string{kind, "null"}
			return inner
		}
		return object{"anyOf": []object{inner, {"type": "null"}}}
	case reflect.Struct:
		b.component(t, request)
		return object{"$ref": "#/components/schemas/" + t.Name()}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": b.schema(t.Elem(), request)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": b.schema(t.Elem(), request)}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Interface:
		return object{}
	default:
		b.refuse("%v: there is no schema for a %v", t, t.Kind())
		return object{}
	}
}

// component describes a struct under its name.
func (b *builder) component(t reflect.Type, request bool) {
	name := t.Name()
	if known, ok := b.types[name]; ok {
		if known != t {
			b.refuse("two types are called %s", name)
		}
		return
	}
	if name == "" {
		b.refuse("a struct without a name cannot be described")
	}
	b.types[name] = t
	out := object{"type": "object"}
	b.schemas[name] = out // before its members, which may refer to it
	properties, required := object{}, []string{}
	b.members(t, t, request, properties, &required)
	if request {
		required = b.words.Required[name]
		for _, member := range required {
			if properties[member] == nil {
				b.refuse("%s needs a member %q, and has none", name, member)
			}
		}
		out["additionalProperties"] = false // unknown members are refused
	}
	out["properties"] = properties
	if len(required) > 0 {
		out["required"] = slices.Sorted(slices.Values(required))
	}
}

// members describes the members of t, those of embedded structs included, as owner's.
func (b *builder) members(owner, t reflect.Type, request bool, properties object, required *[]string) {
	for field := range t.Fields() {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !field.IsExported():
			continue
		case field.Anonymous && tag == "" && field.Type.Kind() == reflect.Struct:
			b.members(owner, field.Type, request, properties, required)
			continue
		case tag == "":
			b.refuse("%v.%s has no json tag", t, field.Name)
			continue
		}
		word, known := b.word(owner.Name(), tag)
		if !known {
			b.refuse("%s.%s: the words do not say what it is", owner.Name(), tag)
		}
		absent := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		kind := field.Type
		if absent && kind.Kind() == reflect.Pointer {
			kind = kind.Elem() // absent, and never null
		}
		schema := maps.Clone(b.schema(kind, request))
		if word.Doc != "" {
			schema["description"] = word.Doc
		}
		target := schema
		if items, ok := schema["items"].(object); ok && word.Schema["type"] == nil {
			target = items // the words are about each of them
		}
		maps.Copy(target, word.Schema)
		if word.Example != nil {
			target["examples"] = []any{word.Example}
		}
		properties[tag] = schema
		if !absent {
			*required = append(*required, tag)
		}
	}
}

func (b *builder) word(owner, member string) (Member, bool) {
	for _, name := range []string{owner + "." + member, member} {
		if word, ok := b.words.Members[name]; ok {
			b.used[name] = true
			return word, true
		}
	}
	return Member{}, false
}
