package kvtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// patience bounds what must not hang.
const patience = 20 * time.Second

var lifecycleTests = []test{
	{"an error of the function is returned as it is and nothing is written", func(s *store) {
		own := errors.New("own")
		ran := 0
		err := s.Transact(s.t.Context(), func(tr kv.Transaction) error {
			ran++
			tr.Set([]byte("a"), nil)
			tr.Add([]byte("n"), 1)
			return own
		})
		if err != own || ran != 1 { //nolint:errorlint // the very same error
			s.t.Errorf("%v after %d runs", err, ran)
		}
		if err := s.Read(s.t.Context(), func(kv.Reader) error { return own }); err != own { //nolint:errorlint // the very same error
			s.t.Errorf("read: %v", err)
		}
		s.wantContents("")
	}},
	{"an error of the database that the function returns is retried", func(s *store) {
		for _, cause := range []error{kv.ErrConflict, kv.ErrTooOld, kv.ErrCommitUnknown} {
			ran := 0
			err := s.Transact(s.t.Context(), func(tr kv.Transaction) error {
				if ran++; ran < 3 {
					return fmt.Errorf("wrapped: %w", cause)
				}
				tr.Add([]byte("n"), 1)
				return nil
			})
			if err != nil || ran != 3 {
				s.t.Errorf("%v: %v after %d runs", cause, err, ran)
			}
		}
		if got := kv.Counter(s.get("n")); got != 3 {
			s.t.Errorf("the counter is %d, want 3", got)
		}
	}},
	{"a commit that may have been made is not denied by a later failure", func(s *store) {
		for _, own := range []error{nil, errors.New("own")} {
			ctx, cancel := context.WithCancel(s.t.Context())
			defer cancel()
			ran := 0
			err := s.Transact(ctx, func(tr kv.Transaction) error {
				if ran++; ran == 1 {
					return kv.ErrCommitUnknown
				}
				cancel()
				_, err := tr.Get([]byte("a"))
				return cmp.Or(own, err)
			})
			switch {
			case own != nil && err != own: //nolint:errorlint // the very same error: the function has looked
				s.t.Errorf("an error of its own: %v", err)
			case own == nil && (!errors.Is(err, kv.ErrCommitUnknown) || !errors.Is(err, context.Canceled)):
				s.t.Errorf("cancelled in the second run: %v", err)
			}
		}
	}},
	{"a panic of the function leaves nothing behind", func(s *store) {
		s.fill("a")
		for range 40 { // more than any pool of connections holds
			func() {
				defer func() {
					if recover() == nil {
						s.t.Error("the panic did not reach the caller")
					}
				}()
				_ = s.Transact(s.t.Context(), func(tr kv.Transaction) error {
					must(tr.Get([]byte("a")))
					tr.Set([]byte("a"), []byte("panic"))
					panic("on purpose")
				})
			}()
			func() {
				defer func() { _ = recover() }()
				_ = s.Read(s.t.Context(), func(r kv.Reader) error {
					must(r.Get([]byte("a")))
					panic("on purpose")
				})
			}()
		}
		s.wantContents("a=a")
		s.fill("a", "b")
		s.wantContents("a=a b=b")
	}},
	{"a context that is done before the call", func(s *store) {
		ctx, cancel := context.WithCancel(s.t.Context())
		cancel()
		ran := false
		if err := s.Transact(ctx, func(kv.Transaction) error { ran = true; return nil }); !errors.Is(err, context.Canceled) {
			s.t.Errorf("transact: %v", err)
		}
		if err := s.Read(ctx, func(kv.Reader) error { ran = true; return nil }); !errors.Is(err, context.Canceled) {
			s.t.Errorf("read: %v", err)
		}
		if ran {
			s.t.Error("the function ran")
		}
	}},
	{"a context that is done during the call", func(s *store) {
		ctx, cancel := context.WithCancel(s.t.Context())
		err := s.Transact(ctx, func(tr kv.Transaction) error {
			tr.Set([]byte("a"), nil)
			cancel()
			if _, err := tr.Get([]byte("b")); !errors.Is(err, context.Canceled) {
				s.t.Errorf("get: %v", err)
			}
			if _, err := tr.Range(all, kv.RangeOptions{}); !errors.Is(err, context.Canceled) {
				s.t.Errorf("range: %v", err)
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			s.t.Errorf("transact: %v", err)
		}
		s.wantContents("")
	}},
	{"a context that is done before the commit", func(s *store) {
		ctx, cancel := context.WithCancel(s.t.Context())
		err := s.Transact(ctx, func(tr kv.Transaction) error {
			tr.Set([]byte("a"), nil)
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			s.t.Errorf("transact: %v", err)
		}
		s.wantContents("")
	}},
	{"a deadline ends the retries", func(s *store) {
		ctx, cancel := context.WithTimeout(s.t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := s.Transact(ctx, func(kv.Transaction) error { return kv.ErrConflict })
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, kv.ErrConflict) {
			s.t.Errorf("transact: %v", err)
		}
		if took := time.Since(start); took > patience {
			s.t.Errorf("it took %s", took)
		}
	}},
	{"a context that is done after the call undoes nothing", func(s *store) {
		ctx, cancel := context.WithCancel(s.t.Context())
		if err := s.Transact(ctx, func(tr kv.Transaction) error { tr.Set([]byte("a"), nil); return nil }); err != nil {
			s.t.Error(err)
		}
		cancel()
		s.wantContents("a=")
	}},
	{"commits under cancellation are whole or not there", func(s *store) {
		var group sync.WaitGroup
		for worker := range workers {
			group.Go(func() {
				for round := range rounds {
					s.cancelled(worker, round)
				}
			})
		}
		group.Wait()
		pairs := s.contents()
		for i := 0; i < len(pairs); i += 2 {
			if i+1 == len(pairs) || !samePrefix(pairs[i].Key, pairs[i+1].Key) {
				s.t.Fatalf("%q is alone", pairs[i].Key)
			}
		}
	}},
	{"close waits for transactions and refuses later ones", func(s *store) {
		inside, leave, closed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		result := make(chan error, 1)
		go func() {
			once := sync.OnceFunc(func() { close(inside) })
			result <- s.Transact(s.t.Context(), func(tr kv.Transaction) error {
				once()
				<-leave
				tr.Set([]byte("a"), []byte("a"))
				return nil
			})
		}()
		<-inside
		go func() { closed <- s.Close() }()
		select {
		case err := <-closed:
			s.t.Errorf("close returned (%v) with a transaction under way", err)
		case <-time.After(20 * time.Millisecond): // long enough to catch a Close that does not wait
		}
		close(leave)
		if err := <-result; err != nil {
			s.t.Errorf("the transaction under way: %v", err)
		}
		select {
		case err := <-closed:
			if err != nil {
				s.t.Errorf("close: %v", err)
			}
		case <-time.After(patience):
			s.t.Fatal("close hangs")
		}
		if err := s.Transact(s.t.Context(), func(kv.Transaction) error { return nil }); !errors.Is(err, kv.ErrClosed) {
			s.t.Errorf("transact after close: %v", err)
		}
		if err := s.Read(s.t.Context(), func(kv.Reader) error { return nil }); !errors.Is(err, kv.ErrClosed) {
			s.t.Errorf("read after close: %v", err)
		}
		if err := s.Close(); !errors.Is(err, kv.ErrClosed) {
			s.t.Errorf("second close: %v", err)
		}
		s.Database = s.handle()
		s.wantContents("a=a")
	}},
}

// cancelled writes a pair of keys under a context that may end at any moment,
// and fails the test if the outcome it was told is not the one in the store.
func (s *store) cancelled(worker, round int) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Duration(round*worker)*20*time.Microsecond)
	defer cancel()
	key := fmt.Sprintf("%02d-%02d", worker, round)
	err := s.Transact(ctx, func(tr kv.Transaction) error {
		if _, err := tr.Get([]byte(key)); err != nil {
			return err
		}
		tr.Set([]byte(key+"/1"), nil)
		tr.Set([]byte(key+"/2"), nil)
		return nil
	})
	var there bool
	if reading := s.Read(s.t.Context(), func(r kv.Reader) error {
		v, err := r.Get([]byte(key + "/1"))
		there = v != nil
		return err
	}); reading != nil {
		s.t.Errorf("%s: %v", key, reading)
	}
	switch {
	case err == nil && !there:
		s.t.Errorf("%s was acknowledged and is not there", key)
	case err != nil && there && !errors.Is(err, kv.ErrCommitUnknown):
		s.t.Errorf("%s is there after %v", key, err)
	case err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, kv.ErrCommitUnknown):
		s.t.Errorf("%s: %v", key, err)
	}
}

func samePrefix(a, b []byte) bool { return string(a[:len(a)-1]) == string(b[:len(b)-1]) }
