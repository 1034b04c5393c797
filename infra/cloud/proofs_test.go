package cloud

import (
	"context"
	"errors"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/recovery"
	"coditect.ai/platform/infra/workflow"
)

// proofs is the world's bucket below backup.Proofs, as bucket.Store has it.
type proofs struct {
	workflow.Store // nobody reads by it

	w *world
}

func (p proofs) Put(_ context.Context, key string, content []byte, was workflow.Version) (workflow.Version, error) {
	name := "proven/" + key + ".json"
	if _, there := p.w.bucket[name]; there || was != "" {
		return "", workflow.ErrChanged
	}
	p.w.bucket[name] = string(content)
	return "1", nil
}

// A recovery is a proof among those of the scheduled drills, and the newest is told, whoever has written it.
func TestProofs(t *testing.T) {
	w := newWorld(t)
	last := func(by, backup string) {
		t.Helper()
		p, err := LastProven(t.Context(), w)
		if err != nil || p.By != by || p.Backup != backup || !p.OK {
			t.Errorf("the last proof is %+v, %v, want that of a %s from %s", p, err, by, backup)
		}
	}
	w.bucket["proven/readme.txt"] = "no proof"
	if _, err := LastProven(t.Context(), w); !errors.Is(err, workflow.ErrAbsent) {
		t.Fatalf("before the first: %v", err)
	}
	w.bucket["proven/2026-11-21T05:30:00Z.json"] = `{"at":"2026-11-21T05:30:00Z","backup":"manifests/coditect/x","by":"drill","rto":300,"ok":true}`
	last("drill", "manifests/coditect/x")
	report := recovery.Report{
		Kind: "recovery", Ended: time.Date(2026, 11, 26, 4, 0, 0, 7, time.FixedZone("", 3600)), Backup: contract.Manifest{ID: "coditect/" + generation1},
		Found: contract.Inventory{Counts: map[string]int64{"users": 2, "sessions": 3}}, RTO: 900,
	}
	for range 2 { // the second is of a run that was cut off before it had told its report
		if err := Prove(t.Context(), proofs{w: w}, report.Proven()); err != nil {
			t.Fatal(err)
		}
	}
	last("recovery", "coditect/"+generation1)
	if p, _ := LastProven(t.Context(), w); p.Records != 5 || p.RTO != 900 || p.RPO != nil || w.bucket["proven/2026-11-26T03:00:00Z.json"] == "" {
		t.Errorf("kept is %+v in %v", p, w.bucket)
	}
	w.bucket["proven/2026-11-28T05:30:00Z.json"] = `{"at":`
	if _, err := LastProven(t.Context(), w); err == nil {
		t.Error("a damaged proof is taken for one")
	}
}
