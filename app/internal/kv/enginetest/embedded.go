//go:build !fdb

package enginetest

import (
	"testing"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
)

func open(tb testing.TB) kv.Database {
	tb.Helper()
	db, err := sqlitekv.Open(tb.Context(), sqlitekv.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatalf("open the engine: %v", err)
	}
	return db
}
