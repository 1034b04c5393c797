package store

import (
	"context"
	"errors"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/kv"
)

// Observer is told of each transaction as it begins. It returns the context of
// the transaction's work, and what to call at its end: with how often its
// function ran, and how it ended.
type Observer func(ctx context.Context, kind string) (context.Context, func(attempts int, outcome string))

// Kinds of transactions.
const (
	kindRead  = "read"
	kindWrite = "write"
)

// Observe has o told of every transaction. It comes before the first of them.
func (s *Store) Observe(o Observer) { s.observer = o }

func (s *Store) observe(ctx context.Context, kind string) (context.Context, func(attempts int, outcome string)) {
	if s.observer == nil {
		return ctx, func(int, string) {}
	}
	return s.observer(ctx, kind)
}

// Outcomes of transactions.
const (
	outcomeOK          = "ok"
	outcomeRefused     = "refused"  // by a rule
	outcomeConflict    = "conflict" // and retries ran out
	outcomeUnknown     = "unknown"
	outcomeUnavailable = "unavailable"
	outcomeCancelled   = "cancelled"
	outcomeFailed      = "failed"
)

// outcomeOf names the end of a transaction: a closed set, for meters.
func outcomeOf(err error) string {
	_, isFault := errors.AsType[*fault.Error](err)
	switch {
	case err == nil:
		return outcomeOK
	case isFault, errors.Is(err, ErrNotFound):
		return outcomeRefused
	case errors.Is(err, kv.ErrConflict), errors.Is(err, kv.ErrTooOld):
		return outcomeConflict
	case errors.Is(err, kv.ErrCommitUnknown):
		return outcomeUnknown
	case errors.Is(err, kv.ErrUnavailable), errors.Is(err, kv.ErrClosed):
		return outcomeUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return outcomeCancelled
	default:
		return outcomeFailed
	}
}
