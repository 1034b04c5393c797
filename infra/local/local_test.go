package local

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/slots"
)

// settings makes a configuration of the project's own keys.
func settings(values map[string]string) config.Map {
	m := config.Map{}
	for name, value := range values {
		m[engine.Key(name)] = config.NewValue(value)
	}
	return m
}

// TestOverlay: the committed settings count, the release of the last update stays, and a new image takes the slot that has the traffic.
func TestOverlay(t *testing.T) {
	tests := map[string]struct {
		last map[string]string
		next release
		want map[string]string
	}{
		"the first time": {nil, deploy("new"), map[string]string{"serviceImageBlue": "new"}},
		"a second image takes its place": {
			map[string]string{"serviceImageBlue": "old", "gatewayWeightBlue": "100", "gatewayWeightGreen": "0"},
			deploy("new"),
			map[string]string{"serviceImageBlue": "new", "gatewayWeightBlue": "100", "gatewayWeightGreen": "0"},
		},
		"green has the traffic": {
			map[string]string{"serviceImageBlue": "old", "serviceImageGreen": "later", "gatewayWeightBlue": "9", "gatewayWeightGreen": "91"},
			deploy("new"),
			map[string]string{"serviceImageBlue": "old", "serviceImageGreen": "new", "gatewayWeightBlue": "9", "gatewayWeightGreen": "91"},
		},
		"going down keeps the release": {
			map[string]string{"serviceImageBlue": "old", "serviceReplicas": "7"},
			slots.Keep,
			map[string]string{"serviceImageBlue": "old"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			merged := overlay(settings(tt.last), settings(map[string]string{"serviceReplicas": "2"}), tt.next)
			tt.want["serviceReplicas"] = "2" // committed, whatever it was
			for name, want := range tt.want {
				if got := engine.Text(merged[engine.Key(name)]); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if len(merged) != len(tt.want) {
				t.Errorf("settings %v, want %v", merged, tt.want)
			}
		})
	}
}

// TestOpen finds the repository from inside it, and says so outside of one.
func TestOpen(t *testing.T) {
	root := t.TempDir()
	inside := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(inside, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "no Pulumi.yaml") {
		t.Errorf("outside of a repository: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "Pulumi.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := Open(inside, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, ".data", "local"); e.dir != want {
		t.Errorf("its folder is %s, want %s", e.dir, want)
	}
}

// TestLock: one command at a time; the second is told who is at work.
func TestLock(t *testing.T) {
	e := &Environment{dir: filepath.Join(t.TempDir(), "local")}
	unlock, err := e.lock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.lock()
	if problem, ok := errors.AsType[*problem.Error](err); !ok || !strings.Contains(problem.Text, "is changing the local environment") {
		t.Errorf("the second lock: %v", err)
	}
	unlock()
	unlock, err = e.lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestStorage: what a disk answers becomes a sentence with the next step.
func TestStorage(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.ENOSPC: "is full", syscall.EDQUOT: "is full", syscall.EROFS: "cannot be written", syscall.EACCES: "cannot be written",
	} {
		err := storage(&os.PathError{Op: "write", Path: "x", Err: cause}, "/data")
		if problem, ok := errors.AsType[*problem.Error](err); !ok || !strings.Contains(problem.Text, want) || !errors.Is(err, cause) {
			t.Errorf("%v becomes %v, want a problem that says %q", cause, err, want)
		}
	}
	if _, ok := errors.AsType[*problem.Error](storage(syscall.EIO, "/data")); ok {
		t.Error("a broken disk is no problem that an operator can mend by the next step")
	}
}
