// Package google makes resources of Google Cloud by the names of their types.
//
// Pulumi's typed packages for compute and container alone take minutes and five
// gigabytes to compile, for a handful of resources. So arguments are maps here,
// and a test of package program holds every one of them, nested ones too, to the
// argument types in the SDK's source: names, types, and what is required.
package google

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Types of the resources that components make.
const (
	APIType              = "gcp:projects/service:Service"
	ProjectMemberType    = "gcp:projects/iAMMember:IAMMember"
	AccountType          = "gcp:serviceaccount/account:Account"
	AccountMemberType    = "gcp:serviceaccount/iAMMember:IAMMember"
	NetworkType          = "gcp:compute/network:Network"
	SubnetworkType       = "gcp:compute/subnetwork:Subnetwork"
	RouterType           = "gcp:compute/router:Router"
	NATType              = "gcp:compute/routerNat:RouterNat"
	FirewallType         = "gcp:compute/firewall:Firewall"
	GlobalAddressType    = "gcp:compute/globalAddress:GlobalAddress"
	ClusterType          = "gcp:container/cluster:Cluster"
	NodePoolType         = "gcp:container/nodePool:NodePool"
	RepositoryType       = "gcp:artifactregistry/repository:Repository"
	BucketType           = "gcp:storage/bucket:Bucket"
	BucketMemberType     = "gcp:storage/bucketIAMMember:BucketIAMMember"
	TriggerType          = "gcp:cloudbuild/trigger:Trigger"
	CertificateType      = "gcp:certificatemanager/certificate:Certificate"
	CertificateMapType   = "gcp:certificatemanager/certificateMap:CertificateMap"
	CertificateEntryType = "gcp:certificatemanager/certificateMapEntry:CertificateMapEntry"
	AuthorizationType    = "gcp:certificatemanager/dnsAuthorization:DnsAuthorization"
	LogBucketType        = "gcp:logging/projectBucketConfig:ProjectBucketConfig"
	LogSinkType          = "gcp:logging/projectSink:ProjectSink"
	LogViewType          = "gcp:logging/logView:LogView"
	LogMetricType        = "gcp:logging/metric:Metric"
	ChannelType          = "gcp:monitoring/notificationChannel:NotificationChannel"
	AlertType            = "gcp:monitoring/alertPolicy:AlertPolicy"
	DashboardType        = "gcp:monitoring/dashboard:Dashboard"
	MonitoredServiceType = "gcp:monitoring/customService:CustomService"
	ObjectiveType        = "gcp:monitoring/slo:Slo"
	UptimeType           = "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig"
	SecretType           = "gcp:secretmanager/secret:Secret"
	SecretMemberType     = "gcp:secretmanager/secretIamMember:SecretIamMember"
	RepositoryMemberType = "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember"
)

// Resource is a resource of Google Cloud with the outputs that components hand on.
// One that the type does not have is empty.
type Resource struct {
	pulumi.CustomResourceState

	Name     pulumi.StringOutput `pulumi:"name"`
	Project  pulumi.StringOutput `pulumi:"project"`
	Location pulumi.StringOutput `pulumi:"location"`
	// RepositoryID and SecretID are the short names of a repository and of a secret.
	RepositoryID pulumi.StringOutput `pulumi:"repositoryId"`
	SecretID     pulumi.StringOutput `pulumi:"secretId"`
	// Member is a service account as IAM names it.
	Member pulumi.StringOutput `pulumi:"member"`
	Email  pulumi.StringOutput `pulumi:"email"`
	// Address is a reserved address.
	Address pulumi.StringOutput `pulumi:"address"`
	// Records are what a domain's name servers must answer for it to be taken as one's own.
	Records pulumi.ArrayOutput `pulumi:"dnsResourceRecords"`
	// ServiceID names a monitored service in its objectives.
	ServiceID pulumi.StringOutput `pulumi:"serviceId"`
	// Endpoint and MasterAuth tell where a cluster is and whom it is certified by.
	Endpoint   pulumi.StringOutput `pulumi:"endpoint"`
	MasterAuth pulumi.MapOutput    `pulumi:"masterAuth"`
}

// New makes a resource of the type that kind names.
func New(ctx *pulumi.Context, kind, name string, args pulumi.Map, opts ...pulumi.ResourceOption) (*Resource, error) {
	r := &Resource{}
	if err := ctx.RegisterResource(kind, name, args, r, opts...); err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return r, nil
}
