package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
)

// Commit changes settings of the environment's file in root, whose comments stay;
// "" takes one out. Settings that would be refused are not written.
func Commit(root, environment string, settings map[string]string) error {
	project, err := workspace.LoadProject(filepath.Join(root, "Pulumi.yaml"))
	if err != nil {
		return fmt.Errorf("read Pulumi.yaml: %w", err)
	}
	name := File(environment)
	stack, err := workspace.LoadProjectStack(nil, project, filepath.Join(root, name))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if stack.Config == nil {
		stack.Config = config.Map{}
	}
	for key, value := range settings {
		if value == "" {
			delete(stack.Config, Key(key))
			continue
		}
		stack.Config[Key(key)] = config.NewValue(value)
	}
	if _, err := load(environment, stack.Config); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(root, ".settings-")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	whole := filepath.Join(scratch, name)
	err = stack.Save(whole)
	if err == nil {
		err = os.Rename(whole, filepath.Join(root, name)) // so that the file is never half written
	}
	if err = errors.Join(err, os.RemoveAll(scratch)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
