package doctor_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coditect.ai/platform/infra/doctor"
	"coditect.ai/platform/stacks"
)

// tools are stand-ins for an operator's commands, alone on PATH: by name, what
// they answer to which arguments (a pattern of the shell). Nobody else is asked.
func tools(t *testing.T, answers map[string]map[string]string) doctor.System {
	t.Helper()
	dir := t.TempDir()
	for name, cases := range answers {
		var script bytes.Buffer
		script.WriteString("#!/bin/sh\ncase \"$*\" in\n")
		for pattern, body := range cases {
			fmt.Fprintf(&script, "%s) %s;;\n", pattern, body)
		}
		script.WriteString("*) echo \"unexpected: $*\" >&2; exit 1;;\nesac\n")
		if err := os.WriteFile(filepath.Join(dir, name), script.Bytes(), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return doctor.System{Dir: dir}
}

func say(text string) string { return "printf '%s\\n' '" + text + "'" }

func fail(text string) string { return say(text) + " >&2; exit 1" }

// states are what came of each check, by its name; of several of one name the worst.
func states(report doctor.Report) map[string]doctor.State {
	found := map[string]doctor.State{}
	for _, c := range report.Checks {
		if was := found[c.What]; was == "" || was == doctor.OK || c.State == doctor.Mend {
			found[c.What] = c.State
		}
	}
	return found
}

func text(report doctor.Report) string {
	var b bytes.Buffer
	report.Text(&b)
	return b.String()
}

func TestMachine(t *testing.T) {
	well := func() map[string]map[string]string {
		pinned, err := os.ReadFile("../tools/pulumi/go.mod")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(pinned), "github.com/pulumi/pulumi/pkg/v3 ")
		version := strings.Fields(rest)[0]
		return map[string]map[string]string{
			"go": {"'env GOVERSION'": say("go1.99.1")}, "pulumi": {"version": say(version)}, "git": {"--version": say("git version 2")},
			"pulumi-language-go": {"*": "exit 1"}, "gcloud": {"version*": say("528.0.0")},
			"gke-gcloud-auth-plugin": {"--version": say("v0.5")}, "kubectl": {"version*": say("Client Version: v1.36")},
		}
	}
	for name, test := range map[string]struct {
		change func(map[string]map[string]string)
		want   map[string]doctor.State
	}{
		"all there":        {func(map[string]map[string]string) {}, map[string]doctor.State{}},
		"an old Go":        {func(a map[string]map[string]string) { a["go"]["'env GOVERSION'"] = say("go1.21") }, map[string]doctor.State{"Go": doctor.Mend}},
		"another Pulumi":   {func(a map[string]map[string]string) { a["pulumi"]["version"] = say("v3.1.0") }, map[string]doctor.State{"Pulumi": doctor.Mend}},
		"no Pulumi":        {func(a map[string]map[string]string) { delete(a, "pulumi") }, map[string]doctor.State{"Pulumi": doctor.Mend}},
		"no way to GKE":    {func(a map[string]map[string]string) { delete(a, "gke-gcloud-auth-plugin") }, map[string]doctor.State{"gke-gcloud-auth-plugin": doctor.Mend}},
		"no language host": {func(a map[string]map[string]string) { delete(a, "pulumi-language-go") }, map[string]doctor.State{"pulumi-language-go": doctor.Note}},
	} {
		t.Run(name, func(t *testing.T) {
			answers := well()
			test.change(answers)
			report := doctor.Report{}
			if err := doctor.Machine(t.Context(), filepath.Join("..", ".."), true, tools(t, answers), &report); err != nil {
				t.Fatal(err)
			}
			for what, state := range states(report) {
				if what == "disk" || what == "memory" {
					continue // of the machine that tests run on
				}
				want, named := test.want[what]
				if !named {
					want = doctor.OK
				}
				if state != want {
					t.Errorf("%s is %s, want %s\n%s", what, state, want, text(report))
				}
			}
		})
	}
	report := doctor.Report{}
	if err := doctor.Machine(t.Context(), filepath.Join("..", ".."), false, tools(t, nil), &report); err != nil {
		t.Fatal(err)
	}
	if s := states(report); s["Go"] != doctor.Mend || s["gcloud"] != "" || !strings.Contains(text(report), "it is not on PATH") {
		t.Errorf("a machine without anything, for no cloud:\n%s", text(report))
	}
	if err := doctor.Machine(t.Context(), t.TempDir(), false, tools(t, nil), &report); err == nil {
		t.Error("a directory that is no repository was taken for one")
	}
}

func TestProject(t *testing.T) {
	settings, err := stacks.Load("dev", map[string]string{
		"project": "a-project", "projectNumber": "12", "clusterAuthorizedNetworks": "203.0.113.7/32", "gatewayHost": "a.example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	quotas := func(cpus, ssd float64) string {
		return say(fmt.Sprintf(`{"quotas":[{"metric":"CPUS","limit":%g,"usage":4},{"metric":"DISKS_TOTAL_GB","limit":4096,"usage":0},{"metric":"SSD_TOTAL_GB","limit":%g,"usage":0}]}`, cpus, ssd))
	}
	well := func() map[string]map[string]string {
		return map[string]map[string]string{
			"pulumi": {"'stack ls'*": say(`[{"name":"dev","resourceCount":138}]`)},
			"gcloud": {
				"'auth list'*":            say("me@example.com"),
				"'auth application-de'*":  say("ya29.secret"),
				"'projects describe'*":    say(`{"projectNumber":"12","lifecycleState":"ACTIVE"}`),
				"'billing projects'*":     say("True"),
				"'services list'*":        say("serviceusage.googleapis.com\ncloudresourcemanager.googleapis.com\ncompute.googleapis.com"),
				"'compute regions'*":      quotas(200, 4096),
				"'secrets versions lis'*": say("1"),
			},
		}
	}
	for name, test := range map[string]struct {
		pattern, answer string
		want            map[string]doctor.State
		told            string
	}{
		"all there":          {"", "", map[string]doctor.State{}, "stack dev, 138 resources"},
		"nobody signed in":   {"'auth list'*", say(""), map[string]doctor.State{"signed in to Google Cloud": doctor.Mend, "project": doctor.Skip, "quotas": doctor.Skip}, "gcloud auth login"},
		"no credentials":     {"'auth application-de'*", fail("could not find default credentials"), map[string]doctor.State{"credentials for Pulumi": doctor.Mend}, "gcloud auth application-default login"},
		"another number":     {"'projects describe'*", say(`{"projectNumber":"13","lifecycleState":"ACTIVE"}`), map[string]doctor.State{"project": doctor.Mend}, "pulumi config set --stack dev projectNumber 13"},
		"a deleted project":  {"'projects describe'*", say(`{"projectNumber":"12","lifecycleState":"DELETE_REQUESTED"}`), map[string]doctor.State{"project": doctor.Mend}, "undelete a-project"},
		"no such project":    {"'projects describe'*", fail("does not have permission"), map[string]doctor.State{"project": doctor.Mend, "APIs": doctor.Skip}, "may me@example.com see it?"},
		"nobody pays":        {"'billing projects'*", say("False"), map[string]doctor.State{"billing": doctor.Mend}, "billing projects link a-project"},
		"APIs are off":       {"'services list'*", say("compute.googleapis.com"), map[string]doctor.State{"APIs": doctor.Mend}, "gcloud services enable cloudresourcemanager.googleapis.com serviceusage.googleapis.com --project a-project"},
		"others are off":     {"'services list'*", say("serviceusage.googleapis.com\ncloudresourcemanager.googleapis.com"), map[string]doctor.State{"APIs": doctor.Note}, "the first `pulumi up` turns them on"},
		"too few cores":      {"'compute regions'*", quotas(24, 4096), map[string]doctor.State{"quota": doctor.Mend}, "7 nodes of e2-standard-4"},
		"cores in use":       {"'compute regions'*", quotas(30, 4096), map[string]doctor.State{"quota": doctor.Note}, "this environment's own"},
		"no room for data":   {"'compute regions'*", quotas(200, 100), map[string]doctor.State{"quota": doctor.Mend}, "SSD_TOTAL_GB"},
		"a key is missing":   {"'secrets versions lis'*", say(""), map[string]doctor.State{"secret jwt-secret": doctor.Mend}, "--data-file=key"},
		"before the first":   {"'secrets versions lis'*", fail("NOT_FOUND: Secret [x] not found"), map[string]doctor.State{"secret jwt-secret": doctor.Note}, "makes it"},
		"answers are broken": {"'projects describe'*", say("<html>"), map[string]doctor.State{"project": doctor.Mend}, "understand gcloud"},
	} {
		t.Run(name, func(t *testing.T) {
			answers := well()
			if test.pattern != "" {
				answers["gcloud"][test.pattern] = test.answer
			}
			report := doctor.Report{}
			doctor.Project(t.Context(), settings, []string{"compute.googleapis.com"}, tools(t, answers), &report)
			found := states(report)
			for what, state := range test.want {
				if found[what] != state {
					t.Errorf("%s is %q, want %s", what, found[what], state)
				}
			}
			for what, state := range found {
				if test.want[what] == "" && state == doctor.Mend {
					t.Errorf("%s is to be mended", what)
				}
			}
			if told := text(report); !strings.Contains(told, test.told) || strings.Contains(told, "ya29") {
				t.Errorf("%q is not told, or a token is:\n%s", test.told, told)
			}
		})
	}
	for name, answer := range map[string]string{"pulumi login": fail("error: PULUMI_ACCESS_TOKEN must be set"), "pulumi stack init dev": say(`[{"name":"prod"}]`)} {
		answers := well()
		answers["pulumi"]["'stack ls'*"] = answer
		report := doctor.Report{}
		doctor.Project(t.Context(), settings, nil, tools(t, answers), &report)
		if told := text(report); states(report)["state"] != doctor.Mend || !strings.Contains(told, name) {
			t.Errorf("%s is not told:\n%s", name, told)
		}
	}
}
