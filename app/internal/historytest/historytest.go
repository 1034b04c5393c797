// Package historytest proves that concurrent clients of the API were told
// nothing that cannot be: it lets clients act on a running service at random,
// records each act with its answer and both times, and asks porcupine for an
// order of all acts that explains every answer, one after the other. An act
// whose answer was lost, or says that the outcome is unknown, may or may not
// have happened, at any time from then on.
//
// It is for tests. It knows the API by its paths, and nothing of what serves it.
package historytest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Call is what a client asked for.
type Call struct{ Act, By, Of, Value string }

// Answer is what it was told.
type Answer struct {
	Status int    // 0: whether it happened is not known
	Value  string // what the act told
}

// act is one act on one thing.
type act struct {
	call       Call
	answer     Answer
	begin, end int64 // of a lost answer the end of time
	client     int
}

func (a act) String() string {
	told := "unknown"
	if a.answer.Status != 0 {
		told = fmt.Sprintf("%d %s", a.answer.Status, a.answer.Value)
	}
	return fmt.Sprintf("%9.3f–%9.3f ms client %d: %s → %s", float64(a.begin)/1e6, float64(min(a.end, a.begin+1e12))/1e6, a.client,
		strings.Join(strings.Fields(strings.Join([]string{a.call.Act, a.call.By, a.call.Of, a.call.Value}, " ")), " "), told)
}

// thing is one that acts are about: each has an order of its own.
type thing struct{ model, name string }

// History is what clients did and were told. It is safe for concurrent use.
type History struct {
	begin time.Time
	mu    sync.Mutex
	acts  map[thing][]act
}

// NewHistory returns an empty one, whose time begins now.
func NewHistory() *History { return &History{begin: time.Now(), acts: map[thing][]act{}} }

// Now is the time of the history, in nanoseconds since its begin.
func (h *History) Now() int64 { return int64(time.Since(h.begin)) }

// Add records what client did to the thing of that name since begin. A read
// whose answer was lost says nothing and is left out.
func (h *History) Add(client int, model, name string, begin int64, c Call, a Answer) {
	end := h.Now()
	if a.Status == 0 {
		if models[model].reads(c.Act) {
			return
		}
		end = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := thing{model, name}
	h.acts[t] = append(h.acts[t], act{call: c, answer: a, begin: begin, end: end, client: client})
}

// Size is the number of acts, and of those whose outcome is unknown.
func (h *History) Size() (acts, unknown int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.acts {
		acts += len(all)
		for _, a := range all {
			if a.answer.Status == 0 {
				unknown++
			}
		}
	}
	return acts, unknown
}

// Acts counts the acts by what was done and how it ended, such as "session create 201".
func (h *History) Acts() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := map[string]int{}
	for t, all := range h.acts {
		for _, a := range all {
			counts[fmt.Sprintf("%s %s %d", t.model, a.call.Act, a.answer.Status)]++
		}
	}
	return counts
}

// Check returns a story for each thing whose acts no order explains. One that
// cannot be decided within patience counts as well.
func (h *History) Check(patience time.Duration) (faults []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t, all := range h.acts {
		var operations []porcupine.Operation
		for _, a := range all {
			operations = append(operations, porcupine.Operation{ClientId: a.client, Input: a.call, Output: a.answer, Call: a.begin, Return: a.end})
		}
		verdict := porcupine.CheckOperationsTimeout(models[t.model].porcupine(), operations, patience)
		if verdict == porcupine.Ok {
			continue
		}
		slices.SortFunc(all, func(x, y act) int { return int(x.begin - y.begin) })
		var story strings.Builder
		fmt.Fprintf(&story, "%s %s: no order explains its acts (%s):", t.model, t.name, verdict)
		for _, a := range all {
			fmt.Fprintf(&story, "\n  %v", a)
		}
		faults = append(faults, story.String())
	}
	return faults
}

// forget drops a thing of which nothing is known.
func (h *History) forget(model, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.acts, thing{model, name})
}
