package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// SlotLabel is the label that the collector puts on every series of a pod of the
// service: the slot, as the pod's own label has it. The service's metrics tell
// their slot themselves, as `slot`; a pod that is down tells nothing.
const SlotLabel = "pod_slot"

// ErrNoData says that there is nothing to go by: no series, the newest scrape too
// old, processes of the slot that cannot be scraped, or numbers that contradict
// each other.
var ErrNoData = errors.New("no data")

const (
	// maxAnswer bounds what is read of one answer, in bytes.
	maxAnswer = 16 << 20
	// leastAge is the youngest that a scrape counts as too old.
	leastAge = 10 * time.Second
)

// Options of [New].
type Options struct {
	// Address is where the API is: what comes before /api/v1. Managed Service for
	// Prometheus: https://monitoring.googleapis.com/v1/projects/PROJECT/location/global/prometheus.
	Address string
	// Namespace is that of the slots' pods.
	Namespace string
	// Interval is that of scrapes, 15 s by default. Where no process was scraped for
	// five of them, and for ten seconds, there is no data.
	Interval time.Duration
	// Timeout is that of one call of a method, 10 s by default.
	Timeout time.Duration
	// Token returns what each request carries as its bearer; without it none does.
	Token func(context.Context) (string, error)
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Prometheus answers for one environment's slots. It is safe for concurrent use.
type Prometheus struct {
	Options

	api promv1.API
}

// New returns a client. Nothing is asked yet.
func New(o Options) (*Prometheus, error) {
	if o.Interval == 0 {
		o.Interval = 15 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Address == "" || o.Namespace == "" || o.Interval < 0 || o.Timeout < 0 {
		return nil, fmt.Errorf("metrics: address %q and namespace %q must be known, interval %s and timeout %s above zero",
			o.Address, o.Namespace, o.Interval, o.Timeout)
	}
	client, err := api.NewClient(api.Config{Address: o.Address, RoundTripper: &transport{token: o.Token}})
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &Prometheus{Options: o, api: promv1.NewAPI(client)}, nil
}

// transport adds the bearer and bounds the answers.
type transport struct {
	token func(context.Context) (string, error)
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.token != nil {
		token, err := t.token(r.Context())
		if err != nil {
			return nil, fmt.Errorf("get a token: %w", err)
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := api.DefaultRoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}

// Sample is what a slot did in a window, probes left out.
type Sample struct {
	// Requests that the slot answered, and Errors, those with a 5xx status. They are
	// estimates, as all that is counted by scrapes, and need not be whole.
	Requests, Errors float64
	// P99 is the time within which 99 of 100 were answered, as exact as the
	// histogram's buckets are; 0 where there were none.
	P99 time.Duration
	// Targets is how many processes of the slot were scraped.
	Targets int
}

// Sample returns what the slot did in the window that ends now, which holds at
// least two scrapes. Its error is ErrNoData where Prometheus answers and
// that answer is nothing to go by; another where it does not answer.
func (p *Prometheus) Sample(ctx context.Context, slot string, window time.Duration) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	at := p.Now()
	s, err := p.sample(ctx, selectors{namespace: p.Namespace, slot: slot}, window, at)
	if err != nil {
		return Sample{}, fmt.Errorf("metrics of slot %s in the last %s: %w", slot, window, err)
	}
	return s, nil
}

func (p *Prometheus) sample(ctx context.Context, of selectors, window time.Duration, at time.Time) (Sample, error) {
	if window < time.Second {
		return Sample{}, fmt.Errorf("%w: the window is too short", ErrNoData)
	}
	s := Sample{}
	var err error
	if s.Targets, err = p.targets(ctx, of, window, at); err != nil {
		return Sample{}, err
	}
	var timed, p99 float64
	for _, question := range []struct {
		query string
		into  *float64
		none  float64
	}{
		{"sum(" + of.counted(of.requests(""), window, at) + ")", &s.Requests, 0},
		{"sum(" + of.counted(of.requests(`status=~"5.."`), window, at) + ")", &s.Errors, 0},
		{"sum(" + of.counted(of.seconds("_count"), window, at) + ")", &timed, 0},
		{"histogram_quantile(0.99, sum by (le) (" + of.counted(of.seconds("_bucket"), window, at) + "))", &p99, math.NaN()},
	} {
		values, err := p.query(ctx, question.query, at)
		if err != nil {
			return Sample{}, err
		}
		*question.into = question.none // the slot is scraped and there is no such series: it answered nothing of the kind
		if len(values) > 0 {
			*question.into = float64(values[0].Value)
		}
	}
	switch {
	case !counts(s.Requests) || !counts(s.Errors) || !counts(timed) || s.Errors > s.Requests*1.05+1:
		return Sample{}, fmt.Errorf("%w: %v errors among %v requests, %v of which were timed, cannot be", ErrNoData, s.Errors, s.Requests, timed)
	case math.Abs(timed-s.Requests) > s.Requests/10+10:
		return Sample{}, fmt.Errorf("%w: %.0f requests were counted and %.0f timed: the metrics contradict each other", ErrNoData, s.Requests, timed)
	case s.Requests == 0:
		return s, nil
	case !counts(p99):
		return Sample{}, fmt.Errorf("%w: %.0f requests and no histogram of their durations", ErrNoData, s.Requests)
	}
	s.Errors = min(s.Errors, s.Requests)
	s.P99 = seconds(p99)
	return s, nil
}

// targets returns how many processes of the slot are scraped, all of them and recently.
func (p *Prometheus) targets(ctx context.Context, of selectors, window time.Duration, at time.Time) (int, error) {
	answers := map[string]map[model.LabelValue]float64{}
	for _, question := range []struct{ name, query string }{
		{"up", of.up()},
		{"scraped", "timestamp(" + of.up() + ")"},
		{"scrapes", "count_over_time(" + of.up() + promDuration("[%s]", window) + ")"},
		{"telling", "count by (instance) (" + of.all() + ")"},
	} {
		values, err := p.query(ctx, question.query, at)
		if err != nil {
			return 0, err
		}
		answers[question.name] = map[model.LabelValue]float64{}
		for _, value := range values {
			answers[question.name][value.Metric[model.InstanceLabel]] = float64(value.Value)
		}
	}
	oldest := float64(at.Add(-max(5*p.Interval, leastAge)).UnixMilli()) / 1000
	newest, fresh, down := math.Inf(-1), 0, 0
	var mute, young []model.LabelValue
	for instance, scraped := range answers["scraped"] {
		newest = max(newest, scraped)
		if scraped < oldest {
			continue // it has left, or nothing at all is scraped
		}
		fresh++
		switch {
		case answers["up"][instance] != 1:
			down++
		case answers["telling"][instance] == 0:
			mute = append(mute, instance)
		case answers["scrapes"][instance] < 2:
			young = append(young, instance)
		}
	}
	switch {
	case len(answers["scraped"]) == 0:
		return 0, fmt.Errorf("%w: no process of the slot is scraped", ErrNoData)
	case fresh == 0:
		return 0, fmt.Errorf("%w: the newest scrape was %s ago", ErrNoData, at.Sub(time.UnixMilli(int64(newest*1000))).Round(time.Second))
	case down > 0:
		return 0, fmt.Errorf("%w: %d of %d processes cannot be scraped", ErrNoData, down, fresh)
	case len(mute) > 0:
		return 0, fmt.Errorf("%w: %s tells nothing of the slot's requests", ErrNoData, mute[0])
	case len(young) > 0:
		return 0, fmt.Errorf("%w: %s was scraped less than twice", ErrNoData, young[0])
	}
	return fresh, nil
}

// query asks for a vector at a moment.
func (p *Prometheus) query(ctx context.Context, query string, at time.Time) (model.Vector, error) {
	value, _, _, err := p.api.Query(ctx, query, at)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("ask Prometheus: the answer is a %s and no vector", value.Type())
	}
	return vector, nil
}

func counts(n float64) bool { return n >= 0 && !math.IsInf(n, 1) }

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
