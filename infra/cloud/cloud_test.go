package cloud

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/recovery"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

// recover runs a recovery as a process would that begins now, or goes on.
func (w *world) recover(store workflow.Store, replace bool) (*workflow.Progress[recovery.State], error) {
	ctx := w.t.Context()
	e := w.operator(0, replace)
	m, err := recovery.Choose(ctx, e, "latest")
	if err != nil {
		return nil, err
	}
	e.Generation = e.Next()
	return recovery.Recovery("recovery", e, time.Now).Execute(ctx, workflow.Options[recovery.State]{
		Store: store, Owner: workflow.Self(),
		Resume: func(saved *recovery.State) error {
			e.Generation = saved.Generation
			return nil
		},
	}, recovery.State{Backup: m, Replace: replace, Generation: e.Generation})
}

func (w *world) lose() { w.gone, w.databases = true, map[int]map[string]string{} }

// final is what every recovery ends in.
func (w *world) final(t *testing.T, p *workflow.Progress[recovery.State]) {
	t.Helper()
	if got := slices.Collect(maps.Keys(w.databases[2])); !slices.Equal(got, []string{"ada@example.com"}) {
		t.Errorf("the records are %v", got)
	}
	if w.committed["databaseGeneration"] != "2" || w.generation() != 2 || len(w.databases) > 2 || w.databases[3] != nil {
		t.Errorf("committed is generation %q, in force %d, there are %d", w.committed["databaseGeneration"], w.generation(), len(w.databases))
	}
	for _, key := range []string{keyPhase, keyKey, keyFrom} {
		if w.applied[key] != "" || w.committed[key] != "" {
			t.Errorf("%s is left: %q, committed %q", key, w.applied[key], w.committed[key])
		}
	}
	if len(w.jobs) != 0 {
		t.Errorf("Jobs are left: %v", w.jobs)
	}
	if p.Data.Admitted == nil || p.Data.Address != w.server.URL {
		t.Errorf("it ended with %+v", p.Data)
	}
}

func TestRecoverALostCluster(t *testing.T) {
	w := newWorld(t)
	w.lose()
	p, err := w.recover(workflow.In(t.TempDir()), false)
	if err != nil {
		t.Fatal(err)
	}
	w.final(t, p)
	if want := []string{"refresh", "ground 2", "restore 2", "check 2", "rehearse 2", "none 2"}; !slices.Equal(w.updates, want) {
		t.Errorf("it did %v, want %v", w.updates, want)
	}
	if p.Data.Backup.ID != "coditect/"+generation1 || p.Data.Backup.Versions[0].ReadVersion != 4711 {
		t.Errorf("restored was %+v", p.Data.Backup)
	}
}

func TestRollBackACluster(t *testing.T) {
	w := newWorld(t)
	p, err := w.recover(workflow.In(t.TempDir()), true)
	if err != nil {
		t.Fatal(err)
	}
	w.final(t, p)
	if want := []string{"halt 1", "ground 2", "restore 2", "check 2", "rehearse 2", "none 2"}; !slices.Equal(w.updates, want) {
		t.Errorf("it did %v, want %v", w.updates, want)
	}
	if len(w.databases[1]) != 2 || !strings.Contains(p.Data.Aside, "generation 1") {
		t.Errorf("of the former records there are %v, told is %q", w.databases[1], p.Data.Aside)
	}
}

// Wherever the process dies, before an act or just behind it, the next goes on
// to the same end.
func TestKilledAnywhere(t *testing.T) {
	for _, replace := range []bool{false, true} {
		deaths := 0
		for _, behind := range []bool{false, true} {
			for n := 0; ; n++ {
				w, store := newWorld(t), workflow.In(t.TempDir())
				if !replace {
					w.lose()
				}
				w.dies(n, behind)
				_, err := w.recover(store, replace)
				if err == nil {
					break // there are fewer acts
				}
				if !errors.Is(err, errKilled) {
					t.Fatalf("killed at %d: %v", n, err)
				}
				deaths++
				w.dies(-1, false)
				p, err := w.recover(store, replace)
				if err != nil {
					t.Fatalf("killed at act %d (behind it: %t, replacing: %t): the next ends with %v", n, behind, replace, err)
				}
				w.final(t, p)
				if replace && len(w.databases[1]) != 2 {
					t.Errorf("killed at act %d: of the former records there are %v", n, w.databases[1])
				}
			}
		}
		if deaths < 12 {
			t.Errorf("it died %d times", deaths)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(*world)
		want string
	}{
		"records that are there":   {func(*world) {}, "the environment holds records"},
		"a cluster that is silent": {func(w *world) { w.unreachable = true }, "does not answer"},
		"no backup of that name":   {func(w *world) { w.lose(); delete(w.bucket, "data/coditect/x") }, "no backup coditect"},
		"no recorded version":      {func(w *world) { w.lose(); clear(w.bucket) }, "no whole backup"},
		"a damaged record":         {func(w *world) { w.lose(); w.bucket["versions/coditect/"+generation1+".json"] = `{"at":` }, "is damaged"},
		"a record of another time": {func(w *world) { w.lose(); w.bucket["versions/coditect/"+generation1+".json"] = `{"read_version":1}` }, "is damaged"},
		"another release than the last": {func(w *world) {
			w.lose()
			w.applied["serviceImageBlue"] = "registry.example/api@sha256:" + strings.Repeat("2", 64)
		}, "serviceImageBlue (registry.example/api@sha256:1111"},
		"weights that are older":    {func(w *world) { w.lose(); w.applied["gatewayWeightBlue"] = "0" }, "gatewayWeightBlue (not set"},
		"a generation that is over": {func(w *world) { w.lose(); w.applied["databaseGeneration"] = "3" }, "databaseGeneration (not set"},
		"a secret without a value":  {func(w *world) { w.lose(); w.noSecret = true }, "no value"},
		"a restore that fails":      {func(w *world) { w.lose(); w.broken = "foundationdb-restore" }, "non-empty"},
		"a check that cannot run":   {func(w *world) { w.lose(); w.broken = "coditect-check" }, "wrote no result"},
		"records that disagree":     {func(w *world) { w.lose(); w.faults = 2 }, "disagree with each other in 2 places"},
		"far fewer than were counted": {func(w *world) {
			w.lose()
			w.bucket["manifests/coditect/2026-11-26T01:41:00Z.json"] = `{"inventory":{"counts":{"users":9},"fingerprint":"sha256:x","read_version":4600,"exact":true}}`
		}, "1 users of 9"},
		"a count of the moment that differs": {func(w *world) {
			w.lose()
			w.bucket["manifests/coditect/"+generation1+".json"] = `{"inventory":{"counts":{"users":2},"fingerprint":"sha256:x","read_version":4711,"exact":true}}`
		}, "1 users instead of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			w, store := newWorld(t), workflow.In(t.TempDir())
			c.harm(w)
			_, err := w.recover(store, false)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("it ended with %v, want %q", err, c.want)
			}
			if phase := stacks.Phase(w.applied[keyPhase]); len(w.updates) > 0 && (phase == "" || phase == stacks.PhaseRehearse) {
				t.Errorf("something answers in phase %q", phase)
			}
			// What was wrong is mended, and the same command goes on.
			if w.broken != "" || w.faults > 0 {
				w.broken, w.faults = "", 0
				p, err := w.recover(store, false)
				if err != nil {
					t.Fatalf("after it was mended: %v", err)
				}
				w.final(t, p)
			}
		})
	}
}

// Whoever says so rebuilds another release than the last; another's generation, nobody.
func TestAsCommitted(t *testing.T) {
	w := newWorld(t)
	w.lose()
	e := w.operator(2, false)
	e.AsCommitted = true
	m, err := recovery.Choose(t.Context(), e, "latest")
	if err != nil {
		t.Fatal(err)
	}
	w.applied["serviceImageBlue"] = "registry.example/api@sha256:" + strings.Repeat("2", 64)
	if _, err := e.Inspect(t.Context(), m); err != nil {
		t.Errorf("another release: %v", err)
	}
	w.applied["databaseGeneration"] = "3"
	if _, err := e.Inspect(t.Context(), m); err == nil || !strings.Contains(err.Error(), "databaseGeneration") {
		t.Errorf("a generation that is over: %v", err)
	}
	// What an abandoned recovery has raised and not yet made is no older file.
	w.committed["databaseGeneration"], e.Generation = "4", 5
	if _, err := e.Inspect(t.Context(), m); err != nil {
		t.Errorf("a generation ahead: %v", err)
	}
}

// Moments are of every generation; one that was counted is the count's own version.
func TestMoments(t *testing.T) {
	w := newWorld(t)
	w.bucket["versions/coditect-2/2026-11-26T03:00:00Z.json"] = `{"at":"2026-11-26T03:00:00Z","read_version":7}`
	w.bucket["versions/coditect-2/readme.txt"] = "no moment"
	w.bucket["manifests/coditect/2026-11-26T02:12:00Z.json"] = `{"inventory":{"counts":{"users":1},"fingerprint":"sha256:x","read_version":4500,"exact":true}}`
	e := w.operator(3, true)
	all, err := e.Backups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range all {
		ids = append(ids, m.ID)
	}
	want := []string{"coditect/2026-11-26T02:10:00Z", "coditect/2026-11-26T02:12:00Z", "coditect/" + generation1, "coditect-2/2026-11-26T03:00:00Z"}
	if !slices.Equal(ids, want) {
		t.Fatalf("the moments are %v", ids)
	}
	for i, c := range []struct{ version, counted int64 }{{4000, 0}, {4500, 4500}, {4711, 4500}} {
		m, err := e.Inspect(t.Context(), all[i])
		if err != nil || len(m.Versions) != 1 || m.Versions[0].ReadVersion != c.version || m.Inventory.ReadVersion != c.counted || m.Engine != contract.EngineFoundationDB {
			t.Errorf("%s: %+v %v", m.ID, m, err)
		}
	}
}
