package price_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/price"
)

func resource(t *testing.T, token, inputs string) price.Resource {
	t.Helper()
	r := price.Resource{Type: token, Name: "x"}
	if err := json.Unmarshal([]byte(inputs), &r.Inputs); err != nil {
		t.Fatal(err)
	}
	return r
}

const pool = `{"nodeCount": 3, "nodeConfig": {"machineType": "e2-standard-4", "diskType": "pd-standard", "diskSizeGb": 100}}`

// The figures of the price lists, worked out by hand.
func TestEstimate(t *testing.T) {
	for name, test := range map[string]struct {
		resources []price.Resource
		want      float64
	}{
		"nothing":              {nil, 0},
		"the control plane":    {[]price.Resource{resource(t, "gcp:container/cluster:Cluster", `{}`)}, 73},
		"three nodes":          {[]price.Resource{resource(t, "gcp:container/nodePool:NodePool", pool)}, 3*0.134012*730 + 3*100*0.04},
		"a pool over zones":    {[]price.Resource{resource(t, "gcp:container/nodePool:NodePool", `{"initialNodeCount": 1, "autoscaling": {"totalMinNodeCount": 3, "totalMaxNodeCount": 6}, "nodeConfig": {"machineType": "e2-standard-4", "diskType": "pd-standard", "diskSizeGb": 100}}`)}, 3*0.134012*730 + 3*100*0.04},
		"NAT of three nodes":   {[]price.Resource{resource(t, "gcp:compute/routerNat:RouterNat", `{}`), resource(t, "gcp:container/nodePool:NodePool", pool)}, 3*0.134012*730 + 12 + (3*0.0014+0.005)*730},
		"the database's disks": {[]price.Resource{resource(t, "kubernetes:apps/v1:StatefulSet", `{"spec": {"replicas": 3, "volumeClaimTemplates": [{"spec": {"storageClassName": "standard-rwo", "resources": {"requests": {"storage": "50Gi"}}}}]}}`)}, 15},
		"a claim of 1 TiB":     {[]price.Resource{resource(t, "kubernetes:core/v1:PersistentVolumeClaim", `{"spec": {"storageClassName": "premium-rwo", "resources": {"requests": {"storage": "1Ti"}}}}`)}, 1024 * 0.17},
		"the entry":            {[]price.Resource{resource(t, "kubernetes:gateway.networking.k8s.io/v1:Gateway", `{"spec": {"gatewayClassName": "gke-l7-global-external-managed"}}`)}, 18.25},
		"a local entry":        {[]price.Resource{resource(t, "kubernetes:gateway.networking.k8s.io/v1:Gateway", `{"spec": {"gatewayClassName": "simcloud"}}`)}, 0},
		"what costs nothing":   {[]price.Resource{resource(t, "kubernetes:core/v1:Service", `{}`)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := price.Of(test.resources)
			if err != nil || math.Abs(got.Monthly-test.want) > 0.005 {
				t.Errorf("%.2f, want %.2f: %+v %v", got.Monthly, test.want, got.Lines, err)
			}
			sum := 0.0
			for _, line := range got.Lines {
				sum += line.Monthly
			}
			if math.Abs(sum-got.Monthly) > 0.005 {
				t.Errorf("the lines add up to %.2f", sum)
			}
		})
	}
}

// What has no price is named, never counted as free.
func TestUnpriced(t *testing.T) {
	for what, r := range map[string]price.Resource{
		"n9-mega-2": resource(t, "gcp:container/nodePool:NodePool", `{"nodeConfig": {"machineType": "n9-mega-2", "diskType": "pd-standard"}}`),
		"pd-dream":  resource(t, "gcp:container/nodePool:NodePool", `{"nodeConfig": {"machineType": "e2-standard-4", "diskType": "pd-dream"}}`),
		"slow":      resource(t, "kubernetes:core/v1:PersistentVolumeClaim", `{"spec": {"storageClassName": "slow", "resources": {"requests": {"storage": "1Gi"}}}}`),
	} {
		got, err := price.Of([]price.Resource{r})
		if err != nil || !strings.Contains(strings.Join(got.NotCounted, "\n"), what) {
			t.Errorf("%s is not named: %v %v", what, got.NotCounted, err)
		}
	}
}

// The table says when it was made and where its figures are from.
func TestTable(t *testing.T) {
	got, err := price.Of(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.DateOnly, got.Dated); err != nil || got.Source == "" || got.Region == "" || len(got.NotCounted) == 0 {
		t.Errorf("the table says too little: %+v", got)
	}
}
