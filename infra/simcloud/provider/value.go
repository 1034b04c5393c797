package provider

import (
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Unknown stands for a value that a preview cannot know yet.
type Unknown struct{}

// plain returns the value as JSON's types, secrets uncovered, unknown values as Unknown.
func plain(v resource.PropertyValue) any {
	switch {
	case v.IsSecret():
		return plain(v.SecretValue().Element)
	case v.IsComputed(), v.IsOutput() && !v.OutputValue().Known:
		return Unknown{}
	case v.IsOutput():
		return plain(v.OutputValue().Element)
	case v.IsObject():
		return plainMap(v.ObjectValue())
	case v.IsArray():
		list := make([]any, len(v.ArrayValue()))
		for i, element := range v.ArrayValue() {
			list[i] = plain(element)
		}
		return list
	default:
		return v.Mappable()
	}
}

func plainMap(m resource.PropertyMap) map[string]any {
	object := make(map[string]any, len(m))
	for key, value := range m {
		object[string(key)] = plain(value)
	}
	return object
}

// properties is the way back from JSON's types.
func properties(object map[string]any) resource.PropertyMap {
	return resource.NewPropertyMapFromMapRepl(object, nil, func(v any) (resource.PropertyValue, bool) {
		if _, ok := v.(Unknown); ok {
			return resource.MakeComputed(resource.NewProperty("")), true
		}
		return resource.PropertyValue{}, false
	})
}

// conceal makes secret again in the outputs what is secret in the inputs: what
// goes in as a secret is never written to the engine's state in the clear.
func conceal(outputs, inputs resource.PropertyMap) resource.PropertyMap {
	for key, value := range outputs {
		if input, ok := inputs[key]; ok {
			outputs[key] = concealValue(value, input)
		}
	}
	return outputs
}

func concealValue(output, input resource.PropertyValue) resource.PropertyValue {
	switch {
	case output.IsSecret():
	case input.IsSecret(), input.IsOutput() && input.OutputValue().Secret:
		return resource.MakeSecret(output)
	case input.IsObject() && output.IsObject():
		conceal(output.ObjectValue(), input.ObjectValue())
	case input.IsArray() && output.IsArray():
		for i, element := range output.ArrayValue() {
			if i < len(input.ArrayValue()) {
				output.ArrayValue()[i] = concealValue(element, input.ArrayValue()[i])
			}
		}
	}
	return output
}

// concealKeys makes whole properties secret, whatever the program said of them.
func concealKeys(outputs resource.PropertyMap, keys []string) resource.PropertyMap {
	for _, key := range keys {
		if value, ok := outputs[resource.PropertyKey(key)]; ok && !value.IsSecret() {
			outputs[resource.PropertyKey(key)] = resource.MakeSecret(value)
		}
	}
	return outputs
}

// Known returns the value without what is unknown: such keys are left out, such
// elements are null. partial tells that something was.
func Known(object map[string]any) (known map[string]any, partial bool) {
	known = make(map[string]any, len(object))
	for key, value := range object {
		value, missing := knownValue(value)
		partial = partial || missing
		if _, unknown := value.(Unknown); !unknown {
			known[key] = value
		}
	}
	return known, partial
}

func knownValue(value any) (known any, partial bool) {
	switch value := value.(type) {
	case Unknown:
		return value, true
	case map[string]any:
		return Known(value)
	case []any:
		list := make([]any, len(value))
		for i, element := range value {
			element, missing := knownValue(element)
			partial = partial || missing
			if _, unknown := element.(Unknown); !unknown {
				list[i] = element
			}
		}
		return list, partial
	default:
		return value, false
	}
}
