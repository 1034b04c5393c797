package kvtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"coditect.ai/platform/app/internal/kv"
)

// runs counts how often a transaction's function ran while, in its first run,
// other committed in the middle: twice if the two conflicted, once if not.
func (s *store) runs(before, after, other func(kv.Transaction)) int {
	s.t.Helper()
	second := s.handle()
	n := 0
	s.transact(func(tr kv.Transaction) {
		n++
		before(tr)
		if n == 1 {
			err := second.Transact(s.t.Context(), func(tr kv.Transaction) error { other(tr); return nil })
			if err != nil {
				s.t.Errorf("the transaction in the middle: %v", err)
			}
		}
		after(tr)
	})
	return n
}

func readKey(key string) func(kv.Transaction) {
	return func(tr kv.Transaction) { must(tr.Get([]byte(key))) }
}

func readRange(r kv.Range, opt kv.RangeOptions) func(kv.Transaction) {
	return func(tr kv.Transaction) { must(tr.Range(r, opt)) }
}

func set(key string) func(kv.Transaction) {
	return func(tr kv.Transaction) { tr.Set([]byte(key), []byte("new")) }
}

func both(a, b func(kv.Transaction)) func(kv.Transaction) {
	return func(tr kv.Transaction) { a(tr); b(tr) }
}

// conflictTests tell which pairs of transactions exclude each other. The store holds b, d, f and h.
var conflictTests = []struct {
	name                 string
	before, after, other func(kv.Transaction)
	conflict             bool
}{
	{"read, then set by another", readKey("b"), set("x"), set("b"), true},
	{"read, then cleared by another", readKey("b"), set("x"), func(tr kv.Transaction) { tr.Clear([]byte("b")) }, true},
	{"read, then in another's cleared range", readKey("b"), set("x"), func(tr kv.Transaction) { tr.ClearRange(span("a", "c")) }, true},
	{"read, then added to by another", readKey("b"), set("x"), func(tr kv.Transaction) { tr.Add([]byte("b"), 1) }, true},
	{"read by a buffer that is used again", func(tr kv.Transaction) { key := []byte("b"); must(tr.Get(key)); key[0] = 'q' }, set("x"), set("b"), true},
	{"absent key read, then set by another", readKey("a"), set("x"), set("a"), true},
	{"a neighbour of what was read", readKey("b"), set("x"), both(set("b\x00"), set("a")), false},
	{"read before and after", func(kv.Transaction) {}, both(readKey("b"), set("x")), set("c"), false},
	{"phantom in a range", readRange(span("a", "c"), kv.RangeOptions{}), set("x"), set("aa"), true},
	{"phantom in an empty range", readRange(span("p", "q"), kv.RangeOptions{}), set("x"), set("p"), true},
	{"change of a pair in a range", readRange(span("a", "c"), kv.RangeOptions{}), set("x"), set("b"), true},
	{"the end of a range is outside", readRange(span("a", "c"), kv.RangeOptions{}), set("x"), set("c"), false},
	{"behind a limit", readRange(span("a", "z"), kv.RangeOptions{Limit: 2}), set("x"), set("e"), false},
	{"the last pair of a limit", readRange(span("a", "z"), kv.RangeOptions{Limit: 2}), set("x"), set("d"), true},
	{"before the last pair of a limit", readRange(span("a", "z"), kv.RangeOptions{Limit: 2}), set("x"), set("c"), true},
	{"behind a reverse limit", readRange(span("a", "w"), kv.RangeOptions{Limit: 2, Reverse: true}), set("x"), set("e"), false},
	{"before a reverse limit", readRange(span("a", "w"), kv.RangeOptions{Limit: 2, Reverse: true}), set("x"), set("w"), false},
	{"inside a reverse limit", readRange(span("a", "w"), kv.RangeOptions{Limit: 2, Reverse: true}), set("x"), set("v"), true},
	{"a limit that was not reached", readRange(span("a", "c"), kv.RangeOptions{Limit: 2}), set("x"), set("bb"), true},
	{"snapshot get", func(tr kv.Transaction) { must(tr.Snapshot().Get([]byte("b"))) }, set("x"), set("b"), false},
	{"snapshot range", func(tr kv.Transaction) { must(tr.Snapshot().Range(all, kv.RangeOptions{})) }, set("x"), set("b"), false},
	{"blind writes of one key", set("b"), set("b"), set("b"), false},
	{"adds to one key", func(tr kv.Transaction) { tr.Add([]byte("n"), 1) }, func(kv.Transaction) {}, func(tr kv.Transaction) { tr.Add([]byte("n"), 1) }, false},
	{"reading one's own set", set("b"), readKey("b"), set("b"), false},
	{"reading one's own clear", func(tr kv.Transaction) { tr.Clear([]byte("b")) }, readKey("b"), set("b"), false},
	{"reading one's own add", func(tr kv.Transaction) { tr.Add([]byte("n"), 1); must(tr.Get([]byte("n"))) }, func(kv.Transaction) {}, set("n"), true},
	{"without a write", readKey("b"), func(kv.Transaction) {}, set("b"), false},
	{"read conflict on demand", func(tr kv.Transaction) { must(tr.Snapshot().Get([]byte("b"))); tr.AddReadConflict(span("a", "c")) }, set("x"), set("b"), true},
	{"read conflict elsewhere", func(tr kv.Transaction) { must(tr.Snapshot().Get([]byte("b"))); tr.AddReadConflict(span("a", "b")) }, set("x"), set("b"), false},
	{"write conflict on demand", readKey("b"), set("x"), func(tr kv.Transaction) { tr.AddWriteConflict(span("a", "c")) }, true},
	{"write conflict elsewhere", readKey("b"), set("x"), func(tr kv.Transaction) { tr.AddWriteConflict(span("c", "d")) }, false},
	{"only a write conflict of its own", readKey("b"), func(tr kv.Transaction) { tr.AddWriteConflict(span("x", "y")) }, set("b"), true},
	{"another that only reads", readKey("b"), set("x"), readRange(all, kv.RangeOptions{}), false},
	{"another that sets the same value", readKey("b"), set("x"), func(tr kv.Transaction) { tr.Set([]byte("b"), []byte("b")) }, true},
}

// workers and rounds of the tests under contention.
const (
	workers = 8
	rounds  = 25
)

// contend runs work in several goroutines on several handles until each did its rounds.
func (s *store) contend(work func(db kv.Database, worker, round int) error) {
	s.t.Helper()
	handles := s.handles(3)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for round := range rounds {
				if err := work(handles[worker%len(handles)], worker, round); err != nil {
					s.t.Errorf("worker %d, round %d: %v", worker, round, err)
					return
				}
			}
		})
	}
	group.Wait()
}

var isolationTests = []test{
	{"conflicts", func(s *store) {
		for _, c := range conflictTests {
			s.transact(func(tr kv.Transaction) { tr.ClearRange(all) })
			s.fill("b", "d", "f", "h")
			want := 1
			if c.conflict {
				want = 2
			}
			if got := s.runs(c.before, c.after, c.other); got != want {
				s.t.Errorf("%s: the function ran %d times, want %d", c.name, got, want)
			}
		}
	}},
	{"a transaction reads one snapshot", func(s *store) {
		s.fill("a", "b")
		n := s.runs(func(tr kv.Transaction) { must(tr.Snapshot().Get([]byte("a"))) }, func(tr kv.Transaction) {
			if got := textOf(must(tr.Snapshot().Range(all, kv.RangeOptions{}))); got != "a=a b=b" {
				s.t.Errorf("after another's commit the snapshot holds %q", got)
			}
			if got := must(tr.Snapshot().Get([]byte("b"))); string(got) != "b" {
				s.t.Errorf("after another's commit the snapshot's b holds %s", show(got))
			}
		}, both(set("b"), set("c")))
		if n != 1 {
			s.t.Errorf("the function ran %d times", n)
		}
		s.wantContents("a=a b=new c=new")
	}},
	{"a reader reads one snapshot", func(s *store) {
		s.fill("a", "b")
		other := s.handle()
		err := s.Read(s.t.Context(), func(r kv.Reader) error {
			must(r.Get([]byte("a")))
			err := other.Transact(s.t.Context(), func(tr kv.Transaction) error { set("b")(tr); return nil })
			if got := textOf(must(r.Range(all, kv.RangeOptions{}))); got != "a=a b=b" {
				s.t.Errorf("after another's commit the reader sees %q", got)
			}
			return err
		})
		if err != nil {
			s.t.Error(err)
		}
	}},
	{"write skew is refused", func(s *store) {
		s.fill("on call: ann", "on call: bob")
		// Each leaves only if the other stays.
		leave := func(who string) func(kv.Transaction) {
			return func(tr kv.Transaction) {
				if pairs := must(tr.Range(kv.PrefixRange([]byte("on call: ")), kv.RangeOptions{})); len(pairs) > 1 {
					tr.Clear([]byte("on call: " + who))
				}
			}
		}
		s.runs(leave("ann"), func(kv.Transaction) {}, leave("bob"))
		if got := keysOf(s.contents()); got != "on call: ann" {
			s.t.Errorf("on call: %q, want ann alone", got)
		}
	}},
	{"no increment is lost", func(s *store) {
		s.contend(func(db kv.Database, _, _ int) error {
			return db.Transact(s.t.Context(), func(tr kv.Transaction) error {
				v, err := tr.Get([]byte("n"))
				if err != nil {
					return err
				}
				tr.Set([]byte("n"), kv.CounterValue(kv.Counter(v)+1))
				return nil
			})
		})
		if got := kv.Counter(s.get("n")); got != workers*rounds {
			s.t.Errorf("%d increments left %d", workers*rounds, got)
		}
	}},
	{"no add is lost and none runs again", func(s *store) {
		var ran atomic.Int64
		s.contend(func(db kv.Database, _, _ int) error {
			return db.Transact(s.t.Context(), func(tr kv.Transaction) error {
				ran.Add(1)
				tr.Add([]byte("n"), 1)
				return nil
			})
		})
		if got := kv.Counter(s.get("n")); got != workers*rounds || ran.Load() != workers*rounds {
			s.t.Errorf("%d adds ran %d times and left %d", workers*rounds, ran.Load(), got)
		}
	}},
	{"one key is created once", func(s *store) {
		errTaken := errors.New("taken")
		var created atomic.Int64
		s.contend(func(db kv.Database, worker, round int) error {
			err := db.Transact(s.t.Context(), func(tr kv.Transaction) error {
				key := fmt.Appendf(nil, "name %d", round)
				if v, err := tr.Get(key); err != nil || v != nil {
					return errors.Join(err, errTaken)
				}
				tr.Set(key, fmt.Append(nil, worker))
				return nil
			})
			if err == nil {
				created.Add(1)
			} else if errors.Is(err, errTaken) {
				err = nil
			}
			return err
		})
		if created.Load() != rounds {
			s.t.Errorf("%d names created %d times", rounds, created.Load())
		}
	}},
	{"transfers keep the sum that readers see", func(s *store) {
		const accounts, each = 6, 100
		name := func(i int) []byte { return fmt.Appendf(nil, "account %d", i) }
		s.transact(func(tr kv.Transaction) {
			for i := range accounts {
				tr.Set(name(i), kv.CounterValue(each))
			}
		})
		sum := func(r kv.Reader) (int64, error) {
			pairs, err := r.Range(kv.PrefixRange([]byte("account ")), kv.RangeOptions{})
			total := int64(0)
			for _, p := range pairs {
				total += kv.Counter(p.Value)
			}
			return total, err
		}
		s.contend(func(db kv.Database, worker, round int) error {
			if worker%2 == 0 {
				return db.Read(s.t.Context(), func(r kv.Reader) error {
					if total, err := sum(r); err != nil || total != accounts*each {
						return fmt.Errorf("a reader sees a sum of %d (%w)", total, err)
					}
					return nil
				})
			}
			rng := rand.New(rand.NewPCG(uint64(worker), uint64(round))) //nolint:gosec // repeatable test data
			from, to, amount := rng.IntN(accounts), rng.IntN(accounts), rng.Int64N(50)
			return db.Transact(s.t.Context(), func(tr kv.Transaction) error {
				v, err := tr.Get(name(from))
				if err != nil {
					return err
				}
				if kv.Counter(v) < amount || from == to {
					return nil
				}
				tr.Set(name(from), kv.CounterValue(kv.Counter(v)-amount))
				tr.Add(name(to), amount)
				return nil
			})
		})
		for _, p := range s.contents() {
			if kv.Counter(p.Value) < 0 {
				s.t.Errorf("%s is overdrawn: %d", p.Key, kv.Counter(p.Value))
			}
		}
	}},
	{"what is acknowledged is seen by the next transaction of any handle", func(s *store) {
		handles := s.handles(3)
		for i := range 60 {
			want := fmt.Append(nil, i)
			err := handles[i%3].Transact(s.t.Context(), func(tr kv.Transaction) error { tr.Set([]byte("k"), want); return nil })
			if err != nil {
				s.t.Fatal(err)
			}
			for j, db := range handles {
				if got := get(s.t, db, "k"); string(got) != string(want) {
					s.t.Fatalf("handle %d reads %s after %s was acknowledged", j, show(got), want)
				}
			}
		}
	}},
}
