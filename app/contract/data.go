package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// What the commands that belong to the data print and write. All sizes are in
// bytes, all times in UTC.

// Commands of the binary that belong to the data.
const (
	CheckCommand    = "check"
	BackupCommand   = "backup"
	RestoreCommand  = "restore"
	ManifestCommand = "manifest"
	MigrateCommand  = "migrate"
	// ResealCommand seals what is kept of authenticator apps with the first key.
	ResealCommand = "reseal"
	// PopulateCommand fills an empty store with users and sessions.
	PopulateCommand = "populate"
)

// ManifestFile is the name of a manifest in its backup's directory. A backup
// without one is not whole: it is written last, and atomically.
const ManifestFile = "manifest.json"

// Inventory is what a store holds, in figures that two stores with the same
// records have in common, whichever engines keep them.
type Inventory struct {
	// SchemaVersion is that of the store, from 1.
	SchemaVersion int `json:"schema_version"`
	// Counts are the records by kind. Indexes are not among them, nor what
	// passes by itself: throttles, challenges, kept answers, letters, removals, leases.
	Counts map[string]int64 `json:"counts"`
	// Fingerprint is "sha256:" and 64 hexadecimal digits, over the same records.
	Fingerprint string `json:"fingerprint"`
	// ReadVersion is the engine's version of the snapshot that was read, the
	// last of them where there were several.
	ReadVersion int64 `json:"read_version"`
	// Exact says that all of it was read from one snapshot. If not, each record
	// is as it was at some moment of the walk, and two walks over a store that
	// is written to differ.
	Exact bool `json:"exact"`
}

// Same reports whether two stores of these inventories hold the same records.
// It says nothing of two that were not exact.
func (i Inventory) Same(other Inventory) bool {
	return i.Fingerprint != "" && i.Fingerprint == other.Fingerprint && i.SchemaVersion == other.SchemaVersion
}

// Difference says in which figures a store that was found differs; "" where it is the same.
func (i Inventory) Difference(found Inventory) string {
	if i.Same(found) {
		return ""
	}
	var faults []string
	if i.SchemaVersion != found.SchemaVersion {
		faults = append(faults, fmt.Sprintf("schema %d instead of %d", found.SchemaVersion, i.SchemaVersion))
	}
	kinds := map[string]int64{}
	maps.Copy(kinds, i.Counts)
	maps.Copy(kinds, found.Counts)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if i.Counts[kind] != found.Counts[kind] {
			faults = append(faults, fmt.Sprintf("%d %s instead of %d", found.Counts[kind], kind, i.Counts[kind]))
		}
	}
	if len(faults) == 0 {
		faults = append(faults, fmt.Sprintf("the same counts, and fingerprint %s instead of %s", found.Fingerprint, i.Fingerprint))
	}
	return strings.Join(faults, ", ")
}

// Shrunk names the kinds of which a store that was found has less than half: what
// can be said of a moment that was not counted itself; "" where there are none.
func (i Inventory) Shrunk(found Inventory) string {
	var lost []string
	for _, kind := range slices.Sorted(maps.Keys(i.Counts)) {
		if found.Counts[kind] < i.Counts[kind]/2 {
			lost = append(lost, fmt.Sprintf("%d %s of %d", found.Counts[kind], kind, i.Counts[kind]))
		}
	}
	return strings.Join(lost, ", ")
}

// Checked is what `coditect-api check --json` prints. The command fails unless OK.
type Checked struct {
	Inventory
	OK bool `json:"ok"`
	// Keys counts every key by kind, indexes and all.
	Keys map[string]int64 `json:"keys"`
	// FaultCount is the number of keys at fault, Faults the first hundred of them, a sentence each.
	FaultCount int64    `json:"fault_count"`
	Faults     []string `json:"faults"`
	// Repairs are, with --repair, what was done about faults, or would be with --apply.
	Repairs []Repair `json:"repairs,omitempty"`
}

// Repair says how a fault is mended, or why it is not.
type Repair struct {
	Fault  string `json:"fault"`
	Action string `json:"action,omitempty"`
	Why    string `json:"why,omitempty"` // there is no action
}

// VersionAt says that the engine's read version was ReadVersion no later than
// At: a restore to it has nothing that was written after At.
type VersionAt struct {
	At          time.Time `json:"at"`
	ReadVersion int64     `json:"read_version"`
}

// ManifestFormat is the format of the manifests that this release writes.
const ManifestFormat = 1

// Manifest describes a backup.
type Manifest struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`     // of the backup: the name of its directory, in order of time
	Engine    string    `json:"engine"` // EngineEmbedded or EngineFoundationDB
	CreatedAt time.Time `json:"created_at"`
	// Versions are in order of time. A backup of the embedded engine has one:
	// the moment that it shows. A manifest beside FoundationDB's own backups
	// has many: what to restore to.
	Versions []VersionAt `json:"versions"`
	// Inventory is what the store held at InventoryAt.
	Inventory   Inventory `json:"inventory"`
	InventoryAt time.Time `json:"inventory_at"`

	ProgramVersion string `json:"program_version"`
	Commit         string `json:"commit"`

	// Data is empty where the engine's own tools keep the data.
	Data       string `json:"data,omitempty"` // a file's name in the backup's directory
	DataSize   int64  `json:"data_size,omitempty"`
	DataSHA256 string `json:"data_sha256,omitempty"` // 64 hexadecimal digits
}
