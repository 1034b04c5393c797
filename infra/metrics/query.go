package metrics

import (
	"fmt"
	"time"

	"coditect.ai/platform/app/contract"
)

// selectors write the queries of one slot.
type selectors struct{ namespace, slot string }

// own selects among the service's own metrics of the slot; probes are not requests.
func (s selectors) own(metric, more string) string {
	return fmt.Sprintf("%s{namespace=%q,slot=%q,route!~%q%s}", metric, s.namespace, s.slot, contract.HealthPath+"|"+contract.ReadyPath, following(more))
}

func (s selectors) requests(more string) string { return s.own(contract.MetricRequests, more) }

func (s selectors) seconds(part string) string { return s.own(contract.MetricRequestSeconds+part, "") }

// all counts every answer, to probes too, which a process has from its first moments.
func (s selectors) all() string {
	return fmt.Sprintf("%s{namespace=%q,slot=%q,%s=%q}", contract.MetricRequests, s.namespace, s.slot, SlotLabel, s.slot)
}

// up tells of each process of the slot whether it was scraped.
func (s selectors) up() string {
	return fmt.Sprintf("up{namespace=%q,%s=%q}", s.namespace, SlotLabel, s.slot)
}

// counted is by how much each counter grew in the window. `increase` alone does not
// see what a counter had when it was scraped for the first time, which is all that
// a new process and a new kind of error have: such a counter began at zero, unless
// its process is older than the window and was not scraped before.
func (s selectors) counted(selector string, window time.Duration, at time.Time) string {
	began := fmt.Sprintf("process_start_time_seconds{namespace=%q,%s=%q} > %d", s.namespace, SlotLabel, s.slot, at.Add(-window).Unix())
	before := promDuration(" offset %s", window)
	return fmt.Sprintf("((%s unless %s%s) and on (instance) (%s or (%s%s == 1))) or increase(%s%s)",
		selector, selector, before, began, s.up(), before, selector, promDuration("[%s]", window))
}

func following(more string) string {
	if more == "" {
		return ""
	}
	return "," + more
}

// promDuration writes a duration as Prometheus does, in milliseconds.
func promDuration(format string, d time.Duration) string {
	return fmt.Sprintf(format, fmt.Sprintf("%dms", d.Milliseconds()))
}
