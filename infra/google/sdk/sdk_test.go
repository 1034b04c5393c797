package sdk_test

import (
	"slices"
	"testing"

	"coditect.ai/platform/infra/google/sdk"
)

const bucket = "gcp:storage/bucket:Bucket"

func TestFaults(t *testing.T) {
	t.Parallel()
	s, err := sdk.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sound := map[string]any{
		"location": "EU", "name": "b", "labels": map[string]any{"a": "b"}, "uniformBucketLevelAccess": true,
		"retentionPolicy": map[string]any{"retentionPeriod": 60.0},
		"lifecycleRules":  []any{map[string]any{"action": map[string]any{"type": "Delete"}, "condition": map[string]any{"age": 3.0}}},
	}
	if faults, err := s.Faults(bucket, sound); err != nil || len(faults) != 0 {
		t.Errorf("sound inputs have faults %q (%v)", faults, err)
	}
	faulty := map[string]any{
		"name": 3.0, "labels": map[string]any{"a": true}, "uniformBucketLevelAcess": true, "versioning": map[string]any{},
		"retentionPolicy": map[string]any{"retentionPeriod": 1.5}, "lifecycleRules": map[string]any{}, "website": "yes",
	}
	want := []string{
		"labels.a is a bool, not a string", "lifecycleRules is a map[string]interface {}, not a list", "location is required",
		"name is a float64, not a string", "retentionPolicy.retentionPeriod is 1.5 (float64), not a whole number",
		"uniformBucketLevelAcess is no argument", "versioning.enabled is required", "website is a string, not a BucketWebsite",
	}
	faults, err := s.Faults(bucket, faulty)
	if err != nil || !slices.Equal(faults, want) {
		t.Errorf("faults (%v):\n%q\nwant\n%q", err, faults, want)
	}
	for _, kind := range []string{"gcp:storage/bucket:Buckets", "gcp:nowhere/thing:Thing"} {
		if _, err := s.Faults(kind, nil); err == nil {
			t.Errorf("%s is taken for a resource", kind)
		}
	}
	arguments, err := s.Arguments(bucket)
	if err != nil || !arguments["location"].Required || arguments["labels"].Required || arguments["labels"].Replaces {
		t.Errorf("arguments of a bucket (%v): %+v", err, arguments)
	}
}
