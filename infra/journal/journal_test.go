package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"coditect.ai/platform/infra/journal"
)

func entry(id, outcome string) journal.Entry {
	return journal.Entry{
		ID: id, At: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Actor: "ada", Environment: "local",
		Command: "rollout start", Outcome: outcome,
	}
}

func open(t *testing.T) (journal.Journal, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "below", "journal.jsonl")
	return journal.At(path), path
}

func record(t *testing.T, j journal.Journal, entries ...journal.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
}

func outcomes(t *testing.T, j journal.Journal, limit int) string {
	t.Helper()
	recent, err := j.Recent(limit)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range recent {
		words = append(words, e.ID+" "+e.Outcome)
	}
	return strings.Join(words, ", ")
}

func TestAnOperationShowsHowItEnded(t *testing.T) {
	j, _ := open(t)
	if got := outcomes(t, j, 10); got != "" {
		t.Errorf("an empty journal holds %s", got)
	}
	record(t, j, entry("a", journal.Begun), entry("b", journal.Begun), entry("a", journal.Succeeded), entry("c", journal.Failed))
	if got, want := outcomes(t, j, 10), "c failed, b begun, a succeeded"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := outcomes(t, j, 2), "c failed, b begun"; got != want {
		t.Errorf("the newest two: %s, want %s", got, want)
	}
}

func TestOperationsOfOneEnvironment(t *testing.T) {
	j, _ := open(t)
	other := entry("b", journal.Succeeded)
	other.Environment = "prod"
	record(t, j, entry("a", journal.Succeeded), other, entry("c", journal.Succeeded), entry("d", journal.Succeeded))
	recent, err := j.RecentOf("local", 2)
	if err != nil || len(recent) != 2 || recent[0].ID != "d" || recent[1].ID != "c" {
		t.Errorf("of local: %+v, %v", recent, err)
	}
	if recent, err := j.RecentOf("prod", 2); err != nil || len(recent) != 1 || recent[0].ID != "b" {
		t.Errorf("of prod: %+v, %v", recent, err)
	}
}

func TestACutOffEntryCostsNoOther(t *testing.T) {
	j, path := open(t)
	record(t, j, entry("a", journal.Succeeded))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":"b","outc`); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	record(t, j, entry("c", journal.Failed))
	if got, want := outcomes(t, j, 10), "c failed, a succeeded"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestManyWritersLoseNothing(t *testing.T) {
	j, _ := open(t)
	const writers, each = 8, 20
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for i := range each {
				if err := j.Append(entry(fmt.Sprintf("%d-%d", w, i), journal.Succeeded)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	recent, err := j.Recent(1000)
	if err != nil || len(recent) != writers*each {
		t.Errorf("%d entries of %d: %v", len(recent), writers*each, err)
	}
}

func TestTheFileStaysBounded(t *testing.T) {
	j, path := open(t)
	large := entry("", journal.Failed)
	large.Detail = strings.Repeat("x", 1<<20)
	for i := range 1500 {
		large.ID = strconv.Itoa(i)
		record(t, j, large)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 1<<20+4096 {
		t.Errorf("the file has %d bytes: %v", info.Size(), err)
	}
	if got := outcomes(t, j, 1); got != "1499 failed" {
		t.Errorf("the newest is %s", got)
	}
}
