package stacks_test

import (
	"strings"
	"testing"

	"coditect.ai/platform/stacks"
)

func TestMoved(t *testing.T) {
	load := func(more ...string) stacks.Settings {
		t.Helper()
		values := map[string]string{"project": "a-project", "projectNumber": "1", "clusterAuthorizedNetworks": "203.0.113.7/32", "gatewayHost": "a.example.com"}
		for i := 0; i < len(more); i += 2 {
			values[more[i]] = more[i+1]
		}
		s, err := stacks.Load("dev", values)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	made := load()
	deployed := made.Fixed()
	for key, value := range map[string]string{
		"clusterLocation": "us-central1-a", "networkNodes": "10.10.0.0/20", "databaseStorageSize": "50Gi", "databaseEngine": "foundationdb", "backupBucket": "a-project-backups",
	} {
		if deployed[key] != value {
			t.Errorf("%s is %q, want %q", key, deployed[key], value)
		}
	}
	if _, free := deployed["serviceReplicas"]; free {
		t.Error("a setting that may change counts as fixed")
	}
	// The same in other words is the same, and what may change may.
	same := load("databaseStorageSize", "51200Mi", "backupBucket", "a-project-backups", "serviceReplicas", "4")
	if faults := same.Moved(deployed); len(faults) != 0 {
		t.Errorf("nothing moved: %v", faults)
	}
	faults := load("clusterLocation", "us-central1", "databaseStorageClass", "premium-rwo").Moved(deployed)
	if len(faults) != 2 || faults[0].Key != "clusterLocation" || faults[1].Key != "databaseStorageClass" ||
		!strings.Contains(faults[0].Reason, `is "us-central1", and "us-central1-a" is deployed: a zonal cluster never becomes a regional one`) {
		t.Errorf("%v", faults)
	}
	// Settings that were no choice yet when the environment was made are taken as they are.
	delete(deployed, "clusterLocation")
	deployed["databaseGeneration"] = "2"
	if faults := load().Moved(deployed); len(faults) != 1 || faults[0].Key != "databaseGeneration" || !strings.Contains(faults[0].Reason, "older") {
		t.Errorf("a file of before a recovery: %v", faults)
	}
	if faults := load("databaseGeneration", "3").Moved(deployed); len(faults) != 0 {
		t.Errorf("a recovery raises it: %v", faults)
	}
	deployed["databaseGeneration"] = "1"
	if faults := load("clusterLocation", "us-central1").Moved(deployed); len(faults) != 0 {
		t.Errorf("an unknown past: %v", faults)
	}
}

// A file that is older than what releases have made is refused where nobody writes
// their outcome into it, and nowhere else.
func TestReverted(t *testing.T) {
	load := func(more map[string]string) stacks.Settings {
		t.Helper()
		s, err := stacks.Load("dev", cloud(more))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	operated := map[string]string{"operatorImage": image, "operatorBackend": "gs://coditect-dev-pulumi", "serviceImageBlue": image, "legacyImage": image}
	older := load(operated)
	deployed := older.Released()
	if faults := older.Reverted(deployed); len(faults) > 0 {
		t.Errorf("the file is as new as can be: %v", faults)
	}
	if faults := older.Reverted(nil); len(faults) > 0 {
		t.Errorf("nothing was ever released: %v", faults)
	}
	// A release has taken all requests, and API v2 is retired.
	deployed["serviceImageBlue"], deployed["serviceImageGreen"] = "", image
	deployed["gatewayWeightBlue"], deployed["gatewayWeightGreen"] = "0", "100"
	deployed["legacyImage"] = ""
	var keys []string
	for _, fault := range older.Reverted(deployed) {
		keys = append(keys, fault.Key)
		if !strings.Contains(fault.Reason, "coditect rollout settings --env dev") {
			t.Errorf("%s: %s", fault.Key, fault.Reason)
		}
	}
	if want := "gatewayWeightBlue gatewayWeightGreen legacyImage serviceImageGreen"; strings.Join(keys, " ") != want {
		t.Errorf("refused are %v, want %s", keys, want)
	}
	// The first image of a slot is no release that is taken back.
	first := load(map[string]string{"operatorImage": image, "operatorBackend": "gs://coditect-dev-pulumi"}).Released()
	if faults := load(map[string]string{"operatorImage": image, "operatorBackend": "gs://coditect-dev-pulumi", "serviceImageBlue": image}).Reverted(first); len(faults) > 0 {
		t.Errorf("the first image: %v", faults)
	}
	delete(operated, "operatorImage")
	delete(operated, "operatorBackend")
	if faults := load(operated).Reverted(deployed); len(faults) != 4 {
		t.Errorf("a file of before the environment moved its releases itself: %v", faults)
	}
	delete(deployed, "operated")
	if faults := load(operated).Reverted(deployed); len(faults) > 0 {
		t.Errorf("where people release, they have written the file: %v", faults)
	}
}
