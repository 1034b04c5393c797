package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// balanced is what Google's load balancer counts of requests, as Cloud Monitoring
// answers for it in PromQL. A backend that nobody has asked has no series at all.
const balanced = `loadbalancing_googleapis_com:https_request_count{monitored_resource="https_lb_rule"%s}`

// Reached is how many requests Google's load balancer has led to a Service in the
// window that ends now. Silence proves nothing by itself: there is a number only
// where requests to other were counted from the window's beginning to its end, and
// it is ErrNoData elsewhere.
func (p *Prometheus) Reached(ctx context.Context, service, other string, window time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	at := p.Now()
	n, err := p.reached(ctx, service, other, window, at)
	if err != nil {
		return 0, fmt.Errorf("requests that reached %s in the last %s: %w", service, window, err)
	}
	return n, nil
}

// edge is how much of a window's beginning and end must have been counted.
const edge = time.Hour

func (p *Prometheus) reached(ctx context.Context, service, other string, window time.Duration, at time.Time) (float64, error) {
	of := func(name string, window time.Duration, offset time.Duration) string {
		// A backend service is named after namespace, Service, port and a sum of them.
		query := "sum(increase(" + fmt.Sprintf(balanced, fmt.Sprintf(",backend_target_name=~%q", ".*-"+p.Namespace+"-"+name+"-.*")) + promDuration("[%s]", window)
		if offset > 0 {
			query += promDuration(" offset %s", offset)
		}
		return query + "))"
	}
	one := func(query string) (float64, bool, error) {
		values, err := p.query(ctx, query, at)
		if err != nil || len(values) == 0 {
			return 0, false, err
		}
		return float64(values[0].Value), true, nil
	}
	near := min(edge, window)
	for name, query := range map[string]string{"end": of(other, near, 0), "beginning": of(other, near, window-near)} {
		n, told, err := one(query)
		if err != nil {
			return 0, err
		}
		if !told || !counts(n) || n == 0 {
			return 0, fmt.Errorf("%w: not even requests to %s were counted at the %s of that time", ErrNoData, other, name)
		}
	}
	n, told, err := one(of(service, window, 0))
	switch {
	case err != nil:
		return 0, err
	case !told:
		return 0, nil
	case !counts(n):
		return 0, fmt.Errorf("%w: %v requests cannot be", ErrNoData, model.SampleValue(n))
	}
	return n, nil
}
