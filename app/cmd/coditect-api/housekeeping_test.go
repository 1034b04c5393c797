package main

import (
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// A service on an old store migrates it by itself; of two, one does.
func TestServeMigratesAndSweeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := settings(dir)
	hash := make([]byte, 32)
	damage(t, environ[2:], func(tx kv.Transaction) error {
		space := tuple.Key{}.Text(subspace)
		tx.Set(space.Text("throttles").Bytes(hash), []byte("\x01"+`{"failures":1,"expires_at":"2001-01-01T00:00:00Z"}`))
		tx.Set(space.Text("expiry").Int(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()).Text("throttles").Bytes(hash), []byte{})
		return nil
	})
	if code, result := checkJSON(t, environ[2:]); code != exitOK || result.SchemaVersion != 1 || result.Keys["throttles"] != 1 {
		t.Fatalf("%d %+v", code, result)
	}
	first, second := serveChild(t, environ), serveChild(t, environ)
	first.waitReady()
	second.waitReady()
	eventually(t, func() bool {
		_, result := checkJSON(t, environ[2:])
		return result.SchemaVersion > 1 && result.Keys["throttles"] == 0 && result.Keys["expiry"] == 0
	})
	if n := strings.Count(first.log()+second.log(), "store migrated"); n != 1 {
		t.Errorf("migrated %d times", n)
	}
	if code, out, errs := invoke(t, environ[2:], "migrate"); code != exitOK || !strings.Contains(out, "0 records changed") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// A release that is too old for a store says so, and which one is not, and
// goes away; it changes nothing.
func TestTooOldForItsStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := settings(dir)
	damage(t, environ[2:], func(tx kv.Transaction) error {
		tx.Set(tuple.Key{}.Text(subspace).Text("schema"), []byte("\x01"+`{"version":99,"writers":98,"release":"9.1.0"}`))
		return nil
	})
	for _, args := range [][]string{{"check"}, {"migrate"}, {"backup", "--to", dir + "/backups"}} {
		if code, _, errs := invoke(t, environ[2:], args...); code != exitFault || !strings.Contains(errs, "start release 9.1.0 or a later one") {
			t.Errorf("%q: %d %s", args, code, errs)
		}
	}
	c := serveChild(t, environ)
	if err := c.exit(time.Minute); err == nil || !strings.Contains(c.log(), contract.Binary+": the store has schema 99") {
		t.Errorf("%v\n%s", err, c.log())
	}
}
