// Package openapi owns the form of the API's description: it makes an OpenAPI
// 3.1 document out of a table of operations and the Go types of their bodies,
// always the same bytes for the same table.
//
// It knows how requests and answers are wrapped, not what they mean: httpapi
// gives it the table and the words. It imports nothing of the project.
package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// API is everything that a document says.
type API struct {
	Title, Version, Doc string
	Server              string // the path that every operation's path begins with
	Tags                []Tag
	Operations          []Operation
	Failure             reflect.Type // the envelope of failures
	Page                reflect.Type // what lists add to the envelope
	Header              map[string]Header
	Words               Words
}

// Tag groups operations.
type Tag struct{ Name, Doc string }

// Header is one of those that every answer has, or that Only some statuses have.
type Header struct {
	Doc  string
	Type string
	Only []int
}

// Operation is one method of one path.
type Operation struct {
	ID, Tag, Summary, Doc string
	Method, Path          string
	SignedIn              bool
	Parameters            []Parameter  // those of the path are found by themselves
	Request               reflect.Type // nil without a body
	Optional              bool         // the body may be absent
	Status                int          // of success
	Answer                reflect.Type // of the envelope's data
	List                  bool         // the answer has a page
	Bare                  bool         // the answer is the whole body, without an envelope
	Failures              map[int][]string
}

// Parameter is one of a query or a header.
type Parameter struct {
	In, Name, Type, Doc string
}

// Words say what members mean. The same name means the same thing throughout
// the API; "Type.name" overrides it where it does not.
type Words struct {
	Members  map[string]Member
	Required map[string][]string // of request types, by their name
}

// Member is what a Go type cannot say of a member.
type Member struct {
	Doc     string
	Schema  map[string]any // keywords that are added: format, maxLength …
	Example any
}

// object is a JSON object; its members are written in the order of their names.
type object = map[string]any

// JSON returns the document, or every fault of its table together.
func (a API) JSON() ([]byte, error) {
	b := &builder{words: a.Words, schemas: object{}, types: map[string]reflect.Type{}, used: map[string]bool{}}
	paths := object{}
	ids := map[string]bool{}
	for i, op := range a.Operations {
		if op.ID == "" || op.Tag == "" || op.Summary == "" || ids[op.ID] {
			b.refuse("%s %s: needs an id of its own, a tag and a summary", op.Method, op.Path)
		}
		ids[op.ID] = true
		path := strings.TrimPrefix(op.Path, a.Server)
		if paths[path] == nil {
			paths[path] = object{}
		}
		methods, _ := paths[path].(object)
		described := b.operation(op, a)
		described["x-order"] = i // the table's, which reads better than the alphabet
		methods[strings.ToLower(op.Method)] = described
	}
	tags := []object{}
	for _, tag := range a.Tags {
		tags = append(tags, object{"name": tag.Name, "description": tag.Doc})
	}
	headers := object{}
	for name, h := range a.Header {
		headers[name] = object{"description": h.Doc, "schema": object{"type": h.Type}}
	}
	document := object{
		"openapi":           "3.1.0",
		"jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
		"info":              object{"title": a.Title, "version": a.Version, "description": a.Doc},
		"servers":           []object{{"url": a.Server}},
		"tags":              tags,
		"paths":             paths,
		"components": object{
			"schemas": b.schemas,
			"headers": headers,
			"securitySchemes": object{"accessToken": object{
				"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
				"description": "The access token of a sign-in or a refresh, as `Authorization: Bearer …`.",
			}},
		},
	}
	for name := range a.Words.Members {
		if !b.used[name] {
			b.refuse("the words have %q, and no type has it", name)
		}
	}
	slices.SortFunc(b.faults, func(x, y error) int { return strings.Compare(x.Error(), y.Error()) })
	if err := errors.Join(b.faults...); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the document: %w", err)
	}
	return append(text, '\n'), nil
}

// builder gathers the schemas that operations refer to.
type builder struct {
	words   Words
	schemas object
	types   map[string]reflect.Type
	used    map[string]bool // words
	faults  []error
}

func (b *builder) refuse(format string, args ...any) {
	b.faults = append(b.faults, fmt.Errorf(format, args...))
}

var pathParameter = regexp.MustCompile(`\{([^}:]+)[^}]*\}`)

func (b *builder) operation(op Operation, a API) object {
	out := object{"operationId": op.ID, "tags": []string{op.Tag}, "summary": op.Summary}
	if op.Doc != "" {
		out["description"] = op.Doc
	}
	out["security"] = []object{}
	if op.SignedIn {
		out["security"] = []object{{"accessToken": []string{}}}
	}
	parameters := []object{}
	for _, found := range pathParameter.FindAllStringSubmatch(op.Path, -1) {
		parameters = append(parameters, object{
			"in": "path", "name": found[1], "required": true,
			"schema": object{"type": "string", "format": "uuid"},
		})
	}
	for _, p := range op.Parameters {
		parameters = append(parameters, object{
			"in": p.In, "name": p.Name, "description": p.Doc,
			"schema": object{"type": p.Type},
		})
	}
	if len(parameters) > 0 {
		out["parameters"] = parameters
	}
	if op.Request != nil {
		out["requestBody"] = object{
			"required": !op.Optional,
			"content":  object{"application/json": object{"schema": b.schema(op.Request, true)}},
		}
	}

	envelope := object{"success": object{"const": true}, "data": b.schema(op.Answer, false)}
	required := []string{"success", "data"}
	if op.List {
		envelope["page"] = b.schema(a.Page, false)
		required = append(required, "page")
	}
	success := object{"type": "object", "properties": envelope, "required": required}
	if op.Bare {
		success = b.schema(op.Answer, false)
	}
	responses := object{strconv.Itoa(op.Status): response(a, op.Status, http.StatusText(op.Status), success)}
	for status, codes := range op.Failures {
		codes = slices.Sorted(slices.Values(codes))
		failure := b.schema(a.Failure, false)
		failure["properties"] = object{"error": object{"properties": object{"code": object{"enum": codes}}}}
		responses[strconv.Itoa(status)] = response(a, status, http.StatusText(status)+": "+strings.Join(codes, ", "), failure)
	}
	out["responses"] = responses
	return out
}

func response(a API, status int, doc string, schema object) object {
	headers := object{}
	for name, h := range a.Header {
		if h.Only == nil || slices.Contains(h.Only, status) {
			headers[name] = object{"$ref": "#/components/headers/" + name}
		}
	}
	return object{
		"description": doc, "headers": headers,
		"content": object{"application/json": object{"schema": schema}},
	}
}
