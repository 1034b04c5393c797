package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/google"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/slots"
	"coditect.ai/platform/stacks"
)

// EngineStack is an environment's stack on the engine of Pulumi.
type EngineStack struct {
	// Open opens the stack with the settings that are committed at that moment.
	Open func(context.Context) (*engine.Stack, error)
	// Dir holds the project's file and the environment's.
	Dir string
	// Names of the outputs that [Outputs] are.
	Address, Kubeconfig, Program string
	// Say tells the operator of an update.
	Say func(format string, args ...any)
	// Dead tells of another machine whether it is known to be gone, and with it whoever
	// held the stack's lock there; nil knows of none.
	Dead func(ctx context.Context, host string) bool

	stack *engine.Stack
}

// Load opens the stack. Until then nothing else may be asked of it.
func (s *EngineStack) Load(ctx context.Context) (err error) {
	s.stack, err = s.Open(ctx)
	return err
}

// Settings are those that are committed.
func (s *EngineStack) Settings() stacks.Settings { return s.stack.Settings }

// Commit changes a setting in the environment's file, which the operator has to
// commit.
func (s *EngineStack) Commit(ctx context.Context, key, value string) error {
	file := engine.File(s.stack.Name())
	if err := s.stack.SetConfig(ctx, engine.Key(key).String(), auto.ConfigValue{Value: value}); err != nil {
		return fmt.Errorf("set %s in %s: %w", key, file, engine.Explain(err))
	}
	s.Say("%s of %s is %s from now on: commit that file", key, file, value)
	return s.Load(ctx)
}

// errNeverUpdated says that the backend has no update of the stack on record.
var errNeverUpdated = errors.New("no update is on record")

// Last are the settings of the last update, as the backend has recorded them.
func (s *EngineStack) Last(ctx context.Context) (map[string]string, error) {
	history, err := s.stack.History(ctx, historyPage, 1)
	if err != nil {
		return nil, engine.Refused(s.stack.Name(), err)
	}
	settings := map[string]string{}
	for _, one := range history {
		if !changed(one) {
			continue
		}
		for key, value := range one.Config {
			if name, ours := strings.CutPrefix(key, stacks.Project+":"); ours {
				settings[name] = value.Value
			}
		}
		return settings, nil
	}
	return nil, problem.New(errNeverUpdated, "stack %s was never updated: `pulumi up` comes first.", s.stack.Name())
}

// changed tells whether an operation can have changed what is deployed. One that the
// program refused is on record too, with settings that never came true.
func changed(one auto.UpdateSummary) bool {
	if one.Kind != "update" {
		return false
	}
	if one.Result != "failed" {
		return true
	}
	if one.ResourceChanges != nil {
		for op, n := range *one.ResourceChanges {
			if op != string(apitype.OpSame) && n > 0 {
				return true
			}
		}
	}
	return false
}

// historyPage is how many operations are looked through for the last update.
const historyPage = 50

// Apply commits settings and updates what the targets match. All else stays as the
// last update had it, whatever the file says: a checkout may be older, or have been
// edited since, and an update of a release is no update of anything else.
func (s *EngineStack) Apply(ctx context.Context, settings map[string]string, targets ...string) error {
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	if err := unhalted(last); err != nil {
		return err
	}
	// At once: half of the weights are refused, and so would be every command after that.
	if err := engine.Commit(s.Dir, s.stack.Name(), settings); err != nil {
		return err
	}
	if err := s.Load(ctx); err != nil {
		return err
	}
	overlay := map[string]string{}
	for _, known := range stacks.Table() {
		overlay[known.Key] = last[known.Key]
	}
	maps.Copy(overlay, settings)
	_, err = s.Update(ctx, overlay, targets...)
	return err
}

// Difference is a setting in which the environment's file is not what the last update had.
type Difference struct {
	Key, Committed, Last string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s (%s, and the last update had %s)", d.Key, cmp.Or(d.Committed, "not set"), d.Last)
}

// Differences tells several.
func Differences(all []Difference) string {
	var words []string
	for _, d := range all {
		words = append(words, d.String())
	}
	return strings.Join(words, ", ")
}

// Behind are the settings of releases and of API v2, and the database's generation, in which the
// environment's file is not what the last update had: somebody has changed them
// since, from another checkout. There are none before the first update.
func (s *EngineStack) Behind(ctx context.Context) ([]Difference, error) {
	last, err := s.Last(ctx)
	if errors.Is(err, errNeverUpdated) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := s.stack.GetAllConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", engine.File(s.stack.Name()), engine.Explain(err))
	}
	return differences(last, func(key string) string { return all[engine.Key(key).String()].Value }), nil
}

func differences(last map[string]string, committed func(key string) string) []Difference {
	var all []Difference
	for _, key := range append(slots.Keys(), "legacyImage", "legacyRouted", keyGeneration) {
		now := committed(key)
		if was, set := last[key]; set && now != was && (now != "" || was != defaultOf(key)) {
			all = append(all, Difference{key, now, was})
		}
	}
	return all
}

// TakeOver writes into the environment's file what releases, the retirement of API v2
// and recoveries have made since, and returns the settings in which it was behind.
func (s *EngineStack) TakeOver(ctx context.Context) ([]Difference, error) {
	behind, err := s.Behind(ctx)
	if err != nil || len(behind) == 0 {
		return nil, err
	}
	settings := map[string]string{}
	for _, d := range behind {
		if settings[d.Key] = d.Last; d.Last == defaultOf(d.Key) {
			settings[d.Key] = "" // which the file does not say
		}
	}
	if err := engine.Commit(s.Dir, s.stack.Name(), settings); err != nil {
		return nil, err
	}
	return behind, s.Load(ctx)
}

func defaultOf(key string) string {
	for _, known := range stacks.Table() {
		if known.Key == key {
			return known.Default
		}
	}
	return ""
}

// Update runs the program; with targets, for the resources that they match alone.
func (s *EngineStack) Update(ctx context.Context, settings map[string]string, targets ...string) (Outputs, error) {
	file, remove, err := engine.Overlaid(s.Dir, s.stack.Name(), settings)
	if err != nil {
		return Outputs{}, err
	}
	defer remove()
	options := []optup.Option{optup.ConfigFile(file), optup.SuppressOutputs(), optup.SuppressProgress()}
	if len(targets) > 0 {
		options = append(options, optup.Target(targets))
	}
	result, err := s.stack.Up(ctx, options...)
	if err != nil && s.release(ctx, err) {
		refresh := []optrefresh.Option{optrefresh.ConfigFile(file), optrefresh.ClearPendingCreates(), optrefresh.SuppressProgress()}
		if len(targets) > 0 { // whoever updates these alone may read no others
			refresh = append(refresh, optrefresh.Target(targets))
		}
		if _, err := s.stack.Refresh(ctx, refresh...); err != nil {
			return Outputs{}, engine.Refused(s.stack.Name(), err)
		}
		result, err = s.stack.Up(ctx, options...)
	}
	if ctx.Err() != nil {
		return Outputs{}, context.Cause(ctx)
	}
	if err != nil {
		return Outputs{}, engine.Refused(s.stack.Name(), err)
	}
	return s.outputs(result.Outputs), nil
}

// Outputs are those of the last update.
func (s *EngineStack) Outputs(ctx context.Context) (Outputs, error) {
	all, err := s.stack.Outputs(ctx)
	if err != nil {
		return Outputs{}, engine.Refused(s.stack.Name(), err)
	}
	return s.outputs(all), nil
}

func (s *EngineStack) outputs(all auto.OutputMap) Outputs {
	text := func(name string) string {
		value, _ := all[name].Value.(string)
		return value
	}
	return Outputs{Address: text(s.Address), Kubeconfig: text(s.Kubeconfig), Program: text(s.Program)}
}

// Gone asks the cloud for the cluster that the state knows.
func (s *EngineStack) Gone(ctx context.Context) (bool, error) {
	urn, err := s.cluster(ctx)
	if err != nil || urn == "" {
		return err == nil, err
	}
	refresh := func() error {
		_, err := s.stack.Refresh(ctx, optrefresh.Target([]string{urn}), optrefresh.SuppressProgress())
		return err
	}
	if err := refresh(); err != nil {
		if !s.release(ctx, err) {
			return false, engine.Refused(s.stack.Name(), err)
		}
		if err := refresh(); err != nil {
			return false, engine.Refused(s.stack.Name(), err)
		}
	}
	urn, err = s.cluster(ctx)
	return err == nil && urn == "", err
}

// cluster is the URN of the cluster in the state, "" where there is none.
func (s *EngineStack) cluster(ctx context.Context) (string, error) {
	state, err := s.stack.Export(ctx)
	if err != nil {
		return "", engine.Refused(s.stack.Name(), err)
	}
	// The state's own form is not needed: a URN says of what type it is.
	found := regexp.MustCompile(`"urn": ?"(urn:pulumi:[^"]*\$` + regexp.QuoteMeta(google.ClusterType) + `::[^"]*)"`).FindSubmatch(state.Deployment)
	if found == nil {
		return "", nil
	}
	return string(found[1]), nil
}

// Refresh makes the state forget what is lost: objects of a cluster that is out
// of reach are, too.
func (s *EngineStack) Refresh(ctx context.Context) error {
	const forget = "PULUMI_K8S_DELETE_UNREACHABLE"
	if err := s.stack.Workspace().SetEnvVars(map[string]string{forget: "true"}); err != nil {
		return fmt.Errorf("prepare the engine: %w", err)
	}
	defer s.stack.Workspace().UnsetEnvVar(forget)
	refresh := func() error {
		_, err := s.stack.Refresh(ctx, optrefresh.ClearPendingCreates(), optrefresh.SuppressProgress())
		return err
	}
	err := refresh()
	if err != nil && s.release(ctx, err) {
		err = refresh()
	}
	if err != nil {
		return engine.Refused(s.stack.Name(), err)
	}
	return nil
}

// lockOf finds who holds the lock of a stack in what the engine says of it.
var lockOf = regexp.MustCompile(`created by [^@\s]*@(\S+) \(pid (\d+)\)`)

// release takes the stack's lock away where it was left by processes that are dead,
// of this machine or of one that is gone, and tells whether it has. All others are left alone.
func (s *EngineStack) release(ctx context.Context, err error) bool {
	host, unknown := os.Hostname()
	locks := lockOf.FindAllStringSubmatch(err.Error(), -1)
	if unknown != nil || len(locks) == 0 || !strings.Contains(err.Error(), "currently locked") {
		return false
	}
	for _, lock := range locks {
		pid, err := strconv.Atoi(lock[2])
		here := lock[1] == host
		if err != nil || here && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || !here && (s.Dead == nil || !s.Dead(ctx, lock[1])) {
			return false
		}
	}
	if err := s.stack.Cancel(ctx); err != nil {
		return false
	}
	s.Say("the last update was cut off: comparing the state with what is really there")
	return true
}

var (
	_ Stack        = (*EngineStack)(nil)
	_ ReleaseStack = (*EngineStack)(nil)
)
