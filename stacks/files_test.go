package stacks_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"coditect.ai/platform/stacks"
)

var update = flag.Bool("update", false, "write the generated files instead of comparing them")

// The project file's schema and the documentation's table say what the settings say.
func TestGeneratedFiles(t *testing.T) {
	for path, want := range map[string]string{
		"../Pulumi.yaml":      projectFile(),
		"../docs/settings.md": documentation(),
	} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if *update {
				if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("%s does not agree with package stacks: run `make generate`", path)
			}
		})
	}
}

func projectFile() string {
	var b strings.Builder
	b.WriteString(`# Written by ` + "`make generate`" + ` from package stacks; docs/settings.md explains each setting.
name: ` + stacks.Project + `
description: The Coditect platform, one stack for each environment
runtime: go
main: infra
config:
  # Each resource names its provider; none falls back to what the machine happens to point at.
  pulumi:disable-default-providers:
    value: ["*"]
`)
	for _, s := range stacks.Table() {
		fmt.Fprintf(&b, "  %s:\n    type: %s\n    description: %s\n    default: %s\n",
			s.Key, s.Type, strconv.Quote(s.Doc), literal(s.Type, s.Default))
	}
	return b.String()
}

// literal is a value as YAML writes it.
func literal(kind, value string) string {
	if kind == "string" {
		return strconv.Quote(value)
	}
	return value
}

func documentation() string {
	var b strings.Builder
	b.WriteString(`# Settings

Written by ` + "`make generate`" + ` from package stacks. An environment's file, Pulumi.ENV.yaml, holds
only what differs from these defaults; ` + "`pulumi config set --stack ENV KEY VALUE`" + ` changes it.
Settings are checked together before anything is made, and a refusal names every fault at once.

| key | default | legal | meaning |
|---|---|---|---|
`)
	for _, s := range stacks.Table() {
		legal := s.Type
		switch {
		case len(s.Values) > 0:
			legal = strings.Join(s.Values, ", ")
		case s.Type == "boolean":
			legal = "true, false"
		case s.Max != "":
			legal = s.Min + " … " + s.Max
		}
		value := "–"
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		meaning := s.Doc
		if s.Immutable != "" {
			meaning += ". **Fixed once made**: " + s.Immutable
		}
		fmt.Fprintf(&b, "| `%s:%s` | %s | %s | %s |\n", stacks.Project, s.Key, value, legal, meaning)
	}
	return b.String()
}
