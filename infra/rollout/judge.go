package rollout

import (
	"fmt"
	"math"
	"slices"
	"time"

	"coditect.ai/platform/stacks"
)

// Outcome of a judgment.
type Outcome string

// The outcomes. What cannot be told is never good.
const (
	Good         Outcome = "good"
	Bad          Outcome = "bad"
	Inconclusive Outcome = "inconclusive"
)

// Verdict is an outcome with its reasons; a good one has none.
type Verdict struct {
	Outcome Outcome  `json:"outcome"`
	Reasons []string `json:"reasons,omitempty"`
}

func (v *Verdict) bad(format string, args ...any) {
	if v.Outcome != Bad {
		v.Outcome, v.Reasons = Bad, nil // why it is bad matters more than what is not known
	}
	v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
}

func (v *Verdict) unknown(format string, args ...any) {
	if v.Outcome == Bad {
		return
	}
	v.Outcome = Inconclusive
	if reason := fmt.Sprintf(format, args...); !slices.Contains(v.Reasons, reason) {
		v.Reasons = append(v.Reasons, reason)
	}
}

// Limits are what the release is held to.
type Limits struct {
	// Requests is the least number of the release's own on which it is judged.
	Requests float64 `json:"requests"`
	// Errors is the greatest share of them that may fail, whatever the former release does.
	Errors float64 `json:"errors"`
	// P99 is the longest that 99 of 100 may take, and P99Ratio how many times that of the former release.
	P99      time.Duration `json:"p99"`
	P99Ratio float64       `json:"p99Ratio"`
	// Restarts is how many a stage may see.
	Restarts int `json:"restarts"`
	// Unready is how long pods may be missing before that counts against the release.
	Unready time.Duration `json:"unready"`
	// Window is what the last minutes are; a whole stage is judged beside them.
	Window time.Duration `json:"window"`
}

const (
	// significance is the z-score from which a higher share of errors is no chance: once in
	// 30,000 looks. A rollout of 29 hours looks 1,700 times, by two windows.
	significance = 4
	// errorMargin is the difference in shares of errors below which nobody would return to the former release.
	errorMargin = 0.005
	// p99Margin is the same of durations; the histogram tells no finer.
	p99Margin = 50 * time.Millisecond
)

// share of errors.
func (s Sample) share() float64 {
	if s.Requests <= 0 {
		return 0
	}
	return min(s.Errors/s.Requests, 1)
}

// compare judges the release's requests against those of the former release in
// the same time. Too few of them are inconclusive. The former one may have
// none, at 100 percent; the release is then held to the limits alone. It tells
// whether the measurements can be true at all.
func (l Limits) compare(v *Verdict, of string, canary, stable Sample) (credible bool) {
	for _, s := range []Sample{canary, stable} {
		// Every comparison with NaN is false, and so would be good.
		if math.IsNaN(s.Requests+s.Errors) || math.IsInf(s.Requests+s.Errors, 0) || s.Requests < 0 || s.Errors < 0 || s.P99 < 0 || s.Errors > s.Requests*1.01+1 {
			v.unknown("%s: the measurements contradict themselves: %.0f requests, %.0f errors, p99 %s", of, s.Requests, s.Errors, s.P99)
			return false
		}
	}
	if canary.Requests < l.Requests {
		v.unknown("%s: %.0f requests, and %.0f are needed to judge", of, canary.Requests, l.Requests)
		return true
	}
	share, other := canary.share(), stable.share()
	if share > l.Errors {
		v.bad("%s: %.2f %% of %.0f requests failed, more than %.2f %%", of, 100*share, canary.Requests, 100*l.Errors)
	} else if z := excess(canary, stable); stable.Requests >= l.Requests && z > significance && share-other > errorMargin {
		v.bad("%s: %.2f %% of %.0f requests failed and of the former release's %.2f %%, which is no chance (z %.1f)", of, 100*share, canary.Requests, 100*other, z)
	}
	if canary.P99 > l.P99 {
		v.bad("%s: p99 is %s, more than %s", of, canary.P99.Round(time.Millisecond), l.P99)
	} else if limit := time.Duration(l.P99Ratio * float64(stable.P99)); stable.Requests >= l.Requests && canary.P99 > limit && canary.P99-stable.P99 > p99Margin {
		v.bad("%s: p99 is %s and the former release's %s, more than %.1f times that", of, canary.P99.Round(time.Millisecond), stable.P99.Round(time.Millisecond), l.P99Ratio)
	}
	return true
}

// excess is the z-score of two proportions, of the release's share of errors over the former one's.
func excess(canary, stable Sample) float64 {
	n, m := canary.Requests, stable.Requests
	if n <= 0 || m <= 0 {
		return 0
	}
	pooled := min((canary.Errors+stable.Errors)/(n+m), 1)
	deviation := math.Sqrt(pooled * (1 - pooled) * (1/n + 1/m))
	if deviation == 0 {
		return 0
	}
	return (canary.share() - stable.share()) / deviation
}

// agrees tells whether the requests that slots were given are divided as the
// weights say, as far as chance allows; true where there are too few to tell.
func agrees(weights Weights, requests map[stacks.Slot]float64) bool {
	total, sum := 0.0, 0
	for name, weight := range weights {
		total += requests[name]
		sum += weight
	}
	if total < 50 || sum == 0 {
		return true
	}
	for name, weight := range weights {
		p := float64(weight) / float64(sum)
		observed := requests[name] / total
		// Connections are reused, so that requests come in bundles: two hundredths are granted beside chance.
		if math.Abs(observed-p) > 4*math.Sqrt(p*(1-p)/total)+0.02 {
			return false
		}
	}
	return true
}
