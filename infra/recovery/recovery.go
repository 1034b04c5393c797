// Package recovery owns how an environment comes back from nothing but the
// repository, its settings, a backup and the source of its secrets: the order
// of the steps, what proves them, and what they measured. A [Recovery] is such
// a run, a [Drill] the same under load in a scratch environment that is
// destroyed for it.
//
// It knows neither a cloud nor an engine: what it does to an environment is
// behind [Environment], each part fit to be done again, and what is done is
// saved by package workflow.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/workflow"
)

// Environment is what is recovered. Whatever was cut off may be asked for again.
type Environment interface {
	// Backups lists the whole backups, the oldest first.
	Backups(ctx context.Context) ([]contract.Manifest, error)
	// Inspect verifies that the backup is sound and that all it needs is there, as
	// far as that can be known before anything is brought up. It returns the
	// manifest with all that is known of the backup, of which a list may have less.
	Inspect(ctx context.Context, m contract.Manifest) (contract.Manifest, error)
	// Version is that of the service which will run.
	Version(ctx context.Context) (string, error)
	// Occupied tells whether the environment holds records.
	Occupied(ctx context.Context) (bool, error)
	// Infrastructure brings everything up but the service.
	Infrastructure(ctx context.Context) error
	// SetAside takes the records out of the environment, keeps them under the
	// name and returns where. Where it has done so already, it changes nothing.
	SetAside(ctx context.Context, name string) (string, error)
	// Restore fills the empty records with a backup, or goes on with it. Where it
	// has done so already, it changes nothing.
	Restore(ctx context.Context, m contract.Manifest) error
	// Check takes stock of the records.
	Check(ctx context.Context) (contract.Checked, error)
	// Rehearse runs the service where no client finds it, and returns its base URL
	// and the key that requests must carry there, "" for none.
	Rehearse(ctx context.Context) (base, key string, err error)
	// Admit lets traffic in, and returns the public base URL.
	Admit(ctx context.Context) (base string, err error)
}

// State is the data of a recovery.
type State struct {
	Backup contract.Manifest `json:"backup"`
	// Version is what the service must be; "" for whatever was built.
	Version string `json:"version,omitempty"`
	// Replace says that records which are there are set aside, and where they then are.
	Replace bool   `json:"replace,omitempty"`
	Aside   string `json:"aside,omitempty"`
	// Generation of the database that is filled; 0 where the engine has none.
	Generation int `json:"generation,omitempty"`
	// For is the drill that this belongs to.
	For string `json:"for,omitempty"`
	// Restoring says that the records are this run's own.
	Restoring bool               `json:"restoring,omitempty"`
	Found     contract.Inventory `json:"found"`
	Canary    account            `json:"canary"`
	// Rehearsal and Address are where the service answered before and after traffic was let in.
	Rehearsal string     `json:"rehearsal,omitempty"`
	Key       string     `json:"key,omitempty"` // keeps clients out of the rehearsal
	Address   string     `json:"address,omitempty"`
	Admitted  *time.Time `json:"admitted,omitempty"`
}

// Recovery is the workflow that rebuilds env. Its progress is saved under name.
func Recovery(name string, env Environment, now func() time.Time) workflow.Workflow[State] {
	r := recovery{env: env, now: now}
	return workflow.Workflow[State]{Name: name, Steps: []workflow.Step[State]{
		{Name: "inspect", Title: "Verify the backup and what it needs", Deadline: 15 * time.Minute, Run: r.inspect},
		{Name: "infrastructure", Title: "Bring everything up but the service", Deadline: time.Hour, Run: r.infrastructure},
		{Name: "set-aside", Title: "Set aside the records that are there", Deadline: 15 * time.Minute, Run: r.setAside},
		{Name: "restore", Title: "Restore the records", Deadline: 4 * time.Hour, Run: r.restore},
		{Name: "check", Title: "Hold the records against the backup's manifest", Deadline: time.Hour, Run: r.check},
		{Name: "rehearse", Title: "Run the service where no client finds it", Deadline: 30 * time.Minute, Run: r.rehearse},
		{Name: "smoke", Title: "Live a user's life through the gateway", Deadline: 5 * time.Minute, Run: r.smoke},
		{Name: "admit", Title: "Let traffic in", Deadline: 30 * time.Minute, Run: r.admit},
	}}
}

type recovery struct {
	env Environment
	now func() time.Time
}

type at = workflow.At[State]

func (r *recovery) inspect(ctx context.Context, at *at) error {
	d := at.Data
	if d.Version != "" {
		built, err := r.env.Version(ctx)
		if err != nil {
			return err
		}
		if built != d.Version {
			return problem.New(nil, "the service that was built is version %s and --version asks for %s: check that version out and build it, then run this again.", built, d.Version)
		}
	}
	occupied, err := r.env.Occupied(ctx)
	if err != nil {
		return err
	}
	if occupied && !d.Replace {
		return problem.New(nil, "the environment holds records, and a recovery only fills an empty one: to go back to an earlier state use `coditect rollback`; to begin from nothing take it away first.")
	}
	if d.Backup, err = r.env.Inspect(ctx, d.Backup); err != nil {
		return err
	}
	at.Say("backup %s of %s, %s", d.Backup.ID, d.Backup.CreatedAt.Format(time.RFC3339), describe(d.Backup.Inventory))
	return nil
}

func (r *recovery) infrastructure(ctx context.Context, _ *at) error {
	return r.env.Infrastructure(ctx)
}

func (r *recovery) setAside(ctx context.Context, at *at) (err error) {
	if !at.Data.Replace {
		return nil
	}
	at.Data.Aside, err = r.env.SetAside(ctx, "before-"+at.Began.Format("20060102T150405Z"))
	if err == nil {
		at.Say("they are kept in %s", at.Data.Aside)
	}
	return err
}

func (r *recovery) restore(ctx context.Context, at *at) error {
	at.Data.Restoring = true
	if err := at.Save(ctx); err != nil {
		return err
	}
	return r.env.Restore(ctx, at.Data.Backup)
}

func (r *recovery) check(ctx context.Context, at *at) error {
	c, err := r.env.Check(ctx)
	if err != nil {
		return err
	}
	at.Data.Found = c.Inventory
	if !c.OK {
		return problem.New(nil, "the restored records disagree with each other in %d places, such as: %s\nNo traffic was let in. Try an earlier backup: --from ID --abandon.", c.FaultCount, strings.Join(c.Faults[:min(3, len(c.Faults))], "; "))
	}
	want := at.Data.Backup.Inventory
	if !exact(at.Data.Backup) {
		if lost := want.Shrunk(c.Inventory); lost != "" {
			return problem.New(nil, "the restored records are far fewer than were counted at %s, the last time before the restored moment: %s.\nNo traffic was let in. If they were deleted in between, an earlier backup has them: --from ID --abandon.",
				at.Data.Backup.InventoryAt.Format(time.RFC3339), lost)
		}
		at.Say("%s; every index agrees. No count of the restored moment exists to compare with", describe(c.Inventory))
		return nil
	}
	if !c.Same(want) {
		return problem.New(nil, "the restored records are not those of the backup's manifest: %s.\nNo traffic was let in. Try an earlier backup: --from ID --abandon.", want.Difference(c.Inventory))
	}
	at.Say("%s, fingerprint as in the manifest", describe(c.Inventory))
	return nil
}

// exact tells whether the inventory is of the very moment that is restored: then
// counts and fingerprint must be the same. FoundationDB can restore any moment,
// and is counted at some.
func exact(m contract.Manifest) bool {
	if m.Engine != contract.EngineFoundationDB {
		return true
	}
	return m.Inventory.Exact && len(m.Versions) == 1 && m.Versions[0].ReadVersion == m.Inventory.ReadVersion
}

func describe(i contract.Inventory) string {
	if i.Counts == nil {
		return "not counted"
	}
	total := int64(0)
	for _, n := range i.Counts {
		total += n
	}
	return fmt.Sprintf("%d users, %d sessions, %d records in all", i.Counts["users"], i.Counts["sessions"], total)
}

func (r *recovery) rehearse(ctx context.Context, at *at) (err error) {
	at.Data.Rehearsal, at.Data.Key, err = r.env.Rehearse(ctx)
	return err
}

func (r *recovery) smoke(ctx context.Context, at *at) error {
	d := at.Data
	c := newClient(d.Rehearsal)
	defer c.close()
	c.key = d.Key
	if err := c.ready(ctx); err != nil { // what ran there may have ended with the machine
		if d.Rehearsal, d.Key, err = r.env.Rehearse(ctx); err != nil {
			return err
		}
		c.base, c.key = d.Rehearsal, d.Key
	}
	if d.Canary.Email != "" {
		if err := c.forget(ctx, d.Canary); err != nil {
			return fmt.Errorf("remove the canary of an earlier attempt: %w", err)
		}
	}
	d.Canary = newAccount("canary")
	if err := at.Save(ctx); err != nil {
		return err
	}
	if err := c.live(ctx, d.Canary); err != nil {
		return fmt.Errorf("the service does not work on the restored records: %w", err)
	}
	at.Say("registered, signed in, made a session, signed out, removed")
	d.Canary = account{}
	return nil
}

func (r *recovery) admit(ctx context.Context, at *at) (err error) {
	if at.Data.Address, err = r.env.Admit(ctx); err != nil {
		return err
	}
	now := r.now().UTC()
	at.Data.Admitted = &now
	return nil
}

// Choose finds a backup: "latest", an id, or the newest that was begun no later
// than a time (RFC 3339).
func Choose(ctx context.Context, env Environment, from string) (contract.Manifest, error) {
	all, err := env.Backups(ctx)
	if err != nil {
		return contract.Manifest{}, err
	}
	if len(all) == 0 {
		return contract.Manifest{}, problem.New(nil, "there is no whole backup: nothing can be restored.")
	}
	if from == "latest" {
		return all[len(all)-1], nil
	}
	moment, notTime := time.Parse(time.RFC3339, from)
	for _, m := range slices.Backward(all) {
		if m.ID == from || notTime == nil && !m.CreatedAt.After(moment) {
			return m, nil
		}
	}
	return contract.Manifest{}, problem.New(errors.Join(notTime), "there is no backup %s: it is latest, a time like %s, or one of %s to %s.",
		from, all[len(all)-1].CreatedAt.Format(time.RFC3339), all[0].ID, all[len(all)-1].ID)
}

// Loss says what a rollback to the backup takes away: per kind, how many
// records there are now and how many there will be. Records that were changed
// since and are still as many are lost in their new form, too.
func Loss(now, then contract.Inventory) []string {
	kinds := map[string]int64{}
	maps.Copy(kinds, now.Counts)
	maps.Copy(kinds, then.Counts)
	var lines []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if a, b := now.Counts[kind], then.Counts[kind]; a != b {
			lines = append(lines, fmt.Sprintf("%s: %d now, %d then (%+d)", kind, a, b, b-a))
		}
	}
	return lines
}
