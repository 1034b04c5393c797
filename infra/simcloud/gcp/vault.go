package gcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"

	"coditect.ai/platform/infra/simcloud/store"
)

// Vault keeps the values of Secret Manager's secrets, by the secret's name. A
// value may be there before the secret itself is: it can be read once both are.
type Vault struct {
	path    string
	objects *store.Store

	mu       sync.Mutex
	versions map[string][][]byte
}

// OpenVault reads the values at path, which need not exist yet.
func OpenVault(path string, objects *store.Store) (*Vault, error) {
	v := &Vault{path: path, objects: objects, versions: map[string][][]byte{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the secrets: %w", err)
	}
	if err := json.Unmarshal(raw, &v.versions); err != nil {
		return nil, fmt.Errorf("read the secrets in %s: %w", path, err)
	}
	return v, nil
}

// Ensure gives the secret a first version if it has none, and returns its newest.
func (v *Vault) Ensure(name string, value []byte) (newest []byte, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if versions := v.versions[name]; len(versions) > 0 {
		return versions[len(versions)-1], nil
	}
	return value, v.set(name, [][]byte{value})
}

// Add appends a version and returns its number.
func (v *Vault) Add(name string, value []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	versions := append(slices.Clip(v.versions[name]), value)
	return len(versions), v.set(name, versions)
}

// Remove forgets all versions.
func (v *Vault) Remove(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.set(name, nil)
}

// Access returns a version's value; version is a number or "latest".
func (v *Vault) Access(name, version string) ([]byte, error) {
	exists := false
	for _, secret := range v.objects.List(secretType, "") {
		exists = exists || secret.Inputs["secretId"] == name
	}
	if !exists {
		return nil, fmt.Errorf("secret %q not found in Secret Manager", name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	versions := v.versions[name]
	number := len(versions)
	if version != "latest" {
		var err error
		if number, err = strconv.Atoi(version); err != nil {
			return nil, fmt.Errorf("secret %q: version %q is neither a number nor latest", name, version)
		}
	}
	if number < 1 || number > len(versions) {
		return nil, fmt.Errorf("secret %q has no version %s", name, version)
	}
	return versions[number-1], nil
}

// set stores the versions of one secret. The caller holds mu.
func (v *Vault) set(name string, versions [][]byte) error {
	before, existed := v.versions[name]
	if versions == nil {
		delete(v.versions, name)
	} else {
		v.versions[name] = versions
	}
	raw, err := json.Marshal(v.versions)
	if err == nil {
		err = store.WriteFile(v.path, raw, 0o600)
	}
	if err != nil {
		delete(v.versions, name)
		if existed {
			v.versions[name] = before
		}
		return fmt.Errorf("store the value of secret %q: %w", name, err)
	}
	return nil
}
