package operator

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"coditect.ai/platform/infra/kube"
)

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The image has what a tick needs, at the versions that the program is built with,
// held to sums that nobody made up, where the CronJob looks for it.
func TestDockerfile(t *testing.T) {
	text := read(t, "infra", "Dockerfile")
	var lines []string
	for line := range strings.Lines(regexp.MustCompile(`\s*\\\n\s*`).ReplaceAllString(regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(text, ""), " ")) {
		lines = append(lines, strings.TrimSpace(line))
	}
	from := slices.IndexFunc(lines, func(line string) bool { return line == "FROM ${BASE_IMAGE}" })
	if from < 0 {
		t.Fatal("no last stage")
	}
	last := lines[from:]
	for _, want := range []string{
		fmt.Sprintf("USER %d:%d", user, user),
		"WORKDIR " + checkout,
		`ENTRYPOINT ["coditect"]`,
		"COPY Pulumi.yaml Pulumi.*.yaml " + checkout + "/",
		"COPY app/contract/ " + checkout + "/app/contract/", "COPY stacks/ " + checkout + "/stacks/", "COPY infra/ " + checkout + "/infra/",
		"RUN ln -s coditect /usr/local/bin/" + kube.Plugin,
	} {
		if !slices.Contains(last, want) {
			t.Errorf("the last stage lacks %q", want)
		}
	}
	if end := last[len(last)-1]; !strings.HasPrefix(end, "RUN set -eu;") || !strings.Contains(end, "coditect tick --help") || !strings.Contains(end, "pulumi version") {
		t.Errorf("the last stage ends with %q, and not with a look at what is in it", end)
	}
	module := read(t, "infra", "go.mod")
	for argument, path := range map[string]string{
		"GCP": "github.com/pulumi/pulumi-gcp/sdk/v7", "KUBERNETES": "github.com/pulumi/pulumi-kubernetes/sdk/v4",
	} {
		pinned := regexp.MustCompile(regexp.QuoteMeta(path) + ` v(\S+)`).FindStringSubmatch(module)
		if pinned == nil || !slices.Contains(lines, "ARG "+argument+"_VERSION="+pinned[1]) {
			t.Errorf("the provider is not of the version %q that the program is built with", pinned)
		}
		if !slices.Contains(lines, "ARG "+argument+"_SHA256") {
			t.Errorf("the sum of %s has a default, or is none", argument)
		}
	}
	engine := regexp.MustCompile(`github.com/pulumi/pulumi/pkg/v3 (v\S+)`).FindStringSubmatch(read(t, "infra", "tools", "pulumi", "go.mod"))
	if sdk := regexp.MustCompile(`github.com/pulumi/pulumi/sdk/v3 (v\S+)`).FindStringSubmatch(module); engine == nil || sdk == nil || engine[1] != sdk[1] {
		t.Errorf("Pulumi is %v, and the program's SDK %v", engine, sdk)
	}
	for _, image := range regexp.MustCompile(`(?m)^ARG (?:GO|BASE)_IMAGE=(\S+)`).FindAllStringSubmatch(text, -1) {
		if strings.HasSuffix(image[1], ":latest") || !strings.Contains(image[1], ":") {
			t.Errorf("%s moves", image[1])
		}
	}
}

// Cloud Build hands on every argument that has no default, and goes by digest.
func TestCloudBuild(t *testing.T) {
	text := read(t, "infra", "cloudbuild.yaml")
	var build struct {
		Steps []struct {
			ID, Script string
		}
		Substitutions map[string]string
		Options       struct{ AutomapSubstitutions bool }
	}
	if err := yaml.Unmarshal([]byte(text), &build); err != nil {
		t.Fatal(err)
	}
	if len(build.Steps) != 2 || !build.Options.AutomapSubstitutions {
		t.Fatalf("%+v", build)
	}
	for _, step := range build.Steps {
		if !strings.HasPrefix(step.Script, "#!/bin/bash\nset -euo pipefail\n") {
			t.Errorf("step %s goes on after a failure", step.ID)
		}
		for _, used := range regexp.MustCompile(`\$\{?(_[A-Z0-9_]+)`).FindAllStringSubmatch(step.Script, -1) {
			if _, given := build.Substitutions[used[1]]; !given {
				t.Errorf("step %s uses %s, which has no value", step.ID, used[1])
			}
		}
	}
	for _, argument := range []string{"VERSION", "COMMIT", "GCP_SHA256", "KUBERNETES_SHA256"} {
		if !strings.Contains(build.Steps[0].Script, "--build-arg "+argument+"=") {
			t.Errorf("the build is not given %s", argument)
		}
	}
	if build.Substitutions["_GCP_SHA256"] != "" || build.Substitutions["_KUBERNETES_SHA256"] != "" {
		t.Error("a sum has a default")
	}
	if !strings.Contains(build.Steps[1].Script, "@sha256:") {
		t.Error("the result is no digest")
	}
}
