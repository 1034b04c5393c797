package runtime

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"coditect.ai/platform/infra/simcloud/kubernetes"
	"coditect.ai/platform/infra/simcloud/store"
)

// Drivers of the Secrets Store CSI volumes that are simulated.
var secretsDrivers = []string{"secrets-store-gke.csi.k8s.io", "secrets-store.csi.k8s.io"}

// bucketDriver mounts a bucket as a directory. It outlives whatever mounts it.
const bucketDriver = "gcsfuse.csi.storage.gke.io"

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

// configError is a fault of what a pod refers to; it is tried again, since that may be put right.
type configError struct{ message string }

func (e *configError) Error() string { return e.message }

func configErrorf(format string, args ...any) error {
	return &configError{fmt.Sprintf(format, args...)}
}

// volume makes the volume ready below the pod's directory and returns where it is.
func (r *Runtime) volume(p *pod, volume corev1.Volume) (string, error) {
	own := filepath.Join(p.directory, "volumes", volume.Name)
	switch source := volume.VolumeSource; {
	case source.PersistentVolumeClaim != nil:
		claim := source.PersistentVolumeClaim.ClaimName
		if _, ok := r.objects.Get(store.Key{Kind: kubernetes.PersistentVolumeClaim, Namespace: p.namespace, Name: claim}); !ok {
			return "", configErrorf("persistentvolumeclaim %q not found", claim)
		}
		shared := r.claimDirectory(p.namespace, claim)
		return shared, os.MkdirAll(shared, 0o700)
	case source.EmptyDir != nil:
		return own, os.MkdirAll(own, 0o700)
	case source.ConfigMap != nil:
		data, err := r.data(kubernetes.ConfigMap, p.namespace, source.ConfigMap.Name, source.ConfigMap.Optional)
		if err != nil {
			return "", err
		}
		return own, project(own, data, source.ConfigMap.Items)
	case source.Secret != nil:
		data, err := r.data(kubernetes.Secret, p.namespace, source.Secret.SecretName, source.Secret.Optional)
		if err != nil {
			return "", err
		}
		return own, project(own, data, source.Secret.Items)
	case source.CSI != nil && slices.Contains(secretsDrivers, source.CSI.Driver):
		data, err := r.providedSecrets(p.namespace, source.CSI.VolumeAttributes["secretProviderClass"])
		if err != nil {
			return "", err
		}
		return own, project(own, data, nil)
	case source.CSI != nil && source.CSI.Driver == bucketDriver:
		bucket := source.CSI.VolumeAttributes["bucketName"]
		if !bucketName.MatchString(bucket) {
			return "", configErrorf("volume %q: %q is no name of a bucket", volume.Name, bucket)
		}
		mounted := filepath.Join(r.buckets, bucket)
		return mounted, os.MkdirAll(mounted, 0o700)
	default:
		return "", configErrorf("volume %q: this kind of volume is not simulated", volume.Name)
	}
}

func (r *Runtime) claimDirectory(namespace, claim string) string {
	return ClaimDirectory(r.directory, namespace, claim)
}

// ClaimDirectory is where the data of a claim is, below the cloud's directory.
func ClaimDirectory(directory, namespace, claim string) string {
	return filepath.Join(directory, "volumes", namespace, claim)
}

// data returns the entries of a ConfigMap or Secret.
func (r *Runtime) data(kind, namespace, name string, optional *bool) (map[string][]byte, error) {
	object, ok := r.objects.Get(store.Key{Kind: kind, Namespace: namespace, Name: name})
	if !ok {
		if optional != nil && *optional {
			return map[string][]byte{}, nil
		}
		return nil, configErrorf("%s %q not found", strings.ToLower(strings.TrimPrefix(kind, "/")), name)
	}
	var content struct {
		Data, StringData, BinaryData map[string]string
	}
	if err := object.Decode(&content); err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	encoded := content.BinaryData
	if kind == kubernetes.Secret {
		encoded = content.Data
	} else {
		for key, value := range content.Data {
			data[key] = []byte(value)
		}
	}
	for key, value := range encoded {
		decoded, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return nil, configErrorf("%s %q: key %q is not base64", kind, name, key)
		}
		data[key] = decoded
	}
	for key, value := range content.StringData {
		data[key] = []byte(value)
	}
	return data, nil
}

// providedSecrets returns the files that a SecretProviderClass asks Secret Manager for.
func (r *Runtime) providedSecrets(namespace, class string) (map[string][]byte, error) {
	object, ok := r.objects.Get(store.Key{Kind: kubernetes.SecretProviderClass, Namespace: namespace, Name: class})
	if !ok {
		return nil, configErrorf("secretproviderclass %q not found", class)
	}
	var content struct {
		Spec struct {
			Provider   string
			Parameters struct{ Secrets string }
		}
	}
	if err := object.Decode(&content); err != nil {
		return nil, configErrorf("secretproviderclass %q: %v", class, err)
	}
	if content.Spec.Provider != "gke" && content.Spec.Provider != "gcp" {
		return nil, configErrorf("secretproviderclass %q: provider %q is not simulated", class, content.Spec.Provider)
	}
	var wanted []struct{ ResourceName, Path, FileName string }
	if err := yaml.Unmarshal([]byte(content.Spec.Parameters.Secrets), &wanted); err != nil {
		return nil, configErrorf("secretproviderclass %q: parameters.secrets: %v", class, err)
	}
	data := map[string][]byte{}
	for _, want := range wanted {
		parts := strings.Split(want.ResourceName, "/")
		if len(parts) != 6 || parts[0] != "projects" || parts[2] != "secrets" || parts[4] != "versions" {
			return nil, configErrorf("secretproviderclass %q: %q is not projects/P/secrets/S/versions/V", class, want.ResourceName)
		}
		value, err := r.secrets.Access(parts[3], parts[5])
		if err != nil {
			return nil, configErrorf("secretproviderclass %q: %v", class, err)
		}
		name := want.Path
		if name == "" {
			name = want.FileName
		}
		data[name] = value
	}
	return data, nil
}

// project writes entries as files; items, where there are any, choose and rename them.
func project(directory string, data map[string][]byte, items []corev1.KeyToPath) error {
	files := data
	if len(items) > 0 {
		files = map[string][]byte{}
		for _, item := range items {
			value, ok := data[item.Key]
			if !ok {
				return configErrorf("there is no key %q", item.Key)
			}
			files[item.Path] = value
		}
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return fmt.Errorf("write a volume: %w", err)
	}
	root, err := os.OpenRoot(directory) // a path cannot lead out of it
	if err != nil {
		return fmt.Errorf("write a volume: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing is written through it after this
	for name, value := range files {
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("write a volume's %s: %w", name, err)
		}
		if err := root.WriteFile(name, value, 0o600); err != nil {
			return fmt.Errorf("write a volume's %s: %w", name, err)
		}
	}
	return nil
}

// mounts are the places where a container expects its volumes, longest first, and where they are.
type mounts []mountPoint

type mountPoint struct{ inside, outside string }

// translate rewrites a path that is, or lies below, a mount point; also behind "--flag=".
func (m mounts) translate(value string) string {
	prefix := ""
	if flag, rest, found := strings.Cut(value, "="); found && strings.HasPrefix(flag, "-") {
		prefix, value = flag+"=", rest
	}
	for _, point := range m {
		if rest, below := strings.CutPrefix(value, point.inside); below && (rest == "" || rest[0] == '/') {
			return prefix + point.outside + rest
		}
	}
	return prefix + value
}
