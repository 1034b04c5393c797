package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"coditect.ai/platform/infra/simcloud/runtime"
)

// How a pod of this machine ended is told as a cluster would tell it.
func TestLocalPod(t *testing.T) {
	for last, want := range map[string]int{"exited with code 0": 0, "exited with code 2": 2, "killed by signal 9 (killed)": 137, "": -1} {
		p := localPod(runtime.PodStatus{Name: "a", Containers: []runtime.ContainerStatus{{
			Image: "i", Restarts: 3, Reason: "CrashLoopBackOff", LastExit: last,
		}}}, corev1.PodSpec{}, "")
		got := -1
		if p.Exited != nil {
			got = *p.Exited
		}
		if got != want || p.Waiting != "CrashLoopBackOff" || p.Restarts != 3 {
			t.Errorf("%q: %d, want %d: %+v", last, got, want, p)
		}
	}
}
