package kvtest

import (
	"bytes"
	"fmt"
	"math"

	"coditect.ai/platform/app/internal/kv"
)

var dataTests = []test{
	{"versions grow with commits", func(s *store) {
		version := func(r kv.Reader) int64 { return must(r.ReadVersion()) }
		var last int64 = -1
		for _, key := range []string{"a", "b", "c"} {
			s.fill(key)
			var now int64
			if err := s.Read(s.t.Context(), func(r kv.Reader) error {
				now = version(r)
				s.fill(key + " meanwhile")
				if again := version(r); again != now {
					s.t.Errorf("the version of one snapshot was %d and is %d", now, again)
				}
				return nil
			}); err != nil {
				s.t.Fatal(err)
			}
			if now <= last {
				s.t.Errorf("version %d after %d and a commit", now, last)
			}
			last = now
		}
		s.transact(func(tr kv.Transaction) {
			if now := version(tr); now <= last || version(tr.Snapshot()) != now {
				s.t.Errorf("version %d, of its snapshot %d, after %d", now, version(tr.Snapshot()), last)
			}
		})
	}},
	{"keys are in byte order", func(s *store) {
		keys := []string{"", "\x00", "\x00\x00", "\x01", "A", "a", "a\x00", "a\x00b", "aa", "b", "\x7F", "\x80", "\xC3\xA9", "\xFE", "\xFE\xFF"}
		for i := range keys { // written in another order
			s.fill(keys[(i*7)%len(keys)])
		}
		pairs := s.contents()
		if len(pairs) != len(keys) {
			s.t.Fatalf("%d pairs, want %d", len(pairs), len(keys))
		}
		for i, p := range pairs {
			if string(p.Key) != keys[i] || string(p.Value) != keys[i] {
				s.t.Errorf("pair %d is %q=%q, want key and value %q", i, p.Key, p.Value, keys[i])
			}
		}
	}},
	{"an empty value is not an absent one", func(s *store) {
		s.transact(func(tr kv.Transaction) {
			tr.Set([]byte("empty"), []byte{})
			tr.Set([]byte("nil"), nil)
			for _, key := range []string{"empty", "nil"} {
				if v := must(tr.Get([]byte(key))); v == nil || len(v) != 0 {
					s.t.Errorf("own %q reads %s, want an empty value", key, show(v))
				}
			}
		})
		s.wantValue("empty", "")
		s.wantValue("nil", "")
		s.wantAbsent("other")
		s.wantContents("empty= nil=")
	}},
	{"set replaces, clear removes", func(s *store) {
		s.fill("a", "b", "c")
		s.transact(func(tr kv.Transaction) {
			tr.Set([]byte("a"), []byte("new"))
			tr.Clear([]byte("b"))
			tr.Clear([]byte("never"))
		})
		s.wantContents("a=new c=c")
	}},
	{"clear range is half open", func(s *store) {
		s.fill("a", "b", "b\x00", "c", "d")
		s.transact(func(tr kv.Transaction) { tr.ClearRange(span("b", "c")) })
		s.wantContents("a=a c=c d=d")
		s.transact(func(tr kv.Transaction) {
			tr.ClearRange(span("c", "c"))
			tr.ClearRange(span("", ""))
		})
		s.wantContents("a=a c=c d=d")
		s.transact(func(tr kv.Transaction) { tr.ClearRange(all) })
		s.wantContents("")
	}},
	{"range, limit, reverse", func(s *store) {
		s.fill("a", "b", "c", "d", "e")
		for _, c := range []struct {
			r    kv.Range
			opt  kv.RangeOptions
			want string
		}{
			{all, kv.RangeOptions{}, "a b c d e"},
			{all, kv.RangeOptions{Limit: 2}, "a b"},
			{all, kv.RangeOptions{Limit: 5}, "a b c d e"},
			{all, kv.RangeOptions{Limit: 6}, "a b c d e"},
			{all, kv.RangeOptions{Reverse: true}, "e d c b a"},
			{all, kv.RangeOptions{Reverse: true, Limit: 2}, "e d"},
			{span("b", "d"), kv.RangeOptions{}, "b c"},
			{span("b", "d"), kv.RangeOptions{Reverse: true}, "c b"},
			{span("b", "d\x00"), kv.RangeOptions{Reverse: true, Limit: 1}, "d"},
			{span("bb", "bc"), kv.RangeOptions{}, ""},
			{span("c", "c"), kv.RangeOptions{}, ""},
			{kv.KeyRange([]byte("c")), kv.RangeOptions{}, "c"},
			{kv.PrefixRange([]byte("d")), kv.RangeOptions{}, "d"},
		} {
			s.transact(func(tr kv.Transaction) {
				if got := keysOf(must(tr.Range(c.r, c.opt))); got != c.want {
					s.t.Errorf("range %q to %q, %+v: %q, want %q", c.r.Begin, c.r.End, c.opt, got, c.want)
				}
				if got := keysOf(must(tr.Snapshot().Range(c.r, c.opt))); got != c.want {
					s.t.Errorf("snapshot range %q to %q, %+v: %q, want %q", c.r.Begin, c.r.End, c.opt, got, c.want)
				}
			})
		}
	}},
	{"a long range is whole and ordered", func(s *store) {
		const n = 3000
		s.transact(func(tr kv.Transaction) {
			for i := range n {
				tr.Set(fmt.Appendf(nil, "k%05d", i*7%n), bytes.Repeat([]byte{'v'}, 100))
			}
		})
		pairs := s.contents()
		if len(pairs) != n {
			s.t.Fatalf("%d pairs, want %d", len(pairs), n)
		}
		for i, p := range pairs {
			if want := fmt.Sprintf("k%05d", i); string(p.Key) != want {
				s.t.Fatalf("pair %d is %q, want %q", i, p.Key, want)
			}
		}
	}},
	{"add keeps a counter", func(s *store) {
		for _, c := range []struct {
			name  string
			start []byte
			delta int64
			want  int64
		}{
			{"absent", nil, 5, 5},
			{"absent negative", nil, -5, -5},
			{"present", kv.CounterValue(40), 2, 42},
			{"below zero", kv.CounterValue(1), -3, -2},
			{"wraps up", kv.CounterValue(math.MaxInt64), 1, math.MinInt64},
			{"wraps down", kv.CounterValue(math.MinInt64), -1, math.MaxInt64},
			{"empty", []byte{}, 7, 7},
			{"short", []byte{1, 1}, 1, 258},
			{"long", append(kv.CounterValue(9), 1, 2, 3), 1, 10},
			{"zero is present", nil, 0, 0},
		} {
			key := []byte("counter " + c.name)
			if c.start != nil {
				s.transact(func(tr kv.Transaction) { tr.Set(key, c.start) })
			}
			s.transact(func(tr kv.Transaction) { tr.Add(key, c.delta) })
			if got := s.get(string(key)); !bytes.Equal(got, kv.CounterValue(c.want)) {
				s.t.Errorf("%s: %x, want %x", c.name, got, kv.CounterValue(c.want))
			}
		}
	}},
	{"slices belong to their side of the call", func(s *store) {
		s.transact(func(tr kv.Transaction) {
			key, value := []byte("key"), []byte("value")
			begin, end := []byte("p"), []byte("q")
			tr.Set(key, value)
			tr.Set([]byte("p1"), nil)
			tr.ClearRange(kv.Range{Begin: begin, End: end})
			for _, b := range [][]byte{key, value, begin, end} {
				b[0] = 'X'
			}
			own := must(tr.Get([]byte("key")))
			own[0] = 'Y'
			must(tr.Range(all, kv.RangeOptions{}))[0].Value[0] = 'Z'
		})
		s.wantContents("key=value")
	}},
	{"another handle and a reopened store hold the same", func(s *store) {
		s.fill("a", "b")
		other := s.handle()
		if got := get(s.t, other, "a"); string(got) != "a" {
			s.t.Errorf("another handle reads %s", show(got))
		}
		for _, db := range []kv.Database{s.Database, other} {
			if err := db.Close(); err != nil {
				s.t.Fatalf("close: %v", err)
			}
		}
		s.Database = s.handle()
		s.wantContents("a=a b=b")
	}},
}
