package httpapi

import (
	"net/http"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/docspage"
)

// Where the API's description and the page to read it are.
const (
	documentPath = contract.BasePath + "/openapi.json"
	docsPath     = contract.BasePath + "/docs"
)

// file is an answer that is not an envelope: the same bytes for everyone.
type file struct {
	content []byte
	kind    []string // the header values, shared between answers
	tag     []string
	policy  []string
}

// pages are the routes of files. They are no operations of the API and not in its table.
func pages() ([]Route, error) {
	document, err := Document()
	if err != nil {
		return nil, err
	}
	routes := []Route{fileRoute(documentPath, "application/json", noContent[0], document)}
	files, err := docspage.Files()
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it was doing
	}
	for _, f := range files {
		routes = append(routes, fileRoute(docsPath+f.Path, f.Type, docspage.Policy, f.Content))
	}
	return routes, nil
}

func fileRoute(path, kind, policy string, content []byte) Route {
	return Route{Method: http.MethodGet, Path: path, Probe: true, Status: http.StatusOK, file: &file{
		content: content, kind: []string{kind}, policy: []string{policy}, tag: []string{docspage.Tag(content)},
	}}
}

// sendFile answers with a file, or says that the caller's copy is current.
func (c *call) sendFile(f *file) {
	h := c.w.Header()
	h["Content-Security-Policy"] = f.policy
	h["Cache-Control"] = revalidate
	h["Etag"] = f.tag
	h["Referrer-Policy"] = noReferrer
	if c.r.Header.Get("If-None-Match") == f.tag[0] {
		c.send(http.StatusNotModified, nil)
		return
	}
	c.send(http.StatusOK, f.content)
}

var (
	revalidate = []string{"no-cache"}
	noReferrer = []string{"no-referrer"}
)
