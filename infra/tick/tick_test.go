package tick

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/workflow"
)

type lamp struct {
	Saved

	Lit int `json:"lit"`
}

func machine(t *testing.T) *Machine[lamp, *lamp] {
	t.Helper()
	return &Machine[lamp, *lamp]{Key: "lamp", Noun: "lamp", Format: 2, Store: workflow.In(t.TempDir()), Owner: workflow.Owner{Name: "ada"}, Now: time.Now}
}

// TestMoves: every move is saved before the next, an error is part of the state, and a tick ends.
func TestMoves(t *testing.T) {
	m, broken := machine(t), errors.New("broken")
	s, err := m.Change(t.Context(), 0, func(ctx context.Context, turn *Turn[lamp, *lamp]) error {
		if turn.State != nil {
			t.Error("there is one already")
		}
		turn.State = &lamp{Saved: m.Begin("prod")}
		return turn.Run(ctx, func(ctx context.Context) (bool, error) {
			if saved, err := m.Load(ctx); err != nil || saved != nil && saved.Lit != turn.State.Lit {
				t.Errorf("saved is %+v after %d moves, %v", saved, turn.State.Lit, err)
			}
			turn.State.Lit++
			if turn.State.Lit == 3 {
				return true, broken
			}
			return true, nil
		})
	})
	if !errors.Is(err, broken) || s.Lit != 3 || s.Trouble != broken.Error() {
		t.Fatalf("%+v, %v", s, err)
	}
	s, err = m.Change(t.Context(), 0, func(ctx context.Context, turn *Turn[lamp, *lamp]) error {
		return turn.Run(ctx, func(context.Context) (bool, error) { turn.State.Lit++; return true, nil })
	})
	if err != nil || s.Lit != 3+maxMoves || s.Trouble != "" {
		t.Errorf("endless moves: %+v, %v", s, err)
	}
}

// TestOneWriter: while one is at it another is told who; one that has lost the lease overwrites nothing.
func TestOneWriter(t *testing.T) {
	m := machine(t)
	_, err := m.Change(t.Context(), 0, func(ctx context.Context, turn *Turn[lamp, *lamp]) error {
		_, err := m.Change(ctx, 0, func(context.Context, *Turn[lamp, *lamp]) error { return errors.New("two at once") })
		if _, held := errors.AsType[*workflow.HeldError](err); !held {
			t.Errorf("a second: %v", err)
		}
		turn.State = &lamp{Saved: m.Begin("prod")}
		if err := turn.Save(ctx); err != nil {
			return err
		}
		if err := m.Keep(ctx, "lamp", []byte(`{"format": 2, "lit": 7}`)); err != nil {
			return err
		}
		return turn.Save(ctx)
	})
	if !errors.Is(err, workflow.ErrLost) {
		t.Errorf("overwritten: %v", err)
	}
	if s, err := m.Load(t.Context()); err != nil || s.Lit != 7 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestOtherFormat: a state of another version of the command is not guessed at.
func TestOtherFormat(t *testing.T) {
	m := machine(t)
	for content, want := range map[string]string{`{"format": 1}`: "saves format 1", `{"form`: "understand the state of the lamp"} {
		if err := m.Keep(t.Context(), "lamp", []byte(content)); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Load(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", content, err)
		}
	}
}

// TestHistory is bounded, and its beginning stays.
func TestHistory(t *testing.T) {
	var s Saved
	for i := range maxEvents + 100 {
		s.Event(time.Time{}, "", strconv.Itoa(i))
	}
	if len(s.Events) != maxEvents || s.Events[0].Text != "0" || s.Events[maxEvents-1].Text != strconv.Itoa(maxEvents+99) {
		t.Errorf("%d lines, from %q to %q", len(s.Events), s.Events[0].Text, s.Events[len(s.Events)-1].Text)
	}
}
