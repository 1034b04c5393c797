package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/recovery"
	"coditect.ai/platform/infra/workflow"
)

// LastProven returns the newest proof of a restore in the bucket, of a scheduled
// drill or a recovery, or [workflow.ErrAbsent].
func LastProven(ctx context.Context, b Bucket) (recovery.Proven, error) {
	var p recovery.Proven
	names, err := b.Names(ctx, backup.Proofs)
	if err != nil {
		return p, fmt.Errorf("list the proofs of restores: %w", err)
	}
	for i := len(names) - 1; i >= 0; i-- {
		// Only what is named after a time counts, as for the alert on their age.
		text, ours := strings.CutSuffix(strings.TrimPrefix(names[i], backup.Proofs), ".json")
		if _, err := time.Parse(time.RFC3339, text); !ours || err != nil {
			continue
		}
		content, err := b.Read(ctx, names[i])
		if err != nil {
			return p, fmt.Errorf("read the last proof of a restore: %w", err)
		}
		if err := json.Unmarshal(content, &p); err != nil {
			return p, fmt.Errorf("understand %s: %w", names[i], err)
		}
		return p, nil
	}
	return p, fmt.Errorf("find a proof of a restore: %w", workflow.ErrAbsent)
}

// Prove keeps a restore as proven, among the proofs of the scheduled drills: the
// alert on their age goes by both. The store is that of the bucket below [backup.Proofs].
func Prove(ctx context.Context, proofs workflow.Store, p recovery.Proven) error {
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
