package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// What a first build takes: the compiler's cache, and the providers' SDKs in memory.
const (
	diskGB   = 10
	memoryGB = 6
)

var (
	goDirective    = regexp.MustCompile(`(?m)^go (\d+)\.(\d+)`)
	goVersion      = regexp.MustCompile(`^go(\d+)\.(\d+)`)
	pulumiRequired = regexp.MustCompile(`github\.com/pulumi/pulumi/pkg/v3 (v\S+)`)
	memTotal       = regexp.MustCompile(`MemTotal:\s+(\d+) kB`)
)

// Machine looks at this machine, which is to work on the repository at root; cloud
// tells that it is to reach environments in the cloud. Its error is of the repository.
func Machine(ctx context.Context, root string, cloud bool, tools Commands, report *Report) error {
	wanted, err := os.ReadFile(filepath.Join(root, "infra", "go.mod"))
	if err != nil {
		return fmt.Errorf("read which Go is needed: %w", err)
	}
	pinned, err := os.ReadFile(filepath.Join(root, "infra", "tools", "pulumi", "go.mod"))
	if err != nil {
		return fmt.Errorf("read which Pulumi is needed: %w", err)
	}
	need, version := goDirective.FindSubmatch(wanted), pulumiRequired.FindSubmatch(pinned)
	if need == nil || version == nil {
		return errors.New("read which Go and Pulumi are needed: infra/go.mod or infra/tools/pulumi/go.mod does not tell")
	}
	needed := string(need[1]) + "." + string(need[2])
	found, err := tools.Run(ctx, "go", "env", "GOVERSION")
	have := goVersion.FindStringSubmatch(found)
	report.verdict(err == nil && have != nil && newer(have[1:], needed), "Go", told(found, err), "install Go %s or later and put it on PATH", needed)

	found, err = tools.Run(ctx, "pulumi", "version")
	report.verdict(err == nil && found == string(version[1]), "Pulumi", told(found, err),
		"`make pulumi` builds %s into .bin; put that first on PATH", version[1])
	for _, tool := range []struct {
		name, why string
		args      []string
		cloud     bool
	}{
		{"git", "previews against a revision read it: install git", []string{"--version"}, false},
		{"pulumi-language-go", "plain `pulumi up` runs the program with it: it comes with Pulumi's own packages (https://www.pulumi.com/docs/install/); the commands of coditect do without", nil, true},
		{"gcloud", "install the Google Cloud CLI", []string{"version", "--format=value(\"Google Cloud SDK\")"}, true},
		{"gke-gcloud-auth-plugin", "it gives Pulumi its way into the cluster: gcloud components install gke-gcloud-auth-plugin", []string{"--version"}, true},
		{"kubectl", "the runbooks use it: gcloud components install kubectl", []string{"version", "--client"}, true},
	} {
		if tool.cloud && !cloud {
			continue
		}
		found, err := tools.Run(ctx, tool.name, tool.args...)
		if tool.args == nil && !errors.Is(err, ErrNoTool) { // a plugin of Pulumi's does not answer a person
			found, err = "there", nil
		}
		found, _, _ = strings.Cut(found, "\n")
		state := OK
		if err != nil {
			if state = Mend; tool.args == nil || tool.name == "git" {
				state = Note
			}
		}
		report.add(tool.name, state, told(found, err), tool.why)
	}
	room(root, report)
	return nil
}

// newer tells whether major and minor are those of need or later.
func newer(have []string, need string) bool {
	major, minor, _ := strings.Cut(need, ".")
	numbers := make([]int, 0, 4)
	for _, text := range []string{have[0], have[1], major, minor} {
		n, err := strconv.Atoi(text)
		if err != nil {
			return false
		}
		numbers = append(numbers, n)
	}
	return numbers[0] > numbers[2] || numbers[0] == numbers[2] && numbers[1] >= numbers[3]
}

// room looks at disk and memory, without which a first build fails.
func room(root string, report *Report) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(root, &st); err == nil {
		free := st.Bavail * uint64(st.Bsize) >> 30 //nolint:gosec // a block size is positive
		state := OK
		if free < diskGB {
			state = Note
		}
		report.add("disk", state, fmt.Sprintf("%d GB free", free), "a first build and its cache take about %d GB: free some", diskGB)
	}
	if raw, err := os.ReadFile("/proc/meminfo"); err == nil {
		if match := memTotal.FindSubmatch(raw); match != nil {
			kb, _ := strconv.ParseUint(string(match[1]), 10, 64)
			gb := (kb + 1<<19) >> 20
			state := OK
			if gb < memoryGB {
				state = Note
			}
			report.add("memory", state, fmt.Sprintf("%d GB", gb), "the first build of the providers' SDKs takes about %d GB: close other programs meanwhile", memoryGB)
		}
	}
}

// told is what a tool said, or why it did not.
func told(found string, err error) string {
	if err != nil {
		return err.Error()
	}
	return found
}
