package program_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"coditect.ai/platform/infra/gateway"
	"coditect.ai/platform/infra/google"
	"coditect.ai/platform/infra/policy"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/stacks"
)

var update = flag.Bool("update", false, "write the golden plans instead of comparing them")

func image(digit string) string {
	return "us-central1-docker.pkg.dev/coditect-test/coditect/api@sha256:" + strings.Repeat(digit, 64)
}

// added is what an operator, or `make up`, sets beside the committed files.
func added(env stacks.Environment) map[string]string {
	values := map[string]string{}
	if env.Cloud() {
		values["project"] = "coditect-" + string(env)
		values["projectNumber"] = "123456789012"
		values["clusterAuthorizedNetworks"] = "203.0.113.7/32"
	}
	if env == stacks.Prod {
		// Everything that there can be.
		maps.Copy(values, map[string]string{
			"databaseClients": "10.40.0.0/24", "frontendImage": image("3"), "legacyImage": image("4"), "legacyPort": "8000",
			"backupAccessId": "GOOG1EXAMPLEEXAMPLEEXAMPLE", "clusterFreezes": "holidays=2026-12-18/2027-01-04",
			"mailServer": "smtp.example.com:587", "mailFrom": "Coditect <no-reply@coditect.ai>", "mailUser": "coditect",
			"monitoringEmails": "oncall@coditect.ai", "monitoringRunbooks": "https://docs.coditect.ai/runbooks",
			"deliveryRepository": "coditect/platform", "deliveryClientSum": strings.Repeat("5", 64),
			"operatorImage": image("6"), "operatorBackend": "gs://coditect-prod-pulumi",
		})
	}
	switch env {
	case stacks.Local:
		values["serviceImageBlue"] = image("1")
	case stacks.Dev, stacks.Prod:
		// A release under way.
		values["serviceImageBlue"], values["serviceImageGreen"] = image("1"), image("2")
		values["gatewayWeightBlue"], values["gatewayWeightGreen"] = "90", "10"
	case stacks.Staging:
		// A new environment: no release yet.
	}
	return values
}

// committed reads the environment's file.
func committed(t *testing.T, env stacks.Environment) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..")
	project, err := workspace.LoadProject(filepath.Join(root, "Pulumi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	stack, err := workspace.LoadProjectStack(nil, project, filepath.Join(root, "Pulumi."+string(env)+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for key, value := range stack.Config {
		if key.Namespace() != program.Project {
			t.Errorf("Pulumi.%s.yaml sets %s, which belongs to another project", env, key)
		}
		text, err := value.Value(config.NopDecrypter)
		if err != nil {
			t.Fatal(err)
		}
		values[key.Name()] = text
	}
	return values
}

// made is one resource that the program registered.
type made struct {
	Type, Name, Parent string
	Provider           string
	Custom, Protect    bool
	Inputs             map[string]any
	Secret             bool
	DependsOn, Ignored []string
	// DiesWith is the resource whose end is this one's end too.
	DiesWith string
}

// recorder stands for the engine: it keeps what is registered and answers each
// resource with its own inputs.
type recorder struct {
	last resource.PropertyMap // outputs of the last update

	mu   sync.Mutex
	made []made
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	m := made{
		Type: args.TypeToken, Name: args.Name, Custom: args.Custom, Provider: args.Provider,
		Inputs: args.Inputs.Mappable(), Secret: args.Inputs.ContainsSecrets(),
	}
	if rpc := args.RegisterRPC; rpc != nil {
		m.Protect, m.Ignored = rpc.GetProtect(), rpc.GetIgnoreChanges()
		if with := rpc.GetDeletedWith(); with != "" {
			m.DiesWith = urn.URN(with).Name()
		}
		for _, needed := range rpc.GetDependencies() {
			m.DependsOn = append(m.DependsOn, string(urn.URN(needed).Type())+" "+urn.URN(needed).Name())
		}
		if parent := urn.URN(rpc.GetParent()); parent != "" && parent.Type() != "pulumi:pulumi:Stack" {
			m.Parent = parent.Name()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made = append(r.made, m)
	return args.Name + "-id", answer(args), nil
}

// answer is a resource's inputs and what the cloud adds that others are made of.
func answer(args pulumi.MockResourceArgs) resource.PropertyMap {
	outputs := args.Inputs.Copy()
	switch args.TypeToken {
	case google.AccountType:
		email := args.Inputs["accountId"].StringValue() + "@" + args.Inputs["project"].StringValue() + ".iam.gserviceaccount.com"
		outputs["email"], outputs["member"] = resource.NewProperty(email), resource.NewProperty("serviceAccount:"+email)
	case google.GlobalAddressType:
		outputs["address"] = resource.NewProperty("192.0.2.2")
	case google.AuthorizationType:
		outputs["dnsResourceRecords"] = resource.NewProperty([]resource.PropertyValue{resource.NewProperty(resource.PropertyMap{
			"name": resource.NewProperty("_acme-challenge"), "type": resource.NewProperty("CNAME"), "data": resource.NewProperty("proof"),
		})})
	case google.LogBucketType, google.ChannelType, google.ObjectiveType:
		outputs["name"] = resource.NewProperty("projects/p/" + args.Name)
	case google.ClusterType:
		outputs["endpoint"] = resource.NewProperty("192.0.2.1")
		outputs["masterAuth"] = resource.NewProperty(resource.PropertyMap{"clusterCaCertificate": resource.NewProperty("AUTHORITY")})
	}
	return outputs
}

func (r *recorder) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	if args.Token == "pulumi:pulumi:readStackOutputs" {
		return resource.PropertyMap{"outputs": resource.NewProperty(r.last)}, nil
	}
	return nil, fmt.Errorf("the program looks up %s: everything that it needs is a setting", args.Token)
}

// run runs the program against a recorder.
func run(env stacks.Environment, values map[string]string, body pulumi.RunFunc) ([]made, error) {
	return runAfter(nil, env, values, body)
}

// runAfter is run after an update that put out what last says.
func runAfter(last resource.PropertyMap, env stacks.Environment, values map[string]string, body pulumi.RunFunc) ([]made, error) {
	r := &recorder{last: last}
	err := pulumi.RunErr(body, pulumi.WithMocks(program.Project, string(env), r), func(info *pulumi.RunInfo) {
		info.Config = map[string]string{}
		for key, value := range values {
			info.Config[program.Project+":"+key] = value
		}
	})
	slices.SortFunc(r.made, func(a, b made) int {
		return cmp.Or(strings.Compare(a.Parent, b.Parent), strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
	})
	return r.made, err
}

// plan is what the program makes of an environment's settings.
func plan(t *testing.T, env stacks.Environment) []made {
	t.Helper()
	values := committed(t, env)
	maps.Copy(values, added(env))
	resources, err := run(env, values, program.Deploy)
	if err != nil {
		t.Fatal(err)
	}
	if len(resources) == 0 {
		t.Fatal("the program made nothing")
	}
	return resources
}

// A change of the program shows as a change of these files, for a review to read.
func TestPlans(t *testing.T) {
	for _, env := range stacks.Environments() {
		t.Run(string(env), func(t *testing.T) {
			var got bytes.Buffer
			fmt.Fprintf(&got, "# What `pulumi up` makes of %s. Written by `make generate`.\n", env)
			for _, m := range plan(t, env) {
				fmt.Fprintf(&got, "---\n# %s %s", m.Type, m.Name)
				if m.Parent != "" {
					fmt.Fprintf(&got, ", in %s", m.Parent)
				}
				if m.Protect {
					got.WriteString(", protected")
				}
				if m.DiesWith != "" {
					got.WriteString(", gone with " + m.DiesWith)
				}
				for _, property := range m.Ignored {
					got.WriteString(", " + property + " only when it is made")
				}
				got.WriteString("\n")
				if len(m.Inputs) == 0 {
					continue
				}
				body, err := yaml.Marshal(m.Inputs)
				if err != nil {
					t.Fatal(err)
				}
				got.Write(body)
			}
			path := filepath.Join("testdata", string(env)+".golden.yaml")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s differs from the plan: look at it with `make generate` and git diff", path)
			}
		})
	}
}

// An environment's file says nothing that holds without it.
func TestStackFilesHoldOnlyWhatDiffers(t *testing.T) {
	defaults := map[string]string{}
	for _, s := range stacks.Table() {
		defaults[s.Key] = s.Default
	}
	for _, env := range stacks.Environments() {
		for key, value := range committed(t, env) {
			if fallback, known := defaults[key]; !known || fallback == value {
				t.Errorf("Pulumi.%s.yaml sets %s to %q; its default is %q", env, key, value, fallback)
			}
		}
	}
}

// A slot is given requests only after its pods are ready.
func TestRouteWaitsForPods(t *testing.T) {
	for env, want := range map[stacks.Environment][]stacks.Slot{
		stacks.Local: {stacks.Blue}, stacks.Dev: stacks.Slots(), stacks.Staging: nil, stacks.Prod: stacks.Slots(),
	} {
		resources := plan(t, env)
		i := slices.IndexFunc(resources, func(m made) bool { return m.Name == gateway.Route+"-httproute" })
		if i < 0 {
			t.Fatalf("%s has no route", env)
		}
		for _, slot := range stacks.Slots() {
			pods := "kubernetes:apps/v1:Deployment " + service.SlotName(string(slot))
			if waits := slices.Contains(resources[i].DependsOn, pods); waits != slices.Contains(want, slot) {
				t.Errorf("%s: the route waits for %s: %t; it depends on %v", env, pods, waits, resources[i].DependsOn)
			}
		}
	}
}

// A backend is given requests only after it is told how to be checked: the
// default check would find none of its pods healthy.
func TestRoutesWaitForPolicies(t *testing.T) {
	for _, env := range stacks.Environments() {
		resources := plan(t, env)
		waits := map[string][]string{}
		for _, m := range resources {
			waits[m.Name] = m.DependsOn
		}
		for _, m := range resources {
			kind, _ := m.Inputs["kind"].(string)
			if kind != "HealthCheckPolicy" && kind != "GCPBackendPolicy" {
				continue
			}
			route := strings.TrimSuffix(m.Name, "-"+strings.ToLower(kind))
			if strings.HasPrefix(route, gateway.Route) {
				route = gateway.Route // of both slots
			}
			if on := waits[route+"-httproute"]; !slices.Contains(on, m.Type+" "+m.Name) {
				t.Errorf("%s: the route %s does not wait for %s; it depends on %v", env, route, m.Name, on)
			}
		}
	}
}

// No resource may go where nobody said: each is made by a provider that the program named.
func TestEveryResourceNamesItsProvider(t *testing.T) {
	for _, env := range stacks.Environments() {
		for _, m := range plan(t, env) {
			if m.Custom && !strings.HasPrefix(m.Type, "pulumi:providers:") && m.Provider == "" {
				t.Errorf("%s: %s %s has no provider", env, m.Type, m.Name)
			}
		}
	}
}

// Objects go with the cluster that they live in, and only where there is one.
func TestObjectsDieWithTheirCluster(t *testing.T) {
	for _, env := range stacks.Environments() {
		for _, m := range plan(t, env) {
			want := ""
			if env.Cloud() && strings.HasPrefix(m.Type, "kubernetes:") {
				want = "coditect"
			}
			if m.DiesWith != want {
				t.Errorf("%s: %s %s is gone with %q, want %q", env, m.Type, m.Name, m.DiesWith, want)
			}
		}
	}
}

// Every environment keeps the rules that all resources are held to.
func TestPolicies(t *testing.T) {
	for _, env := range stacks.Environments() {
		var resources []policy.Resource
		for _, m := range plan(t, env) {
			if m.Custom {
				resources = append(resources, policy.Resource{Type: m.Type, Name: m.Name, Inputs: m.Inputs, Protect: m.Protect, Secrets: m.Secret})
			}
		}
		for _, f := range policy.Check(policy.Environment{Durable: env.Durable()}, resources) {
			t.Errorf("%s: %s: %s (rule %s)", env, f.Resource, f.Problem, f.Rule)
		}
	}
}
