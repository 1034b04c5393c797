package program

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// packages are those that the program is made of, as directories of the repository.
var packages = []string{
	"app/contract", "stacks", "infra",
	"infra/apis", "infra/backup", "infra/cluster", "infra/companion", "infra/database", "infra/delivery", "infra/engine", "infra/gateway",
	"infra/google", "infra/metrics", "infra/monitoring", "infra/network", "infra/operator", "infra/pod", "infra/policy", "infra/problem",
	"infra/program", "infra/registry", "infra/scaling", "infra/secrets", "infra/service",
}

// Source is what the source of the program in the repository at root comes to: the
// same for the same program, whatever else of the repository has changed.
func Source(root string) (string, error) {
	sum := sha256.New()
	for _, dir := range packages {
		entries, err := os.ReadDir(filepath.Join(root, dir)) // in order
		if err != nil {
			return "", fmt.Errorf("read the program's source: %w", err)
		}
		for _, entry := range entries {
			name := entry.Name()
			if entry.IsDir() || strings.HasSuffix(name, "_test.go") || !strings.HasSuffix(name, ".go") && name != "go.mod" {
				continue
			}
			text, err := os.ReadFile(filepath.Join(root, dir, name))
			if err != nil {
				return "", fmt.Errorf("read the program's source: %w", err)
			}
			_, _ = fmt.Fprintf(sum, "%s/%s %d\n", dir, name, len(text)) // a sum never fails
			_, _ = sum.Write(text)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// madeBy is the Source of what the environment is made by after a run. A release
// changes the few resources that are its own: with the rest made by another program,
// the ticks of the environment, which are of that one, would refuse from then on.
func madeBy(to purpose, was, now string) string {
	if to == release && was != "" {
		return was
	}
	return now
}

// running is the Source of what runs: of the repository that this process is in,
// and "" where it is in none.
func running() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "Pulumi.yaml")); err == nil {
			if source, err := Source(dir); err == nil {
				return source
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}
