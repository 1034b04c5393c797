package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/bucket"
	"coditect.ai/platform/infra/cloud"
	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/recovery"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/infra/tick"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

// How long what was seen of a cloud is shown before it is looked at again.
const (
	lookEvery    = 5 * time.Second  // at the cluster, the entry and the releases
	backupsEvery = time.Minute      // at the backups: their list is long
	outputsEvery = 30 * time.Second // at the stack's outputs, while they lead nowhere
)

// shownBackups is how many of them are shown.
const shownBackups = 20

// overview is what can be seen of an environment of the cloud.
type overview struct {
	name, namespace string
	// outputs are those of the stack's last update; asking for them takes seconds.
	outputs func(context.Context) (cloud.Outputs, error)
	connect func(kubeconfig []byte) (cloud.Cluster, error)
	bucket  cloud.Bucket
	store   workflow.Store
	http    *http.Client
	now     func() time.Time

	mu    sync.Mutex // of what follows
	asked time.Time  // for the outputs
	known cloud.Outputs
	// doubtful says that what they lead to did not answer.
	doubtful bool
}

// openOverview opens an environment of the cloud. What cannot be reached later is
// told on the page; without settings and credentials there is none.
func openOverview(ctx context.Context, env *local.Environment, name string, out io.Writer) (*overview, error) {
	s, err := openCloudSite(ctx, env, name, out)
	if err != nil {
		return nil, err
	}
	backups, err := bucket.Open(ctx, s.settings.BackupBucket())
	if err != nil {
		return nil, err
	}
	o := &overview{
		name: name, namespace: s.settings.Cloud.Namespace, outputs: s.outputs, connect: connect, bucket: backups,
		store: s.rollouts.Store, http: &http.Client{Timeout: 3 * time.Second}, now: time.Now,
	}
	// Before anybody waits for a page.
	if o.known, err = o.outputs(ctx); err != nil {
		return nil, err
	}
	o.asked = o.now()
	return o, nil
}

func (o *overview) sources() []console.Source {
	return []console.Source{
		o.seldom(lookEvery, console.Source{Name: "environment", Fill: o.environment}),
		o.seldom(lookEvery, console.Source{Name: "release", Fill: func(ctx context.Context, s *console.Snapshot) error {
			return fillReleases(ctx, o.name, o.store, s)
		}}),
		o.seldom(backupsEvery, console.Source{Name: "recovery", Fill: o.recovery}),
	}
}

// seldom asks a source no more often than that, and repeats what it said in between.
// What failed is asked for again sooner.
func (o *overview) seldom(every time.Duration, source console.Source) console.Source {
	var mu sync.Mutex
	var at time.Time
	var last console.Snapshot
	var failure error
	return console.Source{Name: source.Name, Fill: func(ctx context.Context, s *console.Snapshot) error {
		mu.Lock()
		defer mu.Unlock()
		if now := o.now(); at.IsZero() || now.Sub(at) >= every || failure != nil && now.Sub(at) >= lookEvery {
			last, at = console.Snapshot{}, now
			failure = source.Fill(ctx, &last)
		}
		*s = last
		return failure
	}}
}

// environment shows how the service is: what the cluster says, and whether it
// answers where clients ask.
func (o *overview) environment(ctx context.Context, s *console.Snapshot) error {
	e := console.Environment{Name: o.name, Health: console.Unknown}
	defer func() { s.Environments = []console.Environment{e} }()
	out, err := o.present(ctx)
	if err != nil {
		e.Detail = "The stack's outputs could not be read."
		return err
	}
	e.URL = out.Address
	if out.Kubeconfig == "" {
		e.Health, e.Detail = console.Absent, "It was never brought up: `pulumi up --stack "+o.name+"` does."
		return nil
	}
	// At the same time: a control plane that drops what this machine asks takes all the
	// time there is, and the service may be well.
	var refusal string
	var asking sync.WaitGroup
	asking.Go(func() { refusal = o.answers(ctx, out.Address) })
	cluster, err := o.connect([]byte(out.Kubeconfig))
	if err == nil {
		var serving cloud.Serving
		if serving, err = cloud.Look(ctx, cluster, o.namespace); err == nil {
			e.Slots = slotsOf(serving)
			e.Health, e.Detail = healthOf(e.Slots)
			if e.Health == console.Healthy && !serving.Accepted {
				e.Health, e.Detail = console.Degraded, "The load balancer has not taken the route over yet."
			}
		}
	}
	if err != nil {
		o.doubt()
	}
	asking.Wait()
	switch {
	case err != nil && refusal == "":
		e.Detail = "The cluster does not answer. The service does, at its address."
	case err != nil:
		e.Health, e.Detail = console.Down, "The cluster does not answer. "+refusal
	case refusal != "" && e.Health == console.Healthy:
		e.Health, e.Detail = console.Degraded, refusal
	}
	return err
}

func slotsOf(serving cloud.Serving) []console.Slot {
	var all []console.Slot
	for _, slot := range stacks.Slots() {
		weight, routed := serving.Weights[slot]
		pods, there := serving.Pods[slot]
		if serving.Routed && (routed || there) {
			all = append(all, console.Slot{Name: service.SlotName(string(slot)), Weight: weight, Ready: pods.Ready, Desired: pods.Desired})
		}
	}
	return all
}

// answers tells what is wrong with the service where clients ask, "" if nothing is.
func (o *overview) answers(ctx context.Context, address string) string {
	base := strings.TrimSuffix(address, contract.BasePath)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+contract.ReadyPath, nil)
	if err != nil {
		return fmt.Sprintf("Its address, %q, is none.", address)
	}
	res, err := o.http.Do(req)
	if err != nil {
		return "It does not answer at its address: see docs/runbooks/api-unreachable.md."
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Sprintf("It answers %s at its address.", res.Status)
	}
	return ""
}

// present are the stack's outputs. They change where a cluster is made anew, and so
// they are asked for again, now and then, while they lead to none.
func (o *overview) present(ctx context.Context) (cloud.Outputs, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known.Kubeconfig != "" && !o.doubtful || o.now().Sub(o.asked) < outputsEvery {
		return o.known, nil
	}
	out, err := o.outputs(ctx)
	o.asked = o.now()
	if err != nil {
		return out, err
	}
	o.known, o.doubtful = out, false
	return out, nil
}

// doubt lets the outputs be asked for anew.
func (o *overview) doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.doubtful = true
}

// recovery shows the newest moments that can be restored, and the last proven restore.
func (o *overview) recovery(ctx context.Context, s *console.Snapshot) error {
	all, err := cloud.New(cloud.Options{Bucket: o.bucket}).Backups(ctx)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(all[max(0, len(all)-shownBackups):]) {
		s.Backups = append(s.Backups, console.Backup{ID: m.ID, At: m.CreatedAt})
	}
	p, err := recovery.NewestProof(ctx, o.bucket, backup.Proofs)
	s.Proven, err = proven(p, err)
	return err
}

// cloudActions are the operator's own commands for an environment of the cloud. It is
// brought up and taken away by Pulumi's.
func cloudActions(command func(...string) []string) []console.Action {
	under := func(s console.Snapshot) bool {
		return s.Rollout != nil && !rollout.Phase(s.Rollout.State).Ended() || s.Retirement != nil && s.Retirement.Waiting != ""
	}
	return append(append([]console.Action{
		{
			ID: "drift", Title: "Look for drift", Command: command("drift"),
			Consequence: "What is there is compared with what the program made. Nothing is changed.",
		},
		{
			ID: "tick", Title: "Move on what is under way", Command: command("tick"), When: under,
			Consequence: "The release and the retirement of API v2 are looked at once, and go as far as they may now: on, or back.",
		},
		{
			ID: "recover", Title: "Recover what was lost", Danger: true, Command: command("recover"),
			Consequence: "The lost environment is rebuilt from the newest recorded moment, or an unfinished recovery goes on: what was written after that moment is lost. Where there are records it is refused.",
		},
	}, rolloutActions(command)...), retireActions(command)...)
}

// tellSnapshot writes what was seen of an environment, for people or machines, and
// is errFindings where somebody has to look at it.
func tellSnapshot(out io.Writer, s console.Snapshot, asJSON bool) error {
	finding := error(nil)
	asked := s.Rollout != nil && s.Rollout.Attention != "" || s.Retirement != nil && s.Retirement.Attention != ""
	if len(s.Unread) > 0 || asked || slices.ContainsFunc(s.Environments, func(e console.Environment) bool { return e.Health != console.Healthy }) {
		finding = errFindings
	}
	if asJSON {
		s.Actions = nil // they are the page's
		return errors.Join(printJSON(out, s), finding)
	}
	style := tick.Style(terminal())
	for _, e := range s.Environments {
		color := map[string]string{console.Healthy: "32", console.Down: "31"}[e.Health]
		fmt.Fprintf(out, "%s is %s  %s\n", e.Name, style.Paint(cmp.Or(color, "33"), e.Health), e.URL)
		if e.Detail != "" {
			style.Write(out, e.Detail)
		}
		for _, slot := range e.Slots {
			fmt.Fprintf(out, "  %-24s  %3d %%  %d of %d pods ready\n", slot.Name, slot.Weight, slot.Ready, slot.Desired)
		}
	}
	tell := func(what, waiting string, until time.Time, attention string) {
		line := what
		if waiting != "" {
			line += ". " + waiting
		}
		if !until.IsZero() {
			line += ", until " + until.Local().Format(time.DateTime)
		}
		style.Write(out, line+".")
		if attention != "" {
			style.Write(out, style.Paint("33", attention))
		}
	}
	if r := s.Rollout; r != nil {
		tell("Release: "+r.Version, r.Waiting, r.Until, r.Attention)
	}
	if r := s.Retirement; r != nil {
		tell("API v2 "+strings.TrimSuffix(r.Text, "."), r.Waiting, r.Until, r.Attention)
	}
	if len(s.Backups) > 0 {
		style.Write(out, "Newest moment that can be restored: "+s.Backups[0].ID+".")
	}
	if p := s.Proven; p != nil {
		style.Write(out, fmt.Sprintf("Last proven restore: %s, back after %s.", p.At.Local().Format(time.DateTime), tick.Short(time.Duration(p.RTO*float64(time.Second)))))
	}
	for _, line := range s.Unread {
		style.Write(out, "Could not be read: "+line)
	}
	return finding
}
