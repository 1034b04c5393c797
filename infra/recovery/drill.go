package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/workflow"
)

// Scratch is an environment of the drill's own. Nothing of it is shared with the
// environment that the drill is for.
type Scratch interface {
	Environment
	// Populate makes its infrastructure, and its records of so many users.
	Populate(ctx context.Context, users int) error
	// Up runs the service on them, and returns its public base URL.
	Up(ctx context.Context) (base string, err error)
	// Wreck kills every process of it at once and takes its disk away.
	Wreck(ctx context.Context) error
	// Remove takes everything of it away, its backups included.
	Remove(ctx context.Context) error
}

// DrillOptions say how large a drill is.
type DrillOptions struct {
	Users int
	// Writers write at the same time, one session after the other, Pause apart.
	Writers int
	Pause   time.Duration
	// After is how many writes are acknowledged after the last backup began, before the end comes.
	After int
	// Ledger is the directory in which acknowledged writes are recorded, outside of the environment.
	Ledger string
	// Store keeps the progress of the drill and of the recovery within.
	Store workflow.Store
	Owner workflow.Owner
	Now   func() time.Time
	Watch func(workflow.Event) // of the recovery within
}

// Drilled is the data of a drill.
type Drilled struct {
	ID       string              `json:"id"`
	Address  string              `json:"address"`
	Accounts []account           `json:"accounts"`
	Lost     *time.Time          `json:"lost,omitempty"` // the environment was destroyed
	Recovery *workflowOfRecovery `json:"recovery,omitempty"`
	Compared *Comparison         `json:"compared,omitempty"`
}

type workflowOfRecovery = workflow.Progress[State]

// DrillName and DrillRecoveryName are what the progress of a drill, and of the recovery within, are saved under.
const (
	DrillName         = "drill"
	DrillRecoveryName = "drill-recovery"
)

// Drill is the workflow that destroys a scratch environment under load and proves that it comes back.
func Drill(env Scratch, o DrillOptions) workflow.Workflow[Drilled] {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &drill{env: env, DrillOptions: o}
	return workflow.Workflow[Drilled]{Name: DrillName, Steps: []workflow.Step[Drilled]{
		{Name: "fill", Title: "Make a scratch environment with users", Deadline: 30 * time.Minute, Run: d.fill},
		{Name: "serve", Title: "Run the service on it", Deadline: 30 * time.Minute, Run: d.serve},
		{Name: "back-up", Title: "Wait for backups, while others write", Deadline: 15 * time.Minute, Run: d.backUp},
		{Name: "destroy", Title: "Destroy it without warning, while others write", Deadline: 15 * time.Minute, Run: d.destroy},
		{Name: "recover", Title: "Rebuild it from the newest backup", Deadline: 2 * time.Hour, Run: d.recover},
		{Name: "compare", Title: "Compare what was acknowledged with what came back", Deadline: 15 * time.Minute, Run: d.compare},
		{Name: "remove", Title: "Remove the scratch environment", Deadline: 30 * time.Minute, Run: d.remove},
	}}
}

type drill struct {
	DrillOptions

	env Scratch
}

type atDrill = workflow.At[Drilled]

func (d *drill) fill(ctx context.Context, at *atDrill) error {
	if at.Data.ID == "" {
		// What an abandoned drill has left is not this one's.
		if err := d.env.Remove(ctx); err != nil {
			return err
		}
		if err := clearLedger(d.Ledger); err != nil {
			return err
		}
		at.Data.ID = at.Began.Format("20060102T150405.000Z")
		for range d.Writers {
			at.Data.Accounts = append(at.Data.Accounts, newAccount("writer"))
		}
		if err := at.Save(ctx); err != nil {
			return err
		}
	}
	if err := d.env.Populate(ctx, d.Users); err != nil {
		return err
	}
	at.Say("%d users", d.Users)
	return nil
}

func (d *drill) serve(ctx context.Context, at *atDrill) (err error) {
	at.Data.Address, err = d.env.Up(ctx)
	return err
}

// whole returns the backups that were begun since then.
func (d *drill) whole(ctx context.Context, since time.Time) ([]contract.Manifest, error) {
	all, err := d.env.Backups(ctx)
	if err != nil {
		return nil, err
	}
	for i, m := range all {
		if !m.CreatedAt.Before(since) {
			return all[i:], nil
		}
	}
	return nil, nil
}

func (d *drill) backUp(ctx context.Context, at *atDrill) error {
	return d.writing(ctx, at, func(ctx context.Context, w *writers) error {
		if err := poll(ctx, "writes", func() (bool, error) { return w.acknowledged() >= d.After, nil }); err != nil {
			return err
		}
		since := d.Now()
		return poll(ctx, "two backups", func() (bool, error) {
			all, err := d.whole(ctx, since)
			return len(all) >= 2, err
		})
	})
}

func (d *drill) destroy(ctx context.Context, at *atDrill) error {
	if at.Data.Lost == nil {
		err := d.writing(ctx, at, func(served context.Context, w *writers) error {
			before := w.acknowledged()
			if err := poll(served, "writes", func() (bool, error) { return w.acknowledged() >= before+d.After, nil }); err != nil {
				return err
			}
			now := d.Now().UTC()
			at.Data.Lost = &now
			if err := at.Save(ctx); err != nil {
				return err
			}
			return d.env.Wreck(ctx)
		})
		if err != nil {
			return err
		}
	}
	return d.env.Wreck(ctx)
}

func (d *drill) recover(ctx context.Context, at *atDrill) error {
	within := Recovery(DrillRecoveryName, d.env, d.Now)
	m, err := Choose(ctx, d.env, "latest")
	if err != nil {
		return err
	}
	// An unfinished recovery goes on with the backup that it has chosen, unless it is another drill's.
	abandon := false
	if saved, err := within.Peek(ctx, d.Store); err == nil {
		abandon = saved.Data.For != at.Data.ID
		if saved.Finished() && !abandon { // and only this step's end was not saved
			at.Data.Recovery = saved
			return nil
		}
	} else if !errors.Is(err, workflow.ErrAbsent) {
		return err
	}
	p, err := within.Execute(ctx, workflow.Options[State]{
		Store: d.Store, Owner: d.Owner, Now: d.Now, Watch: d.Watch, Abandon: abandon,
	}, State{Backup: m, For: at.Data.ID})
	if err != nil {
		return err
	}
	at.Data.Recovery = p
	return nil
}

func (d *drill) compare(ctx context.Context, at *atDrill) error {
	data := at.Data.Recovery.Data
	c := newClient(data.Address)
	defer c.close()
	compared, err := compare(ctx, c, d.Ledger, at.Data.Accounts, data.Backup.CreatedAt)
	if err != nil {
		return err
	}
	at.Data.Compared = &compared
	at.Say("%d acknowledged, %d came back, %d lost, all of these after the backup began", compared.Acknowledged, compared.Recovered, compared.Lost)
	return compared.err()
}

func (d *drill) remove(ctx context.Context, _ *atDrill) error {
	if err := d.env.Remove(ctx); err != nil {
		return err
	}
	return clearLedger(d.Ledger)
}

// poll asks until it is so, or the step's time is over.
func poll(ctx context.Context, what string, so func() (bool, error)) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := so()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
