package kube

import (
	"errors"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"coditect.ai/platform/infra/kube"
)

// What commands read of a cluster is what a real API server answers.
func TestCommandsReadTheCluster(t *testing.T) {
	ctx, c := start(t)
	all := objects(t, plans+"/prod.golden.yaml")
	for _, o := range all {
		apply(ctx, t, c, o)
	}
	client, err := kube.New(c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	namespace := "coditect-app"
	var jobs batchv1.JobList
	if err := client.List(ctx, kube.Jobs, namespace, "app.kubernetes.io/name=foundationdb-configure", &jobs); err != nil || len(jobs.Items) != 1 {
		t.Errorf("%d jobs %v", len(jobs.Items), err)
	}
	var job batchv1.Job
	if err := client.Get(ctx, kube.Jobs, namespace, "foundationdb-configure", &job); err != nil || job.Spec.Template.Spec.Containers[0].Name != "configure" {
		t.Errorf("%v %v", job.Name, err)
	}
	var routes gatewayv1.HTTPRouteList
	if err := client.List(ctx, kube.HTTPRoutes, namespace, "", &routes); err != nil || len(routes.Items) == 0 {
		t.Errorf("%d routes %v", len(routes.Items), err)
	}
	if err := client.Get(ctx, kube.Jobs, namespace, "another", &job); !errors.Is(err, kube.ErrAbsent) {
		t.Errorf("an absent object: %v", err)
	}
	if _, err := client.Log(ctx, namespace, "another", "main"); !errors.Is(err, kube.ErrAbsent) {
		t.Errorf("the log of an absent pod: %v", err)
	}
}
