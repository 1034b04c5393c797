package doctor

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Workload is what the ladder climbs on: the service as it runs, and what it needs.
type Workload struct {
	Namespace string
	Pods      []Pod
	// Want are the probes as the service serves them.
	Want Probes
	// Database is nil where the engine is within the service.
	Database *Database
}

// Pod is one pod of the service.
type Pod struct {
	Name, Image string
	Ready       bool
	// Waiting and Message tell why its container does not run; "" where it does.
	Waiting, Message string
	Restarts         int
	// Exited is the exit code of the container's last end, nil where it never ended.
	Exited *int
	Killed bool // by the kernel, for want of memory
	Probes Probes
	Log    string // of the container, or of its last life
	// Preparing names the init container that has not come to its end, with what it wrote.
	Preparing, PreparingLog string
}

// Probes are where a container is asked, as PORT/PATH.
type Probes struct{ Readiness, Liveness string }

// Database is what the service must find of FoundationDB.
type Database struct {
	// ClusterFile is its line, "" where there is none.
	ClusterFile string
	// Named tells that there is a headless Service, Service its name.
	Service string
	Named   bool
	// Pods of the database by name: whether they are ready.
	Pods map[string]bool
}

var clusterLine = regexp.MustCompile(`^[A-Za-z0-9_]+:[A-Za-z0-9]+@(\S+)$`)

// Climb goes up the ladder, from what must hold first. The first rung that breaks
// is most likely why those above it do.
func (w Workload) Climb(report *Report) {
	if !report.verdict(len(w.Pods) > 0, "pods", strconv.Itoa(len(w.Pods)),
		"no slot has a release: set serviceImageBlue and `pulumi up`, or `coditect rollout`") {
		return
	}
	w.rung(report, "image", "every node has it", func(p Pod) string {
		if strings.Contains(p.Waiting, "Image") {
			return p.Waiting + " " + p.Message
		}
		return ""
	}, "is the digest in the registry, and may the nodes read it? gcloud artifacts docker images describe IMAGE@sha256:…")
	w.rung(report, "mounts and settings", "there", func(p Pod) string {
		if p.Waiting != "" && !strings.Contains(p.Waiting, "Image") && p.Waiting != "CrashLoopBackOff" && p.Waiting != "PodInitializing" {
			return p.Waiting + " " + p.Message
		}
		return ""
	}, "a secret without a value keeps pods waiting: `coditect doctor --env ENV` tells which; kubectl describe pod has the rest")
	w.rung(report, "exit code 0", "no container ended by itself", func(p Pod) string {
		if p.Exited != nil && *p.Exited == 0 && p.Restarts > 0 {
			return fmt.Sprintf("ends by itself with 0, restarted %d times", p.Restarts)
		}
		return ""
	}, "the service never does: the image holds another program, or an empty one. Build it anew (docs/image.md) and hold it up: make verify-binary BINARY=…")
	w.rung(report, "logs", "every container writes", func(p Pod) string {
		if p.Log == "" && p.Preparing == "" && (p.Waiting == "" || p.Waiting == "CrashLoopBackOff") {
			return "not one line"
		}
		return ""
	}, "the service writes one at once: as with exit code 0, look at what is in the image: make verify-binary BINARY=…")
	w.rung(report, "crashes", "none", func(p Pod) string {
		switch {
		case p.Killed:
			return "killed for want of memory: docs/runbooks/pod-memory.md"
		case p.Exited != nil && *p.Exited != 0 && !p.Ready:
			return fmt.Sprintf("exit code %d: %s", *p.Exited, lastLine(p.Log))
		}
		return ""
	}, "the last line says why; all faults of the settings are told at once: docs/runbooks/pod-crashes.md")
	w.rung(report, "probe paths", "as the service serves them", func(p Pod) string {
		if p.Probes != w.Want {
			return fmt.Sprintf("readiness %s, liveness %s; the service has %s and %s", p.Probes.Readiness, p.Probes.Liveness, w.Want.Readiness, w.Want.Liveness)
		}
		return ""
	}, "somebody changed them: `coditect drift` tells what else; `pulumi up --refresh` takes it back")
	w.database(report)
	w.rung(report, "ready", "every pod", func(p Pod) string {
		if !p.Ready {
			return "not ready: " + lastLine(p.Log)
		}
		return ""
	}, "where all of the above is well, the store does not answer in time: docs/runbooks/database-unavailable.md")
}

// rung adds one check of every pod; wrong says what is wrong with one, "" where nothing is.
func (w Workload) rung(report *Report, what, well string, wrong func(Pod) string, how string) {
	var found []string
	for _, p := range w.Pods {
		if text := strings.TrimSpace(wrong(p)); text != "" {
			found = append(found, p.Name+" "+text)
		}
	}
	if len(found) == 0 {
		report.add(what, OK, well, "")
		return
	}
	report.add(what, Mend, strings.Join(found, "; "), "%s", how)
}

// database holds the cluster file and the names in it against what is there.
func (w Workload) database(report *Report) {
	d := w.Database
	if d == nil {
		return
	}
	line := clusterLine.FindStringSubmatch(strings.TrimSpace(d.ClusterFile))
	if !report.verdict(line != nil, "cluster file", strings.TrimSpace(d.ClusterFile),
		"ConfigMap fdb-cluster-file must hold one line like coditect:ID@HOST:4500,…: `pulumi up --refresh` puts it back") {
		return
	}
	var unknown []string
	for address := range strings.SplitSeq(line[1], ",") {
		host, _, err := net.SplitHostPort(address)
		name, _, _ := strings.Cut(host, ".")
		suffix := "." + d.Service + "." + w.Namespace + ".svc.cluster.local"
		if _, there := d.Pods[name]; err != nil || !there || !strings.HasSuffix(host, suffix) {
			unknown = append(unknown, address)
		}
	}
	w.names(report, unknown)
	ready := 0
	for _, one := range d.Pods {
		if one {
			ready++
		}
	}
	report.verdict(ready == len(d.Pods) && ready > 0, "database", fmt.Sprintf("%d of %d pods ready", ready, len(d.Pods)),
		"docs/runbooks/database-unavailable.md")
}

// names tells whether the coordinators can be found by name.
func (w Workload) names(report *Report, unknown []string) {
	how := "names are made by the Service " + w.Database.Service + " and the pods of that name: `pulumi up --refresh`; then is the cluster's own DNS well? kubectl -n kube-system get pods -l k8s-app=kube-dns"
	waiting := slices.IndexFunc(w.Pods, func(p Pod) bool { return strings.Contains(p.PreparingLog, "no coordinator has a name") })
	switch {
	case !w.Database.Named:
		report.add("DNS", Mend, "there is no Service "+w.Database.Service, "%s", how)
	case len(unknown) > 0:
		report.add("DNS", Mend, "no pod answers to "+strings.Join(unknown, ", "), "%s", how)
	case waiting >= 0:
		report.add("DNS", Mend, w.Pods[waiting].Name+" finds no coordinator by its name", "%s", how)
	default:
		report.add("DNS", OK, "each coordinator has a pod and a name", "")
	}
}

// lastLine is the last of a text, cut where it is long.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	text = text[strings.LastIndex(text, "\n")+1:]
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
