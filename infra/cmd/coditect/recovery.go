package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/bucket"
	"coditect.ai/platform/infra/cloud"
	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/recovery"
	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

// provenAge is the age at which the last proven restore proves too little.
const provenAge = 7 * 24 * time.Hour

// recoveryName is what the progress of a recovery or a rollback is saved under.
const recoveryName = "recovery"

func recoveryDir(env *local.Environment, name string) string {
	return filepath.Join(env.Root(), ".data", "recovery", name)
}

func recoveryStore(env *local.Environment) workflow.Store {
	return workflow.In(recoveryDir(env, local.Name))
}

// target is an environment as commands about recoveries see it.
type target struct {
	recovery.Environment

	name  string
	local *local.Environment // finds the repository, whatever the environment
	store workflow.Store
	// next is the generation of the database that a recovery which begins now fills; 0 where there are none.
	next func() int
	// take prepares the environment for a run, new or unfinished.
	take func(recovery.State)
	// record keeps a restore as proven.
	record func(context.Context, recovery.Report) error
	// present is what the environment holds, and the moment at which that was so.
	present func(context.Context) (contract.Inventory, time.Time, error)
}

// recovering adds --env to cmd and returns what opens the environment.
func recovering(cmd *cobra.Command) func() (*target, error) {
	name := cmd.Flags().String("env", local.Name, "the environment: local, dev, staging or prod")
	asCommitted := cmd.Flags().Bool("as-committed", false, "in the cloud: run the releases of the environment's file, though the last update had others")
	return func() (*target, error) {
		env, err := local.Open(".", cmd.OutOrStdout())
		if err != nil {
			return nil, err
		}
		switch e := stacks.Environment(*name); {
		case !e.Known():
			return nil, unknown(*name)
		case e.Cloud():
			return cloudTarget(cmd, env, *name, *asCommitted)
		}
		return &target{
			Environment: env, name: *name, local: env, store: recoveryStore(env),
			next: func() int { return 0 }, take: func(recovery.State) {},
			record: func(ctx context.Context, r recovery.Report) error { return r.Record(ctx, recoveryStore(env)) },
			present: func(ctx context.Context) (contract.Inventory, time.Time, error) {
				now, err := env.Check(ctx)
				return now.Inventory, time.Now(), err
			},
		}, nil
	}
}

// cloudTarget opens an environment of the cloud: its stack in the operator's own
// backend, the bucket of its backups, and, when it is there, its cluster.
func cloudTarget(cmd *cobra.Command, env *local.Environment, name string, asCommitted bool) (*target, error) {
	ctx := cmd.Context()
	stack, err := cloudStack(ctx, env, name, cmd.OutOrStdout(), program.Rebuild)
	if err != nil {
		return nil, err
	}
	s := stack.Settings()
	backups, err := bucket.Open(ctx, s.BackupBucket())
	if err != nil {
		return nil, err
	}
	secrets, err := cloud.OpenSecrets(ctx, s.Cloud.ProjectID)
	if err != nil {
		return nil, err
	}
	e := cloud.New(cloud.Options{
		Stack: stack, Bucket: backups, Ready: secrets.Ready,
		Connect: connect, AsCommitted: asCommitted,
	})
	return &target{
		Environment: e, name: name, local: env, store: backups.Store(stacks.Operations), next: e.Next, present: e.Counted,
		record: func(ctx context.Context, r recovery.Report) error {
			return r.Proven().Keep(ctx, backups.Store(strings.TrimSuffix(backup.Proofs, "/")))
		},
		take: func(s recovery.State) { e.Generation, e.Replace = s.Generation, s.Replace },
	}, nil
}

func recoverCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "recover", Short: "Rebuild a lost environment from a backup, or go on with it", Args: cobra.NoArgs}
	open := recovering(cmd)
	from := cmd.Flags().String("from", "latest", "the backup: latest, its id, or a time (RFC 3339) that it is not to be younger than")
	version := cmd.Flags().String("version", "", "refuse to run another version of the service than this; in the cloud, another image than the one of this digest (sha256:…)")
	abandon := cmd.Flags().Bool("abandon", false, "begin anew instead of going on with an unfinished recovery")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := open()
		if err != nil {
			return err
		}
		m, err := recovery.Choose(cmd.Context(), t, *from)
		if err != nil {
			return err
		}
		return operation(cmd, t.local, func(ctx context.Context) error {
			return t.rebuild(ctx, cmd, recovery.State{Backup: m, Version: *version}, cmd.Flags().Changed("from"), *abandon)
		})
	}
	return cmd
}

func rollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback", Short: "Take an environment's records or its infrastructure back; without --confirm, say what that loses", Args: cobra.NoArgs,
		Long: `Takes the records of an environment back to an earlier backup, --to its id or a time.

With --infrastructure it takes what the records live in back to the settings of
an earlier revision of the repository instead, --to that or the last good one.

Without --confirm it says what would be lost, and does nothing.`,
	}
	open := recovering(cmd)
	infrastructure := cmd.Flags().Bool("infrastructure", false, "take the infrastructure back, and no records")
	alone := cmd.Flags().Bool("settings-alone", false, "with --infrastructure: though the program has changed since")
	to := cmd.Flags().String("to", "", "the backup: its id, or a time (RFC 3339) that it is not to be younger than; with --infrastructure a git revision")
	confirm := cmd.Flags().String("confirm", "", "the environment's name: do it")
	abandon := cmd.Flags().Bool("abandon", false, "begin anew instead of going on with an unfinished one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *infrastructure {
			return reversion{named(cmd), *to, *confirm, *alone}.run(cmd)
		}
		if *to == "" {
			return problem.New(nil, "name the backup to go back to with --to: its id, or a time that it is not to be younger than.")
		}
		t, err := open()
		if err != nil {
			return err
		}
		m, err := recovery.Choose(cmd.Context(), t, *to)
		if err != nil {
			return err
		}
		if *confirm == "" {
			return t.tellLoss(cmd, m)
		}
		if *confirm != t.name {
			return problem.New(nil, "--confirm names %s and the environment is %s: nothing was done.", *confirm, t.name)
		}
		return operation(cmd, t.local, func(ctx context.Context) error {
			return t.rebuild(ctx, cmd, recovery.State{Backup: m, Replace: true}, true, *abandon)
		})
	}
	return cmd
}

// tellLoss is the dry run of a rollback: the backup is verified, and the present records are held against it.
func (t *target) tellLoss(cmd *cobra.Command, m contract.Manifest) error {
	out := cmd.OutOrStdout()
	m, err := t.Inspect(cmd.Context(), m)
	if err != nil {
		return err
	}
	now, at, err := t.present(cmd.Context())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The backup %s of %s is sound. Everything that was written after it would be taken away:\n", m.ID, m.CreatedAt.Format(time.RFC3339))
	lines := recovery.Loss(now, m.Inventory)
	for _, line := range lines {
		fmt.Fprintln(out, "  "+line)
	}
	switch {
	case now.Same(m.Inventory):
		fmt.Fprintln(out, "  nothing: the records are the same")
	case now.Counts == nil || m.Inventory.Counts == nil:
		fmt.Fprintln(out, "  how much that is was not counted")
	case len(lines) == 0:
		fmt.Fprintln(out, "  no record in number, but records that were changed since")
	}
	if t.name != local.Name && now.Counts != nil && m.Inventory.Counts != nil {
		fmt.Fprintf(out, "Counted were the moments of %s and %s.\n", at.Format(time.RFC3339), m.InventoryAt.Format(time.RFC3339))
	}
	fmt.Fprintf(out, "The service stops meanwhile. The present records are set aside and kept.\nNothing was done. To do it: coditect rollback --env %s --to %s --confirm %s\n", t.name, m.ID, t.name)
	return nil
}

// rebuild runs the recovery, or goes on with the unfinished one.
func (t *target) rebuild(ctx context.Context, cmd *cobra.Command, s recovery.State, chosen, abandon bool) error {
	w := recovery.Recovery(recoveryName, t, time.Now)
	if saved, err := w.Peek(ctx, t.store); err == nil && !saved.Finished() {
		if abandon && (saved.Data.Restoring || saved.Data.Replace) {
			// What an abandoned run has filled half is in the way of the next.
			s.Replace = true
		}
		// A run that was refused at its first look has begun nothing, and the backup
		// that was the newest then must not be the one that is taken now.
		abandon = abandon || saved.Steps[0].State != workflow.Done
	}
	s.Generation = t.next()
	t.take(s)
	p, err := w.Execute(ctx, workflow.Options[recovery.State]{
		Store: t.store, Owner: workflow.Self(), Watch: watch(cmd.OutOrStdout(), ""), Abandon: abandon,
		Resume: func(saved *recovery.State) error {
			if chosen && saved.Backup.ID != s.Backup.ID || saved.Replace != s.Replace {
				return problem.New(nil, "a %s to the backup %s is unfinished: go on with `coditect %s`, or give it up with --abandon.",
					kind(*saved), saved.Backup.ID, resumed(t.name, *saved))
			}
			t.take(*saved)
			fmt.Fprintf(cmd.OutOrStdout(), "Going on with the %s to the backup %s\n", kind(*saved), saved.Backup.ID)
			return nil
		},
	}, s)
	if err != nil {
		return held(err)
	}
	r := recovery.Of(t.name, p)
	if err := t.record(ctx, r); err != nil {
		return err
	}
	return publish(cmd, t.local, r)
}

// halfRecovered refuses to let traffic to records that a recovery has not proven yet.
func halfRecovered(ctx context.Context, env *local.Environment) error {
	saved, err := recovery.Recovery(recoveryName, env, time.Now).Peek(ctx, recoveryStore(env))
	if errors.Is(err, workflow.ErrAbsent) || err == nil && (saved.Finished() || !saved.Data.Restoring) {
		return nil
	}
	if err != nil {
		return err
	}
	occupied, err := env.Occupied(ctx)
	if err != nil || !occupied {
		return err
	}
	return problem.New(nil, "a %s to the backup %s is unfinished, and its records are not proven: go on with `coditect %s`; `coditect down` gives them up.",
		kind(saved.Data), saved.Data.Backup.ID, resumed(local.Name, saved.Data))
}

func kind(s recovery.State) string {
	if s.Replace {
		return "rollback"
	}
	return "recovery"
}

func resumed(name string, s recovery.State) string {
	if s.Replace {
		return fmt.Sprintf("rollback --env %s --to %s --confirm %s", name, s.Backup.ID, name)
	}
	return fmt.Sprintf("recover --env %s --from %s", name, s.Backup.ID)
}

// held makes a problem of what an operator can wait for.
func held(err error) error {
	if other, ok := errors.AsType[*workflow.HeldError](err); ok {
		return problem.New(err, "%v.", other)
	}
	if errors.Is(err, workflow.ErrLost) {
		return problem.New(err, "another operator has taken this over: nothing more was done here; see `coditect status`.")
	}
	return err
}

func drillCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drill", Short: "Rehearse a recovery in a scratch environment that is destroyed for it, and measure it; or go on with it", Args: cobra.NoArgs,
	}
	open := environment(cmd)
	users := cmd.Flags().Int("users", 10_000, "users in the scratch environment")
	every := cmd.Flags().Duration("every", 2*time.Second, "pause between two backups")
	abandon := cmd.Flags().Bool("abandon", false, "begin anew instead of going on with an unfinished drill")
	verbose := cmd.Flags().Bool("verbose", false, "show each resource of the scratch environment")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := open()
		if err != nil {
			return err
		}
		if *users < 1 || *users > 1_000_000 || *every < time.Second || *every%time.Second != 0 {
			return problem.New(nil, "a drill has 1 to 1000000 users, and a backup every whole number of seconds.")
		}
		return operation(cmd, env, func(ctx context.Context) error {
			port, err := freePort(ctx)
			if err != nil {
				return err
			}
			out := io.Discard
			if *verbose {
				out = cmd.OutOrStdout()
			}
			dir := filepath.Join(env.Root(), ".data", "drill", local.Name)
			scratch := env.Scratch(dir, map[string]string{
				"gatewayLocalPort": strconv.Itoa(port), "backupEvery": every.String(), "backupKeep": "20",
			}, out)
			store := recoveryStore(env)
			w := recovery.Drill(scratchEnvironment{scratch}, recovery.DrillOptions{
				Users: *users, Writers: 4, Pause: 20 * time.Millisecond, After: 100,
				Ledger: filepath.Join(dir, "ledger"), Store: store, Owner: workflow.Self(), Watch: watch(cmd.OutOrStdout(), "        "),
			})
			p, err := w.Execute(ctx, workflow.Options[recovery.Drilled]{
				Store: store, Owner: workflow.Self(), Watch: watch(cmd.OutOrStdout(), ""), Abandon: *abandon,
			}, recovery.Drilled{})
			if err != nil {
				return held(err)
			}
			r := recovery.OfDrill(local.Name, p)
			if err := r.Record(ctx, store); err != nil {
				return err
			}
			return publish(cmd, env, r)
		})
	}
	return cmd
}

// scratchEnvironment is a local environment as a drill sees it.
type scratchEnvironment struct{ *local.Environment }

func (s scratchEnvironment) Up(ctx context.Context) (string, error) { return s.Raise(ctx) }

func freePort(ctx context.Context) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil || !ok {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return address.Port, nil
}

// watch tells progress, a line for each piece of news.
func watch(out io.Writer, indent string) func(workflow.Event) {
	return func(e workflow.Event) {
		switch s := e.Step; {
		case e.Text != "":
			fmt.Fprintf(out, "%s        %s\n", indent, e.Text)
		case s.State == workflow.Running && s.Attempts > 1:
			fmt.Fprintf(out, "%s[%d/%d]   %s (attempt %d)\n", indent, e.Index+1, e.Of, s.Title, s.Attempts)
		case s.State == workflow.Running:
			fmt.Fprintf(out, "%s[%d/%d]   %s\n", indent, e.Index+1, e.Of, s.Title)
		case s.State == workflow.Done && s.Began != nil && s.Ended != nil:
			fmt.Fprintf(out, "%s        done (%.1f s)\n", indent, s.Ended.Sub(*s.Began).Seconds())
		case s.State == workflow.Failed:
			fmt.Fprintf(out, "%s        failed\n", indent)
		}
	}
}

// publish writes the report and tells it.
func publish(cmd *cobra.Command, env *local.Environment, r recovery.Report) error {
	dir := filepath.Join(recoveryDir(env, r.Environment), "reports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	name := filepath.Join(dir, r.Ended.Format("20060102T150405Z")+"-"+r.Kind)
	for ending, write := range map[string]func(io.Writer) error{".md": r.Markdown, ".json": r.JSON, ".html": r.HTML} {
		f, err := os.Create(name + ending)
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		if err := errors.Join(write(f), f.Close()); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	fmt.Fprintln(cmd.OutOrStdout())
	if err := r.Markdown(cmd.OutOrStdout()); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\nThe report: %s.{md,json,html}\n", name)
	return nil
}

// tellProven says how old the last proven restore is.
func tellProven(cmd *cobra.Command, env *local.Environment) error {
	p, err := recovery.LastProven(cmd.Context(), recoveryStore(env))
	tell := func(format string, args ...any) {
		fmt.Fprintln(cmd.OutOrStdout())
		tick.Style(terminal()).Write(cmd.OutOrStdout(), fmt.Sprintf(format, args...))
	}
	switch age := time.Since(p.At); {
	case errors.Is(err, workflow.ErrAbsent):
		tell("No restore was ever proven: run `make drill`.")
	case err != nil:
		return err
	case age > provenAge:
		tell("The last restore was proven %d days ago, longer than %d: run `make drill`.", int(age.Hours()/24), int(provenAge.Hours()/24))
	default:
		rpo := "RPO not known"
		if p.RPO != nil {
			rpo = fmt.Sprintf("RPO %.1f s", *p.RPO)
		}
		tell("Last proven restore: %s by %s, %s, RTO %.1f s.", p.At.Local().Format(time.DateTime), cmp.Or(p.By, "recovery"), rpo, p.RTO)
	}
	return nil
}

// fillRecovery shows backups and the last proven restore.
func fillRecovery(ctx context.Context, env *local.Environment, s *console.Snapshot) error {
	all, err := env.Backups(ctx)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(all) {
		b := console.Backup{ID: m.ID, At: m.CreatedAt, Bytes: m.DataSize}
		for _, n := range m.Inventory.Counts {
			b.Records += n
		}
		s.Backups = append(s.Backups, b)
	}
	p, err := recovery.LastProven(ctx, recoveryStore(env))
	s.Proven, err = proven(p, err)
	return err
}

// proven is the last proven restore as the page shows it, nil where there is none.
func proven(p recovery.Proven, err error) (*console.Proven, error) {
	if errors.Is(err, workflow.ErrAbsent) {
		return nil, nil //nolint:nilnil // none was proven yet, and that is no failure
	}
	if err != nil {
		return nil, err
	}
	return &console.Proven{At: p.At, Backup: p.Backup, RPO: p.RPO, RTO: p.RTO, OK: p.OK}, nil
}
