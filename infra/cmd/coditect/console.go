package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/simcloud/daemon"
	"coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/infra/workflow"
)

// recentOperations is how many of them the console shows.
const recentOperations = 20

func consoleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "console", Short: "Serve the status page of an environment on this machine, until Ctrl-C", Args: cobra.NoArgs}
	open := viewing(cmd)
	port := cmd.Flags().Int("port", 0, "loopback port of the page; 0 takes a free one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *port < 0 || *port > 65535 {
			return problem.New(nil, "--port is %d: it is a number from 1 to 65535, or 0 for a free one.", *port)
		}
		v, err := open()
		if err != nil {
			return err
		}
		listener, err := console.Listen(cmd.Context(), *port)
		if err != nil {
			return &problem.Error{Text: fmt.Sprintf("port %d of this machine cannot be had: choose another with --port, or leave it out.", *port), Err: err}
		}
		c := console.New(v.Options)
		fmt.Fprintf(cmd.OutOrStdout(), "The console of %s is at\n\n  %s\n\nThe address carries the key to it. Ctrl-C ends it.\n", v.Environment, c.URL(listener))
		return c.Serve(cmd.Context(), listener)
	}
	return cmd
}

// view is what there is to see of an environment, and what may be done there.
type view struct {
	console.Options

	local *local.Environment // finds the repository, whatever the environment
}

// viewing adds --env to cmd and returns what opens the environment.
func viewing(cmd *cobra.Command) func() (*view, error) {
	name := cmd.Flags().String("env", local.Name, "the environment: local, dev, staging or prod")
	return func() (*view, error) {
		env, err := local.Open(".", cmd.OutOrStdout())
		if err != nil {
			return nil, err
		}
		executable, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this executable: %w", err)
		}
		command := func(words ...string) []string {
			return append(append([]string{executable}, words...), "--env", *name)
		}
		v := &view{console.Options{Environment: *name, Sources: sources(env), Actions: actions(command)}, env}
		if *name != local.Name {
			o, err := openOverview(cmd.Context(), env, *name, cmd.OutOrStdout())
			if err != nil {
				return nil, err
			}
			v.Sources, v.Actions = o.sources(), cloudActions(command)
		}
		v.Sources = append(v.Sources, console.Source{Name: "operations", Fill: func(_ context.Context, s *console.Snapshot) (err error) {
			s.Operations, err = operations(env).RecentOf(*name, recentOperations)
			return err
		}})
		return v, nil
	}
}

func sources(env *local.Environment) []console.Source {
	return []console.Source{
		{Name: "environment", Fill: func(ctx context.Context, s *console.Snapshot) error {
			status, err := env.Look(ctx)
			if err != nil && !errors.Is(err, daemon.ErrNotRunning) {
				return err
			}
			s.Environments = []console.Environment{health(status, err == nil)}
			return nil
		}},
		{Name: "recovery", Fill: func(ctx context.Context, s *console.Snapshot) error {
			return fillRecovery(ctx, env, s)
		}},
		{Name: "release", Fill: func(ctx context.Context, s *console.Snapshot) error {
			return fillReleases(ctx, local.Name, workflow.In(rolloutDir(env, local.Name)), s)
		}},
	}
}

// actions are the operator's own commands.
func actions(command func(...string) []string) []console.Action {
	return append(append([]console.Action{
		{
			ID: "up", Title: "Bring up, or heal", Command: command("up"),
			Consequence: "The environment is brought to what this checkout says. Where it is so already, nothing changes.",
		},
		{
			ID: "down", Title: "Take down, keep data", Danger: true, Command: command("down", "--keep-data"),
			Consequence: "The environment stops answering. Its volumes and secrets stay for the next time it is brought up.",
		},
		{
			ID: "drill", Title: "Rehearse a recovery", Command: command("drill"),
			Consequence: "A scratch environment is brought up beside this one, destroyed under load, rebuilt and measured. This one is not touched; it takes some minutes of the machine.",
		},
		{
			ID: "recover", Title: "Recover what was lost", Danger: true, Command: command("recover"),
			Consequence: "The lost environment is rebuilt from its newest backup, or an unfinished recovery goes on. Where there are records it is refused.",
		},
	}, rolloutActions(command)...), retireActions(command)...)
}

// health tells how the local environment is from what runs of it.
func health(status daemon.Status, running bool) console.Environment {
	e := console.Environment{Name: local.Name, Health: console.Absent, Detail: "It is not up."}
	if !running {
		return e
	}
	if len(status.Gateways) > 0 {
		e.URL = status.Gateways[0] + contract.BasePath
	}
	for _, route := range status.Routes {
		if route.Path != contract.BasePath {
			continue
		}
		for _, backend := range route.Backends {
			slot := console.Slot{Name: backend.Service, Weight: backend.Weight, Share: &backend.Share}
			// A slot's Deployment and Service share their name.
			if i := slices.IndexFunc(status.Workloads, func(w runtime.WorkloadStatus) bool { return w.Name == backend.Service }); i >= 0 {
				slot.Ready, slot.Desired = status.Workloads[i].Ready, status.Workloads[i].Desired
			}
			e.Slots = append(e.Slots, slot)
		}
	}
	e.Health, e.Detail = healthOf(e.Slots)
	return e
}

// healthOf tells how an environment is from the slots that its route leads to.
func healthOf(slots []console.Slot) (health, detail string) {
	serving, short := false, false
	for _, slot := range slots {
		serving = serving || slot.Weight > 0 && slot.Ready > 0
		short = short || slot.Ready < slot.Desired || slot.Weight > 0 && slot.Ready == 0
	}
	switch {
	case len(slots) == 0:
		return console.Down, "No route leads to the service."
	case !serving:
		return console.Down, "No pod that has traffic is ready."
	case short:
		return console.Degraded, "Some pods are not ready."
	}
	return console.Healthy, ""
}
