package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"

	"coditect.ai/platform/infra/slots"
)

// Down takes the environment away through the engine, ends the simulated
// cloud and removes what both kept; with keepData the volumes and the values
// of secrets stay for the next Up.
func (e *Environment) Down(ctx context.Context, keepData bool) error {
	if _, err := os.Stat(e.dir); os.IsNotExist(err) {
		e.say("The local environment is not up.")
		return nil
	}
	unlock, err := e.lock()
	if err != nil {
		return err
	}
	defer unlock()
	interrupted := e.cutOff()

	cloud, err := e.cloud(ctx)
	if err != nil {
		return err
	}
	if err := cloud.SetReclaimPolicy(ctx, keepData); err != nil {
		return fmt.Errorf("tell the simulated cloud what to do with volumes: %w", err)
	}
	s, err := e.openStack(ctx, cloud.Providers(), slots.Keep)
	if err != nil {
		return err
	}
	e.say("Taking the environment away")
	done, err := e.begin()
	if err != nil {
		return err
	}
	if interrupted {
		if err := e.heal(ctx, s); err != nil {
			return err
		}
	}
	ch := make(chan events.EngineEvent)
	p := e.follow(ch)
	_, err = s.Destroy(ctx, optdestroy.EventStreams(ch), optdestroy.SuppressOutputs(), optdestroy.SuppressProgress())
	p.wait()
	if err != nil {
		return e.failure(ctx, "The removal", p, err)
	}
	if err := cloud.Shutdown(ctx); err != nil {
		return fmt.Errorf("end the simulated cloud: %w", err)
	}
	if err := done(); err != nil {
		return err
	}
	if keepData {
		e.say("The environment is down; its data waits in %s for the next `make up`.", e.path("simcloud"))
		return nil
	}
	// The lock goes last, with the folder, and while it is held.
	for _, part := range []string{"pulumi", "simcloud"} {
		if err := os.RemoveAll(e.path(part)); err != nil {
			return fmt.Errorf("remove %s: %w", e.path(part), err)
		}
	}
	if err := os.RemoveAll(filepath.Clean(e.dir)); err != nil {
		return fmt.Errorf("remove %s: %w", e.dir, err)
	}
	e.say("The environment is down; nothing of it is left but its backups and the secret that they need, in %s.", e.outside)
	return nil
}
