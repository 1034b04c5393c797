package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What histograms hold: a microsecond to ten minutes, to three digits.
const (
	leastMicros = 1
	mostMicros  = int64(10 * time.Minute / time.Microsecond)
	digits      = 3
)

// recorder counts what users see. It is safe for concurrent use.
type recorder struct {
	begin time.Time

	mu       sync.Mutex
	ops      [operations]meter
	versions map[string]*Version
	all      *hdrhistogram.Histogram // every request of the stage
	second   int                     // that is being gathered
	current  *hdrhistogram.Histogram // its requests
	failed   int                     // its failures
	timeline []Point
}

// meter is what is known of one operation.
type meter struct {
	took     *hdrhistogram.Histogram
	failures map[string]int
}

func newRecorder(begin time.Time) *recorder {
	r := &recorder{begin: begin, all: newHistogram(), current: newHistogram(), versions: map[string]*Version{}}
	for i := range r.ops {
		r.ops[i] = meter{newHistogram(), map[string]int{}}
	}
	return r
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(leastMicros, mostMicros, digits) }

// add records one operation, with fail as the kind of its failure or "" and the
// version of the service that answered or "".
func (r *recorder) add(op int, took time.Duration, fail, version string) {
	micros := min(max(took.Microseconds(), leastMicros), mostMicros)
	r.mu.Lock()
	defer r.mu.Unlock()
	must(r.ops[op].took.RecordValue(micros))
	if op == opLife {
		return
	}
	of := r.versions[version]
	if of == nil {
		of = &Version{Failures: map[string]int{}}
		r.versions[version] = of
	}
	of.Requests++
	if fail != "" {
		of.Failed++
		of.Failures[fail]++
	}
	r.turn(int(time.Since(r.begin) / time.Second))
	must(r.all.RecordValue(micros))
	must(r.current.RecordValue(micros))
	if fail != "" {
		r.ops[op].failures[fail]++
		r.failed++
	}
}

// turn closes the seconds before now, those without any request included.
func (r *recorder) turn(now int) {
	for r.second < now {
		r.timeline = append(r.timeline, Point{
			Second: r.second, Requests: int(r.current.TotalCount()), Failures: r.failed,
			P50: millis(r.current.ValueAtQuantile(50)), P99: millis(r.current.ValueAtQuantile(99)),
		})
		r.current.Reset()
		r.failed = 0
		r.second++
	}
}

func must(err error) {
	if err != nil {
		panic(err) // add keeps every value within the histogram's bounds
	}
}

func millis(micros int64) float64 { return float64(micros) / 1000 }

// Progress is how far a run has come.
type Progress struct {
	Stage, Stages int
	Users         int
	Elapsed, Of   time.Duration
	Lives         int
	Requests      int
	Failures      int
	PerSecond     float64 // requests of the last whole second
	P50, P99      float64 // milliseconds, of the stage so far
}

func (s *stage) progress() Progress {
	r := s.record
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{
		Users: s.users, Elapsed: time.Since(s.begin).Round(time.Second), Of: s.cfg.Duration,
		Lives: int(s.lives.Load()), Requests: int(r.all.TotalCount()),
		P50: millis(r.all.ValueAtQuantile(50)), P99: millis(r.all.ValueAtQuantile(99)),
	}
	for _, m := range r.ops {
		p.Failures += sum(m.failures)
	}
	r.turn(int(time.Since(r.begin) / time.Second))
	if n := len(r.timeline); n > 0 {
		p.PerSecond = float64(r.timeline[n-1].Requests)
	}
	return p
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// result is the stage's part of the report. Its users have ended.
func (s *stage) result() Stage {
	r := s.record
	r.mu.Lock()
	defer r.mu.Unlock()
	took := time.Since(s.begin)
	r.turn(int(took/time.Second) + 1)
	out := Stage{Users: s.users, Seconds: took.Seconds(), Lives: int(s.lives.Load()), Timeline: r.timeline, Versions: map[string]Version{}}
	for name, v := range r.versions {
		out.Versions[name] = *v
	}
	for op, m := range r.ops {
		o := operationOf(operationNames[op], m.took, took)
		o.Failed, o.Failures = sum(m.failures), m.failures
		out.Operations = append(out.Operations, o)
		out.Failed += o.Failed
	}
	out.All = operationOf(allOperations, r.all, took)
	out.All.Failed = out.Failed
	out.Requests = out.All.Count
	out.PerSecond = out.All.PerSecond
	if out.Requests > 0 {
		out.ErrorRate = float64(out.Failed) / float64(out.Requests)
	}
	return out
}

func operationOf(name string, h *hdrhistogram.Histogram, took time.Duration) Operation {
	at := func(q float64) float64 { return millis(h.ValueAtQuantile(q)) }
	o := Operation{
		Name: name, Count: int(h.TotalCount()), PerSecond: float64(h.TotalCount()) / took.Seconds(),
		Min: millis(h.Min()), Mean: h.Mean() / 1000,
		P50: at(50), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), Max: millis(h.Max()),
	}
	if o.Count == 0 {
		o.Min, o.Mean = 0, 0
	}
	for _, q := range curveQuantiles {
		o.curve = append(o.curve, at(q))
	}
	return o
}

// curveQuantiles are the points of the plot of percentiles, up to what the count can tell.
var curveQuantiles = []float64{0, 10, 25, 50, 75, 80, 85, 90, 92.5, 95, 97.5, 98, 99, 99.5, 99.75, 99.9, 99.95, 99.99}
