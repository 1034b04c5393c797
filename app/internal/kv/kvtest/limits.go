package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// refused runs fn and wants ErrTooLarge, without a second run.
func (s *store) refused(name string, fn func(kv.Transaction)) {
	s.t.Helper()
	ran := 0
	err := s.Transact(s.t.Context(), func(tr kv.Transaction) error {
		ran++
		tr.Set([]byte("other"), nil)
		fn(tr)
		return nil
	})
	if !errors.Is(err, kv.ErrTooLarge) || ran != 1 {
		s.t.Errorf("%s: %v after %d runs, want ErrTooLarge after one", name, err, ran)
	}
	s.wantAbsent("other")
}

// tooOld reads, waits until the transaction is too old in its first run, and goes on with fn.
func (s *store) tooOld(fn func(tr kv.Transaction, old bool) error) {
	s.t.Helper()
	if s.maxAge == 0 {
		s.t.Skip("the engine's age limit is too long to wait for")
	}
	ran := 0
	err := s.Transact(s.t.Context(), func(tr kv.Transaction) error {
		ran++
		if _, err := tr.Get([]byte("a")); err != nil {
			return err
		}
		if ran == 1 {
			time.Sleep(s.maxAge + s.maxAge/2) // the limit is the engine's own: only time tells
		}
		return fn(tr, ran == 1)
	})
	if err != nil || ran != 2 {
		s.t.Errorf("%v after %d runs, want a second run that commits", err, ran)
	}
	s.wantValue("b", "new")
}

var limitTests = []test{
	{"keys, values and transactions up to the limit", func(s *store) {
		key := bytes.Repeat([]byte("k"), kv.MaxKeySize)
		value := bytes.Repeat([]byte("v"), kv.MaxValueSize)
		s.transact(func(tr kv.Transaction) { tr.Set(key, value) })
		if got := s.get(string(key)); !bytes.Equal(got, value) {
			s.t.Errorf("the largest value reads back as %d bytes", len(got))
		}
		const n = kv.MaxTransactionSize / kv.MaxValueSize * 9 / 10
		s.transact(func(tr kv.Transaction) {
			for i := range n {
				tr.Set(fmt.Appendf(nil, "large %03d", i), value)
			}
		})
		if got := len(s.contents()); got != n+1 {
			s.t.Errorf("%d pairs, want %d", got, n+1)
		}
	}},
	{"a key above the limit", func(s *store) {
		key := bytes.Repeat([]byte("k"), kv.MaxKeySize+1)
		s.refused("set", func(tr kv.Transaction) { tr.Set(key, nil) })
		s.refused("add", func(tr kv.Transaction) { tr.Add(key, 1) })
		s.fill("a")
		s.transact(func(tr kv.Transaction) { // there is none: reading and clearing it is no error
			if v := must(tr.Get(key)); v != nil {
				s.t.Errorf("a key above the limit holds %s", show(v))
			}
			tr.Clear(key)
			tr.ClearRange(kv.KeyRange(key))
		})
		s.wantContents("a=a")
	}},
	{"a value above the limit", func(s *store) {
		s.refused("set", func(tr kv.Transaction) { tr.Set([]byte("k"), make([]byte, kv.MaxValueSize+1)) })
	}},
	{"a transaction above the limit", func(s *store) {
		value := make([]byte, kv.MaxValueSize)
		s.refused("set", func(tr kv.Transaction) {
			for i := range kv.MaxTransactionSize/kv.MaxValueSize + 1 {
				tr.Set(fmt.Append(nil, i), value)
			}
		})
		long := bytes.Repeat([]byte("k"), kv.MaxKeySize-1)
		s.refused("conflicts", func(tr kv.Transaction) {
			for i := range kv.MaxTransactionSize/kv.MaxKeySize + 1 {
				tr.AddReadConflict(kv.KeyRange(append(long[:len(long)-2:len(long)-2], byte(i>>8), byte(i))))
			}
		})
	}},
	{"a transaction that is too old to commit", func(s *store) {
		s.tooOld(func(tr kv.Transaction, _ bool) error {
			tr.Set([]byte("b"), []byte("new"))
			return nil
		})
	}},
	{"a transaction that is too old to read", func(s *store) {
		s.tooOld(func(tr kv.Transaction, old bool) error {
			tr.Set([]byte("b"), []byte("new"))
			for _, r := range []kv.Reader{tr, tr.Snapshot()} {
				if _, err := r.Get([]byte("c")); errors.Is(err, kv.ErrTooOld) != old {
					s.t.Errorf("get (old: %t): %v", old, err)
				}
			}
			_, err := tr.Range(all, kv.RangeOptions{})
			if errors.Is(err, kv.ErrTooOld) != old {
				s.t.Errorf("range (old: %t): %v", old, err)
			}
			return err // as any caller would
		})
	}},
}
