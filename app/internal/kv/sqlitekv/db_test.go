package sqlitekv_test

import (
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/kvtest"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
)

// open opens a handle on the store in dir.
func open(tb testing.TB, opt sqlitekv.Options) *sqlitekv.DB {
	tb.Helper()
	db, err := sqlitekv.Open(tb.Context(), opt)
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

func TestConformance(t *testing.T) {
	const maxAge = time.Second // the suite waits for it
	kvtest.Run(t, kvtest.Engine{
		New: func(t *testing.T) func(*testing.T) kv.Database {
			t.Helper()
			dir := t.TempDir()
			return func(t *testing.T) kv.Database {
				t.Helper()
				return open(t, sqlitekv.Options{Dir: dir, MaxAge: maxAge})
			}
		},
		MaxAge: maxAge,
	})
}
