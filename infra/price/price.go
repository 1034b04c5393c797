// Package price owns the estimate of what an environment costs a month: a
// table of list prices with its date, and how resources are counted by it. It
// counts what costs the same whether anybody calls the service or not, and
// says what it leaves out.
package price

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed prices.json
var file []byte

// table is the list of prices.
type table struct {
	Dated      string             `json:"dated"`
	Region     string             `json:"region"`
	Currency   string             `json:"currency"`
	Hours      float64            `json:"hours_a_month"`
	Source     string             `json:"source"`
	Items      map[string]float64 `json:"items"`
	NotCounted []string           `json:"not_counted"`
}

// Resource is what is counted: a resource as the engine is given it.
type Resource struct {
	Type, Name string
	Inputs     map[string]any
}

// Line is what one resource costs.
type Line struct {
	Resource string  `json:"resource"`
	Of       string  `json:"of"`      // what is counted, in words
	Monthly  float64 `json:"monthly"` // in the estimate's currency
}

// Estimate is what all of them cost.
type Estimate struct {
	Lines    []Line  `json:"lines"`
	Monthly  float64 `json:"monthly"`
	Currency string  `json:"currency"`
	Region   string  `json:"region"` // whose prices these are
	Dated    string  `json:"dated"`
	Source   string  `json:"source"`
	// NotCounted says what the figures leave out, unpriced sizes included.
	NotCounted []string `json:"not_counted"`
}

// Of estimates what resources cost a month.
func Of(resources []Resource) (Estimate, error) {
	var t table
	if err := json.Unmarshal(file, &t); err != nil {
		return Estimate{}, fmt.Errorf("read the table of prices: %w", err)
	}
	c := counter{table: t, estimate: Estimate{Currency: t.Currency, Region: t.Region, Dated: t.Dated, Source: t.Source, NotCounted: t.NotCounted}}
	for _, r := range resources {
		if strings.HasSuffix(r.Type, ":NodePool") {
			c.nodes += nodes(r)
		}
	}
	for _, r := range resources {
		c.count(r)
	}
	if c.nodes == 0 {
		c.estimate.NotCounted = append([]string{"nodes: these resources make none"}, c.estimate.NotCounted...)
	}
	slices.SortStableFunc(c.estimate.Lines, func(a, b Line) int {
		switch {
		case a.Monthly > b.Monthly:
			return -1
		case a.Monthly < b.Monthly:
			return 1
		}
		return strings.Compare(a.Resource, b.Resource)
	})
	return c.estimate, nil
}

type counter struct {
	table    table
	estimate Estimate
	nodes    float64
}

func (c *counter) count(r Resource) {
	t := c.table
	switch r.Type {
	case "gcp:container/cluster:Cluster":
		c.add(r, "its control plane", t.Items["cluster-hour"]*t.Hours)
	case "gcp:container/nodePool:NodePool":
		c.pool(r)
	case "gcp:compute/routerNat:RouterNat":
		c.add(r, fmt.Sprintf("NAT of %g nodes and one address", c.nodes), (c.nodes*t.Items["nat-node-hour"]+t.Items["nat-address-hour"])*t.Hours)
	case "kubernetes:core/v1:PersistentVolumeClaim":
		c.volumes(r, 1, claim(r.Inputs))
	case "kubernetes:apps/v1:StatefulSet":
		replicas := number(at(r.Inputs, "spec", "replicas"), 1)
		templates, _ := at(r.Inputs, "spec", "volumeClaimTemplates").([]any)
		for _, template := range templates {
			if object, ok := template.(map[string]any); ok {
				c.volumes(r, replicas, claim(object))
			}
		}
	case "kubernetes:gateway.networking.k8s.io/v1:Gateway":
		if class := at(r.Inputs, "spec", "gatewayClassName"); class == "gke-l7-global-external-managed" {
			c.add(r, "its forwarding rules, up to five", t.Items["forwarding-rules-hour"]*t.Hours)
		}
	}
}

func (c *counter) add(r Resource, of string, monthly float64) {
	c.estimate.Lines = append(c.estimate.Lines, Line{Resource: r.Type[strings.LastIndex(r.Type, ":")+1:] + " " + r.Name, Of: of, Monthly: monthly})
	c.estimate.Monthly += monthly
}

// unpriced names what the table has no price of: the estimate is too low by it.
func (c *counter) unpriced(r Resource, what string) {
	c.estimate.NotCounted = append(slices.Clone(c.estimate.NotCounted), r.Name+": no price of "+what+" in the table")
}

// memory is what the E2 families have of it for each CPU, in GiB.
var memory = map[string]float64{"e2-standard": 4, "e2-highmem": 8, "e2-highcpu": 1}

func (c *counter) pool(r Resource) {
	n := nodes(r)
	machine, _ := at(r.Inputs, "nodeConfig", "machineType").(string)
	family, size, _ := cutLast(machine, "-")
	var cpus float64
	if _, err := fmt.Sscanf(size, "%g", &cpus); err != nil || memory[family] == 0 {
		c.unpriced(r, "machine type "+machine)
	} else {
		hour := cpus * (c.table.Items["e2-cpu-hour"] + memory[family]*c.table.Items["e2-memory-gib-hour"])
		c.add(r, fmt.Sprintf("%g nodes of %s", n, machine), n*hour*c.table.Hours)
	}
	disk, _ := at(r.Inputs, "nodeConfig", "diskType").(string)
	gib := number(at(r.Inputs, "nodeConfig", "diskSizeGb"), 100)
	if price, ok := c.table.Items[disk+"-gib-month"]; ok {
		c.add(r, fmt.Sprintf("%g boot disks of %g GiB %s", n, gib, disk), n*gib*price)
	} else {
		c.unpriced(r, "boot disks of type "+disk)
	}
}

// nodes is a pool's first size; a regional pool has it in each of its zones.
func nodes(r Resource) float64 {
	if least := number(at(r.Inputs, "autoscaling", "totalMinNodeCount"), 0); least > 0 {
		return least // over all zones
	}
	n := number(r.Inputs["nodeCount"], number(r.Inputs["initialNodeCount"], 1))
	if zones, ok := r.Inputs["nodeLocations"].([]any); ok && len(zones) > 0 {
		n *= float64(len(zones))
	}
	return n
}

// disks are the disk types behind GKE's storage classes.
var disks = map[string]string{"standard-rwo": "pd-balanced", "standard": "pd-standard", "premium-rwo": "pd-ssd"}

type claimed struct{ size, class string }

func claim(object map[string]any) claimed {
	size, _ := at(object, "spec", "resources", "requests", "storage").(string)
	class, _ := at(object, "spec", "storageClassName").(string)
	return claimed{size, class}
}

func (c *counter) volumes(r Resource, n float64, v claimed) {
	var gib float64
	unit := 1.0
	amount, isTi := strings.CutSuffix(v.size, "Ti")
	if isTi {
		unit = 1024
	}
	if _, err := fmt.Sscanf(strings.TrimSuffix(amount, "Gi"), "%g", &gib); err != nil || disks[v.class] == "" {
		c.unpriced(r, fmt.Sprintf("volumes of %s in class %q", v.size, v.class))
		return
	}
	disk := disks[v.class]
	c.add(r, fmt.Sprintf("%g volumes of %s (%s)", n, v.size, disk), n*gib*unit*c.table.Items[disk+"-gib-month"])
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func number(value any, otherwise float64) float64 {
	switch n := value.(type) {
	case float64:
		return n
	case int:
		return float64(n)
	}
	return otherwise
}

// at walks into nested inputs; nil where there is nothing.
func at(inputs map[string]any, path ...string) any {
	var value any = inputs
	for _, step := range path {
		node, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = node[step]
	}
	return value
}
