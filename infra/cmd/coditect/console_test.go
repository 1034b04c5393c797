package main

import (
	"testing"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/simcloud/daemon"
	"coditect.ai/platform/infra/simcloud/gateway"
	"coditect.ai/platform/infra/simcloud/runtime"
)

func TestHealth(t *testing.T) {
	pods := func(name string, ready int) runtime.WorkloadStatus {
		return runtime.WorkloadStatus{Name: name, Ready: ready, Desired: 2}
	}
	route := func(path string) []gateway.RouteStatus {
		return []gateway.RouteStatus{{Path: path, Backends: []gateway.BackendStatus{
			{Service: "api-blue", Weight: 100}, {Service: "api-green", Weight: 0},
		}}}
	}
	for name, test := range map[string]struct {
		status  daemon.Status
		running bool
		want    string
	}{
		"not there":                        {daemon.Status{}, false, console.Absent},
		"no route":                         {daemon.Status{}, true, console.Down},
		"a route of something else":        {daemon.Status{Routes: route("/docs")}, true, console.Down},
		"no pods":                          {daemon.Status{Routes: route(contract.BasePath)}, true, console.Down},
		"only the slot without traffic":    {daemon.Status{Routes: route(contract.BasePath), Workloads: []runtime.WorkloadStatus{pods("api-blue", 0), pods("api-green", 2)}}, true, console.Down},
		"one pod of two":                   {daemon.Status{Routes: route(contract.BasePath), Workloads: []runtime.WorkloadStatus{pods("api-blue", 1)}}, true, console.Degraded},
		"the other slot is not ready":      {daemon.Status{Routes: route(contract.BasePath), Workloads: []runtime.WorkloadStatus{pods("api-blue", 2), pods("api-green", 0)}}, true, console.Degraded},
		"all there, one slot with release": {daemon.Status{Routes: route(contract.BasePath), Workloads: []runtime.WorkloadStatus{pods("api-blue", 2)}}, true, console.Healthy},
	} {
		t.Run(name, func(t *testing.T) {
			if got := health(test.status, test.running); got.Health != test.want || (got.Health == console.Healthy) != (got.Detail == "") {
				t.Errorf("%s (%s), want %s", got.Health, got.Detail, test.want)
			}
		})
	}
}
