package console

import (
	"context"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed page
var page embed.FS

// policy lets the page load its own files alone, and make no HTML of text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// writeWait bounds how long a page may take to accept an event.
const writeWait = 10 * time.Second

// handler answers the page; actions that it starts live until ctx ends.
func (c *Console) handler(ctx context.Context) (http.Handler, error) {
	files, err := fs.Sub(page, "page")
	if err != nil {
		return nil, fmt.Errorf("read the embedded page: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /events", c.events)
	mux.HandleFunc("POST /actions/{id}", func(w http.ResponseWriter, r *http.Request) { c.act(ctx, w, r) })
	return c.guard(mux), nil
}

// guard lets in who has the key, and no other site's page: neither under a name
// that was made to point here nor by a request of its own.
func (c *Console) guard(next http.Handler) http.Handler {
	cookie := "coditect-console-" + c.port // a browser keeps cookies of all ports together
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		if r.Host != "127.0.0.1:"+c.port && r.Host != "localhost:"+c.port {
			http.Error(w, "The console answers on loopback only.", http.StatusMisdirectedRequest)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
			http.Error(w, "The console answers its own page only.", http.StatusForbidden)
			return
		}
		if given := r.URL.Query().Get("key"); given != "" && r.Method == http.MethodGet && c.is(given) {
			http.SetCookie(w, &http.Cookie{ //nolint:gosec // plain HTTP on loopback: Secure would keep it from the page
				Name: cookie, Value: given, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
			})
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		if k, err := r.Cookie(cookie); err != nil || !c.is(k.Value) {
			http.Error(w, "Open the address that `coditect console` printed: it carries the key.", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (c *Console) is(key string) bool {
	return subtle.ConstantTimeCompare([]byte(key), []byte(c.key)) == 1
}

// events streams snapshots until the page or the console goes.
func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	ch, ok := c.feed.join()
	if !ok {
		http.Error(w, "Too many pages are open: close one.", http.StatusServiceUnavailable)
		return
	}
	defer c.feed.leave(ch)
	c.lookSoon()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case s := <-ch:
			raw, err := json.Marshal(s)
			if err != nil {
				return // no snapshot fails to be encoded
			}
			if out.SetWriteDeadline(time.Now().Add(writeWait)) != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", raw); err != nil {
				return
			}
			if out.Flush() != nil {
				return
			}
		}
	}
}

// act starts an action that was confirmed by the environment's name.
func (c *Console) act(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") == "" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		http.Error(w, "The console acts for its own page only.", http.StatusForbidden)
		return
	}
	i := slices.IndexFunc(c.options.Actions, func(a Action) bool { return a.ID == r.PathValue("id") })
	if i < 0 {
		http.Error(w, "There is no such action.", http.StatusNotFound)
		return
	}
	var given struct {
		Confirm string `json:"confirm"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&given); err != nil || given.Confirm != c.options.Environment {
		http.Error(w, "Confirm with the environment's name, "+c.options.Environment+".", http.StatusBadRequest)
		return
	}
	switch err := c.runner.start(ctx, c.options.Actions[i]); {
	case errors.Is(err, errBusy):
		http.Error(w, "Another action runs at this moment: wait until it has ended.", http.StatusConflict)
	case err != nil:
		http.Error(w, "It could not be started: "+err.Error(), http.StatusInternalServerError)
	default:
		c.lookSoon()
		w.WriteHeader(http.StatusAccepted)
	}
}
