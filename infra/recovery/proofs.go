package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coditect.ai/platform/infra/workflow"
)

// Bucket holds proofs of restores.
type Bucket interface {
	// Names of the objects that begin with the prefix, in order.
	Names(ctx context.Context, prefix string) ([]string, error)
	Read(ctx context.Context, name string) ([]byte, error)
}

// NewestProof returns the newest proof of a restore below the prefix, of a scheduled
// drill or a recovery, or [workflow.ErrAbsent].
func NewestProof(ctx context.Context, b Bucket, prefix string) (Proven, error) {
	var p Proven
	names, err := b.Names(ctx, prefix)
	if err != nil {
		return p, fmt.Errorf("list the proofs of restores: %w", err)
	}
	for _, name := range slices.Backward(names) {
		// Only what is named after a time counts, as for the alert on their age.
		text, ours := strings.CutSuffix(strings.TrimPrefix(name, prefix), ".json")
		if _, err := time.Parse(time.RFC3339, text); !ours || err != nil {
			continue
		}
		content, err := b.Read(ctx, name)
		if err != nil {
			return p, fmt.Errorf("read the last proof of a restore: %w", err)
		}
		if err := json.Unmarshal(content, &p); err != nil {
			return p, fmt.Errorf("understand %s: %w", name, err)
		}
		return p, nil
	}
	return p, fmt.Errorf("find a proof of a restore: %w", workflow.ErrAbsent)
}

// Keep keeps the restore as proven, among the proofs of the scheduled drills: the
// alert on their age goes by both. The store is that of their bucket's prefix.
func (p Proven) Keep(ctx context.Context, proofs workflow.Store) error {
	content, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the proven restore: %w", err)
	}
	_, err = proofs.Put(ctx, p.At.UTC().Format(time.RFC3339), content, "")
	if err != nil && !errors.Is(err, workflow.ErrChanged) { // one of the same second is as new
		return fmt.Errorf("record the proven restore: %w", err)
	}
	return nil
}
