package slots

import (
	"maps"
	"testing"

	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/stacks"
)

// TestChanges: each change writes its own settings, keeps the others and can be read back.
func TestChanges(t *testing.T) {
	full := map[string]string{
		"serviceImageBlue": "old", "serviceImageGreen": "later", "gatewayWeightBlue": "9", "gatewayWeightGreen": "91",
	}
	tests := map[string]struct {
		last   map[string]string
		change func(Get, Set)
		want   map[string]string
	}{
		"an image":           {full, Hold(stacks.Green, "new"), map[string]string{"serviceImageBlue": "old", "serviceImageGreen": "new", "gatewayWeightBlue": "9", "gatewayWeightGreen": "91"}},
		"no image":           {full, Hold(stacks.Blue, ""), map[string]string{"serviceImageBlue": "", "serviceImageGreen": "later", "gatewayWeightBlue": "9", "gatewayWeightGreen": "91"}},
		"weights":            {full, Weigh(rollout.Weights{stacks.Blue: 100, stacks.Green: 0}), map[string]string{"serviceImageBlue": "old", "serviceImageGreen": "later", "gatewayWeightBlue": "100", "gatewayWeightGreen": "0"}},
		"nothing is there":   {nil, Hold(stacks.Blue, "new"), map[string]string{"serviceImageBlue": "new"}},
		"nothing is changed": {full, Keep, full},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			tt.change(func(key string) string { return tt.last[key] }, func(key, value string) { got[key] = value })
			if !maps.Equal(got, tt.want) {
				t.Errorf("settings %v, want %v", got, tt.want)
			}
		})
	}
}

// TestRead: what is not set is the default, and what is no number is refused.
func TestRead(t *testing.T) {
	split, err := Read(func(string) string { return "" })
	if err != nil || split.Weights[stacks.Blue] != 100 || split.Weights[stacks.Green] != 0 {
		t.Errorf("nothing set: %+v, %v", split, err)
	}
	if _, err := Read(func(string) string { return "many" }); err == nil {
		t.Error("weights that are no numbers are read")
	}
	if got := Active(func(key string) string {
		return map[string]string{"gatewayWeightBlue": "40", "gatewayWeightGreen": "60"}[key]
	}); got != stacks.Green {
		t.Errorf("%s has most", got)
	}
}
