package gateway

import (
	"maps"
	"strconv"
	"sync"
	"time"
)

// split divides requests among weighted backends exactly: out of every run of as
// many requests as the weights' sum, each backend gets its weight, spread evenly.
type split struct {
	mu       sync.Mutex
	backends []*backend
	total    int
	since    time.Time
}

// backend is one of a rule's backends with what it has served.
type backend struct {
	name    string // of the Service
	port    int32
	weight  int
	current int // of smooth weighted round-robin

	// Guarded by the split's mu.
	requests uint64
	classes  map[string]uint64
	recent   uint64 // since the weights changed
	last     time.Time
}

func newSplit(backends []*backend, now time.Time) *split {
	s := &split{backends: backends, since: now}
	for _, b := range backends {
		s.total += b.weight
	}
	return s
}

// pick returns the backend whose turn it is, or nil if all weights are zero.
func (s *split) pick() *backend {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total == 0 {
		return nil
	}
	var chosen *backend
	for _, b := range s.backends {
		if b.weight == 0 {
			continue
		}
		b.current += b.weight
		if chosen == nil || b.current > chosen.current {
			chosen = b
		}
	}
	chosen.current -= s.total
	chosen.requests++
	chosen.recent++
	chosen.last = time.Now()
	return chosen
}

// answered counts an answer.
func (s *split) answered(b *backend, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.classes[strconv.Itoa(status/100)+"xx"]++
}

// inherit takes over the counters of the split that this one replaces, if that was
// of the same rule, and tells whether the weights are the same.
func (s *split) inherit(old *split) (same bool) {
	old.mu.Lock()
	defer old.mu.Unlock()
	same = len(s.backends) == len(old.backends)
	for i, b := range s.backends {
		same = same && old.backends[i].name == b.name && old.backends[i].port == b.port && old.backends[i].weight == b.weight
		for _, before := range old.backends {
			if before.name == b.name && before.port == b.port {
				b.requests, b.last = before.requests, before.last
				maps.Copy(b.classes, before.classes)
			}
		}
	}
	return same
}

// BackendStatus is what one backend of a rule gets.
type BackendStatus struct {
	Service string `json:"service"`
	Port    int32  `json:"port"`
	Weight  int    `json:"weight"`
	// Share is the part of the requests since the weights changed, 0 before there is one.
	Share float64 `json:"share"`
	// Recent is the number of requests since the weights changed, Requests since the route was made.
	Recent   uint64 `json:"recent"`
	Requests uint64 `json:"requests"`
	// Last is when the newest of them came; zero before the first.
	Last time.Time `json:"last,omitzero"`
	// Classes counts answers by the class of their status, "2xx".
	Classes map[string]uint64 `json:"classes"`
}

func (s *split) status() (list []BackendStatus, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum uint64
	for _, b := range s.backends {
		sum += b.recent
	}
	for _, b := range s.backends {
		status := BackendStatus{
			Service: b.name, Port: b.port, Weight: b.weight,
			Recent: b.recent, Requests: b.requests, Last: b.last, Classes: maps.Clone(b.classes),
		}
		if sum > 0 {
			status.Share = float64(b.recent) / float64(sum)
		}
		list = append(list, status)
	}
	return list, s.since
}
