package kvtest

import (
	"bytes"

	"coditect.ai/platform/app/internal/kv"
)

var ownWritesTests = []test{
	{"reads see the transaction's own writes", func(s *store) {
		s.fill("a", "b", "c", "d", "e")
		s.transact(func(tr kv.Transaction) {
			tr.Set([]byte("b"), []byte("B"))
			tr.Set([]byte("bb"), []byte("BB"))
			tr.Clear([]byte("c"))
			tr.ClearRange(span("d", "e"))
			tr.Set([]byte("dd"), []byte("DD"))
			tr.Set([]byte("f"), []byte("F"))
			for _, r := range []kv.Reader{tr, tr.Snapshot()} {
				for _, c := range []struct {
					r    kv.Range
					opt  kv.RangeOptions
					want string
				}{
					{all, kv.RangeOptions{}, "a=a b=B bb=BB dd=DD e=e f=F"},
					{all, kv.RangeOptions{Reverse: true}, "f=F e=e dd=DD bb=BB b=B a=a"},
					{all, kv.RangeOptions{Limit: 3}, "a=a b=B bb=BB"},
					{all, kv.RangeOptions{Limit: 4}, "a=a b=B bb=BB dd=DD"},
					{all, kv.RangeOptions{Limit: 3, Reverse: true}, "f=F e=e dd=DD"},
					{all, kv.RangeOptions{Limit: 6}, "a=a b=B bb=BB dd=DD e=e f=F"},
					{span("bb", "dd"), kv.RangeOptions{}, "bb=BB"},
					{span("c", "dd"), kv.RangeOptions{}, ""},
					{span("d", "g"), kv.RangeOptions{Limit: 1, Reverse: true}, "f=F"},
				} {
					if got := textOf(must(r.Range(c.r, c.opt))); got != c.want {
						s.t.Errorf("range %q to %q, %+v: %q, want %q", c.r.Begin, c.r.End, c.opt, got, c.want)
					}
				}
				for key, want := range map[string]string{"a": "a", "b": "B", "bb": "BB", "dd": "DD", "e": "e"} {
					if got := must(r.Get([]byte(key))); string(got) != want {
						s.t.Errorf("get %q: %q, want %q", key, got, want)
					}
				}
				for _, key := range []string{"c", "d", "d1"} {
					if got := must(r.Get([]byte(key))); got != nil {
						s.t.Errorf("get %q: %q, want nothing", key, got)
					}
				}
			}
		})
		s.wantContents("a=a b=B bb=BB dd=DD e=e f=F")
	}},
	{"the last write of a key counts", func(s *store) {
		s.fill("a", "b", "c")
		s.transact(func(tr kv.Transaction) {
			tr.Set([]byte("a"), []byte("1"))
			tr.Clear([]byte("a"))
			tr.Clear([]byte("b"))
			tr.Set([]byte("b"), []byte("2"))
			tr.Set([]byte("c1"), []byte("gone"))
			tr.ClearRange(span("c", "d"))
			tr.Set([]byte("c2"), []byte("3"))
		})
		s.wantContents("b=2 c2=3")
	}},
	{"overlapping cleared ranges add up", func(s *store) {
		s.fill("a", "b", "c", "d", "e", "f")
		s.transact(func(tr kv.Transaction) {
			tr.ClearRange(span("d", "e"))
			tr.ClearRange(span("b", "c"))
			tr.ClearRange(span("bb", "dd"))
			if got := keysOf(must(tr.Range(all, kv.RangeOptions{}))); got != "a e f" {
				s.t.Errorf("own view: %q", got)
			}
		})
		s.wantContents("a=a e=e f=f")
	}},
	{"adds meet the transaction's other writes", func(s *store) {
		n := func(v int64) string { return string(kv.CounterValue(v)) }
		s.transact(func(tr kv.Transaction) { tr.Set([]byte("stored"), kv.CounterValue(100)) })
		s.transact(func(tr kv.Transaction) { tr.Set([]byte("cleared"), kv.CounterValue(100)) })
		s.transact(func(tr kv.Transaction) { tr.Set([]byte("zone"), kv.CounterValue(100)) })
		s.transact(func(tr kv.Transaction) { tr.Set([]byte("undone"), kv.CounterValue(100)) })
		s.transact(func(tr kv.Transaction) {
			tr.Add([]byte("stored"), 1)
			tr.Add([]byte("stored"), 2)
			tr.Set([]byte("own"), kv.CounterValue(10))
			tr.Add([]byte("own"), 1)
			tr.Clear([]byte("cleared"))
			tr.Add([]byte("cleared"), 1)
			tr.ClearRange(span("zone", "zonf"))
			tr.Add([]byte("zone"), 2)
			tr.Add([]byte("absent"), 3)
			tr.Add([]byte("undone"), 3)
			tr.Clear([]byte("undone"))
			for key, want := range map[string]int64{"stored": 103, "own": 11, "cleared": 1, "zone": 2, "absent": 3} {
				if got := must(tr.Get([]byte(key))); !bytes.Equal(got, kv.CounterValue(want)) {
					s.t.Errorf("own view of %q: %x, want %d", key, got, want)
				}
			}
			if got := must(tr.Get([]byte("undone"))); got != nil {
				s.t.Errorf("own view of undone: %x, want nothing", got)
			}
			want := "absent=" + n(3) + " cleared=" + n(1) + " own=" + n(11) + " stored=" + n(103) + " zone=" + n(2)
			if got := textOf(must(tr.Range(all, kv.RangeOptions{}))); got != want {
				s.t.Errorf("own view of the range: %q, want %q", got, want)
			}
		})
		s.wantContents("absent=" + n(3) + " cleared=" + n(1) + " own=" + n(11) + " stored=" + n(103) + " zone=" + n(2))
	}},
	{"own writes are not there before the commit", func(s *store) {
		s.fill("a")
		s.transact(func(tr kv.Transaction) {
			tr.Set([]byte("b"), []byte("b"))
			tr.Clear([]byte("a"))
			s.wantContents("a=a")
		})
		s.wantContents("b=b")
	}},
}
