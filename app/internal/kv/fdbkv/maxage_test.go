//go:build fdb && !fdbdouble

package fdbkv_test

import (
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// maxAge has a margin: a cluster counts its versions, about a million a second.
func maxAge(t *testing.T, _ string) time.Duration {
	t.Helper()
	return kv.MaxTransactionAge + time.Second
}
