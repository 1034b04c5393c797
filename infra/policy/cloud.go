package policy

import (
	"regexp"
	"slices"
	"strings"
)

// data is what goes with a resource of each type that holds data, keys, or an
// address that others know: what cannot be made again as it was.
var data = map[string]string{
	"gcp:artifactregistry/repository:Repository":           "the images of every release, the one to roll back to included",
	"gcp:certificatemanager/certificate:Certificate":       "the certificate: requests fail until a new one is issued",
	"gcp:certificatemanager/certificateMap:CertificateMap": "the certificate's way to the gateway: requests fail until it is back",
	"gcp:compute/globalAddress:GlobalAddress":              "the address that the host's record leads to",
	"gcp:compute/network:Network":                          "the network, and with it the cluster",
	"gcp:compute/subnetwork:Subnetwork":                    "the nodes' addresses, and with them the cluster",
	"gcp:container/cluster:Cluster":                        "the cluster, and with it the database's volumes",
	"gcp:container/nodePool:NodePool":                      "every node at once, and with them the service",
	"gcp:secretmanager/secret:Secret":                      "the secret's values: what they sealed and signed is of no use without them",
	"gcp:storage/bucket:Bucket":                            "every backup",
	"kubernetes:apps/v1:StatefulSet":                       "the database's pods; their volumes stay behind and are not taken up again",
	"kubernetes:core/v1:Namespace":                         "everything that is in it, the database's volumes first",
	"kubernetes:core/v1:PersistentVolumeClaim":             "the volume with every record",
}

// HoldsData tells whether a type holds what cannot be made again as it was.
func HoldsData(token string) bool { return data[token] != "" }

// Loss says what goes with a resource of the type; "" where nothing does that an update could not make again.
func Loss(token string) string { return data[token] }

// broadRole gives more than a workload or a builder has use for.
var broadRole = regexp.MustCompile(`^roles/(owner|editor|viewer|[a-z.]*[aA]dmin)$`)

var cloudRules = []Rule{
	{"protected-data", "What holds data is not deleted by a slip.", func(env Environment, r Resource, found report) {
		if env.Durable && HoldsData(r.Type) && !r.Protect {
			found("holds data and is not protected: set the option Protect")
		}
	}},
	{"least-privilege", "An identity may do what it does, and nothing else.", func(_ Environment, r Resource, found report) {
		if !strings.HasPrefix(r.Type, "gcp:") {
			return
		}
		leaves("", r.Inputs, func(path string, value any) {
			text, _ := value.(string)
			switch {
			case text == "allUsers" || text == "allAuthenticatedUsers":
				found("%s is %s: everybody on the internet", path, text)
			case broadRole.MatchString(text):
				found("%s is %s: name the narrow role", path, text)
			}
		})
	}},
	{"private-nodes", "No node has a public address, and the control plane answers named networks only.", func(_ Environment, r Resource, found report) {
		switch r.Type {
		case "gcp:container/cluster:Cluster":
			if !isTrue(at(r.Inputs, "privateClusterConfig", "enablePrivateNodes")) {
				found("its nodes have public addresses: set privateClusterConfig.enablePrivateNodes")
			}
			if at(r.Inputs, "masterAuthorizedNetworksConfig") == nil && !isTrue(at(r.Inputs, "privateClusterConfig", "enablePrivateEndpoint")) {
				found("its control plane answers the whole internet: set masterAuthorizedNetworksConfig")
			}
			if at(r.Inputs, "workloadIdentityConfig", "workloadPool") == nil {
				found("its pods act as their node: set workloadIdentityConfig")
			}
		case "gcp:container/nodePool:NodePool":
			if !isTrue(at(r.Inputs, "nodeConfig", "shieldedInstanceConfig", "enableSecureBoot")) {
				found("its nodes boot whatever they are given: set shieldedInstanceConfig.enableSecureBoot")
			}
			if account := at(r.Inputs, "nodeConfig", "serviceAccount"); account == nil || account == "default" {
				found("its nodes act as the project's default account: give them one of their own")
			}
		case "gcp:compute/firewall:Firewall":
			open := false
			leaves("", r.Inputs["sourceRanges"], func(_ string, value any) { open = open || value == "0.0.0.0/0" || value == "::/0" })
			if open && r.Inputs["direction"] != "EGRESS" && r.Inputs["denies"] == nil {
				found("lets the whole internet in")
			}
		}
	}},
	{"private-buckets", "Backups are read by who restores, and kept though somebody deletes them.", func(_ Environment, r Resource, found report) {
		if r.Type != "gcp:storage/bucket:Bucket" {
			return
		}
		if !isTrue(r.Inputs["uniformBucketLevelAccess"]) {
			found("single objects may have rights of their own: set uniformBucketLevelAccess")
		}
		if r.Inputs["publicAccessPrevention"] != "enforced" {
			found("may be made public: set publicAccessPrevention to enforced")
		}
		if !isTrue(at(r.Inputs, "versioning", "enabled")) {
			found("forgets what is overwritten: set versioning")
		}
	}},
}

// secretName is a variable or setting that by its name holds a secret.
var secretName = regexp.MustCompile(`(?i)(^|_|\.)(password|passwd|secret|token|private_?key|api_?key)$`)

var secretRules = []Rule{
	{"no-secret-in-state", "Values of secrets come from Secret Manager, never through the program and its state.", func(_ Environment, r Resource, found report) {
		switch {
		case r.Type == "gcp:secretmanager/secretVersion:SecretVersion" && r.Inputs["secretData"] != nil,
			r.Type == "kubernetes:core/v1:Secret" && (r.Inputs["data"] != nil || r.Inputs["stringData"] != nil):
			found("puts a secret's value into the state: let Secret Manager hold it, and mount it")
		case r.Secrets && !strings.HasPrefix(r.Type, "pulumi:providers:"):
			found("has inputs that are secret: they are in the state, though encrypted")
		}
	}},
	{"no-secret-in-variables", "What is in a variable is in every dump of the pod.", func(_ Environment, r Resource, found report) {
		if spec, ok := template(r); ok {
			for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
				for _, v := range c.Env {
					if v.Value != "" && secretName.MatchString(v.Name) {
						found("variable %s of container %s has a plain value: mount a file", v.Name, c.Name)
					}
					if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
						found("variable %s of container %s holds a secret: mount it as a file", v.Name, c.Name)
					}
				}
			}
		}
	}},
}
