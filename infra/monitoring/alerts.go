package monitoring

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
)

// Alert is a condition that somebody is told of. Its name is that of its page in docs/runbooks.
type Alert struct {
	Name string
	// What is the case, as a sentence without its full stop.
	What string
	// Query is PromQL that has a result while the condition holds, for For at the least.
	Query    string
	For      time.Duration
	Severity string
}

const (
	critical = "CRITICAL" // somebody must act now
	warning  = "WARNING"  // somebody must act today
)

// burn is asked of the objective, not in PromQL.
var burn = Alert{Name: "slo-burn", What: "Faults use up four weeks' allowance within three days", Severity: critical}

// Names lists every alert's.
func Names() []string {
	names := []string{burn.Name}
	for _, a := range slices.Concat(Alerts("", ""), DatabaseAlerts("", 0), BackupAlerts(""), ProofAlerts("", 0), ReleaseAlerts("")) {
		names = append(names, a.Name)
	}
	return names
}

// Alerts are those in PromQL, for the workloads of a namespace and the host that they answer at.
func Alerts(namespace, host string) []Alert {
	outside := fmt.Sprintf(`monitored_resource="uptime_url",host=%q`, host)
	ours := fmt.Sprintf("namespace=%q", namespace)
	container := fmt.Sprintf(`monitored_resource="k8s_container",namespace_name=%q`, namespace)
	rate := func(selector string) string {
		return fmt.Sprintf("sum(rate(%s{%s%s}[5m]))", contract.MetricRequests, ours, selector)
	}
	return []Alert{
		{
			Name: "api-unreachable", What: "API v5 is not ready when asked from outside", Severity: critical, For: 2 * time.Minute,
			Query: fmt.Sprintf("avg(monitoring_googleapis_com:uptime_check_check_passed{%s}) < 0.5", outside),
		},
		{
			Name: "api-errors", What: "More than 5 % of requests end in a fault of the service", Severity: critical, For: 5 * time.Minute,
			Query: rate(`,status=~"5.."`) + " / " + rate("") + " > 0.05",
		},
		{
			Name: "api-latency", What: "One of a hundred requests takes more than 500 ms", Severity: warning, For: 10 * time.Minute,
			Query: fmt.Sprintf("histogram_quantile(0.99, sum by (le) (rate(%s_bucket{%s}[5m]))) > 0.5", contract.MetricRequestSeconds, ours),
		},
		{
			Name: "api-panics", What: "A handler or a process panicked", Severity: warning,
			Query: fmt.Sprintf("sum(increase(%s{%s}[10m])) > 0 or sum(increase(logging_googleapis_com:user_%s{%s}[10m])) > 0",
				contract.MetricPanics, ours, "coditect_panics", container),
		},
		{
			Name: "pod-crashes", What: "A container restarted more than three times in 15 minutes", Severity: critical,
			Query: fmt.Sprintf("sum by (pod_name, container_name) (increase(kubernetes_io:container_restart_count{%s}[15m])) > 3", container),
		},
		{
			Name: "pod-memory", What: "A container uses more than 80 % of its memory", Severity: warning, For: 10 * time.Minute,
			Query: fmt.Sprintf(`max by (pod_name, container_name) (kubernetes_io:container_memory_limit_utilization{%s,memory_type="non-evictable"}) > 0.8`, container),
		},
		{
			Name: "pod-cpu", What: "A container uses more than 80 % of its CPU", Severity: warning, For: 15 * time.Minute,
			Query: fmt.Sprintf("max by (pod_name, container_name) (kubernetes_io:container_cpu_limit_utilization{%s}) > 0.8", container),
		},
		{
			Name: "certificate-expiry", What: "The certificate ends within three weeks", Severity: warning, For: time.Hour,
			Query: fmt.Sprintf("min(monitoring_googleapis_com:uptime_check_time_until_ssl_cert_expires{%s}) < 21", outside),
		},
	}
}

// DatabaseAlerts are told only where the database has metrics. It is to run on so
// many machines: with one of them gone for good it heals, and survives one loss less.
func DatabaseAlerts(namespace string, machines int) []Alert {
	ours := fmt.Sprintf("namespace=%q", namespace)
	return []Alert{
		{
			Name: "database-unavailable", What: "FoundationDB takes no transactions, or does not tell", Severity: critical, For: time.Minute,
			Query: fmt.Sprintf("max(fdb_database_available{%s}) < 1 or absent(fdb_database_available{%s})", ours, ours),
		},
		{
			Name: "database-fault-tolerance", What: "FoundationDB has not been whole for three hours", Severity: critical, For: 3 * time.Hour,
			Query: fmt.Sprintf("max(fdb_database_healthy{%s}) < 1 or max(fdb_cluster_machines_count{%s}) < %d", ours, ours, machines),
		},
		{
			Name: "database-storage-queue", What: "A storage server is more than 500 MB behind with writing", Severity: warning, For: 10 * time.Minute,
			Query: fmt.Sprintf("max(fdb_qos_worst_queue_storage_server_bytes{%s}) > 5e8", ours),
		},
		{
			Name: "database-log-queue", What: "A log server is more than 1.6 GB behind", Severity: critical, For: 3 * time.Minute,
			Query: fmt.Sprintf("max(fdb_qos_worst_queue_log_server_bytes{%s}) > 1.6e9", ours),
		},
		{
			Name: "database-replica-lag", What: "A storage server is more than 15 s behind the log", Severity: warning, For: 3 * time.Minute,
			Query: fmt.Sprintf("max(fdb_qos_worst_data_lag_storage_server_seconds{%s}) > 15", ours),
		},
		{
			Name: "database-coordinator", What: "A coordinator is out of reach", Severity: critical, For: 5 * time.Minute,
			Query: fmt.Sprintf("min by (address) (fdb_client_coordinator_reachable{%s}) < 1", ours),
		},
		{
			Name: "database-disk", What: "Less than 15 % of a database volume is free", Severity: critical, For: 5 * time.Minute,
			Query: fmt.Sprintf("min by (address) (fdb_cluster_process_disk_free_bytes{%s} / fdb_cluster_process_disk_total_bytes{%s}) < 0.15", ours, ours),
		},
		{
			Name: "database-generations", What: "FoundationDB recovered five times in an hour", Severity: warning,
			Query: fmt.Sprintf("max(delta(fdb_cluster_generation_count{%s}[1h])) >= 5", ours),
		},
	}
}

// BackupAlerts are told only where backups are written, and the database has metrics.
func BackupAlerts(namespace string) []Alert {
	ours := fmt.Sprintf("namespace=%q", namespace)
	return []Alert{
		{
			Name: "backup-stopped", What: "No backup is running", Severity: critical, For: 5 * time.Minute,
			Query: fmt.Sprintf("max(fdb_cluster_backup_tag_running_backup{%s}) < 1 or absent(fdb_cluster_backup_tag_running_backup{%s})", ours, ours),
		},
		{
			Name: "backup-lag", What: "The newest moment that could be restored is more than 30 minutes old", Severity: warning, For: 5 * time.Minute,
			Query: fmt.Sprintf("max(fdb_cluster_backup_tag_last_restorable_behind_seconds{%s}) > 1800", ours),
		},
		{
			Name: "backup-lost", What: "The newest moment that could be restored is more than an hour old", Severity: critical, For: 5 * time.Minute,
			Query: fmt.Sprintf("max(fdb_cluster_backup_tag_last_restorable_behind_seconds{%s}) > 3600", ours),
		},
	}
}

// ProofAlerts are told where restores are rehearsed. The age is written once an
// hour; where nobody writes it any more, it is as old as can be.
func ProofAlerts(namespace string, age time.Duration) []Alert {
	ours := fmt.Sprintf(`monitored_resource="k8s_container",namespace_name=%q`, namespace)
	metric := func(part string) string {
		return fmt.Sprintf("sum(increase(logging_googleapis_com:user_coditect_proven_age_%s{%s}[3h]))", part, ours)
	}
	return []Alert{{
		Name: "restore-not-proven", What: "No restore was proven for longer than was asked for", Severity: warning, For: 2 * time.Hour,
		Query: fmt.Sprintf("%s / %s > %d or absent(logging_googleapis_com:user_coditect_proven_age_count{%s})", metric("sum"), metric("count"), int(age.Seconds()), ours),
	}}
}

// ReleaseAlerts are told where releases are ticked from within the environment, which
// writes a line every minute, whether or not one is under way: what stops is told
// before a release needs it.
func ReleaseAlerts(namespace string) []Alert {
	counted := func(metric string) string {
		return fmt.Sprintf(`logging_googleapis_com:user_%s{monitored_resource="k8s_container",namespace_name=%q}`, strings.ReplaceAll(metric, "-", "_"), namespace)
	}
	return []Alert{
		{
			Name: "release-ticks-stopped", What: "Nothing moves or judges releases any more", Severity: critical, For: 5 * time.Minute,
			Query: fmt.Sprintf("sum(increase(%s[10m])) < 1 or absent(%s)", counted(ticks), counted(ticks)),
		},
		{
			Name: "release-asks", What: "A release, or the retirement of API v2, asks a person", Severity: warning,
			Query: fmt.Sprintf("sum(increase(%s[5m])) > 0", counted(asks)),
		},
	}
}

type chart struct{ title, query, unit string }

func charts(namespace string) []chart {
	ours := fmt.Sprintf("namespace=%q", namespace)
	return []chart{
		{"Requests by slot", fmt.Sprintf("sum by (slot) (rate(%s{%s}[5m]))", contract.MetricRequests, ours), "1/s"},
		{"Share of faults by slot", fmt.Sprintf(`sum by (slot) (rate(%s{%s,status=~"5.."}[5m])) / sum by (slot) (rate(%s{%s}[5m]))`, contract.MetricRequests, ours, contract.MetricRequests, ours), "1"},
		{"p99 by slot", fmt.Sprintf("histogram_quantile(0.99, sum by (le, slot) (rate(%s_bucket{%s}[5m])))", contract.MetricRequestSeconds, ours), "s"},
		{"Requests under way by slot", fmt.Sprintf("sum by (slot) (%s{%s})", contract.MetricInFlight, ours), "1"},
		{"Memory of containers", fmt.Sprintf(`max by (container_name) (kubernetes_io:container_memory_limit_utilization{monitored_resource="k8s_container",namespace_name=%q,memory_type="non-evictable"})`, namespace), "1"},
		{"CPU of containers", fmt.Sprintf(`max by (container_name) (kubernetes_io:container_cpu_limit_utilization{monitored_resource="k8s_container",namespace_name=%q})`, namespace), "1"},
		{"Database: time to commit", fmt.Sprintf("max(fdb_cluster_latency_commit_seconds{%s})", ours), "s"},
		{"Database: free disk", fmt.Sprintf("min by (address) (fdb_cluster_process_disk_free_bytes{%s})", ours), "By"},
		{"Database: restorable, behind by", fmt.Sprintf("max(fdb_cluster_backup_tag_last_restorable_behind_seconds{%s})", ours), "s"},
		{"Database: machines", fmt.Sprintf("max(fdb_cluster_machines_count{%s})", ours), "1"},
	}
}
