package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
)

// killsVariable sets how many kills TestKillsLoseNothing makes.
const killsVariable = "KILLS"

// acknowledged is what clients were told is done.
type acknowledged struct {
	mu       sync.Mutex
	emails   []string
	sessions map[string]bool // id → still there; false once deleted
}

// Two processes share a store under write load, and one after the other is
// killed without warning, again and again. Whatever was acknowledged is there
// at the end, and every index agrees with its record.
func TestKillsLoseNothing(t *testing.T) {
	t.Parallel()
	kills := 200
	if testing.Short() {
		kills = 20
	}
	if text, ok := os.LookupEnv(killsVariable); ok {
		var err error
		kills, err = strconv.Atoi(text)
		must(t, err)
	}
	dir := t.TempDir()
	environ := settings(dir, "CODITECT_PASSWORD_HASH_MEMORY_KIB=8192", "CODITECT_PASSWORD_HASH_PASSES=1")
	addresses := [2]string{freeAddress(t), freeAddress(t)}
	start := func(i int) *child {
		return serveChild(t, slices.Concat(environ, []string{contract.EnvListen + "=" + addresses[i]}))
	}
	processes := [2]*child{start(0), start(1)}
	for _, c := range processes {
		c.waitReady()
	}
	owner := processes[0].register("owner@example.org")

	told := &acknowledged{sessions: map[string]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	for i, c := range processes {
		for j := range 3 {
			writers.Go(func() { told.write(ctx, c.url, owner, fmt.Sprintf("w%d-%d", i, j)) })
		}
	}
	begin := time.Now()
	for n := range kills {
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		victim := n % len(processes)
		processes[victim].kill()
		processes[victim] = start(victim)
	}
	stop()
	writers.Wait()
	t.Logf("%d kills in %v; acknowledged: %d registrations, %d sessions", kills, time.Since(begin).Round(time.Second), len(told.emails), len(told.sessions))
	if len(told.emails) < kills/20 || len(told.sessions) < kills/2 {
		t.Errorf("too little was written to show anything")
	}

	c := processes[0]
	c.waitReady()
	for _, email := range told.emails {
		status, body, err := call(t.Context(), http.MethodPost, c.url+"/auth/login", "", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
		if err != nil || status != http.StatusOK {
			t.Errorf("%s was registered and cannot sign in: %d %s %v", email, status, body, err)
		}
	}
	for id, there := range told.sessions {
		want := http.StatusOK
		if !there {
			want = http.StatusNotFound
		}
		if status, body, err := call(t.Context(), http.MethodGet, c.url+"/sessions/"+id, owner, ""); err != nil || status != want {
			t.Errorf("session %s: %d, want %d: %s %v", id, status, want, body, err)
		}
	}
	if out, err := program(t, environ, "check").CombinedOutput(); err != nil {
		t.Errorf("check: %v\n%s", err, out)
	} else {
		t.Logf("check:\n%s", out)
	}
}

// write registers users, and makes and deletes sessions of one, until ctx
// ends. It remembers what was acknowledged: a deletion without an answer may
// or may not have happened, so such a session is forgotten.
func (a *acknowledged) write(ctx context.Context, url, owner, name string) {
	client := &http.Client{Timeout: time.Minute}
	for n := 0; ctx.Err() == nil; n++ {
		email := fmt.Sprintf("%s-%d@example.org", name, n)
		if n%8 == 0 {
			if status, _, err := callWith(ctx, client, http.MethodPost, url+"/auth/register", "", registration(email)); err == nil && status == http.StatusCreated {
				a.mu.Lock()
				a.emails = append(a.emails, email)
				a.mu.Unlock()
			}
		}
		status, body, err := callWith(ctx, client, http.MethodPost, url+"/sessions", owner, `{"name":"kept"}`)
		if err != nil || status != http.StatusCreated {
			time.Sleep(2 * time.Millisecond) // the process is being started again
			continue
		}
		var made createdSession
		if json.Unmarshal(body, &made) != nil {
			continue
		}
		a.remember(made.Data.ID, true)
		if n%4 == 0 {
			a.forget(made.Data.ID)
			if status, _, err := callWith(ctx, client, http.MethodDelete, url+"/sessions/"+made.Data.ID, owner, ""); err == nil && status == http.StatusOK {
				a.remember(made.Data.ID, false)
			}
		}
	}
}

func (a *acknowledged) remember(id string, there bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[id] = there
}

func (a *acknowledged) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, id)
}
