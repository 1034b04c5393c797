package stacks

import (
	"strconv"
	"strings"
	"time"
)

// Project is the name of the Pulumi project; it prefixes each key on the command line and in stack files.
const Project = "coditect"

// Environment is one of the environments that exist.
type Environment string

// The environments. Local needs no cloud: it runs on one machine against simulated providers.
const (
	Dev     Environment = "dev"
	Staging Environment = "staging"
	Prod    Environment = "prod"
	Local   Environment = "local"
)

// Environments lists every environment, in the order in which a release passes through them.
func Environments() []Environment { return []Environment{Local, Dev, Staging, Prod} }

// Known tells whether e is one of [Environments].
func (e Environment) Known() bool {
	switch e {
	case Dev, Staging, Prod, Local:
		return true
	}
	return false
}

// Cloud tells whether e runs on Google Cloud rather than on one machine.
func (e Environment) Cloud() bool { return e != Local }

// Durable tells whether e holds data that people rely on.
func (e Environment) Durable() bool { return e == Staging || e == Prod }

// Settings is everything that one environment is made from. A value of it that
// came from [Load] is complete and consistent.
//
// Tags: key names the setting, doc says what it is for, default is what holds
// when it is not set, min and max bound a number, a quantity or a duration, enum
// lists the only values that are legal, immutable says why a value cannot change
// once the environment is made.
type Settings struct {
	// Environment is the stack's name, not a setting.
	Environment Environment

	Cloud    Cloud
	Network  Network
	Cluster  Cluster
	Registry Registry
	Database Database
	Service  Service
	Gateway  Gateway

	Mail       Mail
	Frontend   Frontend
	Legacy     Legacy
	Backup     Backup
	Monitoring Monitoring
	Delivery   Delivery
	Rollout    Rollout
	Retirement Retirement
	Operator   Operator
	Recovery   Recovery
}

// Cloud is where the environment lives.
type Cloud struct {
	ProjectID          string `key:"project" doc:"Google Cloud project that holds the environment" immutable:"everything would be made again in another project"`
	ProjectNumber      string `key:"projectNumber" doc:"Number of that project; it names the workload identity of pods in IAM" immutable:"it is the project's own"`
	Region             string `key:"region" default:"us-central1" doc:"Region of network, cluster, registry and buckets" immutable:"network, cluster, registry and buckets would be made again elsewhere"`
	Namespace          string `key:"namespace" default:"coditect-app" doc:"Kubernetes namespace of every workload" immutable:"the database and its volumes would be made again in another namespace"`
	DeletionProtection bool   `key:"deletionProtection" default:"true" doc:"Refuse to delete what holds data or cannot be had again: network, cluster, namespace, database, secrets, registry, buckets, address, certificate"`
	Adopt              bool   `key:"adopt" default:"false" doc:"Take over what is there already under the environment's names (network, cluster, namespace, database, secrets, registry, address) instead of making it; false again once that is done"`
}

// Network is the private network of the environment.
type Network struct {
	Nodes    Range `key:"networkNodes" default:"10.10.0.0/20" doc:"Addresses of nodes" immutable:"the subnet and the cluster in it would be replaced"`
	Pods     Range `key:"networkPods" default:"10.20.0.0/16" doc:"Addresses of pods, 256 for each node" immutable:"the cluster would be replaced"`
	Services Range `key:"networkServices" default:"10.30.0.0/20" doc:"Addresses of Services" immutable:"the cluster would be replaced"`
}

// Cluster is the Kubernetes cluster and its nodes.
type Cluster struct {
	Name            string  `key:"clusterName" default:"coditect" doc:"Name of the cluster; its network and its nodes' account are named after it" immutable:"the cluster would be replaced"`
	Location        string  `key:"clusterLocation" default:"us-central1-a" doc:"Zone of the cluster, or the region for nodes and control planes in three zones" immutable:"a zonal cluster never becomes a regional one: it would be replaced"`
	ControlPlane    Range   `key:"clusterControlPlane" default:"172.16.0.0/28" doc:"Addresses of the control plane, 16 that nothing else uses" immutable:"the cluster would be replaced"`
	Authorized      Ranges  `key:"clusterAuthorizedNetworks" doc:"Networks from which the control plane answers, comma-separated, like 203.0.113.7/32"`
	Channel         string  `key:"clusterChannel" default:"REGULAR" enum:"RAPID,REGULAR,STABLE" doc:"Release channel of Kubernetes versions"`
	MaintenanceDays Days    `key:"clusterMaintenanceDays" default:"SA,SU" doc:"Days on which maintenance may begin, at least two of SU,MO,TU,WE,TH,FR,SA"`
	MaintenanceHour int     `key:"clusterMaintenanceHour" default:"3" min:"0" max:"23" doc:"Hour (UTC) at which the eight hours of maintenance begin"`
	Freezes         Freezes `key:"clusterFreezes" doc:"Times without upgrades of nodes or minor versions, comma-separated, like holidays=2026-12-18/2027-01-04"`
	Nodes           int     `key:"clusterNodes" default:"3" min:"1" max:"100" doc:"Nodes that are always there; workloads are checked against them"`
	MaxNodes        int     `key:"clusterMaxNodes" default:"6" min:"1" max:"200" doc:"Nodes that the cluster may grow to"`
	MachineType     string  `key:"clusterMachineType" default:"e2-standard-4" doc:"Machine type of the nodes; workloads are checked against its size"`
	DiskType        string  `key:"clusterDiskType" default:"pd-standard" enum:"pd-standard,pd-balanced,pd-ssd" doc:"Type of the nodes' own disks"`
	DiskSize        Memory  `key:"clusterDiskSize" default:"100Gi" min:"30Gi" max:"2Ti" doc:"Size of the nodes' own disks"`
}

// Zones is the number of zones that nodes are in.
func (c Cluster) Zones() int {
	if zone.MatchString(c.Location) {
		return 1
	}
	return 3
}

// Registry holds the images.
type Registry struct {
	Repository   string        `key:"registryRepository" default:"coditect" doc:"Artifact Registry repository of the images" immutable:"the images would go with the repository"`
	KeepVersions int           `key:"registryKeepVersions" default:"30" min:"5" max:"1000" doc:"Most recent versions of each image that cleanup never removes"`
	UntaggedAge  time.Duration `key:"registryUntaggedAge" default:"336h" min:"24h" max:"8760h" doc:"Age at which cleanup removes an untagged image"`
}

// Engine is the database under the service.
type Engine string

// The engines.
const (
	FoundationDB Engine = "foundationdb"
	Embedded     Engine = "embedded"
)

// Redundancy is FoundationDB's replication mode.
type Redundancy string

// The redundancy modes.
const (
	Single Redundancy = "single"
	Double Redundancy = "double"
	Triple Redundancy = "triple"
)

// Machines is the number of machines with which the mode survives the loss of
// one; Single survives none. It is also the mode's number of coordinators.
func (r Redundancy) Machines() int {
	switch r {
	case Single:
		return 1
	case Double:
		return 3
	case Triple:
		return 5
	}
	return 0
}

// Database keeps the records.
type Database struct {
	Engine        Engine     `key:"databaseEngine" default:"foundationdb" enum:"foundationdb,embedded" doc:"Engine under the service; embedded is for the local environment alone" immutable:"the data would stay behind"`
	Version       string     `key:"databaseVersion" default:"7.3.79" doc:"FoundationDB version; 7.1 to 7.3 is a stop of all processes, never a rolling change"`
	Replicas      int        `key:"databaseReplicas" default:"3" min:"1" max:"50" doc:"FoundationDB pods, each on a node of its own"`
	Redundancy    Redundancy `key:"databaseRedundancy" default:"double" enum:"single,double,triple" doc:"Copies of each record; double survives one lost node of three, triple one of five"`
	StorageClass  string     `key:"databaseStorageClass" default:"standard-rwo" doc:"StorageClass of the database's volumes" immutable:"the StatefulSet would be replaced and its volumes left behind"`
	StorageSize   Memory     `key:"databaseStorageSize" default:"50Gi" min:"1Gi" max:"16Ti" doc:"Size of each volume" immutable:"the StatefulSet would be replaced; docs/runbooks/grow-volumes.md tells how volumes grow in place"`
	CPURequest    CPU        `key:"databaseCpuRequest" default:"1" min:"1" max:"64" doc:"CPU that each database pod is promised"`
	CPULimit      CPU        `key:"databaseCpuLimit" default:"2" min:"1" max:"64" doc:"CPU that each database pod may take"`
	MemoryRequest Memory     `key:"databaseMemoryRequest" default:"4Gi" min:"4Gi" max:"512Gi" doc:"Memory that each database pod is promised; FoundationDB's floor is 4 GB a process"`
	MemoryLimit   Memory     `key:"databaseMemoryLimit" default:"8Gi" min:"4Gi" max:"512Gi" doc:"Memory that each database pod may take; the process's own bounds follow from it"`
	ExporterImage string     `key:"databaseExporterImage" default:"docker.io/clevercloud/fdbexporter:2.3.3-7.3.69" doc:"Image that turns the database's status into metrics, with a client of the database's own minor version; empty for none"`
	Clients       Ranges     `key:"databaseClients" doc:"Networks of the VPC whose own clients may reach the database, comma-separated; empty: pods alone"`
	Generation    int        `key:"databaseGeneration" default:"1" min:"1" max:"1000000" doc:"Raised when the database is rebuilt from a backup: a rebuilt cluster needs an identity of its own"`
}

// Service is the API, in two fixed slots.
type Service struct {
	ImageBlue      string        `key:"serviceImageBlue" doc:"Image of slot blue by digest (name@sha256:…); empty while the slot has no release"`
	ImageGreen     string        `key:"serviceImageGreen" doc:"Image of slot green by digest (name@sha256:…); empty while the slot has no release"`
	Replicas       int           `key:"serviceReplicas" default:"3" min:"2" max:"100" doc:"Pods of each slot that has a release; the autoscaler's floor"`
	MaxReplicas    int           `key:"serviceMaxReplicas" default:"10" min:"2" max:"500" doc:"Pods that the autoscaler may reach; equal to serviceReplicas turns it off"`
	CPUTarget      int           `key:"serviceCpuTarget" default:"70" min:"10" max:"95" doc:"Percent of requested CPU at which the autoscaler adds pods"`
	InFlightTarget int           `key:"serviceInFlightTarget" default:"40" min:"0" max:"10000" doc:"Requests under way in each pod at which the autoscaler adds pods, as Managed Prometheus has them; 0: CPU alone"`
	CPURequest     CPU           `key:"serviceCpuRequest" default:"200m" min:"10m" max:"32" doc:"CPU that each pod of the service is promised"`
	CPULimit       CPU           `key:"serviceCpuLimit" default:"1" min:"100m" max:"32" doc:"CPU that each pod of the service may take"`
	MemoryRequest  Memory        `key:"serviceMemoryRequest" default:"512Mi" min:"64Mi" max:"64Gi" doc:"Memory that each pod of the service is promised"`
	MemoryLimit    Memory        `key:"serviceMemoryLimit" default:"1Gi" min:"128Mi" max:"64Gi" doc:"Memory that each pod of the service may take; passwords hashed at once follow from it"`
	PreStop        time.Duration `key:"servicePreStop" default:"15s" min:"1s" max:"5m" doc:"Pause of a leaving pod before it is told to stop: longer than the load balancer takes to forget it"`
}

// Gateway is the entry and the split of traffic.
type Gateway struct {
	WeightBlue     int           `key:"gatewayWeightBlue" default:"100" min:"0" max:"100" doc:"Percent of requests that go to slot blue"`
	WeightGreen    int           `key:"gatewayWeightGreen" default:"0" min:"0" max:"100" doc:"Percent of requests that go to slot green"`
	Host           string        `key:"gatewayHost" doc:"Host name that the gateway answers to" immutable:"the certificate would be replaced, and nobody answers at the new name until its records and its certificate are there"`
	AddressName    string        `key:"gatewayAddressName" default:"coditect-gateway" doc:"Name of the reserved global address" immutable:"the address would be replaced, and the host's record leads to the old one"`
	CertificateMap string        `key:"gatewayCertificateMap" default:"coditect-gateway" doc:"Name of the Certificate Manager map with the host's certificate" immutable:"the certificate would be replaced, and requests fail until the new one is issued"`
	Timeout        time.Duration `key:"gatewayTimeout" default:"30s" min:"1s" max:"1h" doc:"Time after which the load balancer gives up on an answer"`
	DrainTimeout   time.Duration `key:"gatewayDrainTimeout" default:"60s" min:"1s" max:"1h" doc:"Time that requests under way are given when a pod leaves"`
	LogPercent     int           `key:"gatewayLogPercent" default:"100" min:"0" max:"100" doc:"Percent of requests that the load balancer logs"`
	LocalPort      int           `key:"gatewayLocalPort" default:"8088" min:"1024" max:"65535" doc:"Loopback port of the gateway in the local environment; elsewhere it is 443"`
}

// Mail is how the service sends letters.
type Mail struct {
	Server string `key:"mailServer" doc:"SMTP server that letters are given to, HOST:PORT with STARTTLS; empty: none are sent"`
	From   string `key:"mailFrom" doc:"Sender of letters, like Coditect <no-reply@coditect.ai>"`
	User   string `key:"mailUser" doc:"User at that server, whose password is in the secret mail-password; empty: none"`
}

// Frontend is the web application.
type Frontend struct {
	Image      string `key:"frontendImage" doc:"Image of the frontend by digest; empty while there is none"`
	Replicas   int    `key:"frontendReplicas" default:"2" min:"1" max:"50" doc:"Pods of the frontend"`
	Port       int    `key:"frontendPort" default:"8080" min:"1024" max:"65535" doc:"Port that the frontend's container serves"`
	HealthPath string `key:"frontendHealthPath" default:"/" doc:"Path that answers 200 as long as the frontend serves"`
}

// Legacy is API v2, until it is retired.
type Legacy struct {
	Image      string `key:"legacyImage" doc:"Image of API v2 by digest; empty once it is retired"`
	Replicas   int    `key:"legacyReplicas" default:"3" min:"1" max:"50" doc:"Pods of API v2"`
	Port       int    `key:"legacyPort" default:"8080" min:"1024" max:"65535" doc:"Port that API v2's container serves"`
	HealthPath string `key:"legacyHealthPath" default:"/api/health" doc:"Path that answers 200 as long as API v2 serves"`
	Routed     bool   `key:"legacyRouted" default:"true" doc:"Lead requests to API v2; false keeps its pods without any"`
}

// Backup is how the database is copied out of the cluster.
type Backup struct {
	Bucket         string        `key:"backupBucket" doc:"Bucket of the backups; empty for the project's name with -backups" immutable:"the backups would stay behind in the old bucket"`
	AccessID       string        `key:"backupAccessId" doc:"Access ID of the HMAC key of the account coditect-backup; empty while there is none, and then no backup runs"`
	Retention      time.Duration `key:"backupRetention" default:"720h" min:"168h" max:"2160h" doc:"Time in which deleted objects of the bucket can be had back"`
	SnapshotEvery  time.Duration `key:"backupSnapshotEvery" default:"24h" min:"1h" max:"720h" doc:"Time that a snapshot of the whole database is given; between them the backup is continuous"`
	KeepDays       int           `key:"backupKeepDays" default:"30" min:"1" max:"3650" doc:"Age in days at which backups are thinned out"`
	RestorableDays int           `key:"backupRestorableDays" default:"7" min:"1" max:"3650" doc:"Days that stay restorable whatever is thinned out"`
	DrillSchedule  string        `key:"backupDrillSchedule" default:"17 5 * * 6" doc:"When a restore is rehearsed, as cron has it, in UTC; empty for never"`
	ProvenAge      time.Duration `key:"backupProvenAge" default:"192h" min:"2h" max:"8760h" doc:"Age of the last proven restore at which somebody is told"`
	Every          time.Duration `key:"backupEvery" default:"1m" min:"0s" max:"24h" doc:"Pause between two backups of the embedded engine; 0s takes none"`
	Keep           int           `key:"backupKeep" default:"60" min:"2" max:"10000" doc:"Most recent backups of the embedded engine that are kept"`
}

// Monitoring is who is told of what.
type Monitoring struct {
	Emails       Emails `key:"monitoringEmails" doc:"Addresses that alerts are sent to, comma-separated"`
	Runbooks     string `key:"monitoringRunbooks" doc:"URL below which docs/runbooks can be read; alerts link their page there"`
	AdapterImage string `key:"monitoringAdapterImage" default:"gcr.io/gke-release/custom-metrics-stackdriver-adapter:v0.15.1-gke.0" doc:"Image of the adapter through which autoscalers read metrics; one serves a cluster, made where serviceInFlightTarget is not 0"`
	LogDays      int    `key:"monitoringLogDays" default:"30" min:"1" max:"3650" doc:"Days that the workloads' logs are kept"`
	Availability string `key:"monitoringAvailability" default:"99.9" enum:"99,99.5,99.9,99.95,99.99" doc:"Percent of requests that are promised to be answered without a fault, over 28 days"`
}

// Delivery is how images are built.
type Delivery struct {
	Repository string `key:"deliveryRepository" doc:"GitHub repository whose tags are built, OWNER/NAME; empty for none"`
	Tag        string `key:"deliveryTag" default:"^v[0-9]" doc:"Regular expression of the tags that are built"`
	ClientSum  string `key:"deliveryClientSum" doc:"SHA-256 of FoundationDB's client package of databaseVersion, which goes into the image"`
}

// Rollout is how a release goes out; a change of it takes effect with the next one.
type Rollout struct {
	Stages   Stages        `key:"rolloutStages" default:"10=1h,50=4h,100=24h" doc:"Stages of a release: percent of requests, and the time that each must go well"`
	Approval bool          `key:"rolloutApproval" default:"false" doc:"Ask a person before each stage"`
	After    string        `key:"rolloutAfter" doc:"Environment that a release must have gone through first; empty for none"`
	AfterFor time.Duration `key:"rolloutAfterFor" default:"24h" min:"1m" max:"720h" doc:"Time that it must have had all requests there, and have gone well"`
	Requests int           `key:"rolloutRequests" default:"500" min:"20" max:"1000000" doc:"Requests of the release below which it is not judged"`
	Errors   int           `key:"rolloutErrors" default:"5" min:"1" max:"50" doc:"Percent of its requests that may fail, whatever the former release does"`
	P99      int           `key:"rolloutP99Milliseconds" default:"500" min:"10" max:"60000" doc:"Milliseconds that 99 of 100 requests may take"`
	P99Ratio int           `key:"rolloutP99Ratio" default:"150" min:"100" max:"1000" doc:"The same in percent of the former release's"`
	Restarts int           `key:"rolloutRestarts" default:"1" min:"0" max:"100" doc:"Restarts of its pods that a stage may see"`
	Unready  time.Duration `key:"rolloutUnready" default:"5m" min:"1s" max:"1h" doc:"Time that pods of it may be missing"`
	Window   time.Duration `key:"rolloutWindow" default:"5m" min:"5s" max:"1h" doc:"The last minutes, which are judged beside the whole stage"`
	Deploy   time.Duration `key:"rolloutDeploy" default:"30m" min:"1m" max:"24h" doc:"Time in which its pods must be ready"`
	Shift    time.Duration `key:"rolloutShift" default:"15m" min:"10s" max:"24h" doc:"Time in which new weights must be in force"`
	Hold     time.Duration `key:"rolloutHold" default:"24h" min:"1m" max:"720h" doc:"Time that is waited for a person's decision, or for measurements, before it goes back"`
	Retain   time.Duration `key:"rolloutRetain" default:"168h" min:"10s" max:"2160h" doc:"Time that the former release is kept for an instant return"`
}

// Retirement is how API v2 goes; a change of it takes effect with the next retirement.
type Retirement struct {
	Verify time.Duration `key:"retirementVerify" default:"24h" min:"10s" max:"1000h" doc:"Time without a request to API v2 before its retirement does anything"`
	Watch  time.Duration `key:"retirementWatch" default:"168h" min:"10s" max:"1000h" doc:"Time without a request to its last pod before it may leave the route"`
	Settle time.Duration `key:"retirementSettle" default:"24h" min:"10s" max:"1000h" doc:"Time that its last pod is kept without a route, for an instant return"`
	Step   time.Duration `key:"retirementStep" default:"30m" min:"30s" max:"24h" doc:"Time in which a change of its pods or its route must be in force"`
	Hold   time.Duration `key:"retirementHold" default:"168h" min:"1m" max:"2160h" doc:"Time that is waited for a person's decision before API v2 stays as it was"`
}

// Operator is what moves releases, and the retirement of API v2, while nobody watches.
type Operator struct {
	Image   string `key:"operatorImage" doc:"Image of the operator's command by digest, which ticks releases every minute from within the cluster; empty: nothing does, and somebody has to --follow"`
	Backend string `key:"operatorBackend" doc:"Backend of Pulumi that it keeps the state in, like gs://PROJECT-pulumi; its passphrase is in the secret pulumi-passphrase"`
}

// Bucket is that of Pulumi's state.
func (o Operator) Bucket() string {
	name, _, _ := strings.Cut(strings.TrimPrefix(o.Backend, "gs://"), "/")
	return name
}

// Operated tells whether the environment moves its releases itself.
func (s Settings) Operated() bool { return s.Environment.Cloud() && s.Operator.Image != "" }

// Phase is how far a recovery has come.
type Phase string

// The phases. Before [PhaseRehearse] there is no service, and no backup is begun,
// thinned out or recorded before the recovery has ended.
const (
	PhaseNone     Phase = "none"     // no recovery is under way
	PhaseHalt     Phase = "halt"     // the database stops; its volumes stay
	PhaseGround   Phase = "ground"   // everything but the service; the database is empty
	PhaseRestore  Phase = "restore"  // the database is filled
	PhaseCheck    Phase = "check"    // what it holds is counted
	PhaseRehearse Phase = "rehearse" // the service answers whoever knows the key
)

// Recovery is what a recovery sets while it is under way. Nobody else sets it, and no file has it.
type Recovery struct {
	Phase Phase  `key:"recoveryPhase" default:"none" enum:"none,halt,ground,restore,check,rehearse" doc:"How far a recovery has come; coditect recover sets it, no file has it"`
	From  string `key:"recoveryFrom" doc:"Backup that phase restore fills the database from, NAME@VERSION"`
	Key   string `key:"recoveryKey" doc:"What requests of phase rehearse carry; all others find no route"`
}

// Backup is where the database is filled from: a backup's name and the version that is restored.
func (r Recovery) Backup() (name string, version int64) {
	name, text, _ := strings.Cut(r.From, "@")
	version, _ = strconv.ParseInt(text, 10, 64) // 0 where From is refused
	return name, version
}

// Slot is one of the two fixed places that a release can be in.
type Slot string

// The slots.
const (
	Blue  Slot = "blue"
	Green Slot = "green"
)

// Slots lists the slots in the order in which routes name them.
func Slots() []Slot { return []Slot{Blue, Green} }

// Image is the image of a slot, or empty.
func (s Settings) Image(slot Slot) string {
	if slot == Green {
		return s.Service.ImageGreen
	}
	return s.Service.ImageBlue
}

// Weight is the percentage of requests that a slot is given.
func (s Settings) Weight(slot Slot) int {
	if slot == Green {
		return s.Gateway.WeightGreen
	}
	return s.Gateway.WeightBlue
}

// ScalesByRequests tells whether autoscalers read requests under way beside CPU.
func (s Settings) ScalesByRequests() bool {
	return s.Environment.Cloud() && s.Service.InFlightTarget > 0 && s.Service.MaxReplicas > s.Service.Replicas
}

// BackupName is the name of the database's backup within the bucket. Versions of
// two generations cannot be compared, so each has a backup of its own.
func (s Settings) BackupName() string { return BackupName(s.Database.Generation) }

// BackupName is that of a generation of the database.
func BackupName(generation int) string {
	if generation == 1 {
		return Project
	}
	return Project + "-" + strconv.Itoa(generation)
}

// Operations begins the names of the objects in the backups' bucket that tell how far releases and recoveries are.
const Operations = "operations"

// BackupBucket is the name of the backups' bucket.
func (s Settings) BackupBucket() string {
	if s.Backup.Bucket != "" {
		return s.Backup.Bucket
	}
	return s.Cloud.ProjectID + "-backups"
}
