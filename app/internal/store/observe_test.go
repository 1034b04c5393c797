package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store"
)

// scripted is a database whose transactions end as they are told to.
type scripted struct {
	kv.Database
	runs int
	err  error
}

func (s scripted) Transact(_ context.Context, fn func(kv.Transaction) error) error {
	for range s.runs {
		if err := fn(nil); err != nil {
			return err
		}
	}
	return s.err
}

func (s scripted) Read(_ context.Context, fn func(kv.Reader) error) error {
	if err := fn(nil); err != nil {
		return err
	}
	return s.err
}

func TestObserverHearsHowTransactionsEnd(t *testing.T) {
	t.Parallel()
	refused := fault.New(fault.NotFound, "no")
	for _, tt := range []struct {
		db   scripted
		rule error
		want string
	}{
		{scripted{runs: 1}, nil, "write ok 1"},
		{scripted{runs: 3}, nil, "write ok 3"},
		{scripted{runs: 1}, refused, "write refused 1"},
		{scripted{runs: 4, err: fmt.Errorf("x: %w", kv.ErrConflict)}, nil, "write conflict 4"},
		{scripted{runs: 1, err: kv.ErrCommitUnknown}, nil, "write unknown 1"},
		{scripted{err: kv.ErrUnavailable}, nil, "write unavailable 0"},
		{scripted{err: context.DeadlineExceeded}, nil, "write cancelled 0"},
		{scripted{runs: 1, err: errors.New("odd")}, nil, "write failed 1"},
	} {
		var got []string
		st := store.New(tt.db, "test", time.Now)
		st.Observe(func(ctx context.Context, kind string) (context.Context, func(int, string)) {
			return ctx, func(attempts int, outcome string) { got = append(got, fmt.Sprint(kind, " ", outcome, " ", attempts)) }
		})
		_ = st.Update(t.Context(), func(*store.Tx) error { return tt.rule })
		_ = st.View(t.Context(), func(*store.Reader) error { return refused })
		if fmt.Sprint(got) != "["+tt.want+" read refused 1]" {
			t.Errorf("%v, want %s", got, tt.want)
		}
	}
}
