package stacks_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/stacks"
)

var image = "us-central1-docker.pkg.dev/coditect-dev/coditect/api@sha256:" + strings.Repeat("ab", 32)

// cloud is the least that an environment in the cloud must set.
func cloud(more map[string]string) map[string]string {
	values := map[string]string{
		"project": "coditect-dev", "projectNumber": "123456789012",
		"clusterAuthorizedNetworks": "203.0.113.7/32", "gatewayHost": "dev.coditect.ai",
	}
	maps.Copy(values, more)
	return values
}

func TestDefaultsHold(t *testing.T) {
	s, err := stacks.Load("prod", cloud(nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.Environment != stacks.Prod || s.Database.Redundancy != stacks.Double || s.Database.Replicas != 3 ||
		s.Database.MemoryLimit != 8*stacks.GiB || s.Service.CPURequest != 200 || s.Service.PreStop != 15*time.Second ||
		!s.Cloud.DeletionProtection || s.Weight(stacks.Blue) != 100 || s.Image(stacks.Green) != "" {
		t.Errorf("defaults are not what the platform asks for: %+v", s)
	}
}

func TestValuesReplaceDefaults(t *testing.T) {
	s, err := stacks.Load("local", map[string]string{
		"databaseEngine": "embedded", "deletionProtection": "false", "registryUntaggedAge": "48h",
		"serviceImageGreen": image, "gatewayWeightBlue": "0", "gatewayWeightGreen": "100", "serviceCpuLimit": "1500m",
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Database.Engine != stacks.Embedded || s.Cloud.DeletionProtection || s.Registry.UntaggedAge != 48*time.Hour ||
		s.Image(stacks.Green) != image || s.Weight(stacks.Green) != 100 || s.Service.CPULimit.String() != "1500m" {
		t.Errorf("values are not what was set: %+v", s)
	}
}

func TestOperated(t *testing.T) {
	s, err := stacks.Load("dev", cloud(map[string]string{"operatorImage": image, "operatorBackend": "gs://coditect-dev-pulumi/stacks"}))
	if err != nil || !s.Operated() || s.Operator.Bucket() != "coditect-dev-pulumi" {
		t.Errorf("operated: %t, state in %q, %v", s.Operated(), s.Operator.Bucket(), err)
	}
	if s, err = stacks.Load("dev", cloud(nil)); err != nil || s.Operated() {
		t.Errorf("without an image: %t, %v", s.Operated(), err)
	}
}

func TestRefusals(t *testing.T) {
	local := map[string]string{"databaseEngine": "embedded"}
	for name, test := range map[string]struct {
		environment string
		values      map[string]string
		// want is each fault's key and a part of its reason.
		want map[string]string
	}{
		"nothing set in a cloud": {"dev", nil, map[string]string{
			"project": "needs the Google Cloud project", "projectNumber": "gcloud projects describe",
			"clusterAuthorizedNetworks": "may be reached from", "gatewayHost": "host name",
		}},
		"a backup that no client could write": {"prod", cloud(map[string]string{
			"databaseVersion": "7.1.27", "databaseExporterImage": "", "backupAccessId": "GOOG1EXAMPLEEXAMPLEEXAMPLE",
		}), map[string]string{"backupAccessId": "7.3.78"}},
		"a backup that cannot be": {"dev", cloud(map[string]string{
			"backupBucket": "B", "backupKeepDays": "3", "backupAccessId": "secret", "backupRetention": "24h",
		}), map[string]string{"backupRetention": "from 168h"}},
		"a backup that cannot be kept": {"dev", cloud(map[string]string{"backupBucket": "B", "backupKeepDays": "3", "backupAccessId": "secret", "backupDrillSchedule": "weekly"}), map[string]string{
			"backupDrillSchedule": "five fields", "backupBucket": "3 to 63", "backupKeepDays": "must be kept", "backupAccessId": "HMAC",
		}},
		"watching that cannot be": {"dev", cloud(map[string]string{
			"monitoringRunbooks": "docs", "databaseExporterImage": "clevercloud/fdbexporter:latest", "deliveryRepository": "coditect", "deliveryTag": "(",
		}), map[string]string{
			"monitoringRunbooks": "https://", "databaseExporterImage": "exact image", "deliveryRepository": "OWNER/NAME", "deliveryTag": "regular expression",
			"deliveryClientSum": "64 hexadecimal",
		}},
		"an adapter that changes by itself": {"dev", cloud(map[string]string{"monitoringAdapterImage": "gcr.io/adapter:latest"}), map[string]string{
			"monitoringAdapterImage": "exact image",
		}},
		"a database open to the world": {"dev", cloud(map[string]string{"databaseClients": "10.0.0.0/8,0.0.0.0/0"}), map[string]string{
			"databaseClients": "only private networks",
		}},
		"letters without a sender": {"dev", cloud(map[string]string{"mailServer": "smtp.example.com"}), map[string]string{
			"mailServer": "HOST:PORT", "mailFrom": "need a sender",
		}},
		"a letter to nobody": {"dev", cloud(map[string]string{"monitoringEmails": "oncall"}), map[string]string{"monitoringEmails": "must be an address"}},
		"an exporter of another minor version": {"dev", cloud(map[string]string{"databaseVersion": "7.1.27"}), map[string]string{
			"databaseExporterImage": "of FoundationDB 7.1",
		}},
		"networks that cannot be": {"dev", cloud(map[string]string{
			"networkNodes": "10.10.0.1/20", "networkPods": "ten", "clusterAuthorizedNetworks": "203.0.113.7/32, everywhere",
			"clusterMaintenanceDays": "SA,SA", "clusterFreezes": "holidays=2027-01-04/2026-12-18",
		}), map[string]string{
			"networkNodes": "first address: 10.10.0.0/20", "networkPods": "like \"10.10.0.0/20\"", "clusterAuthorizedNetworks": "everywhere: must be",
			"clusterMaintenanceDays": "different days", "clusterFreezes": "end after it begins",
		}},
		"networks that do not fit": {"dev", cloud(map[string]string{
			"networkNodes": "8.8.0.0/20", "networkPods": "10.30.0.0/22", "clusterControlPlane": "172.16.0.0/24", "clusterAuthorizedNetworks": "0.0.0.0/0",
		}), map[string]string{
			"networkNodes": "private", "networkPods": "takes 256", "networkServices": "overlaps networkPods", "clusterControlPlane": "a /28",
			"clusterAuthorizedNetworks": "open to the world",
		}},
		"a cluster that GKE would refuse": {"dev", cloud(map[string]string{
			"clusterName": "Coditect", "clusterMaintenanceDays": "SU", "clusterMaxNodes": "2",
		}), map[string]string{"clusterName": "2 to 24", "clusterMaintenanceDays": "48 hours", "clusterNodes": "clusterMaxNodes"}},
		"a cluster in another region": {"dev", cloud(map[string]string{"clusterLocation": "europe-west1-b"}), map[string]string{
			"clusterLocation": "us-central1 or a zone in it",
		}},
		"nodes that do not divide among zones": {"dev", cloud(map[string]string{"clusterLocation": "us-central1", "clusterNodes": "4"}), map[string]string{
			"clusterNodes": "has 3",
		}},
		"freezes that GKE would refuse": {"dev", cloud(map[string]string{"clusterFreezes": "long=2026-01-01/2026-12-01"}), map[string]string{
			"clusterFreezes": "180 days",
		}},
		"a phase of a recovery without a key to the bucket": {"dev", cloud(map[string]string{"recoveryPhase": "ground"}), map[string]string{
			"backupAccessId": "reads the backup",
		}},
		"phases without what they are made of": {"dev", recovering("restore", ""), map[string]string{"recoveryFrom": "like coditect@4711"}},
		"a rehearsal without a key":            {"dev", recovering("rehearse", ""), map[string]string{"recoveryKey": "16 to 64"}},
		"a database from its own backup": {"dev", with(recovering("restore", "coditect-2@4711"), "databaseGeneration", "2"), map[string]string{
			"recoveryFrom": "another generation",
		}},
		"a phase of the embedded engine": {"local", with(local, "recoveryPhase", "halt"), map[string]string{
			"recoveryPhase": "for FoundationDB", "backupAccessId": "reads the backup",
		}},
		"every fault at once": {"dev", cloud(map[string]string{
			"databaseReplica": "3", "serviceReplicas": "many", "clusterNodes": "0", "registryUntaggedAge": "soon",
			"databaseMemoryLimit": "8GB", "serviceCpuRequest": "lots", "deletionProtection": "maybe", "databaseRedundancy": "quadruple",
		}), map[string]string{
			"databaseReplica": "did you mean databaseReplicas?", "serviceReplicas": "whole number", "clusterNodes": "from 1 to 100",
			"registryUntaggedAge": "duration", "databaseMemoryLimit": "512Mi", "serviceCpuRequest": "200m",
			"deletionProtection": "true or false", "databaseRedundancy": "single, double, triple",
		}},
		"an unknown key like no other": {"local", with(local, "colour", "red"), map[string]string{"colour": "docs/settings.md"}},
		"double on two machines": {"dev", cloud(map[string]string{"clusterNodes": "2", "databaseReplicas": "2"}), map[string]string{
			"databaseReplicas": "fewer than 3 machines",
		}},
		"triple on three machines": {"prod", cloud(map[string]string{"databaseRedundancy": "triple"}), map[string]string{
			"databaseReplicas": "fewer than 5 machines",
		}},
		"more database pods than nodes": {"dev", cloud(map[string]string{"databaseReplicas": "5"}), map[string]string{
			"databaseReplicas": "a node of its own",
		}},
		"single where data matters": {"staging", cloud(map[string]string{"databaseRedundancy": "single"}), map[string]string{
			"databaseRedundancy": "would lose data",
		}},
		"machine smaller than requests": {"dev", cloud(map[string]string{"clusterMachineType": "e2-highcpu-4"}), map[string]string{
			"clusterMachineType": "busiest node", "databaseMemoryLimit": "offers",
		}},
		"machine smaller than a limit": {"dev", cloud(map[string]string{"clusterMachineType": "e2-standard-2"}), map[string]string{
			"databaseMemoryLimit": "offers 6248Mi",
		}},
		"machine unknown": {"dev", cloud(map[string]string{"clusterMachineType": "huge"}), map[string]string{
			"clusterMachineType": "known machine type",
		}},
		"memory under FoundationDB's floor": {"dev", cloud(map[string]string{"databaseMemoryRequest": "2Gi"}), map[string]string{
			"databaseMemoryRequest": "from 4Gi",
		}},
		"requests above limits": {
			"dev", cloud(map[string]string{"serviceMemoryRequest": "2Gi", "serviceCpuRequest": "2", "databaseCpuRequest": "3"}),
			map[string]string{
				"serviceMemoryRequest": "serviceMemoryLimit", "serviceCpuRequest": "serviceCpuLimit", "databaseCpuRequest": "databaseCpuLimit",
				"clusterMachineType": "busiest node",
			},
		},
		"image by tag": {"dev", cloud(map[string]string{"serviceImageBlue": "coditect/api:latest"}), map[string]string{
			"serviceImageBlue": "by digest",
		}},
		"weights that do not add up": {"local", with(local, "gatewayWeightGreen", "10"), map[string]string{
			"gatewayWeightBlue": "together they must be 100, not 110",
		}},
		"weight out of bounds": {"local", with(local, "gatewayWeightBlue", "101"), map[string]string{"gatewayWeightBlue": "from 0 to 100"}},
		"traffic to an empty slot": {"local", with(local, "serviceImageGreen", image), map[string]string{
			"gatewayWeightBlue": "has no image",
		}},
		"floor above ceiling":         {"local", with(local, "serviceReplicas", "11"), map[string]string{"serviceReplicas": "serviceMaxReplicas"}},
		"embedded engine in a cloud":  {"dev", cloud(local), map[string]string{"databaseEngine": "use foundationdb"}},
		"FoundationDB on one machine": {"local", nil, map[string]string{"databaseEngine": "use embedded"}},
		"a pause too short for a load balancer": {"dev", cloud(map[string]string{"servicePreStop": "1s"}), map[string]string{
			"servicePreStop": "5s or more",
		}},
		"a server that knows coordinators by address alone": {"dev", cloud(map[string]string{"databaseVersion": "7.1.3"}), map[string]string{
			"databaseVersion": "from 7.1.4 on",
		}},
		"an operator without a backend": {"dev", cloud(map[string]string{"operatorImage": image}), map[string]string{"operatorBackend": "gs://PROJECT-pulumi"}},
		"an operator of a backend without a key": {"dev", cloud(map[string]string{"operatorImage": "operator:v1", "operatorBackend": "https://api.pulumi.com"}), map[string]string{
			"operatorImage": "by digest", "operatorBackend": "no key for any other backend",
		}},
		"the state among the backups": {"dev", cloud(map[string]string{"operatorImage": image, "operatorBackend": "gs://coditect-dev-backups/state"}), map[string]string{
			"operatorBackend": "bucket of its own",
		}},
		"an operator of this machine": {"local", map[string]string{"databaseEngine": "embedded", "operatorImage": image}, map[string]string{"operatorImage": "on this machine"}},
		"the namespace of what belongs nowhere": {"dev", cloud(map[string]string{"namespace": "default"}), map[string]string{
			"namespace": "belong to the cluster",
		}},
		"names that Kubernetes or Google refuse": {"dev", cloud(map[string]string{
			"namespace": "kube-system", "region": "mars", "project": "X", "projectNumber": "x", "gatewayHost": "https://coditect.ai",
			"registryRepository": "Coditect", "databaseVersion": "6.2.0",
		}), map[string]string{
			"namespace": "belong to the cluster", "region": "us-central1", "project": "ID", "projectNumber": "digits",
			"gatewayHost": "domain name", "registryRepository": "lower-case", "databaseVersion": "7.3",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := stacks.Load(test.environment, test.values)
			var refusal *stacks.RefusalError
			if !errors.As(err, &refusal) {
				t.Fatalf("settings were not refused: %v", err)
			}
			found := map[string]string{}
			for _, f := range refusal.Faults {
				found[f.Key] += f.Reason
				if !strings.Contains(err.Error(), stacks.Project+":"+f.Key+" "+f.Reason) {
					t.Errorf("the message leaves out %s: %s", f.Key, f.Reason)
				}
			}
			for key, reason := range test.want {
				if !strings.Contains(found[key], reason) {
					t.Errorf("%s: want a reason with %q, got %q", key, reason, found[key])
				}
				delete(found, key)
			}
			for key, reason := range found {
				t.Errorf("%s was refused without need: %s", key, reason)
			}
		})
	}
}

func TestUnknownEnvironment(t *testing.T) {
	if _, err := stacks.Load("production", nil); err == nil || !strings.Contains(err.Error(), "dev staging prod") {
		t.Errorf("want the environments by name, got %v", err)
	}
}

// The table is sound: no key twice, each explained, each default legal by itself.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range stacks.Table() {
		if seen[s.Key] || s.Key == "" || s.Doc == "" {
			t.Errorf("setting %q: key and meaning must be there, once", s.Key)
		}
		seen[s.Key] = true
	}
	if _, err := stacks.Load("dev", cloud(nil)); err != nil {
		t.Errorf("defaults are refused: %v", err)
	}
}

func recovering(phase, from string) map[string]string {
	return cloud(map[string]string{"recoveryPhase": phase, "recoveryFrom": from, "backupAccessId": "GOOG1EXAMPLEEXAMPLEEXAMPLE"})
}

func with(values map[string]string, key, value string) map[string]string {
	values = maps.Clone(values)
	values[key] = value
	return values
}
