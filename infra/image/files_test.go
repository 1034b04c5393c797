package image_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"coditect.ai/platform/app/contract"
)

// instructions are a Dockerfile's, continued lines joined, by stage.
func instructions(t *testing.T, path string) (stages [][]string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	var lines []string
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	text := regexp.MustCompile(`\s*\\\n\s*`).ReplaceAllString(strings.Join(lines, ""), " ")
	stages = [][]string{nil}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "FROM ") {
			stages = append(stages, nil)
		}
		if line != "" {
			last := &stages[len(stages)-1]
			*last = append(*last, line)
		}
	}
	return stages
}

// The Dockerfile keeps what this service's images promise: the contract's user,
// ports and paths, a client held to a sum that nobody made up, and a last stage
// that ends with the verification of what is in it.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	stages := instructions(t, filepath.Join("..", "..", "app", "Dockerfile"))
	last, all := stages[len(stages)-1], slices.Concat(stages...)
	user := fmt.Sprintf("USER %d:%d", contract.UserID, contract.UserID)
	for _, want := range []string{
		user,
		fmt.Sprintf("EXPOSE %d %d", contract.Port, contract.InternalPort),
		fmt.Sprintf(`ENTRYPOINT ["/%s"]`, contract.Binary),
		fmt.Sprintf(`CMD [%q]`, contract.ServeCommand),
	} {
		if !slices.Contains(last, want) {
			t.Errorf("the last stage lacks %q: %q", want, last)
		}
	}
	env := strings.Join(last, "\n")
	for _, want := range []string{
		fmt.Sprintf("%s=:%d", contract.EnvListen, contract.Port),
		fmt.Sprintf("%s=:%d", contract.EnvInternalListen, contract.InternalPort),
		contract.EnvStoreEngine + "=" + contract.EngineFoundationDB,
		contract.EnvStoreDir + "=" + contract.StoreMountPath,
		contract.EnvJWTSecretFile + "=" + contract.SecretsMountPath + "/" + contract.JWTSecretFile,
		contract.EnvClusterFile + "=" + contract.ClusterFileMountPath + "/",
	} {
		if !strings.Contains(env, want) {
			t.Errorf("the last stage does not set %s", want)
		}
	}
	final := last[len(last)-1]
	if !strings.HasPrefix(final, "RUN --mount=type=bind,from=build,") || !strings.Contains(final, `["/verify-binary", "--engines", "embedded,foundationdb", "/`+contract.Binary+`"]`) {
		t.Errorf("the last stage ends with %q, not with the verification", final)
	}
	if slices.Index(last, user) > slices.Index(last, final) {
		t.Error("the verification does not run as the service's user")
	}
	if !slices.Contains(all, "ARG FDB_SHA256") || !slices.Contains(all, "ARG FDB_OLDER_SHA256") {
		t.Error("the client's sum has a default")
	}
	library := "COPY --from=client /client/usr/lib/libfdb_c.so /usr/lib/libfdb_c.so"
	for _, stage := range stages[len(stages)-2:] {
		if !slices.Contains(stage, library) {
			t.Errorf("not of the one client: %q", stage)
		}
	}
	for _, line := range all {
		if strings.HasPrefix(line, "COPY") && strings.Contains(line, ".cluster") {
			t.Errorf("a cluster file is baked in: %q", line)
		}
	}
}

// What Cloud Build does goes by digest, and hands every argument that the
// Dockerfile needs on.
func TestCloudBuild(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "..", "app", "cloudbuild.yaml"))
	must(t, err)
	var build struct {
		Steps []struct {
			ID, Name, Dir, Script string
			Env                   []string
		}
		Substitutions map[string]string
		Options       struct{ AutomapSubstitutions, DynamicSubstitutions bool }
		Timeout       string
		Images        []string
	}
	must(t, yaml.Unmarshal(data, &build))
	var ids []string
	for _, step := range build.Steps {
		ids = append(ids, step.ID)
		for name := range regexpMatches(step.Script, `\$\{?(_[A-Z0-9_]+)`) {
			if _, given := build.Substitutions[name]; !given {
				t.Errorf("step %s uses %s, which has no value", step.ID, name)
			}
		}
		if !strings.HasPrefix(step.Script, "#!/bin/bash\nset -euo pipefail\n") {
			t.Errorf("step %s goes on after a failure", step.ID)
		}
	}
	if !slices.Equal(ids, []string{"build", "push", "verify"}) || !build.Options.AutomapSubstitutions || len(build.Images) > 0 {
		t.Fatalf("%+v", build)
	}
	for _, argument := range []string{"VERSION", "COMMIT", "FDB_VERSION", "FDB_SHA256", "FDB_OLDER_VERSION", "FDB_OLDER_SHA256"} {
		if !strings.Contains(build.Steps[0].Script, "--build-arg "+argument+"=") {
			t.Errorf("the build is not given %s", argument)
		}
	}
	if build.Substitutions["_FDB_SHA256"] != "" {
		t.Error("the client's sum has a default")
	}
	if strings.Contains(string(data), ":latest") {
		t.Error("a tag that moves")
	}
}

func regexpMatches(text, pattern string) map[string]bool {
	found := map[string]bool{}
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[match[1]] = true
	}
	return found
}
