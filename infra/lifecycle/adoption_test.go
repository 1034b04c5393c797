package lifecycle

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/adoption"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/simcloud/store"
	"coditect.ai/platform/stacks"
)

// The environment that was built by hand: its cluster, as the settings of the stack that takes it over name it.
const (
	project = "projects/coditect-prod"
	byHand  = "codi-poc-e2-cluster"
)

var takingOver = map[string]string{"adopt": "true", "clusterName": byHand}

type manifest = map[string]any

// handBuilt puts into the cloud what was made with the console and kubectl, each
// the way that the program would have it where a change could not be made in place.
func (w *world) handBuilt(t *testing.T) {
	t.Helper()
	in := func(kind, id string) store.Key { return store.Key{Kind: kind, Name: id} }
	app := func(kind, name string) store.Key {
		return store.Key{Kind: kind, Namespace: "coditect-app", Name: name}
	}
	network, subnet := project+"/global/networks/"+byHand, project+"/regions/us-central1/subnetworks/"+byHand+"-nodes"
	pods := manifest{"app.kubernetes.io/name": "foundationdb"}
	outputs := map[store.Key]manifest{w.cluster(): {"endpoint": "198.18.0.9", "masterAuth": manifest{"clusterCaCertificate": "QVVUSE9SSVRZ"}}}
	for key, inputs := range map[store.Key]manifest{
		in("gcp:compute/network:Network", network): {"project": "coditect-prod", "name": byHand, "autoCreateSubnetworks": false, "routingMode": "REGIONAL"},
		in("gcp:compute/subnetwork:Subnetwork", subnet): {
			"project": "coditect-prod", "name": byHand + "-nodes", "region": "us-central1", "network": network, "ipCidrRange": "10.10.0.0/20",
			"secondaryIpRanges": []any{
				manifest{"rangeName": "pods", "ipCidrRange": "10.20.0.0/16"}, manifest{"rangeName": "services", "ipCidrRange": "10.30.0.0/20"},
			},
		},
		w.cluster(): {
			"project": "coditect-prod", "name": byHand, "location": "us-central1-a", "network": network, "subnetwork": subnet,
			"initialNodeCount": 3, "nodeConfig": manifest{"machineType": "e2-standard-4", "diskSizeGb": 100, "diskType": "pd-standard"},
			"networkingMode": "VPC_NATIVE", "datapathProvider": "ADVANCED_DATAPATH",
			"ipAllocationPolicy":   manifest{"clusterSecondaryRangeName": "pods", "servicesSecondaryRangeName": "services"},
			"privateClusterConfig": manifest{"enablePrivateNodes": true, "enablePrivateEndpoint": false, "masterIpv4CidrBlock": "172.16.0.0/28"},
			"addonsConfig":         manifest{"httpLoadBalancing": manifest{"disabled": false}, "horizontalPodAutoscaling": manifest{"disabled": false}},
		},
		in("gcp:artifactregistry/repository:Repository", project+"/locations/us-central1/repositories/coditect"): {
			"project": "coditect-prod", "location": "us-central1", "repositoryId": "coditect", "format": "DOCKER",
		},
		in("gcp:secretmanager/secret:Secret", project+"/secrets/jwt-secret"): {
			"project": "coditect-prod", "secretId": "jwt-secret", "replication": manifest{"auto": manifest{}},
		},
		in("gcp:secretmanager/secret:Secret", project+"/secrets/fdb-cluster-file"): {
			"project": "coditect-prod", "secretId": "fdb-cluster-file", "replication": manifest{"auto": manifest{}},
		},
		in("gcp:compute/globalAddress:GlobalAddress", project+"/global/addresses/coditect-gateway"): {
			"project": "coditect-prod", "name": "coditect-gateway", "addressType": "EXTERNAL", "ipVersion": "IPV4",
		},
		in("/Namespace", "coditect-app"): {"apiVersion": "v1", "kind": "Namespace", "metadata": manifest{"name": "coditect-app"}},
		app("/Service", "fdb-cluster"): {
			"apiVersion": "v1", "kind": "Service", "metadata": manifest{"name": "fdb-cluster", "namespace": "coditect-app"},
			"spec": manifest{"clusterIP": "None", "selector": pods, "ports": []any{manifest{"name": "fdb", "port": 4500}}},
		},
		app("/ConfigMap", "fdb-cluster-file"): {
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": manifest{"name": "fdb-cluster-file", "namespace": "coditect-app"},
			"data": manifest{"fdb.cluster": clusterFile(t)},
		},
		app("apps/StatefulSet", "foundationdb"): {
			"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": manifest{"name": "foundationdb", "namespace": "coditect-app"},
			"spec": manifest{
				"replicas": 3, "serviceName": "fdb-cluster", "podManagementPolicy": "Parallel", "selector": manifest{"matchLabels": pods},
				"template": manifest{"metadata": manifest{"labels": pods}, "spec": manifest{"containers": []any{manifest{
					"name": "foundationdb", "image": "foundationdb/foundationdb:7.1.27",
					"resources": manifest{"requests": manifest{"cpu": "500m", "memory": "2Gi"}},
				}}}},
				"volumeClaimTemplates": []any{manifest{"metadata": manifest{"name": "data"}, "spec": manifest{
					"accessModes": []any{"ReadWriteOnce"}, "storageClassName": "standard-rwo", "resources": manifest{"requests": manifest{"storage": "50Gi"}},
				}}},
			},
		},
	} {
		if _, err := w.cloud.Objects.Put(store.Object{Key: key, Created: time.Now().UTC(), Inputs: inputs, Outputs: outputs[key]}); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) cluster() store.Key {
	return store.Key{Kind: "gcp:container/cluster:Cluster", Name: project + "/locations/us-central1-a/clusters/" + byHand}
}

// clusterFile is what the program gives the database's clients in production.
func clusterFile(t *testing.T) string {
	t.Helper()
	plan, err := os.ReadFile(filepath.Join("..", "program", "testdata", "prod.golden.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`coditect:[0-9a-f]{16}@foundationdb-0\S+`).Find(plan)
	if line == nil {
		t.Fatal("the plan of prod has no cluster file")
	}
	return string(line) + "\n"
}

func (w *world) adoption(t *testing.T) (adoption.Report, string) {
	t.Helper()
	report, err := adoption.Look(t.Context(), w.open(t, takingOver))
	if err != nil {
		t.Fatal(program.Explain(err))
	}
	var text bytes.Buffer
	report.Text(&text)
	return report, text.String()
}

// An environment that was built by hand, and agrees where that counts, is taken
// over: nothing of it is replaced, and later updates know it as their own.
func TestAdoption(t *testing.T) {
	w := begin(t, stacks.Prod, program.Deploy)
	w.handBuilt(t)
	there := w.cloud.Objects.Select(func(store.Key) bool { return true })
	report, text := w.adoption(t)
	if report.InTheWay != 0 || len(report.Resources) != len(there) || report.Created < 50 {
		t.Fatalf("of %d:\n%s", len(there), text)
	}
	for _, want := range []string{"taken over  Cluster " + byHand, "are taken over and nothing is replaced", "taken over  Repository registry\n              cleanupPolicies"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told:\n%s", want, text)
		}
	}
	did := w.up(t, takingOver)
	if did["import"] == 0 || did["replace"]+did["delete"] != 0 {
		t.Errorf("the adoption did %v", did)
	}
	for _, object := range there {
		now, ok := w.cloud.Objects.Get(object.Key)
		if !ok || !now.Created.Equal(object.Created) {
			t.Errorf("%s %s was not kept", object.Key.Kind, object.Key.ID())
		}
	}
	if image := w.at(t, "apps/StatefulSet", "foundationdb", "spec", "template", "spec", "containers", 0, "image"); image == "foundationdb/foundationdb:7.1.27" {
		t.Error("what can be changed in place was left as it was")
	}
	settled := maps.Clone(takingOver)
	settled["adopt"] = "false"
	for _, settings := range []map[string]string{settled, settled} {
		if did := w.up(t, settings); slices.ContainsFunc(slices.Collect(maps.Keys(did)), func(op string) bool { return op != "same" && op != "update" }) {
			t.Errorf("the update after the adoption did %v", did)
		}
	}
}

// One that differs where that counts is left as it is, and the differences are told.
func TestAdoptionIsRefused(t *testing.T) {
	w := begin(t, stacks.Prod, program.Deploy)
	w.handBuilt(t)
	change := func(key store.Key, patch manifest) {
		t.Helper()
		if err := w.cloud.Objects.Change(key, patch); err != nil {
			t.Fatal(err)
		}
	}
	key := func(kind, name string) store.Key {
		return store.Key{Kind: kind, Namespace: "coditect-app", Name: name}
	}
	change(key("apps/StatefulSet", "foundationdb"), manifest{"spec": manifest{"volumeClaimTemplates": []any{manifest{"metadata": manifest{"name": "fdb-data"}, "spec": manifest{
		"accessModes": []any{"ReadWriteOnce"}, "storageClassName": "standard-rwo", "resources": manifest{"requests": manifest{"storage": "50Gi"}},
	}}}}})
	change(key("/ConfigMap", "fdb-cluster-file"), manifest{"data": manifest{"fdb.cluster": "coditect:production@foundationdb-0.fdb-cluster.coditect-app.svc.cluster.local:4500\n"}})
	before := w.cloud.Objects.Select(func(store.Key) bool { return true })
	report, text := w.adoption(t)
	for _, want := range []string{
		"differs     StatefulSet foundationdb", "volumeClaimTemplates", "fdb-data → data (cannot be changed in place)",
		"differs     ConfigMap fdb-cluster-file", "coditect:production@", "cannot be taken over: 2 of",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told:\n%s", want, text)
		}
	}
	if report.InTheWay != 2 {
		t.Errorf("%d stand in the way", report.InTheWay)
	}
	// Plain Pulumi refuses it as well, in the preview that comes before an update.
	if _, err := w.open(t, takingOver).Preview(t.Context()); err == nil || !strings.Contains(program.Explain(err).Error(), "would replace StatefulSet foundationdb") {
		t.Errorf("a plain preview: %v", err)
	}
	// A cluster without the nodes' own network, and no address.
	change(w.cluster(), manifest{"datapathProvider": "LEGACY_DATAPATH", "networkingMode": "ROUTES"})
	if err := w.cloud.Objects.Delete(store.Key{Kind: "gcp:compute/globalAddress:GlobalAddress", Name: project + "/global/addresses/coditect-gateway"}); err != nil {
		t.Fatal(err)
	}
	_, text = w.adoption(t)
	for _, want := range []string{"not there   GlobalAddress coditect-gateway", "differs     Cluster " + byHand, "datapathProvider: LEGACY_DATAPATH → ADVANCED_DATAPATH"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told:\n%s", want, text)
		}
	}
	if after := w.cloud.Objects.Select(func(store.Key) bool { return true }); len(after) != len(before)-1 {
		t.Errorf("of %d objects there are %d: a preview made or took some", len(before)-1, len(after))
	}
}
