package cloud

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/secrets"
)

// Backups lists the moments whose version was recorded, the oldest first, each
// named after its backup and its time. What a moment's version is, and what was
// counted then, [Environment.Inspect] reads.
func (e *Environment) Backups(ctx context.Context) ([]contract.Manifest, error) {
	var found []contract.Manifest
	seen := map[string]bool{}
	for _, prefix := range []string{backup.Inventories, backup.Versions} {
		names, err := e.Bucket.Names(ctx, prefix)
		if err != nil {
			return nil, fmt.Errorf("list the recorded versions: %w", err)
		}
		for _, name := range names {
			id, ours := strings.CutSuffix(strings.TrimPrefix(name, prefix), ".json")
			_, at, err := moment(id)
			if !ours || err != nil || seen[id] {
				continue
			}
			seen[id] = true
			found = append(found, contract.Manifest{Format: contract.ManifestFormat, ID: id, Engine: contract.EngineFoundationDB, CreatedAt: at})
		}
	}
	slices.SortFunc(found, func(a, b contract.Manifest) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return found, nil
}

// moment takes an ID apart: the backup's name and a time.
func moment(id string) (name string, at time.Time, err error) {
	name, text, found := strings.Cut(id, "/")
	if found {
		at, err = time.Parse(time.RFC3339, text)
	}
	if !found || err != nil || name == "" {
		return "", at, problem.New(err, "%q names no backup: it is NAME/TIME, like coditect/2026-11-26T02:15:00Z.", id)
	}
	return name, at, nil
}

// Inspect reads the moment's version and the last count before it, and verifies
// that there is a backup of that name and the secret that its records need, and
// that the file says the releases which ran last. That the backup reaches the
// version, FoundationDB itself says before it restores.
func (e *Environment) Inspect(ctx context.Context, m contract.Manifest) (contract.Manifest, error) {
	name, at, err := moment(m.ID)
	if err != nil {
		return m, err
	}
	if name == e.Stack.Settings().BackupName() && e.Generation == e.Stack.Settings().Database.Generation {
		return m, problem.New(nil, "the backup %s is of the generation that is being filled: choose one of an earlier.", m.ID)
	}
	files, err := e.Bucket.Names(ctx, backup.Files+name+"/")
	if err != nil {
		return m, fmt.Errorf("look for the backup %s: %w", name, err)
	}
	if len(files) == 0 {
		return m, problem.New(nil, "the bucket has no backup %s, though versions of it are recorded: choose another with --from.", name)
	}
	if err := e.counted(ctx, &m, name, at); err != nil {
		return m, err
	}
	if len(m.Versions) == 0 { // the moment is not that of a count
		var pair contract.VersionAt
		if err := e.read(ctx, backup.Versions+m.ID+".json", &pair); err != nil {
			return m, err
		}
		m.Versions = []contract.VersionAt{pair}
	}
	if v := m.Versions[0]; v.ReadVersion <= 0 || !v.At.Equal(at) {
		return m, problem.New(nil, "the record of %s is damaged (version %d at %s): choose another moment with --from.", m.ID, v.ReadVersion, v.At.Format(time.RFC3339))
	}
	if err := e.Ready(ctx, secrets.JWT); err != nil {
		return m, err
	}
	return m, e.upToDate(ctx)
}

// upToDate refuses a file that is older than the last update: what is rebuilt of it
// would be another release than the one that was lost, on records of that one.
func (e *Environment) upToDate(ctx context.Context) error {
	behind, err := e.Stack.Behind(ctx)
	if err != nil {
		return err
	}
	behind = slices.DeleteFunc(behind, func(d Difference) bool {
		if d.Key != keyGeneration {
			return e.AsCommitted
		}
		// An abandoned recovery has raised it. Going back is never right: the backup of
		// a generation is that of no other.
		last, err := strconv.Atoi(d.Last)
		return err == nil && e.Stack.Settings().Database.Generation >= last
	})
	if len(behind) == 0 {
		return nil
	}
	return problem.New(nil, "the environment's file in this checkout differs from the last update, in %s: take over what was committed since, or what releases have made (`coditect rollout settings`), or set these as they were, then run this again. To rebuild the file's releases all the same: --as-committed.", Differences(behind))
}

// counted takes over the newest count that is no younger than the moment. Where
// it is of the moment itself, the version that is restored is the count's own.
func (e *Environment) counted(ctx context.Context, m *contract.Manifest, name string, at time.Time) error {
	names, err := e.Bucket.Names(ctx, backup.Inventories+name+"/")
	if err != nil {
		return fmt.Errorf("look for the counts of %s: %w", name, err)
	}
	for _, object := range slices.Backward(names) {
		id, ours := strings.CutSuffix(strings.TrimPrefix(object, backup.Inventories), ".json")
		_, counted, err := moment(id)
		if !ours || err != nil || counted.After(at) {
			continue
		}
		var count contract.Manifest
		if err := e.read(ctx, object, &count); err != nil {
			return err
		}
		m.Inventory, m.InventoryAt, m.ProgramVersion, m.Commit = count.Inventory, count.InventoryAt, count.ProgramVersion, count.Commit
		if counted.Equal(at) {
			m.Versions = []contract.VersionAt{{At: at, ReadVersion: count.Inventory.ReadVersion}}
		}
		return nil
	}
	return nil
}

func (e *Environment) read(ctx context.Context, name string, into any) error {
	text, err := e.Bucket.Read(ctx, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return problem.New(err, "the record %s of the bucket is damaged (%v): choose another moment with --from.", name, err)
	}
	return nil
}

// Counted is the newest count of the present generation, and when it was taken;
// none where there is none. It is up to an hour old.
func (e *Environment) Counted(ctx context.Context) (contract.Inventory, time.Time, error) {
	var m contract.Manifest
	err := e.counted(ctx, &m, e.Stack.Settings().BackupName(), time.Unix(1<<40, 0))
	return m.Inventory, m.InventoryAt, err
}
