package telemetry

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"coditect.ai/platform/app/contract"
)

// Metrics are the service's meters, each with the release slot as a label.
type Metrics struct {
	registry *prometheus.Registry
	slotted  prometheus.Registerer

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter

	transactions *prometheus.CounterVec
	retries      *prometheus.CounterVec
	transactTime *prometheus.HistogramVec

	mu     sync.RWMutex
	series map[seriesKey]series
}

// series are the meters of one kind of answer, found once: looking them up by
// their labels would cost more than counting.
type series struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

type seriesKey struct {
	route, method string
	status        int
}

// NewMetrics makes the meters of a process that serves version in slot.
func NewMetrics(version, commit, slot string) *Metrics {
	registry := prometheus.NewRegistry()
	m := &Metrics{
		registry: registry,
		series:   make(map[seriesKey]series),
		slotted:  prometheus.WrapRegistererWith(prometheus.Labels{"slot": slot}, registry),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: contract.MetricRequests, Help: "Answered requests.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: contract.MetricRequestSeconds, Help: "Time from the request's head to the answer's last byte, in seconds.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: contract.MetricInFlight, Help: "Requests under way.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: contract.MetricPanics, Help: "Handlers that panicked; each was answered with 500.",
		}),
	}
	m.transactions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "coditect_store_transactions_total", Help: "Transactions of the store, by kind and by how they ended.",
	}, []string{"kind", "outcome"})
	m.retries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "coditect_store_retries_total", Help: "Runs of transactions after their first: conflicts and unknown outcomes.",
	}, []string{"kind"})
	m.transactTime = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "coditect_store_transaction_duration_seconds", Help: "Time of a transaction with all of its runs, in seconds.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"kind"})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "coditect_build_info", Help: "Always 1; the labels tell the build.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "go": runtime.Version()},
	})
	build.Set(1)
	m.slotted.MustRegister(m.requests, m.seconds, m.inFlight, m.panics, m.transactions, m.retries, m.transactTime, build)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Begin counts a request as under way until Done.
func (m *Metrics) Begin() { m.inFlight.Inc() }

// Done counts an answered request. route is a template of the route table.
func (m *Metrics) Done(route, method string, status int, took time.Duration) {
	m.inFlight.Dec()
	s := m.of(seriesKey{route, method, status})
	s.requests.Inc()
	s.seconds.Observe(took.Seconds())
}

func (m *Metrics) of(key seriesKey) series {
	m.mu.RLock()
	s, ok := m.series[key]
	m.mu.RUnlock()
	if !ok {
		s = series{
			requests: m.requests.WithLabelValues(key.route, key.method, strconv.Itoa(key.status)),
			seconds:  m.seconds.WithLabelValues(key.route, key.method),
		}
		m.mu.Lock()
		m.series[key] = s
		m.mu.Unlock()
	}
	return s
}

// Panicked counts a handler that panicked.
func (m *Metrics) Panicked() { m.panics.Inc() }

// transaction counts a transaction of the store.
func (m *Metrics) transaction(kind, outcome string, attempts int, took time.Duration) {
	m.transactions.WithLabelValues(kind, outcome).Inc()
	if attempts > 1 {
		m.retries.WithLabelValues(kind).Add(float64(attempts - 1))
	}
	m.transactTime.WithLabelValues(kind).Observe(took.Seconds())
}

// Gauge registers a gauge that is read when it is collected.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.slotted.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Counter registers a counter that is read when it is collected.
func (m *Metrics) Counter(name, help string, read func() float64) {
	m.slotted.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// Handler serves the metrics in Prometheus' formats.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}
