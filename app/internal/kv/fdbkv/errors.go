//go:build fdb

package fdbkv

import (
	"errors"
	"fmt"

	"github.com/apple/foundationdb/bindings/go/src/fdb"

	"coditect.ai/platform/app/internal/kv"
)

// The client's error codes that mean something to the contract.
const (
	codeTooOld         = 1007
	codeFutureVersion  = 1009
	codeConflict       = 1020
	codeUnknown        = 1021
	codeProcessBehind  = 1037
	codeLocked         = 1038
	codeProxyMemory    = 1042
	codeBatchThrottled = 1051
	codeGRVMemory      = 1078
	codeTagThrottled   = 1213
	codeHotShard       = 1235
	codeNoClusterFile  = 1515
	codeTooLarge       = 2101
	codeKeyTooLarge    = 2102
	codeValueTooLarge  = 2103
)

// clientError is an error of the client: its code, by which the client knows
// whether and when to try again, and what it means to the contract.
type clientError struct {
	native fdb.Error
	kind   error // one of kv's
}

func (e *clientError) Error() string   { return fmt.Sprintf("%v: %v", e.kind, e.native) }
func (e *clientError) Unwrap() []error { return []error{e.kind, e.native} }

// classified is the one place where the client's codes get their meaning;
// committing says that a commit was under way. Errors that are not the
// client's come from a binding that cannot go on.
func classified(err error, committing bool) error {
	coded, ok := errors.AsType[fdb.Error](err)
	if !ok {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	return &clientError{native: coded, kind: kindOf(coded.Code, committing)}
}

func kindOf(code int, committing bool) error {
	switch code {
	case codeConflict:
		return kv.ErrConflict
	case codeTooOld:
		return kv.ErrTooOld
	case codeTooLarge, codeKeyTooLarge, codeValueTooLarge:
		return kv.ErrTooLarge
	case codeUnknown:
		return kv.ErrCommitUnknown
	case codeFutureVersion, codeProcessBehind, codeLocked, codeProxyMemory, codeBatchThrottled, codeGRVMemory, codeTagThrottled, codeHotShard, codeNoClusterFile:
		return kv.ErrUnavailable // refused before anything was committed
	}
	if committing && (code < 2000 || code >= 3000) { // 2000 to 2999 are the client's own refusals
		return kv.ErrCommitUnknown // timed out, cancelled, the cluster replaced: it may have taken effect, or do so yet
	}
	return kv.ErrUnavailable
}

// codeOf returns the code by which the client decides whether to run the
// function again, also for errors of the contract that the function made itself.
func codeOf(err error) (code int, ok bool) {
	if own, ok := errors.AsType[*clientError](err); ok {
		return own.native.Code, true
	}
	switch {
	case errors.Is(err, kv.ErrConflict):
		return codeConflict, true
	case errors.Is(err, kv.ErrTooOld):
		return codeTooOld, true
	case errors.Is(err, kv.ErrCommitUnknown):
		return codeUnknown, true
	default:
		return 0, false
	}
}
