package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/enginetest"
	"coditect.ai/platform/app/internal/kv/faultkv"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

// fill puts n users, each with a tenant of their own and two sessions, into the store.
func fillStore(tb testing.TB, st *store.Store, n int) {
	tb.Helper()
	for i := range n {
		user, tenant := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, "user", i)), uuid.NewSHA1(uuid.Nil, fmt.Append(nil, "tenant", i))
		if err := st.Update(tb.Context(), func(tx *store.Tx) error {
			later := tx.Now().Add(time.Hour)
			tx.CreateUser(store.User{ID: user, Email: fmt.Sprintf("user%d@example.com", i)})
			tx.PutTenant(store.Tenant{ID: tenant, Name: strings.Repeat("é\x00", i%50)})
			tx.PutMembership(store.Membership{TenantID: tenant, UserID: user, Role: store.RoleOwner})
			for s := range byte(2) {
				tx.PutSession(store.Session{ID: uuid.NewSHA1(user, []byte{s}), TenantID: tenant, UserID: user, Metadata: json.RawMessage(`{"<":"&"}`)})
			}
			tx.PutLogin(store.Login{ID: user, UserID: user, TenantID: tenant, Current: store.HashOf(user[:]), ExpiresAt: later, EndsAt: later})
			tx.PutRefreshToken(store.RefreshToken{Hash: store.HashOf(user[:]), UserID: user, LoginID: user, ExpiresAt: later})
			return nil
		}); err != nil {
			tb.Fatal(err)
		}
	}
}

func newDir(tb testing.TB) Dir {
	tb.Helper()
	clock := storetest.NewClock()
	return Dir{
		Path: filepath.Join(tb.TempDir(), "backups"), Program: Program{contract.EngineEmbedded, "v1", "abc"},
		Now: func() time.Time { clock.Advance(time.Second); return clock.Now() },
	}
}

func (d Dir) take(tb testing.TB, st *store.Store) contract.Manifest {
	tb.Helper()
	m, err := d.Take(tb.Context(), st)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// engines are stores to copy from and to: the build's own, and the embedded
// one. With the tag fdb that is between FoundationDB and the laptop.
func engines(t *testing.T) map[string]func() kv.Database {
	t.Helper()
	return map[string]func() kv.Database{
		"own": func() kv.Database { return enginetest.Open(t) },
		"embedded": func() kv.Database {
			db, err := sqlitekv.Open(t.Context(), sqlitekv.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			return db
		},
	}
}

// A store comes back as it was, on whichever engine and in whichever subspace.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	for from, open := range engines(t) {
		for to, reopen := range engines(t) {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				source, target := open(), reopen()
				t.Cleanup(func() {
					if err := errors.Join(source.Close(), target.Close()); err != nil {
						t.Error(err)
					}
				})
				clock := storetest.NewClock()
				st := store.New(source, "here", clock.Now)
				fillStore(t, st, 60)
				want, err := st.Check(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				d := newDir(t)
				m := d.take(t, st)
				if !m.Inventory.Same(want.Inventory) || !m.Inventory.Exact || m.Inventory.Counts["sessions"] != 120 || len(m.Versions) != 1 || m.Versions[0].ReadVersion <= 0 || m.Commit != "abc" {
					t.Errorf("%+v", m)
				}
				restored := store.New(target, "there", clock.Now)
				dir := filepath.Join(d.Path, m.ID)
				got, report, err := Restore(t.Context(), restored, dir)
				if err != nil || !report.OK() || got.ID != m.ID {
					t.Fatalf("%v, %+v", err, report)
				}
				after, err := restored.Check(t.Context())
				if err != nil || !after.Inventory.Same(want.Inventory) || !maps.Equal(after.Counts, want.Counts) {
					t.Errorf("%v: %+v, want %+v", err, after, want)
				}
				if _, _, err := Restore(t.Context(), restored, dir); !errors.Is(err, store.ErrNotEmpty) {
					t.Errorf("a second restore: %v", err)
				}
			})
		}
	}
}

// While others write, a backup is one moment: nothing in it disagrees.
func TestBackupOfAStoreInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() kv.Database {
		db, err := sqlitekv.Open(t.Context(), sqlitekv.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	mine, others := open(), open()
	st := store.New(mine, "test", time.Now)
	fillStore(t, st, 40)
	ctx, stop := context.WithCancel(t.Context())
	written := make(chan error, 1)
	var changes atomic.Int64
	go func() {
		busy := store.New(others, "test", time.Now)
		for n := 0; ctx.Err() == nil; n++ {
			user := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, "user", n%40))
			s := store.Session{ID: uuid.NewSHA1(user, nil), TenantID: user, UserID: user}
			if err := busy.Update(ctx, func(tx *store.Tx) error {
				if n/40%2 == 0 {
					tx.PutSession(s)
				} else {
					tx.DeleteSession(s)
				}
				return nil
			}); err != nil && ctx.Err() == nil {
				written <- err
				return
			}
			changes.Add(1)
		}
		written <- nil
	}()
	d := newDir(t)
	for range 3 {
		before := changes.Load()
		for deadline := time.Now().Add(time.Minute); changes.Load() == before && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		m := d.take(t, st)
		env := storetest.New(t)
		if _, report, err := Restore(t.Context(), env.Store, filepath.Join(d.Path, m.ID)); err != nil || !report.OK() {
			t.Errorf("%v: %q", err, report.Problems)
		}
	}
	stop()
	if err := errors.Join(<-written, mine.Close(), others.Close()); err != nil {
		t.Error(err)
	}
}

// Damage of any byte is seen before anything is written.
func TestDamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	fillStore(t, env.Store, 3)
	d := newDir(t)
	m := d.take(t, env.Store)
	dir := filepath.Join(d.Path, m.ID)
	whole, err := os.ReadFile(filepath.Join(dir, m.Data))
	if err != nil {
		t.Fatal(err)
	}
	target := storetest.New(t)
	refuse := func(name string) {
		t.Helper()
		if _, _, err := Restore(t.Context(), target.Store, dir); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	write := func(b []byte, m contract.Manifest) {
		t.Helper()
		if err := errors.Join(os.WriteFile(filepath.Join(dir, m.Data), b, 0o600), WriteManifest(dir, m)); err != nil {
			t.Fatal(err)
		}
	}
	// Also when the manifest was made to match, the data's own checksums tell.
	matching := func(b []byte) contract.Manifest {
		sum := &counted{sum: sha256.New()}
		_, _ = sum.Write(b)
		out := m
		out.DataSize, out.DataSHA256 = sum.size, sum.hex()
		return out
	}
	for _, at := range []int{0, 15, len(whole) / 2, len(whole) - 1} {
		broken := bytes.Clone(whole)
		broken[at] ^= 0x10
		write(broken, m)
		refuse(fmt.Sprint("byte ", at))
		if at != 0 || !errors.Is(decode(bytes.NewReader(broken), func(kv.Pair) error { return nil }), errDamaged) {
			write(broken, matching(broken))
			if err := verify(dir, matching(broken)); err == nil && !bytes.Equal(broken, whole) && at != 15 {
				t.Errorf("byte %d is broken and the data's checksum does not tell", at)
			}
		}
	}
	for _, size := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
		write(whole[:size], matching(whole[:size]))
		refuse(fmt.Sprint(size, " bytes left"))
	}
	write(append(bytes.Clone(whole), 'x'), matching(append(bytes.Clone(whole), 'x')))
	refuse("a byte more")
	if report, err := target.Store.Check(t.Context()); err != nil || len(report.Counts) != 0 {
		t.Errorf("something was written: %v %v", report.Counts, err)
	}
	// Data of another backup has another inventory: seen after, and the store serves nobody.
	other := m
	other.Inventory.Fingerprint = "sha256:" + strings.Repeat("0", 64)
	write(whole, other)
	if _, _, err := Restore(t.Context(), target.Store, dir); err == nil || !strings.Contains(err.Error(), "serves nobody") {
		t.Errorf("another inventory: %v", err)
	}
}

// Whatever happens to a transaction of a restore, it can be started again and
// ends with the very same store.
func TestRestoreUnderFaults(t *testing.T) {
	t.Parallel()
	source := storetest.New(t)
	fillStore(t, source.Store, 10)
	for n := range byte(20) { // large ones, so that there are several transactions
		text := json.RawMessage(`"` + strings.Repeat("x", 30_000) + `"`)
		if err := source.Store.Update(t.Context(), func(tx *store.Tx) error {
			tx.PutSession(store.Session{ID: uuid.UUID{n}, Metadata: text})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	d := newDir(t)
	m := d.take(t, source.Store)
	dir := filepath.Join(d.Path, m.ID)
	for _, fault := range faultkv.Faults() {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			for call := int64(1); ; call++ {
				target := storetest.New(t)
				target.DB.Follow(faultkv.At(call, fault))
				_, report, err := Restore(t.Context(), target.Store, dir)
				calls := target.DB.Calls()
				target.DB.Follow(func(faultkv.Attempt) faultkv.Fault { return faultkv.None })
				if err != nil {
					_, report, err = Restore(t.Context(), target.Store, dir)
					if errors.Is(err, store.ErrNotEmpty) { // the last step had taken effect
						report, err = target.Store.Check(t.Context())
					}
				}
				if err != nil || !report.OK() || !report.Inventory.Same(m.Inventory) {
					t.Fatalf("at %d: %v %+v", call, err, report)
				}
				if calls < call {
					if call < 6 {
						t.Errorf("only %d transactions: too little to prove anything", calls)
					}
					return
				}
			}
		})
	}
}

func TestRestoreFromElsewhereMeanwhile(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	if _, err := env.Store.Load(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	_, err := env.Store.Load(t.Context(), "second")
	if other, ok := errors.AsType[*store.OtherSourceError](err); !ok || other.Source != "first" {
		t.Error(err)
	}
	if _, err := newDir(t).Take(t.Context(), env.Store); err == nil || !strings.Contains(err.Error(), "half restored") {
		t.Errorf("a backup of half a store: %v", err)
	}
}

// small is a disk with room for so many bytes.
type small struct {
	out  io.Writer
	room int
}

func (s *small) Write(p []byte) (int, error) {
	if len(p) > s.room {
		n, _ := s.out.Write(p[:s.room])
		s.room = 0
		return n, syscall.ENOSPC
	}
	s.room -= len(p)
	return s.out.Write(p)
}

func TestFullDiskLeavesNothing(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	fillStore(t, env.Store, 100)
	d := newDir(t)
	first := d.take(t, env.Store)
	for _, room := range []int{0, 1, int(first.DataSize) - 1} {
		d.full = func(w io.Writer) io.Writer { return &small{w, room} }
		if _, err := d.Take(t.Context(), env.Store); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("room for %d: %v", room, err)
		}
		if all, err := d.List(); err != nil || len(all) != 1 || all[0].ID != first.ID || !all[0].Whole {
			t.Errorf("room for %d leaves %+v, %v", room, all, err)
		}
	}
}

func TestKeepsTheNewest(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	fillStore(t, env.Store, 1)
	d := newDir(t)
	var ids []string
	for range 4 {
		ids = append(ids, d.take(t, env.Store).ID)
	}
	if !slices.IsSorted(ids) {
		t.Errorf("ids are not in order of time: %q", ids)
	}
	// What is no backup, or cannot be judged, stays; what never ended goes.
	newer := filepath.Join(d.Path, "20991231T235959.000Z")
	for dir, text := range map[string]string{
		filepath.Join(d.Path, "notes"): "", filepath.Join(d.Path, "20200101T000000.000Z"): "",
		newer: `{"format": 99}`,
	} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, contract.ManifestFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	ids = append(ids, d.take(t, env.Store).ID)
	removed, err := d.Prune(2)
	if err != nil || !slices.Equal(removed, ids[:3]) {
		t.Errorf("removed %q, %v; want %q", removed, err, ids[:3])
	}
	all, err := d.List()
	if err != nil || len(all) != 3 || all[0].ID != ids[3] || all[1].ID != ids[4] || all[2].Fault == nil {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := os.Stat(filepath.Join(d.Path, "notes")); err != nil {
		t.Error(err)
	}
	if unlock, err := d.lock(); err != nil {
		t.Error(err)
	} else {
		if _, err := d.Take(t.Context(), env.Store); !errors.Is(err, ErrBusy) {
			t.Errorf("two at once: %v", err)
		}
		unlock()
	}
}

// Pairs of time and version go on in the manifest that is there; of another
// kind of backup it is left alone.
func TestRecordsVersions(t *testing.T) {
	t.Parallel()
	env := storetest.New(t)
	d := newDir(t)
	var last contract.Manifest
	for n := range 5 {
		fillStore(t, env.Store, n+1)
		m, err := d.Record(t.Context(), env.Store, 3, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			before, now := last.Versions[len(last.Versions)-1], m.Versions[len(m.Versions)-1]
			if now.ReadVersion <= before.ReadVersion || !now.At.After(before.At) || m.ID != last.ID || !m.Inventory.Same(last.Inventory) || len(m.Versions) != min(n+1, 3) {
				t.Errorf("%+v after %+v", m, last)
			}
		}
		last = m
	}
	if !last.Inventory.Exact || last.Inventory.Counts["users"] != 1 { // an hour has not passed
		t.Errorf("%+v", last.Inventory)
	}
	if m, err := d.Record(t.Context(), env.Store, 3, 0); err != nil || m.Inventory.Counts["users"] != 5 {
		t.Errorf("%+v, %v", m.Inventory, err)
	}
	other := d
	other.Program.Engine = contract.EngineFoundationDB
	if _, err := other.Record(t.Context(), env.Store, 3, 0); err == nil || !strings.Contains(err.Error(), "another kind") {
		t.Error(err)
	}
}
