package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"coditect.ai/platform/app/internal/fault"
)

// bodyField names the body as a whole in a problem.
const bodyField = "body"

// readBody decodes the request's JSON object into in, strictly. An empty body
// leaves in as it is where the route's body is optional.
func readBody(w http.ResponseWriter, r *http.Request, optional bool, in any) error {
	if r.ContentLength > MaxBodyBytes {
		return errBodyTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return errBodyTooLarge
		}
		return malformed(bodyField, "did not arrive whole").Because(err)
	}
	if len(body) == 0 && optional {
		return nil
	}
	if err := checkContentType(r.Header); err != nil {
		return err
	}
	switch {
	case len(body) == 0:
		return malformed(bodyField, "must be a JSON object")
	case !utf8.Valid(body):
		return malformed(bodyField, "must be valid UTF-8")
	}
	if err := json.Unmarshal(body, in, json.RejectUnknownMembers(true)); err != nil {
		return jsonProblem(err)
	}
	if jsontext.Value(body).Kind() != '{' { // null, which any type takes
		return malformed(bodyField, "must be a JSON object")
	}
	return nil
}

var errBodyTooLarge = fault.New(fault.BodyTooLarge, fmt.Sprintf("The body is larger than %d KiB.", MaxBodyBytes>>10))

// malformed is an InvalidRequest about one field.
func malformed(field, problem string) *fault.Error {
	return &fault.Error{
		Code:    fault.InvalidRequest,
		Message: "The request is malformed; see fields.",
		Fields:  []fault.Field{{Field: field, Problem: problem}},
	}
}

func checkContentType(h http.Header) error {
	refuse := func(field, problem string) error {
		return &fault.Error{
			Code:    fault.UnsupportedMediaType,
			Message: "The body must be JSON in UTF-8, sent as application/json.",
			Fields:  []fault.Field{{Field: field, Problem: problem}},
		}
	}
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return refuse("Content-Encoding", "must be absent: bodies are not compressed")
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return refuse("Content-Type", "must be application/json")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return refuse("Content-Type", "must have no charset but utf-8")
	}
	return nil
}

// jsonProblem names the member that the decoder stumbled over. The decoder's own
// words stay out of the log, too: they may repeat a value, and it a secret.
func jsonProblem(err error) error {
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		problem := "must be " + kindOf(e.GoType)
		if errors.Is(e.Err, json.ErrUnknownName) {
			problem = "is not a member of this request"
		}
		return malformed(fieldOf(e.JSONPointer), problem)
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(e.Err, jsontext.ErrDuplicateName) {
			return malformed(fieldOf(e.JSONPointer), "is given more than once")
		}
		return malformed(bodyField, fmt.Sprintf("is not valid JSON at byte %d", e.ByteOffset))
	}
	return malformed(bodyField, "is not valid JSON")
}

// fieldOf writes a JSON pointer as a path with dots, and bounds what it echoes.
func fieldOf(p jsontext.Pointer) string {
	const most = 100
	path := strings.Join(slices.Collect(p.Tokens()), ".")
	if path == "" {
		return bodyField
	}
	if len(path) > most {
		path = strings.ToValidUTF8(path[:most], "") + "…"
	}
	return path
}

func kindOf(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "of the documented type"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Struct, reflect.Map:
		return "a JSON object"
	default:
		return "of the documented type"
	}
}

// readQuery returns the parameters of a query that has only known ones, each once.
func readQuery(raw string, known []Param) (map[string]string, error) {
	if raw == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, malformed("query", "is not a well-formed query string")
	}
	var fields []fault.Field
	query := make(map[string]string, len(values))
	for name, given := range values {
		switch {
		case !slices.ContainsFunc(known, func(p Param) bool { return p.Name == name }):
			fields = append(fields, fault.Field{Field: fieldOf(jsontext.Pointer("").AppendToken(name)), Problem: "is not a parameter of this request"})
		case len(given) > 1:
			fields = append(fields, fault.Field{Field: name, Problem: "is given more than once"})
		default:
			query[name] = given[0]
		}
	}
	if fields == nil {
		return query, nil
	}
	slices.SortFunc(fields, func(a, b fault.Field) int { return strings.Compare(a.Field, b.Field) })
	const most = 20
	f := malformed("", "")
	f.Fields = fields[:min(len(fields), most)]
	return nil, f
}
