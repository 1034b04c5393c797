package openapi

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

type inner struct {
	At time.Time `json:"at"`
}

type answer struct {
	ID    uuid.UUID         `json:"id"`
	Maybe *inner            `json:"maybe"`
	Text  *string           `json:"text"`
	Names []string          `json:"names"`
	More  map[string]string `json:"more,omitempty"`
}

type form struct {
	Name string  `json:"name"`
	Nick *string `json:"nick"`
}

type failure struct {
	Code string `json:"code"`
}

// sample is an API with one of everything.
func sample() API {
	return API{
		Title: "T", Version: "1", Server: "/api", Tags: []Tag{{Name: "x"}},
		Failure: reflect.TypeFor[failure](), Page: reflect.TypeFor[inner](),
		Operations: []Operation{{
			ID: "change", Tag: "x", Summary: "Change", Method: "PATCH", Path: "/api/things/{id}", SignedIn: true, Status: 200,
			Request: reflect.TypeFor[form](), Answer: reflect.TypeFor[answer](), Failures: map[int][]string{400: {"b", "a"}},
		}},
		Words: Words{
			Members: map[string]Member{
				"id": {}, "maybe": {}, "text": {}, "names": {Schema: map[string]any{"maxLength": 3}}, "more": {}, "at": {},
				"name": {Doc: "A name.", Example: "n"}, "nick": {}, "code": {},
			},
			Required: map[string][]string{"form": {"name"}},
		},
	}
}

func TestDocumentSaysWhatTheTypesSay(t *testing.T) {
	t.Parallel()
	text, err := sample().JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := sample().JSON()
	if err != nil || !bytes.Equal(text, again) {
		t.Fatal("another document for the same table")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"openapi":"3.1.0"`, `"/things/{id}":{"patch":`, `"security":[{"accessToken":[]}]`,
		`{"in":"path","name":"id","required":true,"schema":{"format":"uuid","type":"string"}}`,
		`"maybe":{"anyOf":[{"$ref":"#/components/schemas/inner"},{"type":"null"}]}`,
		`"text":{"type":["string","null"]}`,
		`"names":{"items":{"maxLength":3,"type":"string"},"type":"array"}`,
		`"more":{"additionalProperties":{"type":"string"},"type":"object"}`,
		`"required":["id","maybe","names","text"]`,
		`"form":{"additionalProperties":false,"properties":{"name":{"description":"A name.","examples":["n"],"type":"string"},"nick":{"type":"string"}},"required":["name"],"type":"object"}`,
		`"enum":["a","b"]`,
	} {
		if !strings.Contains(compact.String(), want) {
			t.Errorf("no %s in\n%s", want, compact.String())
		}
	}
}

func TestEveryFaultOfATableIsTold(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*API){
		"needs an id of its own":                    func(a *API) { a.Operations = append(a.Operations, a.Operations[0]) },
		"needs an id of its own, a tag":             func(a *API) { a.Operations[0].Summary = "" },
		"form.nick: the words do not say":           func(a *API) { delete(a.Words.Members, "nick") },
		`the words have "ghost", and no type`:       func(a *API) { a.Words.Members["ghost"] = Member{} },
		`form needs a member "ghost", and has none`: func(a *API) { a.Words.Required["form"] = []string{"ghost"} },
		"there is no schema for a chan":             func(a *API) { a.Operations[0].Answer = reflect.TypeFor[chan int]() },
	} {
		a := sample()
		change(&a)
		if _, err := a.JSON(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
