package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/metrics"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/infra/slots"
	"coditect.ai/platform/stacks"
)

// Releases is the environment as a rollout sees it.
func (e *Environment) Releases() rollout.Environment { return releases{e} }

type releases struct{ *Environment }

// Configured implements [rollout.Environment]: the release settings are those
// of the engine's workspace.
func (r releases) Configured(context.Context) (rollout.Split, error) {
	split := rollout.Split{Images: map[stacks.Slot]string{}, Weights: rollout.Weights{}}
	text, err := os.ReadFile(r.path("pulumi", engine.File(Name)))
	if errors.Is(err, fs.ErrNotExist) {
		return split, problem.New(err, "the local environment was never up: `make up` brings it up.")
	}
	if err != nil {
		return split, fmt.Errorf("read the engine's settings: %w", err)
	}
	last, err := engine.Parse(r.root, Name, text)
	if err != nil {
		return split, err
	}
	return slots.Read(func(key string) string { return engine.Text(last[engine.Key(key)]) })
}

// Deploy implements [rollout.Environment].
func (r releases) Deploy(ctx context.Context, slot stacks.Slot, image string) error {
	return r.reconfigure(ctx, slots.Hold(slot, image), slots.Targets(slot)...)
}

// Shift implements [rollout.Environment].
func (r releases) Shift(ctx context.Context, weights rollout.Weights) error {
	return r.reconfigure(ctx, slots.Weigh(weights), slots.RouteTarget)
}

// Traffic implements [rollout.Environment]. The simulated load balancer has no
// weights but the route's, and takes them at once.
func (r releases) Traffic(ctx context.Context) (rollout.Traffic, error) {
	status, err := r.Look(ctx)
	if err != nil {
		return rollout.Traffic{}, err
	}
	for _, route := range status.Routes {
		if route.Path != contract.BasePath {
			continue
		}
		t := rollout.Traffic{Accepted: true, Weights: rollout.Weights{}, Requests: map[stacks.Slot]float64{}}
		for _, slot := range stacks.Slots() {
			for _, backend := range route.Backends {
				if backend.Service == service.SlotName(string(slot)) {
					t.Weights[slot], t.Requests[slot] = backend.Weight, float64(backend.Recent)
				}
			}
		}
		t.Asked = t.Weights
		return t, nil
	}
	return rollout.Traffic{}, errors.New("no route leads to the service")
}

// Pods implements [rollout.Environment].
func (r releases) Pods(ctx context.Context, slot stacks.Slot) (rollout.Pods, error) {
	status, err := r.Look(ctx)
	if err != nil {
		return rollout.Pods{}, err
	}
	pods := rollout.Pods{}
	for _, workload := range status.Workloads {
		if workload.Name != service.SlotName(string(slot)) {
			continue
		}
		pods.Desired, pods.Ready = workload.Desired, workload.Ready
		var images []string
		for _, pod := range workload.Pods {
			if pod.Terminating {
				continue
			}
			for _, c := range pod.Containers {
				images = append(images, c.Image)
				pods.Restarts += c.Restarts
			}
		}
		slices.Sort(images)
		if images = slices.Compact(images); len(images) == 1 {
			pods.Image = images[0]
		}
	}
	return pods, nil
}

// reconfigure applies what a release changes to the resources that it concerns, and to nothing else.
func (e *Environment) reconfigure(ctx context.Context, next release, only ...string) error {
	unlock, err := e.lock()
	if err != nil {
		return err
	}
	defer unlock()
	doubtful := e.cutOff()
	cloud, err := e.Cloud(ctx)
	if err != nil {
		return err
	}
	s, err := e.openStack(ctx, cloud.Providers(), next)
	if err != nil {
		return err
	}
	_, err = e.bring(ctx, s, doubtful, only...)
	return err
}

// Metrics is the database of what the environment's pods tell of themselves.
func (e *Environment) Metrics(ctx context.Context) (*metrics.Prometheus, error) {
	status, err := e.Look(ctx)
	if err != nil {
		return nil, err
	}
	if status.Metrics.Address == "" {
		return nil, fmt.Errorf("%w: nothing is measured: %s", metrics.ErrNoData, status.Metrics.Trouble)
	}
	s, err := e.Settled()
	if err != nil {
		return nil, err
	}
	return metrics.New(metrics.Options{Address: status.Metrics.Address, Namespace: s.Cloud.Namespace, Interval: program.LocalInterval})
}

// PushRelease puts another build of the service into the environment's registry
// and returns its reference.
func (e *Environment) PushRelease(ctx context.Context, binary string) (string, error) {
	cloud, err := e.Cloud(ctx)
	if err != nil {
		return "", err
	}
	image, err := cloud.PushImage(ctx, imageRepository, binary)
	if err != nil {
		return "", fmt.Errorf("push the release's image: %w", err)
	}
	return image, nil
}
