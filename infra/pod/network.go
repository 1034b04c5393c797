package pod

import (
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Port is a port in a network policy.
func Port(protocol string, number int) networkingv1.NetworkPolicyPortArgs {
	return networkingv1.NetworkPolicyPortArgs{Protocol: pulumi.String(protocol), Port: pulumi.Int(number)}
}

// NamespaceOf admits every pod of another namespace.
func NamespaceOf(name string) networkingv1.NetworkPolicyPeerArgs {
	return networkingv1.NetworkPolicyPeerArgs{
		NamespaceSelector: Selector(map[string]string{"kubernetes.io/metadata.name": name}),
	}
}

// Range admits a range of addresses.
func Range(cidr string) networkingv1.NetworkPolicyPeerArgs {
	return networkingv1.NetworkPolicyPeerArgs{IpBlock: &networkingv1.IPBlockArgs{Cidr: pulumi.String(cidr)}}
}

// NameLookups lets a pod ask the cluster's name servers: kube-dns, the node's own
// cache, and Cloud DNS, which answers in its place at the metadata server's address.
func NameLookups() networkingv1.NetworkPolicyEgressRuleArgs {
	return networkingv1.NetworkPolicyEgressRuleArgs{
		To:    networkingv1.NetworkPolicyPeerArray{NamespaceOf("kube-system"), Range("169.254.20.10/32"), Range("169.254.169.254/32")},
		Ports: networkingv1.NetworkPolicyPortArray{Port("UDP", 53), Port("TCP", 53)},
	}
}

// ToGoogle leads to Google's APIs, and to the metadata server that gives pods their identity.
func ToGoogle() networkingv1.NetworkPolicyEgressRuleArray {
	return networkingv1.NetworkPolicyEgressRuleArray{
		NameLookups(),
		networkingv1.NetworkPolicyEgressRuleArgs{
			To:    networkingv1.NetworkPolicyPeerArray{Range("0.0.0.0/0")},
			Ports: networkingv1.NetworkPolicyPortArray{Port("TCP", 443)},
		},
		networkingv1.NetworkPolicyEgressRuleArgs{
			To:    networkingv1.NetworkPolicyPeerArray{Range("169.254.169.252/32"), Range("169.254.169.254/32")},
			Ports: networkingv1.NetworkPolicyPortArray{Port("TCP", 988), Port("TCP", 80)},
		},
	}
}
