package recovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/workflow"
)

// lost is an environment that was backed up and is gone, and its backup.
func lost(t *testing.T) (*fake, contract.Manifest) {
	t.Helper()
	f := newFake(t)
	f.records = newRecords()
	f.records.Users["ada@example.com"] = "secret"
	f.records.Sessions["ada@example.com"] = []string{"engine/0"}
	f.backUp(time.Now().Add(-time.Minute).UTC())
	f.records = nil
	return f, f.backups[0]
}

// TestRecover: from a backup to traffic, proven, and nothing is left of the rehearsal.
func TestRecover(t *testing.T) {
	f, m := lost(t)
	store := workflow.In(t.TempDir())
	p, err := Recovery("recovery", f, time.Now).Execute(t.Context(), workflow.Options[State]{Store: store, Owner: workflow.Self()}, State{Backup: m, Version: "v5"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"inspect", "infrastructure", "restore", "check", "rehearse", "admit"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %v, want %v", f.calls, want)
	}
	if !f.records.inventory().Same(m.Inventory) || !f.serving {
		t.Errorf("afterwards there is %+v, serving %t", f.records.inventory(), f.serving)
	}
	r := Of("local", p)
	if err := r.Record(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	proven, err := LastProven(t.Context(), store)
	if err != nil || !proven.OK || proven.Backup != m.ID || proven.Records != 2 || proven.RPO != nil {
		t.Errorf("on record is %+v (%v)", proven, err)
	}
	var said bytes.Buffer
	if err := r.Markdown(&said); err != nil || !strings.Contains(said.String(), "| RPO | not known") {
		t.Errorf("where nobody knows the moment of the loss, the report says (%v):\n%s", err, &said)
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"Markdown": func(b *bytes.Buffer) error { return r.Markdown(b) },
		"JSON":     func(b *bytes.Buffer) error { return r.JSON(b) },
		"HTML":     func(b *bytes.Buffer) error { return r.HTML(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil || !strings.Contains(b.String(), m.ID) {
			t.Errorf("the report in %s does not name the backup (%v):\n%s", name, err, &b)
		}
	}
}

// TestRefusals: what is wrong stops the recovery before traffic, with a reason, and it goes on once that is mended.
func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		breaks, mends func(*fake)
		state         func(*State)
		want          string
	}{
		"a damaged backup": {
			func(f *fake) { f.damaged[f.backups[0].ID] = true }, func(f *fake) { f.damaged = nil }, nil, "damaged",
		},
		"no secret":           {func(f *fake) { f.noSecret = true }, func(f *fake) { f.noSecret = false }, nil, "secret"},
		"a full disk":         {func(f *fake) { f.full = true }, func(f *fake) { f.full = false }, nil, "no space left"},
		"records are there":   {func(f *fake) { f.records = newRecords() }, func(f *fake) { f.records = nil }, nil, "holds records"},
		"another version":     {func(*fake) {}, nil, func(s *State) { s.Version = "v6" }, "asks for v6"},
		"a record is missing": {func(f *fake) { f.change = func(r *records) { clear(r.Sessions) } }, nil, nil, "0 sessions instead of 1"},
		"a record is another": {
			func(f *fake) { f.change = func(r *records) { r.Sessions["ada@example.com"][0] = "other/0" } }, nil, nil, "fingerprint",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, m := lost(t)
			tt.breaks(f)
			store, state := workflow.In(t.TempDir()), State{Backup: m}
			if tt.state != nil {
				tt.state(&state)
			}
			execute := func() error {
				_, err := Recovery("recovery", f, time.Now).Execute(t.Context(), workflow.Options[State]{Store: store, Owner: workflow.Self()}, state)
				return err
			}
			if err := execute(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one that says %q", err, tt.want)
			}
			if f.serving || slices.Contains(f.calls, "admit") {
				t.Error("traffic was let in")
			}
			if tt.mends == nil {
				return
			}
			tt.mends(f)
			if err := execute(); err != nil || !f.serving {
				t.Errorf("once it is mended: %v", err)
			}
		})
	}
}

// TestRollback sets aside what is there and keeps it.
func TestRollback(t *testing.T) {
	f, m := lost(t)
	f.records = newRecords()
	f.records.Users["eve@example.com"] = "later"
	if lines := Loss(f.records.inventory(), m.Inventory); !slices.Contains(lines, "sessions: 0 now, 1 then (+1)") {
		t.Errorf("the loss is told as %v", lines)
	}
	p, err := Recovery("recovery", f, time.Now).Execute(t.Context(), workflow.Options[State]{Store: workflow.In(t.TempDir()), Owner: workflow.Self()}, State{Backup: m, Replace: true})
	if err != nil {
		t.Fatal(err)
	}
	if kept := f.aside[p.Data.Aside]; kept == nil || kept.Users["eve@example.com"] != "later" || !f.records.inventory().Same(m.Inventory) {
		t.Errorf("set aside %+v, in force %+v", kept, f.records)
	}
}

// TestTwoOperators: the second is told who is at work, and harms nothing.
func TestTwoOperators(t *testing.T) {
	f, m := lost(t)
	store := workflow.In(t.TempDir())
	w := Recovery("recovery", f, time.Now)
	begun, end := make(chan struct{}), make(chan struct{})
	inner := w.Steps[1].Run
	w.Steps[1].Run = func(ctx context.Context, at *workflow.At[State]) error {
		close(begun)
		<-end
		return inner(ctx, at)
	}
	first := make(chan error, 1)
	go func() {
		_, err := w.Execute(t.Context(), workflow.Options[State]{Store: store, Owner: workflow.Self()}, State{Backup: m})
		first <- err
	}()
	<-begun
	_, err := Recovery("recovery", f, time.Now).Execute(t.Context(), workflow.Options[State]{Store: store, Owner: workflow.Self()}, State{Backup: m})
	if _, held := errors.AsType[*workflow.HeldError](err); !held {
		t.Errorf("the second is told %v", err)
	}
	close(end)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
}

// TestChoose finds a backup by its name, by time and by being the last.
func TestChoose(t *testing.T) {
	f := newFake(t)
	if _, err := Choose(t.Context(), f, "latest"); err == nil {
		t.Error("there is none, and it was found")
	}
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	f.records = newRecords()
	for i := range 3 {
		f.backUp(noon.Add(time.Duration(i) * time.Hour))
	}
	for from, want := range map[string]string{
		"latest": "backup-0003", "backup-0002": "backup-0002",
		"2026-11-25T13:59:59Z": "backup-0002", "2026-11-25T13:00:00Z": "backup-0002", "2026-11-26T00:00:00Z": "backup-0003",
	} {
		if m, err := Choose(t.Context(), f, from); err != nil || m.ID != want {
			t.Errorf("%s is %s (%v), want %s", from, m.ID, err, want)
		}
	}
	for _, from := range []string{"backup-0009", "2026-11-25T11:59:59Z", "yesterday"} {
		if m, err := Choose(t.Context(), f, from); err == nil {
			t.Errorf("%s is %s", from, m.ID)
		}
	}
}

// drillOf is a small drill of f.
func drillOf(f *fake, store workflow.Store, owner workflow.Owner, ledger string) workflow.Workflow[Drilled] {
	return Drill(f, DrillOptions{Users: 20, Writers: 2, Pause: time.Millisecond, After: 5, Ledger: ledger, Store: store, Owner: owner})
}

// TestDrillKilledAnywhere: whichever write of its progress a drill does not
// survive, before it or just after, the next process goes on, comes to a proven
// end and leaves nothing.
func TestDrillKilledAnywhere(t *testing.T) {
	deaths := 0
	for _, after := range []bool{false, true} {
		for n := 1; n < 200; n++ {
			f, ledger := newFake(t), filepath.Join(t.TempDir(), "ledger")
			store := &mortal{Store: newMemory(), left: n, after: after}
			gone := workflow.Owner{Name: "killed"} // its lease would hold; see LeaseAge below
			_, err := drillOf(f, store, gone, ledger).Execute(t.Context(), workflow.Options[Drilled]{Store: store, Owner: gone}, Drilled{})
			if store.alive() {
				if err != nil {
					t.Fatalf("undisturbed: %v", err)
				}
				break
			}
			deaths++
			release(t, store.Store, DrillName, DrillRecoveryName)
			w := drillOf(f, store.Store, workflow.Self(), ledger)
			if p, err := w.Peek(t.Context(), store.Store); err == nil && p.Finished() {
				continue // all was saved; a new command would be a new drill
			}
			p, err := w.Execute(t.Context(), workflow.Options[Drilled]{Store: store.Store, Owner: workflow.Self()}, Drilled{})
			if err != nil {
				t.Fatalf("killed at write %d (after: %t): %v", n, after, err)
			}
			r := OfDrill("local", p)
			if c := r.Compared; c == nil || c.err() != nil || c.Recovered == 0 || r.Found.Counts["users"] < 20 {
				t.Errorf("killed at write %d (after: %t): compared %+v, found %v", n, after, r.Compared, r.Found.Counts)
			}
			if f.records != nil || f.serving || len(f.backups) > 0 {
				t.Errorf("killed at write %d (after: %t): something of the scratch environment is left", n, after)
			}
		}
	}
	if deaths < 40 {
		t.Errorf("it died %d times, fewer than a drill has boundaries", deaths)
	}
}

// release takes the leases of a process that is dead away, as time would.
func release(t *testing.T, store workflow.Store, names ...string) {
	t.Helper()
	for _, name := range names {
		content, version, err := store.Get(t.Context(), name+".lease")
		if errors.Is(err, workflow.ErrAbsent) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var lease map[string]any
		if err := json.Unmarshal(content, &lease); err != nil {
			t.Fatal(err)
		}
		lease["renewed"] = time.Now().Add(-2 * workflow.LeaseAge).UTC()
		stale, err := json.Marshal(lease)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), name+".lease", stale, version); err != nil {
			t.Fatal(err)
		}
	}
}

// TestComparison: a loss before the backup, or out of order, is no mere loss.
func TestComparison(t *testing.T) {
	began := time.Now()
	entries := []entry{{"a", began.Add(-time.Second)}, {"b", began.Add(time.Second)}, {"c", began.Add(2 * time.Second)}}
	for name, tt := range map[string]struct {
		present []string
		ok      bool
		lost    int
	}{
		"all":             {[]string{"a", "b", "c"}, true, 0},
		"the last":        {[]string{"a", "b"}, true, 1},
		"all after":       {[]string{"a"}, true, 2},
		"one from before": {nil, false, 3},
		"out of order":    {[]string{"a", "c"}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			present := map[string]bool{}
			for _, id := range tt.present {
				present[id] = true
			}
			var c Comparison
			c.add(entries, present, began)
			if (c.err() == nil) != tt.ok || c.Lost != tt.lost || c.Acknowledged != 3 {
				t.Errorf("%+v: %v", c, c.err())
			}
		})
	}
}

// A moment that nobody counted is proven by its indexes alone, and by being no
// fraction of what was counted last.
func TestMomentThatWasNotCounted(t *testing.T) {
	m := contract.Manifest{
		Engine: contract.EngineFoundationDB, Versions: []contract.VersionAt{{ReadVersion: 4711}},
		Inventory: contract.Inventory{Counts: map[string]int64{"users": 10, "sessions": 3}, ReadVersion: 4700, Exact: true},
	}
	if exact(m) {
		t.Error("a count of another version is taken for exact")
	}
	m.Versions[0].ReadVersion = 4700
	if !exact(m) {
		t.Error("a count of the very version is not taken for exact")
	}
	for got, want := range map[int64]string{10: "", 5: "", 4: "4 users of 10", 0: "0 users of 10"} {
		if lost := m.Inventory.Shrunk(contract.Inventory{Counts: map[string]int64{"users": got, "sessions": 1}}); lost != want {
			t.Errorf("%d of 10 users: %q, want %q", got, lost, want)
		}
	}
}
