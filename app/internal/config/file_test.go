package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coditect.ai/platform/app/contract"
)

// settingsFile writes a file and returns the variable that names it.
func settingsFile(t *testing.T, text string) (variable, name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "settings")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return EnvFile + "=" + name, name
}

func TestEnvironmentWinsOverFileWinsOverDefault(t *testing.T) {
	t.Parallel()
	variable, name := settingsFile(t, `
# A comment.
CODITECT_LISTEN = 127.0.0.1:1   # where
CODITECT_SLOT=green
`+contract.EnvStoreDir+` = " /with # and = blanks "  # quoted
CODITECT_CORS_ORIGINS = ""
FDB_CLUSTER_FILE = /etc/fdb#1.cluster
`)
	c, values, err := Load([]string{variable, contract.EnvListen + "=127.0.0.1:2"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:2" || c.Slot != "green" || c.StoreDir != " /with # and = blanks " || c.ClusterFile != "/etc/fdb#1.cluster" || c.CORSOrigins != nil {
		t.Fatalf("%+v", c)
	}
	sources := map[string]string{}
	for _, v := range values {
		sources[v.Name] = v.Source
	}
	for setting, want := range map[string]string{
		EnvFile: "environment", contract.EnvListen: "environment", contract.EnvSlot: name + ":4", contract.EnvStoreDir: name + ":5", envLogLevel: "default",
	} {
		if sources[setting] != want {
			t.Errorf("%s comes from %q, want %q", setting, sources[setting], want)
		}
	}

	// What is printed is a settings file that gives the same.
	var out bytes.Buffer
	if err := WriteValues(&out, values); err != nil {
		t.Fatal(err)
	}
	again, _ := settingsFile(t, out.String())
	_, back, err := Load([]string{again})
	if err != nil {
		t.Fatal(err)
	}
	for i := range values {
		if values[i].Name != EnvFile && values[i].Value != back[i].Value {
			t.Errorf("%s: %q, then %q", values[i].Name, values[i].Value, back[i].Value)
		}
	}
}

func TestFaultsOfAFileNameItsLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"CODITECT_LISTEN":                           ":1: must be NAME = value",
		"\n= x":                                     ":2: must be NAME = value",
		"CODITECT_SLOT = \"green":                   ":1: CODITECT_SLOT: the quotes do not end",
		"CODITECT_SLOT = \"green\" x":               ":1: CODITECT_SLOT: there is more",
		"CODITECT_SLOT = red":                       `:1: CODITECT_SLOT="red"`,
		"CODITECT_SLOT = green\nCODITECT_SLOT=blue": ":2: CODITECT_SLOT was given at",
		"CODITECT_LISTN = x":                        ":1: CODITECT_LISTN: no such setting",
		"PATH = /bin":                               ":1: PATH: no such setting",
		EnvFile + " = other":                        ":1: " + EnvFile + ": a settings file names no other",
		strings.Repeat("#", maxFile+1):              "larger than",
	} {
		variable, _ := settingsFile(t, text)
		if _, _, err := Load([]string{variable}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	if _, _, err := Load([]string{EnvFile + "=" + filepath.Join(t.TempDir(), "none"), contract.EnvSlot + "=red"}); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("a file that is not there, and another fault: %v", err)
	}
}

func TestDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := WriteDocument(&want); err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "configuration.md"))
	if err != nil || !bytes.Equal(have, want.Bytes()) {
		t.Fatalf("docs/configuration.md differs: run make generate (%v)", err)
	}
}
