package program

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/google"
	"coditect.ai/platform/stacks"
)

// clusterFile is where the database's clients find it.
const clusterFile = "kubernetes:core/v1:ConfigMap fdb-cluster-file"

// adopted are the resources that are taken over, "type name" in the program, and
// the ids that they have in the cloud by the environment's settings.
func adopted(s stacks.Settings) map[string]string {
	inProject := "projects/" + s.Cloud.ProjectID
	inRegion := inProject + "/regions/" + s.Cloud.Region
	inNamespace := s.Cloud.Namespace + "/"
	return map[string]string{
		google.NetworkType + " " + s.Cluster.Name:               inProject + "/global/networks/" + s.Cluster.Name,
		google.SubnetworkType + " " + s.Cluster.Name + "-nodes": inRegion + "/subnetworks/" + s.Cluster.Name + "-nodes",
		google.ClusterType + " " + s.Cluster.Name:               inProject + "/locations/" + s.Cluster.Location + "/clusters/" + s.Cluster.Name,
		google.RepositoryType + " registry":                     inProject + "/locations/" + s.Cloud.Region + "/repositories/" + s.Registry.Repository,
		google.SecretType + " jwt-secret":                       inProject + "/secrets/jwt-secret",
		google.SecretType + " fdb-cluster-file":                 inProject + "/secrets/fdb-cluster-file",
		google.GlobalAddressType + " " + s.Gateway.AddressName:  inProject + "/global/addresses/" + s.Gateway.AddressName,
		"kubernetes:core/v1:Namespace namespace":                s.Cloud.Namespace,
		"kubernetes:apps/v1:StatefulSet foundationdb":           inNamespace + "foundationdb",
		"kubernetes:core/v1:Service fdb-cluster":                inNamespace + "fdb-cluster",
		clusterFile:                                             inNamespace + "fdb-cluster-file",
	}
}

// adopt imports what is taken over. The engine then changes in place what can be,
// and since all of it is protected for as long as it is being taken over, it
// refuses, in the preview already, what would have to be replaced.
func adopt(s stacks.Settings) extra {
	ids := adopted(s)
	return func(args *pulumi.ResourceTransformationArgs) []pulumi.ResourceOption {
		id, there := ids[args.Type+" "+args.Name]
		if !there {
			return nil
		}
		opts := []pulumi.ResourceOption{pulumi.Import(pulumi.ID(id)), pulumi.Protect(true)}
		if args.Type+" "+args.Name == clusterFile {
			// With another cluster file the pods would begin an empty database beside the records.
			opts = append(opts, pulumi.ReplaceOnChanges([]string{"data"}))
		}
		return opts
	}
}
