package cloud

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestSecretIsThere(t *testing.T) {
	for answer, want := range map[string]string{
		`200 {"name":"x","state":"ENABLED"}`: "", `200 {"state":"DISABLED"}`: "not enabled", `404 {}`: "has no value", `403 {}`: "answers 403", `200 {`: "not enabled",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/projects/coditect-dev/secrets/jwt-secret/versions/latest" {
				t.Errorf("asked for %s", r.URL)
			}
			var code int
			_, _ = fmt.Sscan(answer[:3], &code)
			w.WriteHeader(code)
			fmt.Fprint(w, answer[4:])
		}))
		s := &Secrets{"coditect-dev", server.URL, server.Client()}
		if err := s.Ready(t.Context(), "jwt-secret"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", answer, err)
		}
		server.Close()
	}
}
