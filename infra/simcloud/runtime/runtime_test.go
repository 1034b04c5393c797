package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestBackOff(t *testing.T) {
	r := &Runtime{restartDelay: 10 * time.Second}
	for failures, want := range map[int]time.Duration{
		1: 0, 2: 10 * time.Second, 3: 20 * time.Second, 6: 160 * time.Second, 7: 5 * time.Minute, 100: 5 * time.Minute,
	} {
		if got := r.backOff(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}

func TestBounds(t *testing.T) {
	count, percent := intstr.FromInt32, intstr.FromString
	update := func(surge, unavailable intstr.IntOrString) *appsv1.RollingUpdateDeployment {
		return &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable}
	}
	for name, test := range map[string]struct {
		update             *appsv1.RollingUpdateDeployment
		desired            int
		surge, unavailable int
	}{
		"default of 3":    {nil, 3, 1, 0},
		"default of 10":   {nil, 10, 3, 2},
		"numbers":         {update(count(2), count(1)), 3, 2, 1},
		"percent":         {update(percent("50%"), percent("50%")), 3, 2, 1},
		"nothing may be":  {update(count(0), count(0)), 3, 0, 1},
		"rounded to none": {update(count(0), percent("10%")), 3, 0, 1},
	} {
		surge, unavailable, err := bounds(test.update, test.desired)
		if err != nil || surge != test.surge || unavailable != test.unavailable {
			t.Errorf("%s: %d and %d (%v), want %d and %d", name, surge, unavailable, err, test.surge, test.unavailable)
		}
	}
	if _, _, err := bounds(update(percent("some"), count(0)), 3); err == nil {
		t.Error("a bad percentage is taken")
	}
}

func TestTranslate(t *testing.T) {
	at := mounts{{"/data/deep", "/host/deep"}, {"/data", "/host/data"}}
	for value, want := range map[string]string{
		"/data": "/host/data", "/data/a": "/host/data/a", "/data/deep/a": "/host/deep/a", "--dir=/data/a": "--dir=/host/data/a",
		"/database": "/database", "data": "data", "X=/data": "X=/data", "see /data": "see /data", "": "",
	} {
		if got := at.translate(value); got != want {
			t.Errorf("%q became %q, want %q", value, got, want)
		}
	}
}

func TestArguments(t *testing.T) {
	for name, test := range map[string]struct {
		container corev1.Container
		want      string // "" for an error
	}{
		"entry point":   {corev1.Container{}, "server"},
		"args":          {corev1.Container{Args: []string{"serve", "$(A)", "$$(A)"}}, "server serve 1 $(A)"},
		"command":       {corev1.Container{Command: []string{"/usr/bin/server", "x"}, Args: []string{"y"}}, "/usr/bin/server x y"},
		"other command": {corev1.Container{Command: []string{"/bin/sh"}}, ""},
	} {
		words, err := arguments(test.container, "server", []string{"A=1"}, nil)
		if got := strings.Join(words, " "); got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %q (%v), want %q", name, got, err, test.want)
		}
	}
}

func TestVolumeFilesStayInside(t *testing.T) {
	home := t.TempDir()
	if err := project(filepath.Join(home, "v"), map[string][]byte{"../outside": []byte("x")}, nil); err == nil {
		t.Error("a file was written outside of its volume")
	}
	if entries, err := os.ReadDir(home); err != nil || len(entries) != 1 {
		t.Errorf("%v (%v)", entries, err)
	}
}

func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pod", "server.log")
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range 3 * maxLog / len(line) {
		if _, err := log.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := log.Write([]byte("a\nb\n")); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + ".1"} {
		if info, err := os.Stat(name); err != nil || info.Size() > maxLog {
			t.Errorf("%s: %v (%v)", name, info, err)
		}
	}
	if end, err := tail(path, 2); err != nil || string(end) != "a\nb" {
		t.Errorf("the end is %q (%v)", end, err)
	}
}

func TestImagesRefuseWhatIsNone(t *testing.T) {
	images := NewImages(t.TempDir())
	for _, reference := range []string{
		"server:v1", "server@sha256:abc", "../up@sha256:" + strings.Repeat("0", 64), "server@sha256:" + strings.Repeat("/", 64),
	} {
		if _, _, err := images.Resolve(reference); err == nil {
			t.Errorf("%q is taken", reference)
		}
	}
	if _, err := images.Push("Upper/Case", os.Args[0], nil); err == nil {
		t.Error("a bad repository is taken")
	}
	if _, err := images.Push("server", t.TempDir(), nil); err == nil {
		t.Error("a directory is taken for an image")
	}
}

// A pod that cannot begin is tried again each second: it must leave nothing behind.
func TestAPodThatCannotBeginLeavesNothing(t *testing.T) {
	directory := t.TempDir()
	p := &pod{
		runtime: &Runtime{directory: directory}, namespace: "shop", name: "api-1",
		directory: filepath.Join(directory, "pods", "shop", "api-1"),
		// No file can have the second container's name.
		template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "one"}, {Name: strings.Repeat("x", 300)}}}},
	}
	if err := p.launch(); err == nil {
		t.Fatal("it began")
	}
	for _, left := range []string{p.directory, filepath.Join(directory, "logs", "shop", "api-1")} {
		if _, err := os.Stat(left); !os.IsNotExist(err) {
			t.Errorf("%s is left behind (%v)", left, err)
		}
	}
}
