package slots

import (
	"maps"
	"testing"

	"coditect.ai/platform/infra/retire"
)

// TestLegacy: what is the default is left out of the file.
func TestLegacy(t *testing.T) {
	for _, tt := range []struct {
		c    retire.Configuration
		want map[string]string
	}{
		{retire.Configuration{Image: "i", Replicas: 3, Routed: true}, map[string]string{"legacyImage": "i", "legacyReplicas": "", "legacyRouted": ""}},
		{retire.Configuration{Image: "i", Replicas: 1, Routed: false}, map[string]string{"legacyImage": "i", "legacyReplicas": "1", "legacyRouted": "false"}},
		{retire.Configuration{Image: "", Replicas: 1, Routed: false}, map[string]string{"legacyImage": "", "legacyReplicas": "1", "legacyRouted": "false"}},
	} {
		if got := Legacy(tt.c); !maps.Equal(got, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.c, got, tt.want)
		}
	}
}
