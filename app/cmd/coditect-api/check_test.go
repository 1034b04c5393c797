package main

import (
	"encoding/json"
	"strings"
	"testing"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// damage writes into the store of these settings, behind the service's back.
func damage(t *testing.T, environ []string, fn func(kv.Transaction) error) {
	t.Helper()
	db, err := embedded.open(t.Context(), loadConfig(t, environ))
	must(t, err)
	must(t, db.Transact(t.Context(), fn))
	must(t, db.Close())
}

func loadConfig(t *testing.T, environ []string) config.Config {
	t.Helper()
	cfg, _, err := config.Load(environ)
	must(t, err)
	return cfg
}

func checkJSON(t *testing.T, environ []string, args ...string) (code int, result contract.Checked) {
	t.Helper()
	code, out, errs := invoke(t, environ, append([]string{"check", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	return code, result
}

// A fault is named, told how to mend, mended on demand, and gone; all of it
// while the service runs.
func TestCheckAndRepairOfAStoreInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := settings(dir)[2:]
	c := serveChild(t, settings(dir))
	c.waitReady()
	c.register("mend@example.org")
	code, before := checkJSON(t, environ)
	if code != exitOK || !before.OK || before.Counts["users"] != 1 || before.Keys["users_by_email"] != 1 || before.Faults == nil || !before.Exact || before.ReadVersion <= 0 {
		t.Fatalf("%d %+v", code, before)
	}
	damage(t, environ, func(tx kv.Transaction) error {
		tx.Clear(tuple.Key{}.Text(subspace).Text("users_by_email").Text("mend@example.org"))
		tx.Set(tuple.Key{}.Text(subspace).Text("riddle"), []byte("?"))
		return nil
	})
	if code, out, errs := invoke(t, environ, "check"); code != exitFault || !strings.Contains(errs, "the store has 2 faults") || !strings.Contains(errs, "it has no index entry in users_by_email") || !strings.Contains(out, before.Fingerprint) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	code, planned := checkJSON(t, environ, "--repair")
	if code != exitFault || planned.FaultCount != 2 || len(planned.Repairs) != 2 || planned.Repairs[0].Action == "" || planned.Repairs[1].Why == "" {
		t.Errorf("%d %+v", code, planned)
	}
	if code, out, errs := invoke(t, environ, "check", "--repair", "--apply"); code != exitFault || strings.Count(out, "mended: ") != 1 || strings.Count(out, "left: ") != 1 || !strings.Contains(errs, "1 faults left") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	damage(t, environ, func(tx kv.Transaction) error {
		tx.Clear(tuple.Key{}.Text(subspace).Text("riddle"))
		return nil
	})
	if code, after := checkJSON(t, environ); code != exitOK || !after.OK || !after.Same(before.Inventory) {
		t.Errorf("%d %+v", code, after)
	}
	if code, _, errs := invoke(t, environ, "check", "--apply"); code != exitUsage || !strings.Contains(errs, "--repair") {
		t.Errorf("%d %s", code, errs)
	}
}

// A store is what a manifest counted, or is told from it.
func TestCheckAgainstAManifest(t *testing.T) {
	t.Parallel()
	dir, counted := t.TempDir(), t.TempDir()
	environ := settings(dir)[2:]
	c := serveChild(t, settings(dir))
	c.waitReady()
	c.register("first@example.org")
	if code, out, errs := invoke(t, environ, "manifest", "--to", counted); code != exitOK {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	if code, result := checkJSON(t, environ, "--against", counted); code != exitOK || result.Counts["users"] != 1 {
		t.Errorf("%d %+v", code, result)
	}
	c.register("second@example.org")
	if code, _, errs := invoke(t, environ, "check", "--json", "--against", counted); code != exitFault || !strings.Contains(errs, "2 users instead of 1") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := invoke(t, environ, "check", "--against", t.TempDir()); code != exitFault || !strings.Contains(errs, "manifest") {
		t.Errorf("%d %s", code, errs)
	}
}
