package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/backup"
	"coditect.ai/platform/app/internal/store"
)

// A service that is used is backed up and restored elsewhere: the users sign in there.
func TestBackupAndRestoreOfAService(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	to := filepath.Join(dir, "backups")
	c := serveChild(t, settings(dir))
	c.waitReady()
	c.register("first@example.org")
	code, out, errs := invoke(t, settings(dir)[2:], "backup", "--to", to, "--json")
	var m contract.Manifest
	if err := json.Unmarshal([]byte(out), &m); code != exitOK || err != nil || m.Inventory.Counts["users"] != 1 || m.DataSize == 0 || m.Engine != contract.EngineEmbedded {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	c.register("second@example.org")
	if code, out, errs := invoke(t, settings(dir)[2:], "backup", "--list", "--to", to); code != exitOK || !strings.HasPrefix(out, m.ID) {
		t.Errorf("%d %s%s", code, out, errs)
	}
	from := filepath.Join(to, m.ID)
	if code, _, errs := invoke(t, settings(dir)[2:], "restore", "--from", from); code != exitFault || !strings.Contains(errs, "not empty") {
		t.Errorf("into a store in use: %d %s", code, errs)
	}
	if code, out, errs := invoke(t, settings(other)[2:], "restore", "--from", from); code != exitOK || !strings.Contains(out, "restored "+m.ID) {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	restored := serveChild(t, append(settings(other), contract.EnvJWTSecretFile+"="+keyFile(dir)))
	restored.waitReady()
	for email, want := range map[string]int{"first@example.org": 200, "second@example.org": 401} {
		status, body, err := call(t.Context(), "POST", restored.url+"/auth/login", "", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
		if err != nil || status != want {
			t.Errorf("%s: %d %s %v, want %d", email, status, body, err, want)
		}
	}
	for _, args := range [][]string{{"backup"}, {"restore"}, {"backup", "--to", to, "--every", "1ms"}, {"backup", "--to", to, "--keep", "-1"}} {
		if code, _, _ := invoke(t, nil, args...); code != exitUsage {
			t.Errorf("%q: %d", args, code)
		}
	}
}

// A backup or a restore that is killed at any moment leaves nothing that looks
// whole, and the next one is as if it had not been.
func TestKilledBackupsAndRestores(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills processes for some seconds")
	}
	dir := t.TempDir()
	to := filepath.Join(dir, "backups")
	environ := settings(dir)
	fill(t, environ[2:], 300)
	dirs := backup.Dir{Path: to, Now: time.Now}
	var last backup.Backup
	for n := range 12 {
		cmd := program(t, environ, "backup", "--to", to)
		must(t, cmd.Start())
		time.Sleep(time.Duration(n*n) * 3 * time.Millisecond) // wherever it is by then
		_ = cmd.Process.Signal(syscall.SIGKILL)               // may have ended
		_ = cmd.Wait()
		all, err := dirs.List()
		if errors.Is(err, fs.ErrNotExist) {
			continue // killed before it had done anything
		}
		must(t, err)
		for _, b := range all {
			if b.Fault != nil {
				t.Errorf("kill %d: %v", n, b.Fault)
			}
			if b.Whole {
				last = b
			}
		}
	}
	if out, err := program(t, environ, "backup", "--to", to, "--keep", "1").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	all, err := dirs.List()
	must(t, err)
	if len(all) != 1 || !all[0].Whole {
		t.Fatalf("left: %+v", all)
	}
	if last.Whole && !last.Manifest.Inventory.Same(all[0].Manifest.Inventory) {
		t.Error("a backup before the last kill differs")
	}

	target := settings(t.TempDir())
	from := filepath.Join(to, all[0].ID)
	for n := range 12 {
		cmd := program(t, target, "restore", "--from", from)
		must(t, cmd.Start())
		time.Sleep(time.Duration(n*n) * 3 * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
	out, err := program(t, target, "restore", "--from", from).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "not empty") { // a killed one had ended
		t.Fatalf("%v %s", err, out)
	}
	if code, result := checkJSON(t, target[2:]); code != exitOK || !result.Same(all[0].Manifest.Inventory) || result.Keys["loading"] != 0 {
		t.Errorf("%d %+v", code, result)
	}
}

// --every goes on until it is told to stop, and keeps so many.
func TestBackupsFromTimeToTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	to := filepath.Join(dir, "backups")
	environ := settings(dir)
	fill(t, environ[2:], 1)
	cmd := program(t, environ, "backup", "--to", to, "--every", "1s", "--keep", "2")
	must(t, cmd.Start())
	seen := map[string]bool{}
	eventually(t, func() bool {
		all, err := backup.Dir{Path: to}.List()
		if err != nil {
			return false
		}
		whole := 0
		for _, b := range all {
			if b.Whole {
				whole++
				seen[b.ID] = true
			}
		}
		return len(seen) >= 4 && whole <= 3
	})
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	all, err := backup.Dir{Path: to}.List()
	must(t, err)
	if whole := slices.DeleteFunc(all, func(b backup.Backup) bool { return !b.Whole }); len(whole) > 3 || len(whole) < 2 {
		t.Errorf("%d are kept", len(whole))
	}
}

// The manifest beside an engine's own backups says which version belongs to which time.
func TestManifest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := settings(dir)[2:]
	to := filepath.Join(dir, "manifest")
	var m contract.Manifest
	for n := range 4 {
		fill(t, environ, n+1)
		began := time.Now()
		code, out, errs := invoke(t, environ, "manifest", "--to", to, "--keep", "3", "--inventory-every", "0", "--json")
		if code != exitOK {
			t.Fatalf("%d %s%s", code, out, errs)
		}
		last := m.Versions
		m = contract.Manifest{}
		must(t, json.Unmarshal([]byte(out), &m))
		now := m.Versions[len(m.Versions)-1]
		if len(m.Versions) != min(n+1, 3) || now.At.Before(began) || n > 0 && now.ReadVersion <= last[len(last)-1].ReadVersion || m.Inventory.Counts["sessions"] != int64(n+1) || !m.Inventory.Exact || m.Data != "" {
			t.Errorf("%d: %+v", n, m)
		}
	}
	read, err := backup.ReadManifest(to)
	must(t, err)
	if read.ID != m.ID || len(read.Versions) != 3 {
		t.Errorf("%+v", read)
	}
	if code, _, errs := invoke(t, environ, "restore", "--from", to); code != exitFault || !strings.Contains(errs, "no data of its own") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, _ := invoke(t, environ, "manifest"); code != exitUsage {
		t.Error(code)
	}
}

// fill puts n sessions of some size into the store of these settings.
func fill(t *testing.T, environ []string, n int) {
	t.Helper()
	cfg := loadConfig(t, environ)
	must(t, withStore(t.Context(), cfg, func(st *store.Store) error {
		return st.Update(t.Context(), func(tx *store.Tx) error {
			for i := range n {
				tx.PutSession(store.Session{ID: [16]byte{byte(i), byte(i >> 8)}, Name: strings.Repeat(strconv.Itoa(i), 2000)})
			}
			return nil
		})
	}))
}
