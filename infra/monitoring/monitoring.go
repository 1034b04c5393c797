// Package monitoring owns who is told what, and when: the metrics that are
// collected, the logs that are kept, the objectives, the dashboard, and alerts,
// each of which names the page of docs/runbooks that says what to do.
package monitoring

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/google"
)

const (
	// platform names log bucket, dashboard and group of rules.
	platform = "coditect"
	// panics is the metric of what the log has of panics.
	panics = "coditect-panics"
	// provenAge is that of what it has of the last proven restore's age.
	provenAge = "coditect-proven-age"
	// ticks and asks are those of what it has of ticks, and of those that ask a person.
	ticks, asks = "coditect-ticks", "coditect-asks"
)

// Args of [New].
type Args struct {
	ProjectID string
	Region    string
	Namespace pulumi.StringInput
	// NamespaceName is the same, where it must be known to be written into a query.
	NamespaceName string
	// Host is watched from outside.
	Host string
	// Emails are told of alerts.
	Emails []string
	// Runbooks is the URL below which the runbooks' pages are; without one alerts name the file.
	Runbooks string
	// LogDays is how long the workloads' logs are kept.
	LogDays int
	// Availability is the share of requests, in percent, that must be answered without a fault.
	Availability float64
	// Exporter tells that the database has metrics, Backups that backups are written.
	Exporter, Backups bool
	// Machines is how many the database runs on.
	Machines int
	// ProvenAge is the age of the last proven restore at which somebody is told; 0
	// where none is rehearsed. ProofField is that of a line of the log which has the age, in seconds.
	ProvenAge  time.Duration
	ProofField string
	// Operated tells that releases are ticked from within the environment. Each tick
	// writes a line with TickedField, and AskedField in it where a person is asked.
	Operated                bool
	TickedField, AskedField string
	// Targets are scraped.
	Targets []Target
	Labels  pulumi.StringMap
}

func (a *Args) check() error {
	var faults []error
	for _, field := range []struct{ name, value string }{
		{"ProjectID", a.ProjectID},
		{"Region", a.Region},
		{"NamespaceName", a.NamespaceName},
		{"Host", a.Host},
	} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", field.name))
		}
	}
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	if a.Exporter && a.Machines < 1 {
		faults = append(faults, fmt.Errorf("a database with metrics runs on %d machines: one at least", a.Machines))
	}
	if a.LogDays < 1 || a.LogDays > 3650 {
		faults = append(faults, fmt.Errorf("LogDays is %d: must be from 1 to 3650", a.LogDays))
	}
	if a.Availability <= 0 || a.Availability >= 100 {
		faults = append(faults, fmt.Errorf("availability is %v: must lie between 0 and 100 percent", a.Availability))
	}
	return errors.Join(faults...)
}

// Monitoring watches the environment.
type Monitoring struct {
	pulumi.ResourceState
}

// New makes all that watches.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Monitoring, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("monitoring %s: %w", name, err)
	}
	m := &Monitoring{}
	if err := ctx.RegisterComponentResource("coditect:monitoring:Monitoring", name, m, opts...); err != nil {
		return nil, fmt.Errorf("monitoring %s: %w", name, err)
	}
	w := &watch{Args: args, parent: m, channels: pulumi.StringArray{}}
	for _, step := range []func(*pulumi.Context) error{w.collect, w.keepLogs, w.tell, w.objectives, w.alert, w.dashboard} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("monitoring %s: %w", name, err)
		}
	}
	if err := ctx.RegisterResourceOutputs(m, pulumi.Map{}); err != nil {
		return nil, fmt.Errorf("monitoring %s: outputs: %w", name, err)
	}
	return m, nil
}

// watch makes one environment's monitoring.
type watch struct {
	Args

	parent   pulumi.Resource
	channels pulumi.StringArray
	// objective is the availability's name.
	objective pulumi.StringOutput
	// logged must be there before an alert can ask for it.
	logged []pulumi.Resource
}

func (w *watch) make(ctx *pulumi.Context, kind, name string, args pulumi.Map, needs ...pulumi.Resource) (*google.Resource, error) {
	args["project"] = pulumi.String(w.ProjectID)
	return google.New(ctx, kind, name, args, pulumi.Parent(w.parent), pulumi.DependsOn(needs))
}

// collect scrapes the workloads.
func (w *watch) collect(ctx *pulumi.Context) error {
	return collect(ctx, CollectionArgs{Namespace: w.Namespace, Interval: cloudInterval, Targets: w.Targets}, w.parent)
}

// keepLogs gives the workloads' logs a bucket with a life of its own, a view for
// who may read nothing else, and counts what the log has of panics: a process that
// dies of one counts no more.
func (w *watch) keepLogs(ctx *pulumi.Context) error {
	ours := fmt.Sprintf(`resource.type="k8s_container" AND resource.labels.namespace_name=%q`, w.NamespaceName)
	bucket, err := w.make(ctx, google.LogBucketType, platform+"-logs", pulumi.Map{
		"location": pulumi.String(w.Region), "bucketId": pulumi.String(platform), "retentionDays": pulumi.Int(w.LogDays),
		"description": pulumi.String("Logs of the platform's workloads"),
	})
	if err != nil {
		return err
	}
	if _, err := w.make(ctx, google.LogSinkType, platform+"-logs", pulumi.Map{
		"name": pulumi.String(platform), "filter": pulumi.String(ours), "uniqueWriterIdentity": pulumi.Bool(true),
		"destination": pulumi.Sprintf("logging.googleapis.com/%s", bucket.ID()),
		"description": pulumi.String("Logs of the platform's workloads"),
	}); err != nil {
		return err
	}
	if _, err := google.New(ctx, google.LogViewType, platform+"-api", pulumi.Map{
		"name": pulumi.String("workloads"), "bucket": bucket.ID().ToStringOutput(),
		"description": pulumi.String("Containers' logs alone"), "filter": pulumi.String(`resource.type = "k8s_container"`),
	}, pulumi.Parent(w.parent)); err != nil {
		return err
	}
	metric, err := w.make(ctx, google.LogMetricType, panics, pulumi.Map{
		"name": pulumi.String(panics), "description": pulumi.String("Panics in the workloads' logs"),
		"filter":           pulumi.String(ours + ` AND (textPayload:"panic: " OR jsonPayload.error:"panic: ")`),
		"metricDescriptor": pulumi.Map{"metricKind": pulumi.String("DELTA"), "valueType": pulumi.String("INT64"), "unit": pulumi.String("1")},
	})
	if err != nil {
		return err
	}
	w.logged = append(w.logged, metric)
	if w.ProvenAge > 0 {
		metric, err := w.make(ctx, google.LogMetricType, provenAge, pulumi.Map{
			"name": pulumi.String(provenAge), "description": pulumi.String("Age of the last proven restore, as the log tells it"),
			"filter":           pulumi.String(ours + ` AND jsonPayload.` + w.ProofField + `>=0`),
			"valueExtractor":   pulumi.String("EXTRACT(jsonPayload." + w.ProofField + ")"),
			"metricDescriptor": pulumi.Map{"metricKind": pulumi.String("DELTA"), "valueType": pulumi.String("DISTRIBUTION"), "unit": pulumi.String("s")},
		})
		if err != nil {
			return err
		}
		w.logged = append(w.logged, metric)
	}
	if !w.Operated {
		return nil
	}
	for _, one := range []struct{ name, doc, field string }{
		{ticks, "Ticks of releases that ended well", w.TickedField},
		{asks, "Ticks of releases that ask a person", w.AskedField},
	} {
		metric, err := w.make(ctx, google.LogMetricType, one.name, pulumi.Map{
			"name": pulumi.String(one.name), "description": pulumi.String(one.doc),
			"filter":           pulumi.String(ours + ` AND jsonPayload.` + one.field + `=true`),
			"metricDescriptor": pulumi.Map{"metricKind": pulumi.String("DELTA"), "valueType": pulumi.String("INT64"), "unit": pulumi.String("1")},
		})
		if err != nil {
			return err
		}
		w.logged = append(w.logged, metric)
	}
	return nil
}

// tell makes the channels, and the check from outside that needs no cluster to be alive.
func (w *watch) tell(ctx *pulumi.Context) error {
	for _, email := range w.Emails {
		channel, err := w.make(ctx, google.ChannelType, "email-"+strings.NewReplacer("@", "-at-", ".", "-").Replace(email), pulumi.Map{
			"type": pulumi.String("email"), "displayName": pulumi.String(email),
			"labels": pulumi.StringMap{"email_address": pulumi.String(email)}, "userLabels": w.Labels,
		})
		if err != nil {
			return err
		}
		w.channels = append(w.channels, channel.Name)
	}
	_, err := w.make(ctx, google.UptimeType, platform+"-ready", pulumi.Map{
		"displayName": pulumi.String("API v5 is ready at " + w.Host), "timeout": pulumi.String("10s"), "period": pulumi.String("60s"),
		"httpCheck": pulumi.Map{
			"path": pulumi.String(contract.ReadyPath), "port": pulumi.Int(443), "useSsl": pulumi.Bool(true), "validateSsl": pulumi.Bool(true),
		},
		"monitoredResource": pulumi.Map{
			"type":   pulumi.String("uptime_url"),
			"labels": pulumi.StringMap{"project_id": pulumi.String(w.ProjectID), "host": pulumi.String(w.Host)},
		},
		"userLabels": w.Labels,
	})
	return err
}

// objectives are what users are promised over four weeks.
func (w *watch) objectives(ctx *pulumi.Context) error {
	service, err := w.make(ctx, google.MonitoredServiceType, contract.ServiceName, pulumi.Map{
		"serviceId": pulumi.String(contract.ServiceName), "displayName": pulumi.String("Coditect API v5"), "userLabels": w.Labels,
	})
	if err != nil {
		return err
	}
	counted := fmt.Sprintf(`resource.type="prometheus_target" AND metric.type="prometheus.googleapis.com/%s/counter"`, contract.MetricRequests)
	availability, err := w.make(ctx, google.ObjectiveType, "availability", pulumi.Map{
		"service": service.ServiceID, "sloId": pulumi.String("availability"), "displayName": pulumi.String("Requests are answered without a fault"),
		"goal": pulumi.Float64(math.Round(w.Availability*100) / 1e4), "rollingPeriodDays": pulumi.Int(28),
		"requestBasedSli": pulumi.Map{"goodTotalRatio": pulumi.Map{
			"totalServiceFilter": pulumi.String(counted),
			"badServiceFilter":   pulumi.String(counted + ` AND metric.labels.status=monitoring.regex.full_match("5..")`),
		}},
	})
	if err != nil {
		return err
	}
	w.objective = availability.Name
	_, err = w.make(ctx, google.ObjectiveType, "latency", pulumi.Map{
		"service": service.ServiceID, "sloId": pulumi.String("latency"), "displayName": pulumi.String("99 of 100 requests are answered within 500 ms"),
		"goal": pulumi.Float64(0.99), "rollingPeriodDays": pulumi.Int(28),
		"requestBasedSli": pulumi.Map{"distributionCut": pulumi.Map{
			"distributionFilter": pulumi.String(fmt.Sprintf(`resource.type="prometheus_target" AND metric.type="prometheus.googleapis.com/%s/histogram"`, contract.MetricRequestSeconds)),
			"range":              pulumi.Map{"max": pulumi.Float64(0.5)},
		}},
	})
	return err
}

// alert makes the policies.
func (w *watch) alert(ctx *pulumi.Context) error {
	alerts := Alerts(w.NamespaceName, w.Host)
	if w.Exporter {
		alerts = append(alerts, DatabaseAlerts(w.NamespaceName, w.Machines)...)
	}
	if w.Exporter && w.Backups {
		alerts = append(alerts, BackupAlerts(w.NamespaceName)...)
	}
	if w.ProvenAge > 0 {
		alerts = append(alerts, ProofAlerts(w.NamespaceName, w.ProvenAge)...)
	}
	if w.Operated {
		alerts = append(alerts, ReleaseAlerts(w.NamespaceName)...)
	}
	for _, a := range alerts {
		condition := pulumi.Map{
			"displayName": pulumi.String(a.What),
			"conditionPrometheusQueryLanguage": pulumi.Map{
				"query": pulumi.String(a.Query), "duration": pulumi.String(fmt.Sprintf("%ds", int(a.For.Seconds()))),
				"evaluationInterval": pulumi.String("30s"), "alertRule": pulumi.String(a.Name), "ruleGroup": pulumi.String(platform),
			},
		}
		if err := w.policy(ctx, a, condition); err != nil {
			return err
		}
	}
	// Ten times the rate at which the promise would just be kept, over an hour.
	return w.policy(ctx, burn, pulumi.Map{
		"displayName": pulumi.String(burn.What),
		"conditionThreshold": pulumi.Map{
			"filter":         pulumi.Sprintf(`select_slo_burn_rate(%q, "3600s")`, w.objective),
			"comparison":     pulumi.String("COMPARISON_GT"),
			"thresholdValue": pulumi.Float64(10),
			"duration":       pulumi.String("0s"),
		},
	})
}

func (w *watch) policy(ctx *pulumi.Context, a Alert, condition pulumi.Map) error {
	page := "docs/runbooks/" + a.Name + ".md"
	documentation := pulumi.Map{
		"mimeType": pulumi.String("text/markdown"),
		"subject":  pulumi.String("Coditect: " + a.What),
		"content":  pulumi.String(a.What + ". What to do: " + page + " in the platform's repository."),
	}
	if w.Runbooks != "" {
		documentation["links"] = pulumi.Array{pulumi.Map{
			"displayName": pulumi.String("Runbook"), "url": pulumi.String(strings.TrimSuffix(w.Runbooks, "/") + "/" + a.Name + ".md"),
		}}
	}
	_, err := w.make(ctx, google.AlertType, a.Name, pulumi.Map{
		"displayName": pulumi.String("Coditect: " + a.Name), "combiner": pulumi.String("OR"), "severity": pulumi.String(a.Severity),
		"conditions": pulumi.Array{condition}, "documentation": documentation, "notificationChannels": w.channels,
		"alertStrategy": pulumi.Map{"autoClose": pulumi.String("3600s")}, "userLabels": w.Labels,
	}, w.logged...)
	return err
}

// dashboard shows what the alerts ask, and how the slots compare.
func (w *watch) dashboard(ctx *pulumi.Context) error {
	type tile map[string]any
	var tiles []tile
	for i, chart := range charts(w.NamespaceName) {
		tiles = append(tiles, tile{
			"xPos": i % 2 * 24, "yPos": i / 2 * 12, "width": 24, "height": 12,
			"widget": tile{"title": chart.title, "xyChart": tile{"dataSets": []tile{{
				"plotType": "LINE", "timeSeriesQuery": tile{"prometheusQuery": chart.query, "unitOverride": chart.unit},
			}}}},
		})
	}
	raw, err := json.Marshal(tile{"displayName": "Coditect", "mosaicLayout": tile{"columns": 48, "tiles": tiles}})
	if err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	_, err = w.make(ctx, google.DashboardType, platform, pulumi.Map{"dashboardJson": pulumi.String(string(raw))})
	return err
}
