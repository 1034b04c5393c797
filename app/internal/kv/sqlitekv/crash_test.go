package sqlitekv_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/kv/sqlitekv"
)

// crashDirVariable makes the test binary a writer on the store in that
// directory, which reports each acknowledged record by a line and never ends.
const crashDirVariable = "SQLITEKV_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirVariable); dir != "" {
		fmt.Fprintln(os.Stderr, writeForever(context.Background(), dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForever adds records, each with its index entry and counted twice, from
// a few goroutines at once so that commits share syncs.
func writeForever(ctx context.Context, dir string) error {
	db, err := sqlitekv.Open(ctx, sqlitekv.Options{Dir: dir})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for worker := range 4 {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, n)
				if err := db.Transact(ctx, func(tr kv.Transaction) error { return addRecord(tr, id) }); err != nil {
					failed <- err
					return
				}
				// One write of a line this short is whole or not there.
				if _, err := os.Stdout.WriteString(id + "\n"); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

func addRecord(tr kv.Transaction, id string) error {
	if v, err := tr.Get([]byte("record/" + id)); err != nil || v != nil {
		return err
	}
	tr.Set([]byte("record/"+id), []byte(id))
	tr.Set([]byte("index/"+id), nil)
	tr.Add([]byte("count"), 1)
	tally, err := tr.Get([]byte("tally")) // in conflict with every other writer
	tr.Set([]byte("tally"), kv.CounterValue(kv.Counter(tally)+1))
	return err
}

// victim is a writer process.
type victim struct {
	cmd     *exec.Cmd
	first   chan struct{} // closed when it has acknowledged a record
	drained chan struct{} // closed when its pipe is empty
	acked   []string      // complete when drained
}

func startVictim(ctx context.Context, t *testing.T, dir string) *victim {
	t.Helper()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), crashDirVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victim{cmd: cmd, first: make(chan struct{}), drained: make(chan struct{})}
	go v.drain(out)
	return v
}

func (v *victim) drain(out io.Reader) {
	defer close(v.drained)
	started := sync.OnceFunc(func() { close(v.first) })
	for lines := bufio.NewReader(out); ; started() {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		v.acked = append(v.acked, line[:len(line)-1])
	}
}

// kill ends the process as the kernel would and returns what it had acknowledged.
func (v *victim) kill(t *testing.T) []string {
	t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-v.drained
	_ = v.cmd.Wait() // killed, as it was meant to be
	return v.acked
}

// TestKilledWriters kills writers of one store at random moments, sometimes
// with a neighbour at work and sometimes all at once, and finds everything
// that any of them acknowledged, with all that was written together.
func TestKilledWriters(t *testing.T) {
	kills, writers := 200, 2
	if testing.Short() {
		kills = 30
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // a busy machine is no failure
	defer cancel()
	dir := t.TempDir()
	victims := make([]*victim, writers)
	for i := range victims {
		victims[i] = startVictim(ctx, t, dir)
	}
	var acked []string
	for killed := 0; killed < kills; {
		doomed := victims[killed%writers : killed%writers+1]
		if rand.IntN(4) == 0 {
			doomed = victims // nobody is left to tell what the log holds
		}
		for _, v := range doomed {
			select {
			case <-v.first:
			case <-v.drained:
				t.Fatal("a writer ended by itself")
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
		}
		time.Sleep(rand.N(30 * time.Millisecond)) // real processes at a random moment
		for _, v := range doomed {
			acked = append(acked, v.kill(t)...)
			killed++
		}
		for i := range doomed {
			doomed[i] = startVictim(ctx, t, dir)
		}
		if killed%50 == 0 {
			checkStore(t, dir, acked)
		}
	}
	for _, v := range victims {
		acked = append(acked, v.kill(t)...)
	}
	if len(acked) < kills {
		t.Errorf("only %d records were acknowledged over %d kills", len(acked), kills)
	}
	checkStore(t, dir, acked)
	checkFile(t, dir)
	t.Logf("%d kills, %d acknowledged records", kills, len(acked))
}

// checkStore compares one snapshot of the store with what was acknowledged before it.
func checkStore(t *testing.T, dir string, acked []string) {
	t.Helper()
	db := open(t, sqlitekv.Options{Dir: dir})
	records, indexed, count, tally := map[string]bool{}, map[string]bool{}, int64(0), int64(0)
	err := db.Read(t.Context(), func(r kv.Reader) error {
		for prefix, found := range map[string]map[string]bool{"record/": records, "index/": indexed} {
			pairs, err := r.Range(kv.PrefixRange([]byte(prefix)), kv.RangeOptions{})
			if err != nil {
				return err
			}
			for _, p := range pairs {
				found[string(p.Key[len(prefix):])] = true
			}
		}
		v, err := r.Get([]byte("count"))
		if err != nil {
			return err
		}
		count = kv.Counter(v)
		v, err = r.Get([]byte("tally"))
		tally = kv.Counter(v)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range acked {
		if !records[id] {
			t.Errorf("record %s was acknowledged and is lost", id)
		}
	}
	for id := range records {
		if !indexed[id] {
			t.Errorf("record %s has no index entry", id)
		}
	}
	if n := int64(len(records)); n != int64(len(indexed)) || n != count || n != tally {
		t.Errorf("%d records, %d index entries, %d counted by adds and %d by increments", n, len(indexed), count, tally)
	}
}

// checkFile has SQLite check its own file.
func checkFile(t *testing.T, dir string) {
	t.Helper()
	c, err := sqlite.OpenConn(filepath.Join(dir, "store.db"), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, _, err := c.PrepareTransient("PRAGMA integrity_check")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Finalize() }()
	if more, err := s.Step(); err != nil || !more || s.ColumnText(0) != "ok" {
		t.Errorf("integrity check: %s, %v", s.ColumnText(0), err)
	}
}
