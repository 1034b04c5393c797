package recovery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/workflow"
)

// proofs is a bucket, and its store below a prefix, as bucket.Bucket has them.
type proofs map[string]string

func (p proofs) Names(_ context.Context, prefix string) ([]string, error) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (p proofs) Read(_ context.Context, name string) ([]byte, error) { return []byte(p[name]), nil }

func (p proofs) Get(context.Context, string) ([]byte, workflow.Version, error) {
	return nil, "", errors.New("nobody reads by the store")
}

func (p proofs) Put(_ context.Context, key string, content []byte, was workflow.Version) (workflow.Version, error) {
	name := "proven/" + key + ".json"
	if _, there := p[name]; there || was != "" {
		return "", workflow.ErrChanged
	}
	p[name] = string(content)
	return "1", nil
}

// A recovery is a proof among those of the scheduled drills, and the newest is told, whoever has written it.
func TestProofs(t *testing.T) {
	w := proofs{"manifests/coditect/x": "none of them"}
	last := func(by, backup string) {
		t.Helper()
		p, err := NewestProof(t.Context(), w, "proven/")
		if err != nil || p.By != by || p.Backup != backup || !p.OK {
			t.Errorf("the last proof is %+v, %v, want that of a %s from %s", p, err, by, backup)
		}
	}
	w["proven/readme.txt"] = "no proof"
	if _, err := NewestProof(t.Context(), w, "proven/"); !errors.Is(err, workflow.ErrAbsent) {
		t.Fatalf("before the first: %v", err)
	}
	w["proven/2026-11-21T05:30:00Z.json"] = `{"at":"2026-11-21T05:30:00Z","backup":"manifests/coditect/x","by":"drill","rto":300,"ok":true}`
	last("drill", "manifests/coditect/x")
	report := Report{
		Kind: "recovery", Ended: time.Date(2026, 11, 26, 4, 0, 0, 7, time.FixedZone("", 3600)), Backup: contract.Manifest{ID: "coditect/2026-11-26T02:15:00Z"},
		Found: contract.Inventory{Counts: map[string]int64{"users": 2, "sessions": 3}}, RTO: 900,
	}
	for range 2 { // the second is of a run that was cut off before it had told its report
		if err := report.Proven().Keep(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	last("recovery", "coditect/2026-11-26T02:15:00Z")
	if p, _ := NewestProof(t.Context(), w, "proven/"); p.Records != 5 || p.RTO != 900 || p.RPO != nil || w["proven/2026-11-26T03:00:00Z.json"] == "" {
		t.Errorf("kept is %+v in %v", p, w)
	}
	w["proven/2026-11-28T05:30:00Z.json"] = `{"at":`
	if _, err := NewestProof(t.Context(), w, "proven/"); err == nil {
		t.Error("a damaged proof is taken for one")
	}
}
