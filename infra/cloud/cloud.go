// Package cloud owns what a recovery does to an environment that runs
// FoundationDB on Kubernetes: the phases that the program makes of settings, one
// update of the stack each, and what the Jobs of these phases have come to.
//
// Pulumi stays the one writer of what is in the cluster. A rebuilt database is a
// new generation: an identity, files and a backup of its own, so that whatever
// an earlier generation has left is neither read nor written.
package cloud

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/backup"
	"coditect.ai/platform/infra/database"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/stacks"
)

// Settings that a recovery sets.
const (
	keyGeneration = "databaseGeneration"
	keyPhase      = "recoveryPhase"
	keyFrom       = "recoveryFrom"
	keyKey        = "recoveryKey"
)

// Stack is the environment on the engine, with the settings that are committed.
type Stack interface {
	Settings() stacks.Settings
	// Commit changes a setting in the environment's file.
	Commit(ctx context.Context, key, value string) error
	// Update brings the environment to the committed settings with others on top, or
	// of it those resources alone that the targets match.
	Update(ctx context.Context, settings map[string]string, targets ...string) (Outputs, error)
	Outputs(ctx context.Context) (Outputs, error)
	// Behind are the settings in which the environment's file is older than the last update.
	Behind(ctx context.Context) ([]Difference, error)
	// Gone asks the cloud whether the cluster is there no more, or never was.
	Gone(ctx context.Context) (bool, error)
	// Refresh makes the state forget what is lost.
	Refresh(ctx context.Context) error
}

// Outputs of an update.
type Outputs struct {
	Address    string // URL below which the API answers, its base path included
	Kubeconfig string
	Program    string // what the update's program is known by
}

// Cluster is what is asked of Kubernetes; [kube.Client] answers it.
type Cluster interface {
	Get(ctx context.Context, r kube.Resource, namespace, name string, into any) error
	List(ctx context.Context, r kube.Resource, namespace, selector string, into any) error
	Log(ctx context.Context, namespace, pod, container string) ([]byte, error)
}

// Bucket is that of the backups.
type Bucket interface {
	// Names of the objects that begin with the prefix, in order.
	Names(ctx context.Context, prefix string) ([]string, error)
	Read(ctx context.Context, name string) ([]byte, error)
}

// Options of [New].
type Options struct {
	Stack   Stack
	Bucket  Bucket
	Connect func(kubeconfig []byte) (Cluster, error)
	// Ready asks the cloud whether a secret has a value.
	Ready func(ctx context.Context, secret string) error
	// Generation of the database that is to be filled, and Replace that the present
	// one is left for it.
	Generation int
	Replace    bool
	// AsCommitted rebuilds what the environment's file says, though the last update had other releases.
	AsCommitted bool
	// Poll is the pause between two looks at a Job, 10 s if 0.
	Poll time.Duration
	// HTTP asks the service, http.DefaultClient if nil.
	HTTP *http.Client
}

// Environment is an environment of the cloud, as a recovery sees it.
type Environment struct{ Options }

// New is the environment of a stack.
func New(o Options) *Environment {
	if o.Poll == 0 {
		o.Poll = 10 * time.Second
	}
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	return &Environment{o}
}

// Next is the generation that a recovery which begins now fills.
func (e *Environment) Next() int { return e.Stack.Settings().Database.Generation + 1 }

// Version is that of the service's image: its digest.
func (e *Environment) Version(context.Context) (string, error) {
	image := e.image()
	if image == "" {
		return "", problem.New(nil, "no slot has an image: set serviceImageBlue to the image that is to run (name@sha256:…) and commit it, then run this again.")
	}
	_, digest, _ := strings.Cut(image, "@")
	return digest, nil
}

func (e *Environment) image() string {
	s := e.Stack.Settings()
	slot := stacks.Blue
	if s.Weight(stacks.Green) > s.Weight(slot) {
		slot = stacks.Green
	}
	return s.Image(slot)
}

// Occupied tells whether the environment holds records. A cluster that does not
// answer is no empty one.
func (e *Environment) Occupied(ctx context.Context) (bool, error) {
	gone, err := e.Stack.Gone(ctx)
	if err != nil || gone {
		return false, err
	}
	cluster, err := e.cluster(ctx)
	if err != nil {
		return false, err
	}
	var set appsv1.StatefulSet
	err = cluster.Get(ctx, kube.StatefulSets, e.namespace(), database.StatefulSet, &set)
	if errors.Is(err, kube.ErrAbsent) {
		return false, nil
	}
	return err == nil, err
}

func (e *Environment) namespace() string { return e.Stack.Settings().Cloud.Namespace }

func (e *Environment) cluster(ctx context.Context) (Cluster, error) {
	out, err := e.Stack.Outputs(ctx)
	if err != nil {
		return nil, err
	}
	return e.Connect([]byte(out.Kubeconfig))
}

// Infrastructure brings everything up but the service, with an empty database of
// the new generation. Where there is one, its processes stop first.
func (e *Environment) Infrastructure(ctx context.Context) error {
	// Again: whoever goes on may do so from another checkout.
	if err := e.upToDate(ctx); err != nil {
		return err
	}
	if committed := e.Stack.Settings().Database.Generation; committed != e.Generation {
		if e.Replace {
			if _, err := e.Stack.Update(ctx, map[string]string{keyPhase: string(stacks.PhaseHalt)}); err != nil {
				return fmt.Errorf("stop service and database: %w", err)
			}
		}
		if err := e.Stack.Commit(ctx, keyGeneration, strconv.Itoa(e.Generation)); err != nil {
			return err
		}
	}
	if !e.Replace {
		if err := e.Stack.Refresh(ctx); err != nil {
			return err
		}
	}
	return e.phase(ctx, stacks.PhaseGround, nil)
}

// phase brings the environment to one.
func (e *Environment) phase(ctx context.Context, phase stacks.Phase, more map[string]string) error {
	settings := map[string]string{keyPhase: string(phase)}
	maps.Copy(settings, more)
	_, err := e.Stack.Update(ctx, settings)
	return err
}

// SetAside tells where the records of the earlier generation are: they stay on
// the database's volumes, where the new one does not touch them.
func (e *Environment) SetAside(context.Context, string) (string, error) {
	if !e.Replace {
		return "", nil
	}
	return fmt.Sprintf("generation %d, on the database's volumes", e.Generation-1), nil
}

// Restore lets the database be filled from a backup, by a Job.
func (e *Environment) Restore(ctx context.Context, m contract.Manifest) error {
	name, _, err := moment(m.ID)
	if err != nil {
		return err
	}
	if len(m.Versions) != 1 {
		return fmt.Errorf("restore the backup %s: it names %d versions", m.ID, len(m.Versions))
	}
	text, err := e.run(ctx, backup.RestoreJob, stacks.PhaseRestore, map[string]string{keyFrom: fmt.Sprintf("%s@%d", name, m.Versions[0].ReadVersion)})
	if failed, ok := errors.AsType[*jobError](err); ok {
		return problem.New(failed, "FoundationDB could not restore the backup %s: %s\nNo traffic was let in. The same command tries again; an earlier backup: --from ID --abandon.", m.ID, failed)
	}
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte("restored to version")) {
		return fmt.Errorf("restore the backup %s: its Job ended and says %q", m.ID, lastLines(text))
	}
	return nil
}

// Check takes stock of the records, by a Job.
func (e *Environment) Check(ctx context.Context) (contract.Checked, error) {
	var checked contract.Checked
	text, err := e.run(ctx, backup.CheckJob, stacks.PhaseCheck, nil)
	failed, ended := errors.AsType[*jobError](err)
	if err != nil && !ended {
		return checked, err
	}
	if ended {
		text = failed.log
	}
	// What it complains of is in the same log, behind the JSON.
	if _, after, found := bytes.Cut(text, []byte("{")); found {
		if json.NewDecoder(bytes.NewReader(append([]byte("{"), after...))).Decode(&checked) == nil && checked.Fingerprint != "" {
			return checked, nil
		}
	}
	return checked, fmt.Errorf("check the records: %w", errors.Join(err, fmt.Errorf("the Job %s wrote no result: %s", backup.CheckJob, lastLines(text))))
}

// Rehearse runs the service behind a route that asks for a key.
func (e *Environment) Rehearse(ctx context.Context) (base, key string, err error) {
	key = rand.Text()
	out, err := e.Stack.Update(ctx, map[string]string{keyPhase: string(stacks.PhaseRehearse), keyKey: key})
	if err != nil {
		return "", "", err
	}
	base = strings.TrimSuffix(out.Address, contract.BasePath)
	return base, key, e.awaitReady(ctx, base, key)
}

// Admit lets traffic in: everything is as the committed settings say.
func (e *Environment) Admit(ctx context.Context) (base string, err error) {
	out, err := e.Stack.Update(ctx, nil)
	if err != nil {
		return "", err
	}
	base = strings.TrimSuffix(out.Address, contract.BasePath)
	return base, e.awaitReady(ctx, base, "")
}

// awaitReady asks until the load balancer leads to pods that are ready; a new
// route takes minutes to get there.
func (e *Environment) awaitReady(ctx context.Context, base, key string) error {
	last := errors.New("no answer")
	for {
		err := e.ready(ctx, base+contract.ReadyPath, key)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		if e.pause(ctx) != nil {
			return problem.New(errors.Join(ctx.Err(), last), "the environment is deployed and not ready at %s (%v): see docs/runbooks/api-unreachable.md; the same command goes on.", base, last)
		}
	}
}

func (e *Environment) ready(ctx context.Context, url, key string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	if key != "" {
		req.Header.Set(contract.HeaderRehearsal, key)
	}
	res, err := e.HTTP.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}

func (e *Environment) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(e.Poll):
		return nil
	}
}

// jobError says that a Job ended without success, and what it wrote.
type jobError struct {
	job, reason string
	log         []byte
}

func (e *jobError) Error() string {
	if text := lastLines(e.log); text != "" {
		return text
	}
	return fmt.Sprintf("the Job %s has failed: %s", e.job, e.reason)
}

// run brings the environment to the phase of a Job and waits for its end. One
// that goes on is waited for, one that has failed is made anew. It returns what
// the Job's newest pod wrote; a Job that failed is a [jobError].
func (e *Environment) run(ctx context.Context, name string, phase stacks.Phase, more map[string]string) ([]byte, error) {
	cluster, err := e.cluster(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := e.outcome(ctx, cluster, name); err != nil {
		if _, failed := errors.AsType[*jobError](err); failed {
			if err := e.phase(ctx, stacks.PhaseGround, nil); err != nil {
				return nil, fmt.Errorf("take the failed Job %s away: %w", name, err)
			}
		}
	}
	if err := e.phase(ctx, phase, more); err != nil {
		return nil, err
	}
	var last error
	for {
		done, err := e.outcome(ctx, cluster, name)
		_, failed := errors.AsType[*jobError](err)
		_, mend := errors.AsType[*problem.Error](err)
		switch {
		case done, failed, mend:
			if err != nil {
				return nil, err
			}
			return e.written(ctx, cluster, name)
		case err != nil && ctx.Err() == nil:
			last = err // the cluster may be out of reach for a while
		}
		if err := e.pause(ctx); err != nil {
			return nil, fmt.Errorf("wait for the Job %s: %w", name, errors.Join(err, last))
		}
	}
}

// outcome tells whether a Job has ended.
func (e *Environment) outcome(ctx context.Context, cluster Cluster, name string) (bool, error) {
	var job batchv1.Job
	err := cluster.Get(ctx, kube.Jobs, e.namespace(), name, &job)
	if errors.Is(err, kube.ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, c := range job.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		if c.Type == batchv1.JobComplete {
			return true, nil
		}
		if c.Type == batchv1.JobFailed {
			text, err := e.written(ctx, cluster, name)
			if err != nil {
				text = nil // its pods may be gone
			}
			return true, &jobError{name, strings.TrimSpace(c.Reason + " " + c.Message), text}
		}
	}
	return false, nil
}

// written is what the Job's newest pod wrote.
func (e *Environment) written(ctx context.Context, cluster Cluster, name string) ([]byte, error) {
	var pods corev1.PodList
	if err := cluster.List(ctx, kube.Pods, e.namespace(), "batch.kubernetes.io/job-name="+name, &pods); err != nil {
		return nil, err
	}
	var newest *corev1.Pod
	for i := range pods.Items {
		if p := &pods.Items[i]; newest == nil || newest.CreationTimestamp.Before(&p.CreationTimestamp) {
			newest = p
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("read what the Job %s wrote: it has no pod", name)
	}
	return cluster.Log(ctx, e.namespace(), newest.Name, backup.Container)
}

// lastLines are those that tell how something ended.
func lastLines(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
