// Package docspage owns the page on which people read and try the API: a few
// small static files, embedded, that load nothing from anywhere else. The page
// draws itself from the API's OpenAPI document, which it asks the service for.
//
// It imports nothing of the project.
package docspage

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
)

// Policy is the content security policy that the page needs: its own files and
// its own service, no inline script or style, and no HTML made from text.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

//go:embed index.html app.js style.css icon.svg
var files embed.FS

// File is one file of the page.
type File struct {
	Path    string // below the page's own; "" is the page
	Type    string
	Content []byte
	Tag     string // changes with the content: an ETag
}

// Files returns the page and what it loads.
func Files() ([]File, error) {
	all := []File{
		{Path: "", Type: "text/html; charset=utf-8"},
		{Path: "/app.js", Type: "text/javascript; charset=utf-8"},
		{Path: "/style.css", Type: "text/css; charset=utf-8"},
		{Path: "/icon.svg", Type: "image/svg+xml"},
	}
	for i, f := range all {
		name := "index.html"
		if f.Path != "" {
			name = f.Path[1:]
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read an embedded file: %w", err)
		}
		all[i].Content, all[i].Tag = content, Tag(content)
	}
	return all, nil
}

// Tag is the ETag of a content.
func Tag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}
