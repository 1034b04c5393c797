package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/openapi"
)

// about is what a reader needs to know of one route beyond its row in the table.
type about struct {
	id, tag, summary, doc string
	faults                []fault.Code // beyond those that its row implies
}

// Document is the API's description in OpenAPI 3.1, made of the route table and
// its words. It fails when a route has no words, or words have no route.
var Document = sync.OnceValues(func() ([]byte, error) {
	var faults []error
	described := descriptions()
	api := openapi.API{
		Title: "Coditect V5", Version: "5", Doc: apiDoc, Server: contract.BasePath,
		Tags: tags, Words: words(),
		Failure: reflect.TypeFor[Failure](), Page: reflect.TypeFor[Page](),
		Header: map[string]openapi.Header{
			contract.HeaderRequestID: {Type: "string", Doc: "The request's id: the caller's own, where it sent a sane one."},
			contract.HeaderVersion:   {Type: "string", Doc: "The version of the service that answered."},
			"Retry-After":            {Type: "integer", Doc: "Seconds after which to try again.", Only: []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}},
			"WWW-Authenticate":       {Type: "string", Doc: "The Bearer challenge.", Only: []int{http.StatusUnauthorized}},
		},
	}
	for _, route := range Routes() {
		key := route.Method + " " + strings.TrimPrefix(route.Path, contract.BasePath)
		text, ok := described[key]
		if !ok {
			faults = append(faults, fmt.Errorf("%s: the route has no description", key))
			continue
		}
		delete(described, key)
		op := openapi.Operation{
			ID: text.id, Tag: text.tag, Summary: text.summary, Doc: text.doc,
			Method: route.Method, Path: route.Path, SignedIn: route.SignedIn,
			Request: route.Request, Optional: route.Optional,
			Status: route.Status, Answer: route.Answer, List: route.Answer.Kind() == reflect.Slice, Bare: route.Bare,
			Failures: map[int][]string{},
		}
		for _, p := range route.Query {
			op.Parameters = append(op.Parameters, openapi.Parameter{In: "query", Name: p.Name, Type: p.Type, Doc: p.Doc})
		}
		if route.Once {
			op.Parameters = append(op.Parameters, openapi.Parameter{In: "header", Name: HeaderIdempotencyKey, Type: "string", Doc: onceDoc})
		}
		for _, code := range append(implied(route), text.faults...) {
			if status := statusOf(code); !slices.Contains(op.Failures[status], string(code)) {
				op.Failures[status] = append(op.Failures[status], string(code))
			}
		}
		api.Operations = append(api.Operations, op)
	}
	for key := range described {
		faults = append(faults, fmt.Errorf("%s: the description has no route", key))
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	return api.JSON()
})

const onceDoc = "A key of the client's choice: for a day the same key with the same body gets the same answer, and with another body 409."

// implied are the faults that follow from a route's row.
func implied(route Route) []fault.Code {
	if route.Probe {
		return nil
	}
	codes := []fault.Code{fault.InvalidRequest, fault.Unavailable, fault.Internal} // unknown parameters, the store, ourselves
	if route.SignedIn {
		codes = append(codes, fault.InvalidToken)
	}
	if route.Method != http.MethodGet || route.Large {
		codes = append(codes, fault.Busy) // too many changes to the same data, or too much that nobody has read yet
	}
	if route.Once {
		codes = append(codes, fault.IdempotencyConflict)
	}
	if strings.Contains(route.Path, "{") {
		codes = append(codes, fault.NotFound)
	}
	if route.Request != nil {
		codes = append(codes, fault.UnsupportedMediaType, fault.BodyTooLarge)
	}
	return codes
}
