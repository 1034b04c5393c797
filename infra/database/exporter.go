package database

import (
	"fmt"
	"maps"
	"strconv"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/pod"
)

// How the exporter's metrics are collected.
const (
	Exporter     = "foundationdb-exporter"
	ExporterPort = "metrics"
	ExporterPath = "/metrics"

	exporterPort = 9090
	exporterUser = 65532
)

var exporterSize = pod.Size{CPURequest: 50, CPULimit: 500, MemoryRequest: 64 * pod.MiB, MemoryLimit: 256 * pod.MiB}

// export turns the cluster's status into metrics: one pod, a client like others.
func (c *cluster) export(ctx *pulumi.Context, client pod.Part) error {
	selector := map[string]string{pod.LabelName: Exporter}
	meta := func() *metav1.ObjectMetaArgs {
		return pod.Meta(Exporter, c.Namespace, pod.Labels(Exporter, component, nil), nil)
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, Exporter, &networkingv1.NetworkPolicyArgs{
		Metadata: meta(),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: pod.Selector(selector),
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
			Ingress: networkingv1.NetworkPolicyIngressRuleArray{networkingv1.NetworkPolicyIngressRuleArgs{
				From:  networkingv1.NetworkPolicyPeerArray{pod.NamespaceOf("gmp-system")},
				Ports: networkingv1.NetworkPolicyPortArray{pod.Port("TCP", exporterPort)},
			}},
			Egress: append(networkingv1.NetworkPolicyEgressRuleArray{pod.NameLookups()}, client.Egress...),
		},
	}, pulumi.Parent(c.parent)); err != nil {
		return fmt.Errorf("exporter's network policy: %w", err)
	}
	more := map[string]string{}
	maps.Copy(more, client.Labels)
	_, err := appsv1.NewDeployment(ctx, Exporter, &appsv1.DeploymentArgs{
		Metadata: meta(),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(1),
			Selector: pod.Selector(selector),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: pod.Labels(Exporter, component, more)},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken: pulumi.Bool(false),
					EnableServiceLinks:           pulumi.Bool(false),
					SecurityContext:              pod.Security(exporterUser),
					InitContainers:               client.InitContainers,
					Containers: corev1.ContainerArray{corev1.ContainerArgs{
						Name:  pulumi.String("exporter"),
						Image: pulumi.String(c.ExporterImage),
						// Its own start script would write another cluster file.
						Command: pulumi.ToStringArray([]string{"/app/fdbexporter", "--port", strconv.Itoa(exporterPort)}),
						Env:     client.Env,
						Ports: corev1.ContainerPortArray{corev1.ContainerPortArgs{
							Name: pulumi.String(ExporterPort), ContainerPort: pulumi.Int(exporterPort), Protocol: pulumi.String("TCP"),
						}},
						ReadinessProbe: &corev1.ProbeArgs{
							TcpSocket: &corev1.TCPSocketActionArgs{Port: pulumi.Int(exporterPort)}, PeriodSeconds: pulumi.Int(10),
						},
						Resources:       exporterSize.Resources(),
						SecurityContext: pod.ContainerSecurity(),
						VolumeMounts:    append(client.Mounts, pod.Mount("tmp", "/tmp", false)),
					}},
					Volumes: append(client.Volumes, pod.Scratch("tmp")),
				},
			},
		},
	}, pulumi.Parent(c.parent), pulumi.DependsOn(client.Needs))
	if err != nil {
		return fmt.Errorf("exporter: %w", err)
	}
	return nil
}
