package program_test

import (
	"encoding/json"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/apis"
	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/cluster"
	"coditect.ai/platform/infra/companion"
	"coditect.ai/platform/infra/database"
	"coditect.ai/platform/infra/delivery"
	"coditect.ai/platform/infra/gateway"
	"coditect.ai/platform/infra/monitoring"
	"coditect.ai/platform/infra/network"
	"coditect.ai/platform/infra/operator"
	"coditect.ai/platform/infra/pod"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/registry"
	"coditect.ai/platform/infra/scaling"
	"coditect.ai/platform/infra/secrets"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/stacks"
)

// A faulty stack makes nothing and learns every fault at once, a misspelt key included.
func TestFaultySettings(t *testing.T) {
	values := committed(t, stacks.Local)
	maps.Copy(values, map[string]string{
		"databaseReplica": "3", "gatewayWeightBlue": "70", "serviceImageBlue": "coditect/api:latest", "serviceReplicas": "1",
	})
	handed := map[string]string{"other:key": "ignored"}
	for key, value := range values {
		handed[program.Project+":"+key] = value
	}
	raw, err := json.Marshal(handed)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(pulumi.EnvConfig, string(raw))

	resources, err := run(stacks.Local, values, program.Deploy)
	if err == nil {
		t.Fatal("faulty settings were taken")
	}
	for _, want := range []string{
		"coditect:databaseReplica is no setting; did you mean databaseReplicas?",
		"coditect:serviceImageBlue", "by digest",
		"coditect:serviceReplicas", "from 2 to 100",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal leaves out %q:\n%v", want, err)
		}
	}
	if len(resources) != 0 {
		t.Errorf("a refused program made %d resources", len(resources))
	}
}

func TestUnknownStack(t *testing.T) {
	if _, err := run("production", nil, program.Deploy); err == nil || !strings.Contains(err.Error(), "unknown environment") {
		t.Errorf("want the environments by name, got %v", err)
	}
}

// Components refuse arguments that cannot work, whoever calls them, and say every reason.
func TestComponentsRefuse(t *testing.T) {
	namespace := pulumi.String("coditect-app")
	size := pod.Size{CPURequest: 2 * stacks.Core, CPULimit: stacks.Core, MemoryRequest: stacks.GiB, MemoryLimit: stacks.GiB}
	for name, test := range map[string]struct {
		body pulumi.RunFunc
		want []string
	}{
		"companion": {func(ctx *pulumi.Context) error {
			_, err := companion.New(ctx, "c", companion.Args{ListenPort: 80, Size: size})
			return err
		}, []string{"App", "Image", "HealthPath", "Namespace", "ordinary user", "size"}},
		"backup": {func(ctx *pulumi.Context) error {
			_, err := backup.New(ctx, "b", backup.Args{KeepDays: 1, RestorableDays: 2})
			return err
		}, []string{"ProjectID", "Bucket", "CredentialsFile", "Namespace", "must be kept", "7 to 90 days", "SnapshotEvery"}},
		"operator": {func(ctx *pulumi.Context) error {
			_, err := operator.New(ctx, "o", operator.Args{})
			return err
		}, []string{"ProjectID", "Environment", "Image", "Backend", "StateBucket", "Bucket", "Operations", "PassphraseFile", "Namespace", "may take"}},
		"monitoring": {func(ctx *pulumi.Context) error {
			_, err := monitoring.New(ctx, "m", monitoring.Args{Availability: 100})
			return err
		}, []string{"ProjectID", "Host", "Namespace", "LogDays", "between 0 and 100"}},
		"scaling": {func(ctx *pulumi.Context) error {
			_, err := scaling.New(ctx, "s", scaling.Args{})
			return err
		}, []string{"ProjectID", "Image"}},
		"delivery": {func(ctx *pulumi.Context) error {
			_, err := delivery.New(ctx, "d", delivery.Args{})
			return err
		}, []string{"ProjectID", "Owner", "ClientSum", "Repository"}},
		"apis": {func(ctx *pulumi.Context) error {
			_, err := apis.New(ctx, "a", apis.Args{})
			return err
		}, []string{"ProjectID"}},
		"network": {func(ctx *pulumi.Context) error {
			same := netip.MustParsePrefix("10.0.0.0/20")
			_, err := network.New(ctx, "n", network.Args{Nodes: same, Pods: same, Services: netip.MustParsePrefix("10.1.0.0/20")})
			return err
		}, []string{"ProjectID", "Region", "Name", "overlap"}},
		"cluster": {func(ctx *pulumi.Context) error {
			_, err := cluster.New(ctx, "c", cluster.Args{Location: "us-central1", Nodes: 4, MaxNodes: 3})
			return err
		}, []string{"ProjectID", "Network", "/28", "Authorized", "two Days", "zones", "DiskGB"}},
		"registry": {func(ctx *pulumi.Context) error {
			_, err := registry.New(ctx, "r", registry.Args{UntaggedAge: time.Second})
			return err
		}, []string{"ProjectID", "Region", "Repository", "KeepVersions", "UntaggedAge"}},
		"secrets": {func(ctx *pulumi.Context) error {
			_, err := secrets.New(ctx, "s", secrets.Args{})
			return err
		}, []string{"ProjectID", "ProjectNumber", "Namespace", "Reader"}},
		"database": {func(ctx *pulumi.Context) error {
			_, err := database.New(ctx, "d", database.Args{Redundancy: "triple", Replicas: 3, Coordinators: 5})
			return err
		}, []string{"Namespace", "StorageClass", "Identity", "too few", "requests"}},
		"service": {func(ctx *pulumi.Context) error {
			_, err := service.New(ctx, "s", service.Args{Namespace: namespace, Replicas: 1, MaxReplicas: 1, Size: size})
			return err
		}, []string{"at least two pods", "PreStop", "within limits"}},
		"gateway": {func(ctx *pulumi.Context) error {
			_, err := gateway.New(ctx, "g", gateway.Args{Backends: []gateway.Backend{{Slot: "blue", Weight: -1}}})
			return err
		}, []string{"Namespace", "weight of blue is -1", "not 100", "LocalPort"}},
		"gateway with half of TLS": {func(ctx *pulumi.Context) error {
			_, err := gateway.New(ctx, "g", gateway.Args{
				Namespace: namespace, Backends: []gateway.Backend{{Slot: "blue", Weight: 100}}, TLS: &gateway.TLS{Host: "coditect.ai"},
			})
			return err
		}, []string{"project, host, address and certificate map"}},
	} {
		t.Run(name, func(t *testing.T) {
			resources, err := run(stacks.Dev, nil, test.body)
			if err == nil {
				t.Fatal("arguments were taken")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the refusal leaves out %q: %v", want, err)
				}
			}
			if len(resources) != 0 {
				t.Errorf("a refused component made %d resources", len(resources))
			}
		})
	}
}
