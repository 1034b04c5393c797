// Package enginetest opens an empty store for a test of whatever is built on
// the kv contract: on the embedded engine, or, in a build with the tag fdb, on
// the FoundationDB cluster that FDB_CLUSTER_FILE names.
package enginetest

import (
	"testing"

	"coditect.ai/platform/app/internal/kv"
)

// Open returns an empty store, gone when the test has ended. Closing it is the test's business.
func Open(tb testing.TB) kv.Database {
	tb.Helper()
	return open(tb)
}
