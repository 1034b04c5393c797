package local

import (
	"context"

	"coditect.ai/platform/infra/drift"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/slots"
)

// Drift compares the environment with what its last update made of it.
func (e *Environment) Drift(ctx context.Context) (drift.Report, error) {
	cloud, err := e.Cloud(ctx)
	if err != nil {
		return drift.Report{}, err
	}
	unlock, err := e.lock() // what is being changed has no state to be compared with
	if err != nil {
		return drift.Report{}, err
	}
	defer unlock()
	s, err := e.openStack(ctx, cloud.Providers(), slots.Keep)
	if err != nil {
		return drift.Report{}, err
	}
	report, err := drift.Look(ctx, s, func(ctx context.Context) ([]drift.Thing, error) {
		objects, err := cloud.Objects(ctx)
		if err != nil {
			return nil, err
		}
		var things []drift.Thing
		for _, object := range objects {
			things = append(things, drift.Thing{URN: object.URN, Type: object.Key.Kind, Name: object.Key.ID()})
		}
		return things, nil
	})
	if err != nil && ctx.Err() == nil {
		return report, problem.New(err, "the environment cannot be compared: %v", e.explain(err))
	}
	return report, err
}
