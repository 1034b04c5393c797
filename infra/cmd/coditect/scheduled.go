package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"coditect.ai/platform/infra/cloud"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/operator"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/infra/workflow"
	"coditect.ai/platform/stacks"
)

func tickCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tick", Short: "Move what is under way in an environment on: a release, the retirement of API v2",
		Long: `For schedulers: what ` + "`rollout tick`" + ` and ` + "`retire tick`" + ` do, in one go. Where nothing is
under way it ends at once, without Pulumi.

Exit code 0: it is as it should be; 3: a person is asked to decide, or something
went back; 1: the command failed.`,
		Args: cobra.NoArgs,
	}
	name := cmd.Flags().String("env", local.Name, "the environment")
	scheduled := cmd.Flags().Bool("scheduled", false, "as the environment's own CronJob calls it: from within the cluster, one line for the log, 0 where a person is asked")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := local.Open(".", cmd.OutOrStdout())
		if err != nil {
			return err
		}
		t, err := openTick(cmd.Context(), env, *name, cmd.OutOrStdout())
		if err != nil {
			return err
		}
		if *scheduled {
			t.prepare = inside
		}
		stop := func() {}
		if *scheduled {
			beats := time.NewTicker(beatEvery)
			defer beats.Stop()
			stop = beat(cmd.OutOrStdout(), beats.C)
		}
		did, err := t.run(cmd.Context())
		stop()
		if err != nil {
			return err
		}
		if *scheduled {
			return did.log(cmd.OutOrStdout())
		}
		fmt.Fprintln(cmd.OutOrStdout(), did.text(*name))
		if did.Asked {
			return errFindings
		}
		return nil
	}
	return cmd
}

// ticked is what a tick of everything came to.
type ticked struct {
	lines []string
	// Asked tells that a person is asked for something.
	Asked bool
}

func (t ticked) text(environment string) string {
	if len(t.lines) == 0 {
		return "Nothing is under way in " + environment + "."
	}
	return strings.Join(t.lines, "\n")
}

// log writes the line that alerts go by.
func (t ticked) log(out io.Writer) error {
	line := map[string]any{"severity": "INFO", "message": t.text("this environment"), operator.Field: true}
	if t.Asked {
		line["severity"], line[operator.AskedField] = "WARNING", true
	}
	return json.NewEncoder(out).Encode(line)
}

// beatEvery is the pause between two lines of a tick that goes on: an update may wait
// for pods longer than an alert waits for a line, and no other tick runs meanwhile.
const beatEvery = 4 * time.Minute

// beat writes a line at each beat until it is stopped.
func beat(out io.Writer, beats <-chan time.Time) (stop func()) {
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-beats:
				_ = ticked{lines: []string{"At it."}}.log(out) // the tick itself tells where nothing can be written
			}
		}
	})
	return func() { close(done); beating.Wait() }
}

// everything that can be under way in an environment.
type everything struct {
	name  string
	store workflow.Store
	// open reaches the environment, which takes Pulumi and credentials.
	open func(context.Context) (*site, error)
	// prepare makes the site ready, nil for nothing.
	prepare func(context.Context, *site) error
	// move ticks what of the site is under way.
	move func(ctx context.Context, s *site, release, retirement bool) (ticked, error)
}

// openTick finds the state of an environment by its committed settings alone.
func openTick(ctx context.Context, env *local.Environment, name string, out io.Writer) (*everything, error) {
	t := &everything{
		name: name, store: workflow.In(rolloutDir(env, name)), move: moveSite,
		open: func(ctx context.Context) (*site, error) { return openSite(ctx, name, out) },
	}
	if name == local.Name {
		return t, nil
	}
	if e := stacks.Environment(name); !e.Known() {
		return nil, unknown(name)
	}
	settings, err := engine.Committed(env.Root(), name)
	if err != nil {
		return nil, err
	}
	t.store, err = rolloutBucket(ctx, settings)
	return t, err
}

// run ticks what is under way. Nothing of the environment is reached where nothing is.
func (t *everything) run(ctx context.Context) (ticked, error) {
	release, retirement := false, false
	r, err := rollout.New(rollout.Options{Name: t.name, Store: t.store}).Look(ctx)
	switch {
	case err == nil:
		release = !r.Phase.Ended()
	case !errors.Is(err, rollout.ErrNone):
		return ticked{}, err
	}
	l, err := retire.New(retire.Options{Name: t.name, Store: t.store}).Look(ctx)
	switch {
	case err == nil:
		retirement = l.Ended == nil
	case !errors.Is(err, retire.ErrNone):
		return ticked{}, err
	}
	if !release && !retirement {
		return ticked{}, nil
	}
	s, err := t.open(ctx)
	if err != nil {
		return ticked{}, err
	}
	if t.prepare != nil {
		if err := t.prepare(ctx, s); err != nil {
			return ticked{}, err
		}
	}
	return t.move(ctx, s, release, retirement)
}

// moveSite ticks both, the one though the other has failed.
func moveSite(ctx context.Context, s *site, release, retirement bool) (did ticked, err error) {
	note := func(text string, asked bool, failed error) {
		if busy, held := errors.AsType[*workflow.HeldError](failed); held {
			did.lines = append(did.lines, busy.Error())
			return
		}
		err = errors.Join(err, failed)
		if text != "" {
			did.lines, did.Asked = append(did.lines, text), did.Asked || asked
		}
	}
	if release {
		state, failed := s.rollouts.Tick(ctx)
		text, asked := "", false
		if state != nil {
			text = strings.TrimSpace(fmt.Sprintf("Release %s %s. %s", state.Release.Version, strings.TrimSuffix(state.Headline(), "."), state.Attention))
			asked = wanted(state) != nil
		}
		note(text, asked, failed)
	}
	if retirement {
		state, failed := s.retirements().Tick(ctx)
		text, asked := "", false
		if state != nil {
			text = strings.TrimSpace(fmt.Sprintf("API v2 %s. %s", strings.TrimSuffix(state.Headline(), "."), state.Attention))
			asked = stays(state) != nil
		}
		note(text, asked, failed)
	}
	return did, err
}

// inside makes a site ready for a tick of the environment's own CronJob: the program
// must be that of the last update, the control plane is reached from within, and the
// lock of a pod that is gone is nobody's.
func inside(ctx context.Context, s *site) error {
	if s.stack == nil {
		return problem.New(nil, "%s has no CronJob: leave out --scheduled.", s.name)
	}
	out, err := s.stack.Outputs(ctx)
	if err != nil {
		return err
	}
	own, err := program.Source(s.local.Root())
	if err != nil {
		return err
	}
	if err := same(s.name, own, out.Program); err != nil {
		return err
	}
	address, err := kube.Inside()
	if err != nil {
		return err
	}
	detour, err := kube.NewDetour([]byte(out.Kubeconfig), address)
	if err != nil {
		return err
	}
	proxy, err := detour.Serve(ctx)
	if err != nil {
		return err
	}
	if err := os.Setenv("HTTPS_PROXY", proxy); err != nil { // for the engine and its providers
		return fmt.Errorf("tell the engine of the way to the cluster: %w", err)
	}
	connect := func(config []byte) (cloud.Cluster, error) { return detour.New(config) }
	s.legacy.Connect = connect // which is the releases' too
	s.stack.Dead = func(ctx context.Context, host string) bool {
		cluster, err := connect([]byte(out.Kubeconfig))
		return err == nil && goneOperator(ctx, cluster, s.settings.Cloud.Namespace, host)
	}
	return nil
}

// same refuses to move releases by another program than that of the last update: an
// update of one resource would change more of it than the release.
func same(environment, own, last string) error {
	if own == last {
		return nil
	}
	return problem.New(nil, "the last update of %s was made by another revision of the program (%s) than this image has (%s): build the operator's image of that revision, set operatorImage and `pulumi up`; until then somebody has to `coditect rollout tick --env %s --follow`.",
		environment, last, own, environment)
}

// goneOperator tells whether a host was a pod of the operator's that is over.
func goneOperator(ctx context.Context, cluster cloud.Cluster, namespace, host string) bool {
	if !strings.HasPrefix(host, operator.App+"-") {
		return false
	}
	var pod corev1.Pod
	err := cluster.Get(ctx, kube.Pods, namespace, host, &pod)
	return errors.Is(err, kube.ErrAbsent) || err == nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed)
}
