package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/store"
)

// Record adds the store's read version of now to the manifest of d, which it
// begins where there is none, and takes the inventory anew when that is older
// than takeAfter. It keeps the newest pairs. This is the manifest beside backups that
// the engine's own tools make: which version to restore for a given time, and
// what should then be there.
func (d Dir) Record(ctx context.Context, st *store.Store, keep int, takeAfter time.Duration) (contract.Manifest, error) {
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return contract.Manifest{}, fmt.Errorf("make the manifest's directory: %w", err)
	}
	unlock, err := d.lock()
	if err != nil {
		return contract.Manifest{}, err
	}
	defer unlock()
	m, err := ReadManifest(d.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		now := d.Now().UTC()
		m = contract.Manifest{Format: contract.ManifestFormat, ID: now.Format(idForm), Engine: d.Program.Engine, CreatedAt: now}
	case err != nil:
		return m, err
	case m.Engine != d.Program.Engine || m.Data != "":
		return m, fmt.Errorf("the manifest in %s is of another kind of backup (engine %s): name another directory", d.Path, m.Engine)
	}
	m.ProgramVersion, m.Commit = d.Program.Version, d.Program.Commit
	if m.InventoryAt.IsZero() || d.Now().Sub(m.InventoryAt) >= takeAfter {
		if m.Inventory, err = st.Inventory(ctx); err != nil {
			return m, err
		}
		m.InventoryAt = d.Now().UTC()
	}
	version, err := st.Version(ctx)
	if err != nil {
		return m, fmt.Errorf("read the store's version: %w", err)
	}
	// The time is read after the version: at it, the version was at least that.
	m.Versions = append(m.Versions, contract.VersionAt{At: d.Now().UTC(), ReadVersion: version})
	m.Versions = m.Versions[max(0, len(m.Versions)-keep):]
	return m, WriteManifest(d.Path, m)
}
