package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store"
)

// Restore fills an empty store with the backup in dir: the data is verified
// before anything is written, what is in the store afterwards against the
// manifest. A restore that was cut short goes on when it is started again; until
// it has ended well the store serves nobody. The report is of the store's
// integrity, which is the source's at the time of the backup.
func Restore(ctx context.Context, st *store.Store, dir string) (contract.Manifest, store.Report, error) {
	m, err := ReadManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return m, store.Report{}, fmt.Errorf("%s is no backup, or one that was never finished: it has no %s", dir, contract.ManifestFile)
	}
	if err != nil {
		return m, store.Report{}, err
	}
	if m.Data == "" || m.Data != filepath.Base(m.Data) {
		return m, store.Report{}, fmt.Errorf("the manifest in %s names no data of its own: what it describes is restored by the tools of %s", dir, m.Engine)
	}
	if err := verify(dir, m); err != nil {
		return m, store.Report{}, fmt.Errorf("verify the backup before anything is written: %w", err)
	}
	report, err := fill(ctx, st, filepath.Join(dir, m.Data), m)
	return m, report, err
}

func fill(ctx context.Context, st *store.Store, file string, m contract.Manifest) (store.Report, error) {
	f, err := os.Open(file)
	if err != nil {
		return store.Report{}, err
	}
	defer func() { _ = f.Close() }() // was only read
	loader, err := st.Load(ctx, m.ID+" "+m.DataSHA256)
	if err != nil {
		return store.Report{}, err
	}
	if err := decode(f, func(p kv.Pair) error { return loader.Put(ctx, p) }); err != nil {
		return store.Report{}, err
	}
	report, err := loader.Check(ctx)
	if err != nil {
		return report, err
	}
	if got, want := report.Inventory, m.Inventory; !got.Same(want) || !maps.Equal(got.Counts, want.Counts) {
		return report, fmt.Errorf("the store now holds %v with fingerprint %s (schema %d), the manifest says %v with %s (schema %d): it serves nobody; empty it and restore again",
			got.Counts, got.Fingerprint, got.SchemaVersion, want.Counts, want.Fingerprint, want.SchemaVersion)
	}
	return report, loader.Release(ctx)
}
