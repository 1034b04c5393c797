package gcp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"

	"coditect.ai/platform/infra/simcloud"
	"coditect.ai/platform/infra/simcloud/internal/simtest"
)

const (
	secretType  = "gcp:secretmanager/secret:Secret"
	versionType = "gcp:secretmanager/secretVersion:SecretVersion"
	addressType = "gcp:compute/globalAddress:GlobalAddress"
)

func open(t *testing.T) (*simcloud.Cloud, *simtest.Engine) {
	t.Helper()
	cloud, err := simcloud.Open(simcloud.Options{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	return cloud, simtest.Dial(t, cloud.Providers(), "gcp")
}

func secret() map[string]any {
	return map[string]any{"project": "p", "secretId": "jwt", "replication": map[string]any{"auto": map[string]any{}}}
}

func TestIDsAndOutputs(t *testing.T) {
	_, engine := open(t)
	_, err := engine.Client.Configure(t.Context(), &pulumirpc.ConfigureRequest{
		Args: simtest.Marshal(t, simtest.Props(map[string]any{"project": "configured"})),
	})
	if err != nil {
		t.Fatal(err)
	}
	for typ, test := range map[string]struct {
		inputs map[string]any
		id     string
		output string // name=value
	}{
		"gcp:artifactregistry/repository:Repository": {
			map[string]any{"project": "p", "location": "l", "repositoryId": "r", "format": "DOCKER"},
			"projects/p/locations/l/repositories/r", "name=r",
		},
		secretType: {secret(), "projects/p/secrets/jwt", "name=projects/p/secrets/jwt"},
		"gcp:secretmanager/secretIamMember:SecretIamMember": {
			map[string]any{"project": "p", "secretId": "jwt", "role": "reader", "member": "user:a"},
			"projects/p/secrets/jwt/reader/user:a", "etag=projects/p/secrets/jwt/reader/user:a",
		},
		"gcp:serviceaccount/account:Account": {
			map[string]any{"project": "p", "accountId": "api"},
			"projects/p/serviceAccounts/api@p.iam.gserviceaccount.com", "member=serviceAccount:api@p.iam.gserviceaccount.com",
		},
		addressType: {map[string]any{}, "projects/configured/global/addresses/x", "selfLink=https://www.googleapis.com/compute/v1/projects/configured/global/addresses/x"},
		"gcp:storage/bucket:Bucket": {
			map[string]any{"name": "b", "location": "EU"}, "b", "url=gs://b",
		},
		"gcp:pubsub/topic:Topic": { // not in the table
			map[string]any{"name": "news", "project": "p"}, "projects/p/pubsub/topic/news", "name=news",
		},
	} {
		id, outputs := engine.CreateResource(typ, "x", test.inputs)
		name, want, _ := strings.Cut(test.output, "=")
		if id != test.id || outputs[resource.PropertyKey(name)].V != want {
			t.Errorf("%s: id %s with %v, want %s with %s", typ, id, outputs, test.id, test.output)
		}
	}
	_, one := engine.CreateResource(addressType, "one", map[string]any{})
	_, two := engine.CreateResource(addressType, "two", map[string]any{})
	if one["address"].V == two["address"].V || !strings.HasPrefix(one["address"].StringValue(), "198.18.") {
		t.Errorf("addresses %v and %v", one["address"], two["address"])
	}
}

func TestPreviewKnowsWhatCanBeKnown(t *testing.T) {
	cloud, engine := open(t)
	preview := func(typ string, inputs map[string]any) resource.PropertyMap {
		t.Helper()
		response, err := engine.Client.Create(t.Context(), &pulumirpc.CreateRequest{
			Urn: simtest.URN(typ, "x"), Properties: simtest.Marshal(t, simtest.Props(inputs)), Preview: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		return simtest.Unmarshal(t, response.GetProperties())
	}
	if outputs := preview(addressType, map[string]any{"name": "a", "project": "p"}); !outputs["address"].IsComputed() ||
		outputs["selfLink"].V != "https://www.googleapis.com/compute/v1/projects/p/global/addresses/a" {
		t.Errorf("address: %v", outputs)
	}
	unknown := secret()
	unknown["secretId"] = resource.MakeComputed(resource.NewProperty(""))
	if outputs := preview(secretType, unknown); !outputs["name"].IsComputed() {
		t.Errorf("the name of a secret with an unknown id: %v", outputs)
	}
	if cloud.Objects.List(secretType, "") != nil {
		t.Error("a preview made something")
	}
}

func TestCheckAndDiff(t *testing.T) {
	_, engine := open(t)
	if found := engine.Check(simtest.URN(secretType, "x"), map[string]any{"secretId": "a"}); !slices.Equal(found, []string{"replication: required"}) {
		t.Errorf("found %v", found)
	}
	diff := func(change string, value any) *pulumirpc.DiffResponse {
		t.Helper()
		after := secret()
		after[change] = value
		response, err := engine.Client.Diff(t.Context(), &pulumirpc.DiffRequest{
			Urn: simtest.URN(secretType, "x"), OldInputs: simtest.Marshal(t, simtest.Props(secret())),
			News: simtest.Marshal(t, simtest.Props(after)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	if d := diff("secretId", "other"); len(d.GetReplaces()) != 1 || d.GetDeleteBeforeReplace() {
		t.Errorf("another id: %v", d)
	}
	if d := diff("labels", map[string]any{"a": "b"}); len(d.GetReplaces()) != 0 || d.GetChanges() != pulumirpc.DiffResponse_DIFF_SOME {
		t.Errorf("labels: %v", d)
	}
	if d := diff("secretId", "jwt"); d.GetChanges() != pulumirpc.DiffResponse_DIFF_NONE {
		t.Errorf("no change: %v", d)
	}
}

func TestSecretVersions(t *testing.T) {
	cloud, engine := open(t)
	// A value may come before its secret.
	if newest, err := cloud.Vault.Ensure("jwt", []byte("one")); err != nil || string(newest) != "one" {
		t.Fatalf("ensure: %q %v", newest, err)
	}
	if newest, err := cloud.Vault.Ensure("jwt", []byte("other")); err != nil || string(newest) != "one" {
		t.Errorf("ensure a second time: %q %v", newest, err)
	}
	if _, err := cloud.Vault.Access("jwt", "latest"); err == nil {
		t.Error("a secret that is not there can be read")
	}
	id, _ := engine.CreateResource(secretType, "jwt", secret())
	first, err := cloud.Vault.Access("jwt", "latest")
	if err != nil || string(first) != "one" {
		t.Errorf("%q %v, want the value of before", first, err)
	}
	version, outputs := engine.CreateResource(versionType, "v2", map[string]any{"secret": id, "secretData": "plain"})
	if version != "projects/p/secrets/jwt/versions/2" || !outputs["secretData"].IsSecret() {
		t.Errorf("version %s: %v", version, outputs)
	}
	for asked, want := range map[string]string{"1": string(first), "2": "plain", "latest": "plain"} {
		if value, err := cloud.Vault.Access("jwt", asked); err != nil || string(value) != want {
			t.Errorf("version %s: %q %v", asked, value, err)
		}
	}
	for _, asked := range []string{"0", "3", "newest"} {
		if _, err := cloud.Vault.Access("jwt", asked); err == nil {
			t.Errorf("version %s can be read", asked)
		}
	}
	engine.DeleteResource(secretType, "jwt", id)
	if newest, err := cloud.Vault.Ensure("jwt", []byte("three")); err != nil || string(newest) != "three" {
		t.Errorf("the value outlived its secret: %q %v", newest, err)
	}
}
