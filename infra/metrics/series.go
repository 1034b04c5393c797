package metrics

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Point is how a slot did at a moment, probes left out.
type Point struct {
	At time.Time
	// Rate is of requests, a second.
	Rate float64
	// Errors is the share of 5xx among them, from 0 to 1, and P99 the time within
	// which 99 of 100 were answered. Both are 0 where Rate is.
	Errors float64
	P99    time.Duration
}

// Series returns how the slot did from one moment to another, at most 1000 steps of
// at least a second. A moment of which nothing is known has no point. Its error is
// ErrNoData where none has.
func (p *Prometheus) Series(ctx context.Context, slot string, from, to time.Time, step time.Duration) ([]Point, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	points, err := p.series(ctx, selectors{namespace: p.Namespace, slot: slot}, promv1.Range{Start: from, End: to, Step: step})
	if err != nil {
		return nil, fmt.Errorf("metrics of slot %s from %s: %w", slot, from.UTC().Format(time.RFC3339), err)
	}
	return points, nil
}

func (p *Prometheus) series(ctx context.Context, of selectors, r promv1.Range) ([]Point, error) {
	if r.Step < time.Second || r.End.Before(r.Start) || r.End.Sub(r.Start) > maxPoints*r.Step {
		return nil, fmt.Errorf("from %s to %s in steps of %s are not at most %d points", r.Start, r.End, r.Step, maxPoints)
	}
	window := max(r.Step, 4*p.Interval)
	// A slot that is scraped and answered no request had a rate of zero.
	rates, err := p.queryRange(ctx, fmt.Sprintf("sum(%s) or 0 * sum(%s)", rate(of.requests(""), window), rate(of.all(), window)), r)
	if err != nil {
		return nil, err
	}
	if len(rates) == 0 {
		return nil, ErrNoData
	}
	errors, err := p.queryRange(ctx, "sum("+rate(of.requests(`status=~"5.."`), window)+")", r)
	if err != nil {
		return nil, err
	}
	durations, err := p.queryRange(ctx, "histogram_quantile(0.99, sum by (le) ("+rate(of.seconds("_bucket"), window)+"))", r)
	if err != nil {
		return nil, err
	}
	points := make([]Point, 0, len(rates))
	for _, at := range slices.Sorted(maps.Keys(rates)) {
		point := Point{At: at.Time(), Rate: rates[at]}
		if point.Rate > 0 {
			point.Errors = min(errors[at]/point.Rate, 1)
			if took, known := durations[at]; known {
				point.P99 = seconds(took)
			}
		}
		points = append(points, point)
	}
	return points, nil
}

// queryRange asks for one series and returns its numbers by their moments.
func (p *Prometheus) queryRange(ctx context.Context, query string, r promv1.Range) (map[model.Time]float64, error) {
	value, _, _, err := p.api.QueryRange(ctx, query, r)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("ask Prometheus: the answer is a %s and no matrix", value.Type())
	}
	numbers := map[model.Time]float64{}
	for _, stream := range matrix {
		for _, pair := range stream.Values {
			if n := float64(pair.Value); !math.IsNaN(n) && !math.IsInf(n, 0) {
				numbers[pair.Timestamp] = n
			}
		}
	}
	return numbers, nil
}
