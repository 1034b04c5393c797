package stacks

import (
	"net"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	adapterImage   = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]*(:v?[0-9]+\.[0-9]+\.[0-9]+(-gke\.[0-9]+)?|@sha256:[0-9a-f]{64})$`)
	exporterImage  = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]*:[0-9]+\.[0-9]+\.[0-9]+-7\.[13]\.[0-9]+$`)
	imageByDigest  = regexp.MustCompile(`^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$`)
	projectID      = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	projectNumber  = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
	zone           = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+-[a-z]$`)
	clusterName    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,22}[a-z0-9]$`)
	region         = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+$`)
	label          = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	hostName       = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$`)
	serverVersion  = regexp.MustCompile(`^7\.(3\.[0-9]{1,3}|1\.([4-9]|[1-9][0-9]{1,2}))$`)
	schedule       = regexp.MustCompile(`^[0-9*/,-]+( [0-9*/,-]+){4}$`)
	recoveryFrom   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}@[1-9][0-9]{0,17}$`)
	recoveryKey    = regexp.MustCompile(`^[A-Za-z0-9]{16,64}$`)
	reservedPrefix = []string{"kube-", "gke-", "gmp-"}
)

// check adds the faults of values that are readable. Where some were not,
// rules between settings are left out.
func check(s *Settings, r *RefusalError, unreadable bool) {
	checkCloud(s, r)
	checkNames(s, r)
	checkImages(s, r)
	if unreadable {
		return
	}
	checkNetwork(s, r)
	checkCluster(s, r)
	checkDatabase(s, r)
	checkService(s, r)
	checkRoom(s, r)
	checkMail(s, r)
	checkBackup(s, r)
	checkWatching(s, r)
	checkSplit(s, r)
	checkRollout(s, r)
	checkOperator(s, r)
	checkRecovery(s, r)
}

func checkCloud(s *Settings, r *RefusalError) {
	if !s.Environment.Cloud() {
		if s.Cloud.Adopt {
			r.add("adopt", "is true: %s has nothing that was built by hand", s.Environment)
		}
		return
	}
	required := func(key, value, what string) bool {
		if value == "" {
			r.add(key, "is not set: %s needs %s", s.Environment, what)
		}
		return value != ""
	}
	if required("project", s.Cloud.ProjectID, "the Google Cloud project to build in") && !projectID.MatchString(s.Cloud.ProjectID) {
		r.add("project", "is %q: must be a project's ID, 6 to 30 lower-case letters, digits and hyphens", s.Cloud.ProjectID)
	}
	if required("projectNumber", s.Cloud.ProjectNumber, "the project's number (gcloud projects describe PROJECT)") &&
		!projectNumber.MatchString(s.Cloud.ProjectNumber) {
		r.add("projectNumber", "is %q: must be digits alone", s.Cloud.ProjectNumber)
	}
	if required("gatewayHost", s.Gateway.Host, "a host name that certificate and routes are for") && !hostName.MatchString(s.Gateway.Host) {
		r.add("gatewayHost", "is %q: must be a full domain name in lower case", s.Gateway.Host)
	}
}

// checkNetwork wants ranges that are private, apart, and large enough for the nodes.
func checkNetwork(s *Settings, r *RefusalError) {
	if !s.Environment.Cloud() {
		return
	}
	ranges := []struct {
		key string
		Range
	}{
		{"networkNodes", s.Network.Nodes},
		{"networkPods", s.Network.Pods},
		{"networkServices", s.Network.Services},
		{"clusterControlPlane", s.Cluster.ControlPlane},
	}
	for i, one := range ranges {
		if !one.Addr().IsPrivate() {
			r.add(one.key, "is %s: must be private addresses, of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16", one.Range)
		}
		for _, other := range ranges[:i] {
			if one.Overlaps(other.Prefix) {
				r.add(one.key, "is %s: overlaps %s, which is %s", one.Range, other.key, other.Range)
			}
		}
	}
	if s.Cluster.ControlPlane.Bits() != 28 {
		r.add("clusterControlPlane", "is %s: the control plane takes a range of 16 addresses, a /28", s.Cluster.ControlPlane)
	}
	// Every node takes 256 addresses for its pods; an upgrade needs one node more.
	if bits := s.Network.Pods.Bits(); bits > 24 || 1<<(24-bits) < s.Cluster.MaxNodes+1 {
		r.add("networkPods", "is %s: clusterMaxNodes is %d, and each node and one more during upgrades takes 256 addresses", s.Network.Pods, s.Cluster.MaxNodes)
	}
}

func checkCluster(s *Settings, r *RefusalError) {
	if !s.Environment.Cloud() {
		return
	}
	c := s.Cluster
	if !clusterName.MatchString(c.Name) {
		r.add("clusterName", "is %q: must be 2 to 24 lower-case letters, digits and hyphens, a letter first", c.Name)
	}
	in, ok := strings.CutPrefix(c.Location, s.Cloud.Region)
	if region.MatchString(s.Cloud.Region) && (!ok || (in != "" && !zone.MatchString(c.Location))) {
		r.add("clusterLocation", "is %q: must be %s or a zone in it, like %s-a", c.Location, s.Cloud.Region, s.Cloud.Region)
	}
	if len(c.Authorized) == 0 {
		r.add("clusterAuthorizedNetworks", "is not set: %s needs the networks that its control plane may be reached from", s.Environment)
	}
	for _, network := range c.Authorized {
		if network.Bits() < 8 {
			r.add("clusterAuthorizedNetworks", "names %s: the control plane would be open to the world; name the networks of those who operate it", network)
		}
	}
	if len(c.MaintenanceDays) < 2 {
		r.add("clusterMaintenanceDays", "names %d: GKE wants 48 hours of maintenance in 32 days, which takes two days a week", len(c.MaintenanceDays))
	}
	if c.Nodes > c.MaxNodes {
		r.add("clusterNodes", "is %d: must not exceed clusterMaxNodes, which is %d", c.Nodes, c.MaxNodes)
	}
	if zones := c.Zones(); c.Nodes%zones != 0 {
		r.add("clusterNodes", "is %d: nodes are the same number in each zone, of which %s has %d", c.Nodes, c.Location, zones)
	}
}

// checkRecovery wants what each phase is made of, and refuses phases that make no sense.
func checkRecovery(s *Settings, r *RefusalError) {
	if s.Recovery.Phase == PhaseNone {
		return
	}
	if s.Database.Engine != FoundationDB {
		r.add("recoveryPhase", "is %s: phases are for FoundationDB", s.Recovery.Phase)
	}
	if s.Backup.AccessID == "" {
		r.add("backupAccessId", "is not set: a recovery reads the backup with that key")
	}
	switch s.Recovery.Phase {
	case PhaseRestore:
		if !recoveryFrom.MatchString(s.Recovery.From) {
			r.add("recoveryFrom", "is %q: must be the name of a backup and a version, like coditect@4711", s.Recovery.From)
		} else if name, _ := s.Recovery.Backup(); name == s.BackupName() {
			r.add("recoveryFrom", "is %q, the backup of databaseGeneration %d: a rebuilt database is another generation", s.Recovery.From, s.Database.Generation)
		}
	case PhaseRehearse:
		if !recoveryKey.MatchString(s.Recovery.Key) {
			r.add("recoveryKey", "must be 16 to 64 letters and digits")
		}
	case PhaseNone, PhaseHalt, PhaseGround, PhaseCheck: // these take nothing
	}
}

func checkNames(s *Settings, r *RefusalError) {
	for _, name := range []struct{ key, value string }{
		{"namespace", s.Cloud.Namespace},
		{"registryRepository", s.Registry.Repository},
		{"databaseStorageClass", s.Database.StorageClass},
		{"gatewayAddressName", s.Gateway.AddressName},
		{"gatewayCertificateMap", s.Gateway.CertificateMap},
	} {
		if !label.MatchString(name.value) {
			r.add(name.key, "is %q: must be 1 to 63 lower-case letters, digits and hyphens, a letter first", name.value)
		}
	}
	if s.Cloud.Namespace == "default" || slices.ContainsFunc(reservedPrefix, func(prefix string) bool {
		return strings.HasPrefix(s.Cloud.Namespace, prefix)
	}) {
		r.add("namespace", "is %q: default and names that begin with %s belong to the cluster", s.Cloud.Namespace, strings.Join(reservedPrefix, ", "))
	}
	if !region.MatchString(s.Cloud.Region) {
		r.add("region", "is %q: must be a region, like us-central1", s.Cloud.Region)
	}
	if !serverVersion.MatchString(s.Database.Version) {
		r.add("databaseVersion", "is %q: must be a release of 7.3, like 7.3.79, or of 7.1 from 7.1.4 on, the first that finds coordinators by name", s.Database.Version)
	}
}

// ByDigest tells whether an image is named by its digest, as a release's is: NAME@sha256:….
func ByDigest(image string) bool { return imageByDigest.MatchString(image) }

func checkImages(s *Settings, r *RefusalError) {
	for key, image := range map[string]string{
		"serviceImageBlue": s.Service.ImageBlue, "serviceImageGreen": s.Service.ImageGreen,
		"frontendImage": s.Frontend.Image, "legacyImage": s.Legacy.Image, "operatorImage": s.Operator.Image,
	} {
		if image != "" && !ByDigest(image) {
			r.add(key, "is %q: must name an image by digest, NAME@sha256:…; a tag can change under a running release", image)
		}
	}
}

func checkDatabase(s *Settings, r *RefusalError) {
	d := s.Database
	if s.Environment.Cloud() != (d.Engine == FoundationDB) {
		r.add("databaseEngine", "is %s: %s", d.Engine, map[bool]string{
			true:  "processes on several nodes cannot share the embedded engine; use foundationdb",
			false: "the local environment runs no FoundationDB; use embedded",
		}[s.Environment.Cloud()])
	}
	if d.Engine != FoundationDB {
		return
	}
	for _, network := range d.Clients {
		if !network.Addr().IsPrivate() || network.Bits() < 8 {
			r.add("databaseClients", "names %s: FoundationDB trusts whoever reaches it; only private networks may", network)
		}
	}
	need := d.Redundancy.Machines()
	switch {
	case d.Redundancy == Single && s.Environment.Durable():
		r.add("databaseRedundancy", "is single: the loss of one node would lose data; %s needs double or triple", s.Environment)
	case d.Replicas < need:
		r.add("databaseReplicas", "is %d: with %s redundancy the database stops when one of fewer than %d machines is lost; use %d pods or a lower redundancy",
			d.Replicas, d.Redundancy, need, need)
	}
	if d.Replicas > s.Cluster.Nodes {
		r.add("databaseReplicas", "is %d: each pod needs a node of its own and clusterNodes is %d", d.Replicas, s.Cluster.Nodes)
	}
	atMost(r, "databaseCpuRequest", d.CPURequest, "databaseCpuLimit", d.CPULimit)
	atMost(r, "databaseMemoryRequest", d.MemoryRequest, "databaseMemoryLimit", d.MemoryLimit)
}

var (
	bucketName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$`)
	accessID    = regexp.MustCompile(`^GOOG[A-Z0-9]{20,60}$`)
	githubName  = regexp.MustCompile(`^[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}$`)
	sha256sum   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	httpsPrefix = "https://"
)

// firstToGoogle is the first patch of 7.3 whose backups reach Google's storage.
const firstToGoogle = 78

func checkBackup(s *Settings, r *RefusalError) {
	if !s.Environment.Cloud() {
		return
	}
	b := s.Backup
	if b.Bucket != "" && !bucketName.MatchString(b.Bucket) {
		r.add("backupBucket", "is %q: must be 3 to 63 lower-case letters, digits, hyphens and underscores", b.Bucket)
	}
	if b.KeepDays < b.RestorableDays {
		r.add("backupKeepDays", "is %d: what must be restorable for backupRestorableDays, which is %d, must be kept", b.KeepDays, b.RestorableDays)
	}
	if b.DrillSchedule != "" && !schedule.MatchString(b.DrillSchedule) {
		r.add("backupDrillSchedule", "is %q: must be five fields of cron, like 17 5 * * 6", b.DrillSchedule)
	}
	if b.AccessID == "" {
		return
	}
	if !accessID.MatchString(b.AccessID) {
		r.add("backupAccessId", "is %q: must be the access ID of an HMAC key, GOOG…; the secret itself belongs into Secret Manager", b.AccessID)
	}
	patch, found := strings.CutPrefix(s.Database.Version, "7.3.")
	if number, err := strconv.Atoi(patch); !found || err != nil || number < firstToGoogle {
		r.add("backupAccessId", "is set, and databaseVersion is %s: only from 7.3.%d on does FoundationDB name the host in TLS, without which Google's storage refuses its backups; upgrade the database first, or leave this empty",
			s.Database.Version, firstToGoogle)
	}
}

// stateBucket is a backend of Pulumi that a pod can be let into without a key.
var stateBucket = regexp.MustCompile(`^gs://[a-z0-9][a-z0-9_-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?$`)

func checkOperator(s *Settings, r *RefusalError) {
	o := s.Operator
	switch {
	case o.Image == "" && o.Backend == "":
	case !s.Environment.Cloud():
		r.add("operatorImage", "is %q, or operatorBackend is set: releases of %s are moved by the commands that are called on this machine", o.Image, s.Environment)
	case !stateBucket.MatchString(o.Backend):
		r.add("operatorBackend", "is %q: must be the bucket that Pulumi keeps this stack in, like gs://PROJECT-pulumi; a pod has no key for any other backend", o.Backend)
	case o.Bucket() == s.BackupBucket():
		r.add("operatorBackend", "is %q, the backups' bucket: whoever writes the state could overwrite the backups; give the state a bucket of its own", o.Backend)
	}
}

func checkMail(s *Settings, r *RefusalError) {
	m := s.Mail
	if m.Server == "" {
		return
	}
	host, port, err := net.SplitHostPort(m.Server)
	if number, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || number == 0 {
		r.add("mailServer", "is %q: must be HOST:PORT, like smtp.example.com:587", m.Server)
	}
	if _, err := mail.ParseAddress(m.From); err != nil {
		r.add("mailFrom", "is %q: letters need a sender, like Coditect <no-reply@coditect.ai>", m.From)
	}
}

func checkWatching(s *Settings, r *RefusalError) {
	if !s.Environment.Cloud() {
		return
	}
	if url := s.Monitoring.Runbooks; url != "" && !strings.HasPrefix(url, httpsPrefix) {
		r.add("monitoringRunbooks", "is %q: must be a URL that begins with %s", url, httpsPrefix)
	}
	if image := s.Database.ExporterImage; image != "" && serverVersion.MatchString(s.Database.Version) {
		minor := strings.Join(strings.SplitN(s.Database.Version, ".", 3)[:2], ".")
		if !exporterImage.MatchString(image) || !strings.Contains(image, "-"+minor+".") {
			r.add("databaseExporterImage", "is %q: must be an exact image whose client is of FoundationDB %s, as …:2.3.3-%s.69, or empty; clients of another minor version reach no server of it",
				image, minor, minor)
		}
	}
	if image := s.Monitoring.AdapterImage; s.ScalesByRequests() && !adapterImage.MatchString(image) {
		r.add("monitoringAdapterImage", "is %q: must be an exact image, by digest or full version, or set serviceInFlightTarget to 0", image)
	}
	d := s.Delivery
	if d.Repository == "" {
		return
	}
	if !githubName.MatchString(d.Repository) {
		r.add("deliveryRepository", "is %q: must be OWNER/NAME on GitHub", d.Repository)
	}
	if _, err := regexp.Compile(d.Tag); err != nil || d.Tag == "" {
		r.add("deliveryTag", "is %q: must be a regular expression that some tags match", d.Tag)
	}
	if !sha256sum.MatchString(d.ClientSum) {
		r.add("deliveryClientSum", "is %q: must be the 64 hexadecimal digits of the SHA-256 of FoundationDB's client package (docs/image.md tells where from)", d.ClientSum)
	}
}

func checkService(s *Settings, r *RefusalError) {
	v := s.Service
	atMost(r, "serviceCpuRequest", v.CPURequest, "serviceCpuLimit", v.CPULimit)
	atMost(r, "serviceMemoryRequest", v.MemoryRequest, "serviceMemoryLimit", v.MemoryLimit)
	if v.Replicas > v.MaxReplicas {
		r.add("serviceReplicas", "is %d: must not exceed serviceMaxReplicas, which is %d", v.Replicas, v.MaxReplicas)
	}
	if s.Environment.Cloud() && v.PreStop < 5*time.Second {
		r.add("servicePreStop", "is %s: a load balancer takes seconds to forget a pod; use 5s or more", v.PreStop)
	}
}

// checkRoom holds workloads against what the nodes offer.
func checkRoom(s *Settings, r *RefusalError) {
	if !s.Environment.Cloud() {
		return
	}
	node, err := allocatable(s.Cluster.MachineType)
	if err != nil {
		r.add("clusterMachineType", "is %q: it %v", s.Cluster.MachineType, err)
		return
	}
	// The busiest node runs one database pod and its share of both slots at their floor.
	share := (len(Slots())*s.Service.Replicas + s.Cluster.Nodes - 1) / s.Cluster.Nodes
	memory := s.Database.MemoryRequest + Memory(share)*s.Service.MemoryRequest + s.besides().memory
	cpu := s.Database.CPURequest + CPU(share)*s.Service.CPURequest + s.besides().cpu
	if memory > node.memory {
		r.add("clusterMachineType", "is %s: the busiest node must hold %dMi of memory requests (one database pod, %d of the service, one each of what else runs) and offers %dMi; use a larger machine, more clusterNodes or smaller requests",
			s.Cluster.MachineType, memory/MiB, share, node.memory/MiB)
	}
	if cpu > node.cpu {
		r.add("clusterMachineType", "is %s: the busiest node must hold %s CPU of requests (one database pod, %d of the service, one each of what else runs) and offers %s; use a larger machine, more clusterNodes or smaller requests",
			s.Cluster.MachineType, cpu, share, node.cpu)
	}
	if s.Database.MemoryLimit > node.memory {
		r.add("databaseMemoryLimit", "is %s: a node of type %s offers %dMi", s.Database.MemoryLimit, s.Cluster.MachineType, node.memory/MiB)
	}
}

func checkSplit(s *Settings, r *RefusalError) {
	if sum := s.Gateway.WeightBlue + s.Gateway.WeightGreen; sum != 100 {
		r.add("gatewayWeightBlue", "is %d and gatewayWeightGreen %d: together they must be 100, not %s",
			s.Gateway.WeightBlue, s.Gateway.WeightGreen, strconv.Itoa(sum))
		return
	}
	// A new environment has no release at all; after that, traffic goes only where there is one.
	if s.Service.ImageBlue == "" && s.Service.ImageGreen == "" {
		return
	}
	for _, slot := range []struct {
		key, image string
		weight     int
	}{
		{"gatewayWeightBlue", s.Service.ImageBlue, s.Gateway.WeightBlue},
		{"gatewayWeightGreen", s.Service.ImageGreen, s.Gateway.WeightGreen},
	} {
		if slot.image == "" && slot.weight > 0 {
			r.add(slot.key, "is %d: the slot has no image, so its share of requests would be lost", slot.weight)
		}
	}
}

func checkRollout(s *Settings, r *RefusalError) {
	o := s.Rollout
	if o.After == "" {
		return
	}
	if before := Environment(o.After); !before.Known() || before == s.Environment {
		r.add("rolloutAfter", "is %q: must be another environment, one of %v", o.After, Environments())
	}
}

func atMost[T interface {
	~int64
	String() string
}](r *RefusalError, requestKey string, request T, limitKey string, limit T) {
	if request > limit {
		r.add(requestKey, "is %s: must not exceed %s, which is %s", request, limitKey, limit)
	}
}
