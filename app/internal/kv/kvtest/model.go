package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"coditect.ai/platform/app/internal/kv"
)

// model is the plain form of what an engine does: a map, sorted when it is read.
type model map[string][]byte

func (m model) rangeOf(r kv.Range, opt kv.RangeOptions) []kv.Pair {
	keys := slices.Sorted(maps.Keys(m))
	if opt.Reverse {
		slices.Reverse(keys)
	}
	var pairs []kv.Pair
	for _, key := range keys {
		if key >= string(r.Begin) && key < string(r.End) && (opt.Limit == 0 || len(pairs) < opt.Limit) {
			pairs = append(pairs, kv.Pair{Key: []byte(key), Value: m[key]})
		}
	}
	return pairs
}

// step does one random thing to the transaction and the model, and compares what both answer.
func (m model) step(rng *rand.Rand, tr kv.Transaction) error {
	key := func() string {
		b := make([]byte, rng.IntN(3))
		for i := range b {
			b[i] = "abc\x00\xFE"[rng.IntN(5)]
		}
		return string(b)
	}
	between := func() kv.Range {
		a, b := key(), key()
		return span(min(a, b), max(a, b))
	}
	reader := kv.Reader(tr)
	if rng.IntN(2) == 0 {
		reader = tr.Snapshot()
	}
	switch rng.IntN(7) {
	case 0, 1:
		k, v := key(), fmt.Append(nil, rng.IntN(1000))
		tr.Set([]byte(k), v)
		m[k] = v
	case 2:
		k := key()
		tr.Clear([]byte(k))
		delete(m, k)
	case 3:
		r := between()
		tr.ClearRange(r)
		maps.DeleteFunc(m, func(k string, _ []byte) bool { return k >= string(r.Begin) && k < string(r.End) })
	case 4:
		k, delta := key(), rng.Int64()-rng.Int64()
		tr.Add([]byte(k), delta)
		m[k] = kv.CounterValue(kv.Counter(m[k]) + delta)
	case 5:
		k := key()
		got, err := reader.Get([]byte(k))
		if err != nil {
			return err
		}
		if want, ok := m[k]; (got != nil) != ok || !bytes.Equal(got, want) {
			return fmt.Errorf("get %q: %s, want %s", k, show(got), show(want))
		}
	case 6:
		r, opt := between(), kv.RangeOptions{Limit: rng.IntN(4), Reverse: rng.IntN(2) == 0}
		got, err := reader.Range(r, opt)
		if err != nil {
			return err
		}
		if want := m.rangeOf(r, opt); textOf(got) != textOf(want) {
			return fmt.Errorf("range %q to %q, %+v: %q, want %q", r.Begin, r.End, opt, textOf(got), textOf(want))
		}
	}
	return nil
}

var modelTests = []test{
	{"random transactions do what a map does", func(s *store) {
		errAbandon := errors.New("abandoned on purpose")
		state := model{}
		for round := range uint64(300) {
			var next model
			rng := rand.New(rand.NewPCG(round, 42)) //nolint:gosec // repeatable test data
			steps, abandon := 1+rng.IntN(25), rng.IntN(5) == 0
			err := s.Transact(s.t.Context(), func(tr kv.Transaction) error {
				next = maps.Clone(state)
				for range steps {
					if err := next.step(rng, tr); err != nil {
						return err
					}
				}
				if abandon {
					return errAbandon
				}
				return nil
			})
			switch {
			case err == nil:
				state = next
			case !errors.Is(err, errAbandon):
				s.t.Fatalf("round %d: %v", round, err)
			}
			if got, want := textOf(s.contents()), textOf(state.rangeOf(all, kv.RangeOptions{})); got != want {
				s.t.Fatalf("after round %d the store holds\n\t%q\nwant\n\t%q", round, got, want)
			}
		}
	}},
}
