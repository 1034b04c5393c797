package workflow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// journey is the data of the test's workflow: each step leaves its mark once, however often it runs.
type journey struct {
	Marks []string `json:"marks"`
	Token string   `json:"token"`
}

func (j *journey) mark(name string) {
	if !slices.Contains(j.Marks, name) {
		j.Marks = append(j.Marks, name)
	}
}

// dead is an owner whose process has ended.
func dead(name string) Owner {
	return Owner{Name: name, Process: "1/0", Machine: machine()}
}

// threeSteps is a workflow whose middle step saves in between, and the names of the steps that were run.
func threeSteps(ran *[]string) Workflow[journey] {
	step := func(name string) Step[journey] {
		return Step[journey]{Name: name, Title: "Do " + name, Deadline: time.Minute, Run: func(ctx context.Context, at *At[journey]) error {
			*ran = append(*ran, name)
			if name == "second" && at.Data.Token == "" {
				at.Data.Token = fmt.Sprintf("made in attempt %d", at.Attempt)
				if err := at.Save(ctx); err != nil {
					return err
				}
			}
			at.Data.mark(name)
			return nil
		}}
	}
	return Workflow[journey]{Name: "journey", Steps: []Step[journey]{step("first"), step("second"), step("third")}}
}

var errKilled = errors.New("the process is dead")

// mortal is a store whose process dies at the nth Put: before it, or just after.
type mortal struct {
	Store
	left  int
	after bool
	died  bool
}

func (m *mortal) Put(ctx context.Context, key string, content []byte, was Version) (Version, error) {
	if m.died {
		return "", errKilled
	}
	m.left--
	if m.left > 0 {
		return m.Store.Put(ctx, key, content, was)
	}
	m.died = true
	if m.after {
		if _, err := m.Store.Put(ctx, key, content, was); err != nil {
			return "", err
		}
	}
	return "", errKilled
}

// TestGoesOnWhereverItDied: whichever write a process does not survive, the next one comes to the same end and repeats no step that was saved as done.
func TestGoesOnWhereverItDied(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			store := &mortal{Store: In(t.TempDir()), left: n, after: after}
			var ran []string
			w := threeSteps(&ran)
			if _, err := w.Execute(t.Context(), Options[journey]{Store: store, Owner: dead("first")}, journey{}); err == nil && !store.died {
				if n < 9 {
					t.Errorf("a run makes %d writes, fewer than its steps need", n-1)
				}
				break
			}
			if p, err := w.Peek(t.Context(), store.Store); err == nil && p.Finished() {
				continue // all was saved; a new command would be a new run
			}
			var again []string
			second := threeSteps(&again)
			saved, err := second.Peek(t.Context(), store.Store)
			if err != nil && !errors.Is(err, ErrAbsent) {
				t.Fatal(err)
			}
			p, err := second.Execute(t.Context(), Options[journey]{Store: store.Store, Owner: Self()}, journey{})
			if err != nil {
				t.Fatalf("killed at write %d (after: %t): %v", n, after, err)
			}
			if want := []string{"first", "second", "third"}; !slices.Equal(p.Data.Marks, want) || !p.Finished() {
				t.Errorf("killed at write %d (after: %t): marks %v, want %v", n, after, p.Data.Marks, want)
			}
			if saved != nil {
				for _, s := range saved.Steps {
					if s.State == Done && slices.Contains(again, s.Name) {
						t.Errorf("killed at write %d (after: %t): %s was done and ran again", n, after, s.Name)
					}
				}
				if saved.Data.Token != "" && saved.Data.Token != p.Data.Token {
					t.Errorf("killed at write %d (after: %t): what was saved in the middle of a step is lost", n, after)
				}
			}
		}
	}
}

// TestFailedStepIsTriedAgain: a failure is on record, and the next run begins there.
func TestFailedStepIsTriedAgain(t *testing.T) {
	store, broken := In(t.TempDir()), errors.New("out of order")
	var ran []string
	w := threeSteps(&ran)
	good := w.Steps[1].Run
	w.Steps[1].Run = func(context.Context, *At[journey]) error { return broken }
	var events []string
	_, err := w.Execute(t.Context(), Options[journey]{Store: store, Owner: Self(), Watch: func(e Event) {
		events = append(events, e.Step.Name+" "+e.Step.State)
	}}, journey{})
	failed, ok := errors.AsType[*StepError](err)
	if !ok || failed.Step != "second" || !errors.Is(err, broken) {
		t.Fatalf("error %v, want that of the second step", err)
	}
	if want := []string{"first running", "first done", "second running", "second failed"}; !slices.Equal(events, want) {
		t.Errorf("told %v, want %v", events, want)
	}
	p, err := w.Peek(t.Context(), store)
	if err != nil || p.Steps[1].State != Failed || p.Steps[1].Failure != broken.Error() {
		t.Errorf("saved %+v (%v), want the failure", p, err)
	}
	w.Steps[1].Run = good
	refusal := errors.New("that is another one")
	if _, err := w.Execute(t.Context(), Options[journey]{Store: store, Owner: Self(), Resume: func(*journey) error { return refusal }}, journey{}); !errors.Is(err, refusal) {
		t.Errorf("error %v, want the refusal", err)
	}
	p, err = w.Execute(t.Context(), Options[journey]{Store: store, Owner: Self()}, journey{})
	if err != nil || p.Steps[1].Attempts != 2 {
		t.Fatalf("second run: %+v, %v", p, err)
	}
	if want := []string{"first", "second", "third"}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

// TestOtherSteps: a run of another version of the command is not guessed at, and can be abandoned.
func TestOtherSteps(t *testing.T) {
	store := In(t.TempDir())
	var ran []string
	old := threeSteps(&ran)
	old.Steps[2].Run = func(context.Context, *At[journey]) error { return errKilled }
	if _, err := old.Execute(t.Context(), Options[journey]{Store: store, Owner: Self()}, journey{}); err == nil {
		t.Fatal("it should have failed")
	}
	w := threeSteps(&ran)
	w.Steps = w.Steps[1:]
	if _, err := w.Execute(t.Context(), Options[journey]{Store: store, Owner: Self()}, journey{}); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("error %v, want a refusal", err)
	}
	if p, err := w.Execute(t.Context(), Options[journey]{Store: store, Owner: Self(), Abandon: true}, journey{}); err != nil || !p.Finished() {
		t.Errorf("abandoned: %+v, %v", p, err)
	}
}

// TestDeadline: a step that takes too long is cut off and says so.
func TestDeadline(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := Workflow[journey]{Name: "slow", Steps: []Step[journey]{{Name: "hang", Deadline: time.Hour, Run: func(ctx context.Context, _ *At[journey]) error {
			<-ctx.Done()
			return ctx.Err()
		}}}}
		begun := time.Now()
		_, err := w.Execute(t.Context(), Options[journey]{Store: In(dir), Owner: Self()}, journey{})
		late, ok := errors.AsType[*DeadlineError](err)
		if !ok || late.Step != "hang" || time.Since(begun) != time.Hour {
			t.Errorf("error %v after %s", err, time.Since(begun))
		}
	})
}

// TestFullDisk: what cannot be saved is not done; nothing damaged is left, and it goes on once there is room.
func TestFullDisk(t *testing.T) {
	store := &full{Store: In(t.TempDir())}
	var ran []string
	w := threeSteps(&ran)
	inner := w.Steps[1].Run
	w.Steps[1].Run = func(ctx context.Context, at *At[journey]) error {
		store.fail(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
		return inner(ctx, at)
	}
	if _, err := w.Execute(t.Context(), Options[journey]{Store: store, Owner: dead("it")}, journey{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error %v, want the full disk", err)
	}
	store.fail(nil)
	w.Steps[1].Run = inner
	p, err := w.Execute(t.Context(), Options[journey]{Store: store, Owner: Self()}, journey{})
	if err != nil || !slices.Equal(p.Data.Marks, []string{"first", "second", "third"}) {
		t.Errorf("afterwards: %+v, %v", p, err)
	}
}

// full is a store that takes nothing while it is told to fail.
type full struct {
	Store
	mu  sync.Mutex
	err error
}

func (f *full) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *full) Put(ctx context.Context, key string, content []byte, was Version) (Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return "", f.err
	}
	return f.Store.Put(ctx, key, content, was)
}

// TestDamagedProgress is told, with the file, and not taken for a new run.
func TestDamagedProgress(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journey.json"), []byte(`{"format": 1, "st`), 0o600); err != nil {
		t.Fatal(err)
	}
	var ran []string
	_, err := threeSteps(&ran).Execute(t.Context(), Options[journey]{Store: In(dir), Owner: Self()}, journey{})
	if err == nil || !strings.Contains(err.Error(), "understand the saved progress of journey") || len(ran) > 0 {
		t.Errorf("error %v, ran %v", err, ran)
	}
}
