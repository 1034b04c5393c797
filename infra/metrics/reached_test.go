package metrics_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/metrics"
)

// TestReached: silence is zero only where others were counted over the same time.
func TestReached(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		legacy, end, beginning string // "" where there is no series
		want                   float64
		missing                bool
	}{
		"requests":                  {"12", "9000", "8000", 12, false},
		"none":                      {"0", "9000", "8000", 0, false},
		"no series":                 {"", "9000", "8000", 0, false},
		"nothing is counted at all": {"", "", "", 0, true},
		"not from the beginning":    {"", "9000", "", 0, true},
		"not to the end":            {"0", "0", "8000", 0, true},
		"no number":                 {"NaN", "9000", "8000", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				query := r.FormValue("query")
				value := tt.legacy
				if strings.Contains(query, `.*-shop-coditect-api-v5-blue-.*`) {
					value = tt.end
					if strings.Contains(query, "offset") {
						value = tt.beginning
					}
				} else if !strings.Contains(query, `.*-shop-coditect-api-v2-.*`) {
					t.Errorf("asked %s", query)
				}
				result := []any{}
				if value != "" {
					result = append(result, map[string]any{"metric": map[string]string{}, "value": []any{1, value}})
				}
				raw, err := json.Marshal(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
				if err != nil {
					t.Error(err)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(raw)
			}))
			t.Cleanup(server.Close)
			p := open(t, metrics.Options{Address: server.URL})
			n, err := p.Reached(t.Context(), "coditect-api-v2", "coditect-api-v5-blue", 24*time.Hour)
			if errors.Is(err, metrics.ErrNoData) != tt.missing || err == nil && n != tt.want {
				t.Errorf("%v, %v", n, err)
			}
		})
	}
}
