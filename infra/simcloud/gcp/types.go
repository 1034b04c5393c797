package gcp

import "strings"

const (
	secretType  = "gcp:secretmanager/secret:Secret"
	versionType = "gcp:secretmanager/secretVersion:SecretVersion"
)

// kind is what is known of one type of resource. Templates name inputs and
// earlier outputs in braces.
type kind struct {
	id       string
	required []string
	// replaces are the inputs that cannot be changed in place, besides project.
	replaces []string
	// outputs are what the cloud adds, in order.
	outputs []output
}

type output struct{ name, template string }

// Values that are no function of the inputs.
const (
	now     = "<now>"     // the time of creation
	address = "<address>" // an address out of a block for documentation
	number  = "<number>"  // a unique number
	// authority is what a cluster's clients know it by.
	authority = "<authority>"
	// records are what proves that a domain is one's own.
	records = "<records>"
)

var created = output{"createTime", now}

func member(parent, id string) kind {
	return kind{
		id: id + "/{role}/{member}", required: []string{parent, "role", "member"},
		replaces: []string{parent, "role", "member", "condition", "location"}, outputs: []output{{"etag", "{id}"}},
	}
}

var kinds = map[string]kind{
	"gcp:artifactregistry/repository:Repository": {
		id:       "projects/{project}/locations/{location}/repositories/{repositoryId}",
		required: []string{"repositoryId", "format"}, replaces: []string{"repositoryId", "location", "format", "mode", "kmsKeyName"},
		outputs: []output{{"name", "{repositoryId}"}, created},
	},
	"gcp:artifactregistry/repositoryIamMember:RepositoryIamMember": member("repository",
		"projects/{project}/locations/{location}/repositories/{repository}"),
	secretType: {
		id:       "projects/{project}/secrets/{secretId}",
		required: []string{"secretId", "replication"}, replaces: []string{"secretId", "replication"},
		outputs: []output{{"name", "projects/{project}/secrets/{secretId}"}, created},
	},
	versionType: {
		id: "{secret}/versions/{version}", required: []string{"secret", "secretData"},
		replaces: []string{"secret", "secretData", "isSecretDataBase64"}, outputs: []output{{"name", "{id}"}, created},
	},
	"gcp:secretmanager/secretIamMember:SecretIamMember": member("secretId", "projects/{project}/secrets/{secretId}"),
	"gcp:serviceaccount/account:Account": {
		id:       "projects/{project}/serviceAccounts/{accountId}@{project}.iam.gserviceaccount.com",
		required: []string{"accountId"}, replaces: []string{"accountId"},
		outputs: []output{
			{"email", "{accountId}@{project}.iam.gserviceaccount.com"},
			{"name", "{id}"},
			{"member", "serviceAccount:{email}"},
			{"uniqueId", number},
		},
	},
	"gcp:serviceaccount/iAMMember:IAMMember":      member("serviceAccountId", "{serviceAccountId}"),
	"gcp:projects/iAMMember:IAMMember":            member("project", "{project}"),
	"gcp:storage/bucketIAMMember:BucketIAMMember": member("bucket", "b/{bucket}"),
	"gcp:compute/globalAddress:GlobalAddress": {
		id:       "projects/{project}/global/addresses/{name}",
		replaces: []string{"name", "address", "addressType", "ipVersion", "network", "prefixLength", "purpose", "description"},
		outputs: []output{
			{"address", address}, {"selfLink", "https://www.googleapis.com/compute/v1/{id}"}, {"creationTimestamp", now},
		},
	},
	"gcp:compute/network:Network": {
		id: "projects/{project}/global/networks/{name}", replaces: []string{"name", "autoCreateSubnetworks", "description", "mtu"},
		outputs: []output{{"selfLink", "https://www.googleapis.com/compute/v1/{id}"}},
	},
	"gcp:compute/subnetwork:Subnetwork": {
		id:       "projects/{project}/regions/{region}/subnetworks/{name}",
		required: []string{"network", "ipCidrRange"}, replaces: []string{"name", "network", "region", "purpose", "description"},
		outputs: []output{{"selfLink", "https://www.googleapis.com/compute/v1/{id}"}, {"gatewayAddress", address}},
	},
	"gcp:certificatemanager/certificateMap:CertificateMap": {
		id: "projects/{project}/locations/global/certificateMaps/{name}", replaces: []string{"name"}, outputs: []output{created},
	},
	"gcp:certificatemanager/certificate:Certificate": {
		id:       "projects/{project}/locations/{location}/certificates/{name}",
		replaces: []string{"name", "location", "scope", "managed"},
	},
	"gcp:certificatemanager/certificateMapEntry:CertificateMapEntry": {
		id:       "projects/{project}/locations/global/certificateMaps/{map}/certificateMapEntries/{name}",
		required: []string{"map", "certificates"}, replaces: []string{"name", "map", "hostname", "matcher"},
		outputs: []output{created, {"state", "ACTIVE"}},
	},
	"gcp:certificatemanager/dnsAuthorization:DnsAuthorization": {
		id:       "projects/{project}/locations/{location}/dnsAuthorizations/{name}",
		required: []string{"domain"}, replaces: []string{"name", "domain", "location", "type"},
		outputs: []output{{"dnsResourceRecords", records}},
	},
	"gcp:storage/bucket:Bucket": {
		id: "{name}", required: []string{"location"}, replaces: []string{"name", "location", "customPlacementConfig"},
		outputs: []output{{"url", "gs://{name}"}, {"selfLink", "https://www.googleapis.com/storage/v1/b/{name}"}},
	},
	"gcp:compute/router:Router": {
		id: "projects/{project}/regions/{region}/routers/{name}", required: []string{"network"},
		replaces: []string{"name", "network", "region", "encryptedInterconnectRouter"},
		outputs:  []output{{"selfLink", "https://www.googleapis.com/compute/v1/{id}"}, {"creationTimestamp", now}},
	},
	"gcp:compute/routerNat:RouterNat": {
		id: "{project}/{region}/{router}/{name}", required: []string{"router", "sourceSubnetworkIpRangesToNat"},
		replaces: []string{"name", "router", "region", "endpointTypes", "type"},
	},
	"gcp:compute/firewall:Firewall": {
		id: "projects/{project}/global/firewalls/{name}", required: []string{"network"},
		replaces: []string{"name", "network", "direction"},
		outputs:  []output{{"selfLink", "https://www.googleapis.com/compute/v1/{id}"}, {"creationTimestamp", now}},
	},
	"gcp:container/cluster:Cluster": {
		id: "projects/{project}/locations/{location}/clusters/{name}",
		replaces: []string{
			"name", "location", "network", "subnetwork", "networkingMode", "ipAllocationPolicy", "description", "initialNodeCount",
			"defaultMaxPodsPerNode", "clusterIpv4Cidr", "enableAutopilot", "enableTpu", "enableKubernetesAlpha",
			"confidentialNodes", "datapathProvider", "nodeConfig", "privateClusterConfig",
		},
		outputs: []output{
			{"endpoint", address},
			{"masterAuth", authority},
			{"selfLink", "https://container.googleapis.com/v1/{id}"},
		},
	},
	"gcp:container/nodePool:NodePool": {
		id: "{cluster}/nodePools/{name}", required: []string{"cluster"},
		replaces: []string{"name", "namePrefix", "cluster", "location", "initialNodeCount", "maxPodsPerNode", "placementPolicy"},
	},
	"gcp:cloudbuild/trigger:Trigger": {
		id: "projects/{project}/locations/{location}/triggers/{name}", replaces: []string{"location"},
		outputs: []output{created, {"triggerId", number}},
	},
	"gcp:logging/projectBucketConfig:ProjectBucketConfig": {
		id:       "projects/{project}/locations/{location}/buckets/{bucketId}",
		required: []string{"project", "location", "bucketId"}, replaces: []string{"bucketId", "location"},
		outputs: []output{{"name", "{id}"}, {"lifecycleState", "ACTIVE"}},
	},
	"gcp:logging/projectSink:ProjectSink": {
		id: "projects/{project}/sinks/{name}", required: []string{"destination"}, replaces: []string{"name", "uniqueWriterIdentity"},
		outputs: []output{{"writerIdentity", "serviceAccount:cloud-logs@system.gserviceaccount.com"}},
	},
	"gcp:logging/logView:LogView": {
		id: "{bucket}/views/{name}", required: []string{"bucket"}, replaces: []string{"name", "bucket", "location", "parent"}, outputs: []output{created},
	},
	"gcp:logging/metric:Metric": {id: "{name}", required: []string{"filter"}, replaces: []string{"name"}},
	"gcp:monitoring/notificationChannel:NotificationChannel": {
		id: "projects/{project}/notificationChannels/{number}", required: []string{"type"},
		outputs: []output{{"name", "{id}"}, {"verificationStatus", "VERIFIED"}},
	},
	"gcp:monitoring/alertPolicy:AlertPolicy": {
		id: "projects/{project}/alertPolicies/{number}", required: []string{"displayName", "combiner", "conditions"}, outputs: []output{{"name", "{id}"}},
	},
	"gcp:monitoring/dashboard:Dashboard": {id: "projects/{project}/dashboards/{number}", required: []string{"dashboardJson"}},
	"gcp:monitoring/customService:CustomService": {
		id: "projects/{project}/services/{serviceId}", replaces: []string{"serviceId"}, outputs: []output{{"name", "{id}"}},
	},
	"gcp:monitoring/slo:Slo": {
		id: "projects/{project}/services/{service}/serviceLevelObjectives/{sloId}", required: []string{"service", "goal"},
		replaces: []string{"service", "sloId"}, outputs: []output{{"name", "{id}"}},
	},
	"gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": {
		id: "projects/{project}/uptimeCheckConfigs/{number}", required: []string{"displayName", "timeout"},
		replaces: []string{"monitoredResource", "resourceGroup"},
		outputs:  []output{{"uptimeCheckId", "{number}"}, {"name", "{id}"}},
	},
	"gcp:projects/service:Service": {
		id: "{project}/{service}", required: []string{"service"}, replaces: []string{"service"},
	},
}

// kindOf returns what is known of the type; of others the usual is assumed.
func kindOf(typ string) kind {
	if known, ok := kinds[typ]; ok {
		return known
	}
	// gcp:compute/router:Router is projects/P/compute/router/NAME.
	_, path, _ := strings.Cut(typ, ":")
	path, _, _ = strings.Cut(path, ":")
	return kind{
		id:       "projects/{project}/" + path + "/{name}",
		replaces: []string{"name", "location", "region", "zone", "network"},
		outputs:  []output{{"selfLink", "https://www.googleapis.com/{id}"}},
	}
}
