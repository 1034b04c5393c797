package workflow

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTwoAtOnce: of many who ask, one gets the lease, and the others are told who has it.
func TestTwoAtOnce(t *testing.T) {
	store := In(t.TempDir())
	var mu sync.Mutex
	var held []*Lease
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			l, err := Acquire(t.Context(), store, "work", Self(), 0, nil)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				held = append(held, l)
				return
			}
			if _, ok := errors.AsType[*HeldError](err); !ok && !errors.Is(err, ErrChanged) {
				t.Errorf("refused with %v", err)
			}
		})
	}
	asking.Wait()
	if len(held) != 1 {
		t.Fatalf("%d hold the lease, want 1", len(held))
	}
	_, err := Acquire(t.Context(), store, "work", Self(), 0, nil)
	if other, ok := errors.AsType[*HeldError](err); !ok || other.Owner != Self() || !strings.Contains(err.Error(), "is held by") {
		t.Errorf("error %v, want who holds it", err)
	}
	if err := held[0].Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(t.Context(), store, "work", Self(), 0, nil); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

// TestStaleLeaseIsTakenOver: who has not renewed for the lease's age loses it, notices, and can save nothing more.
func TestStaleLeaseIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := In(dir)
		elsewhere := Owner{Name: "other@elsewhere", Process: "1/1", Machine: "another"}
		var ran []string
		w := threeSteps(&ran)
		inner := w.Steps[1].Run
		w.Steps[1].Run = func(ctx context.Context, at *At[journey]) error {
			// The process is suspended for longer than its lease holds: a clock of its own stands still.
			time.Sleep(3 * LeaseAge)
			w2 := threeSteps(new([]string))
			if _, err := w2.Execute(context.WithoutCancel(ctx), Options[journey]{Store: store, Owner: Self()}, journey{}); err != nil {
				t.Errorf("the successor: %v", err)
			}
			return inner(ctx, at)
		}
		frozen := &full{Store: store}
		suspended := time.AfterFunc(time.Second, func() { frozen.fail(errors.New("unreachable")) })
		defer suspended.Stop()
		_, err := w.Execute(t.Context(), Options[journey]{Store: &onlyLease{frozen, store}, Owner: elsewhere}, journey{})
		if !errors.Is(err, ErrLost) {
			t.Errorf("the predecessor ended with %v, want ErrLost", err)
		}
		p, err := w.Peek(t.Context(), store)
		if err != nil || !p.Finished() {
			t.Errorf("what is saved: %+v, %v", p, err)
		}
	})
}

// onlyLease sends the lease's writes through one store and all others through another.
type onlyLease struct {
	Store
	rest Store
}

func (o *onlyLease) Put(ctx context.Context, key string, content []byte, was Version) (Version, error) {
	if strings.HasSuffix(key, ".lease") {
		return o.Store.Put(ctx, key, content, was)
	}
	return o.rest.Put(ctx, key, content, was)
}

// TestKeep: a lease that is kept outlives its age, and whoever waits on its context learns of its loss.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := In(dir)
		l, err := Acquire(t.Context(), store, "work", Owner{Name: "a@b"}, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		kept, stop := l.Keep(t.Context())
		defer stop()
		time.Sleep(10*time.Minute + time.Second) // between two renewals
		if _, err := Acquire(t.Context(), store, "work", Self(), time.Minute, nil); err == nil {
			t.Error("a kept lease was taken over")
		}
		_, version, err := store.Get(t.Context(), "work.lease")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), "work.lease", []byte("{}"), version); err != nil {
			t.Fatal(err)
		}
		<-kept.Done()
		if cause := context.Cause(kept); !errors.Is(cause, ErrLost) {
			t.Errorf("cause %v, want ErrLost", cause)
		}
	})
}

// TestDeadOwner: the lease of a process that was killed is free at once, that of a living one is not.
func TestDeadOwner(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	owner := Owner{Name: "killed@here", Process: processOf(cmd.Process.Pid), Machine: machine()}
	if owner.Machine == "" || owner.Process == "" {
		t.Fatalf("this machine does not tell processes apart: %+v", owner)
	}
	store := In(t.TempDir())
	if _, err := Acquire(t.Context(), store, "work", owner, 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(t.Context(), store, "work", Self(), 0, nil); err == nil {
		t.Error("the lease of a living process was taken")
	}
	if err := cmd.Process.Signal(os.Kill); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as it should be
	if _, err := Acquire(t.Context(), store, "work", Self(), 0, nil); err != nil {
		t.Errorf("the lease of a dead process: %v", err)
	}
}
