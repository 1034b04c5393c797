package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/populate"
)

const (
	// mostScaleRatio is how much longer a request may take, in the median, in the
	// largest store than in the smallest.
	mostScaleRatio = 1.3
	scaleVariable  = "SCALE" // the sessions of the largest store; 1,000,000 unless told
	scaleUsers     = 100     // of each store who act; they have as many sessions in each
	scaleRounds    = 60
	scaleRequests  = 20 // of each kind and store in a round
)

// scaled is a process on a store of some size, and the users who act on it.
type scaled struct {
	*child
	sessions int
	wire     *wire
	users    []scaledUser
	took     map[string][]time.Duration // by operation
}

type scaledUser struct {
	token    string
	sessions []string
}

// newScaled fills a store by the populate command, checks all of it, and signs some of its users in.
func newScaled(b *testing.B, sessions int) *scaled {
	b.Helper()
	environ := settings(b.TempDir(), "CODITECT_PASSWORD_HASH_MEMORY_KIB=8192", "CODITECT_PASSWORD_HASH_PASSES=1")
	users := max(sessions/10, scaleUsers)
	out, err := program(b, environ, "populate", "--users", strconv.Itoa(users), "--sessions", strconv.Itoa(users*10), "--password", password).Output()
	must(b, err)
	b.Logf("%s", strings.TrimSpace(string(out)))
	begin := time.Now()
	if out, err := program(b, environ, contract.CheckCommand).CombinedOutput(); err != nil {
		b.Fatalf("check: %v\n%s", err, out)
	}
	b.Logf("checked in %v; %d MiB", time.Since(begin).Round(time.Millisecond), sizeOf(b, environ)>>20)
	s := &scaled{child: serveChild(b, environ), sessions: users * 10, took: map[string][]time.Duration{}}
	s.waitReady()
	for n := range scaleUsers {
		email := populate.Email(n * (users / scaleUsers)) // from everywhere in the store
		_, body, err := call(b.Context(), http.MethodPost, s.url+"/auth/login", "", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
		must(b, err)
		var in registered
		must(b, json.Unmarshal(body, &in))
		u := scaledUser{token: in.Data.Tokens.AccessToken}
		status, body, err := call(b.Context(), http.MethodGet, s.url+"/sessions", u.token, "")
		var page struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
		}
		must(b, json.Unmarshal(body, &page))
		if err != nil || status != http.StatusOK || len(page.Data) != 10 {
			b.Fatalf("%s has %d sessions: %d %v", email, len(page.Data), status, err)
		}
		for _, found := range page.Data {
			u.sessions = append(u.sessions, found.ID)
		}
		s.users = append(s.users, u)
	}
	return s
}

// sizeOf is the size of the store's files, in bytes.
func sizeOf(b *testing.B, environ []string) (size int64) {
	b.Helper()
	i := slices.IndexFunc(environ, func(e string) bool { return strings.HasPrefix(e, contract.EnvStoreDir+"=") })
	_, dir, _ := strings.Cut(environ[i], "=")
	files, err := os.ReadDir(dir)
	must(b, err)
	for _, f := range files {
		info, err := os.Stat(filepath.Join(dir, f.Name()))
		must(b, err)
		size += info.Size()
	}
	return size
}

// scaleOperations are what is measured: what one user asks for.
var scaleOperations = map[string]struct {
	status  int
	message func(s *scaled, u scaledUser) []byte
}{
	"get": {http.StatusOK, func(s *scaled, u scaledUser) []byte {
		return message("GET", s.url+"/sessions/"+u.sessions[rand.IntN(len(u.sessions))], u.token, "")
	}},
	"list": {http.StatusOK, func(s *scaled, u scaledUser) []byte {
		return message("GET", s.url+"/sessions?limit=10", u.token, "")
	}},
	"create": {http.StatusCreated, func(s *scaled, u scaledUser) []byte {
		return message("POST", s.url+"/sessions", u.token, `{"name":"bench","workspace_path":"/home/bench"}`)
	}},
}

// A request takes about as long among a million sessions as among a thousand.
// The stores are measured in turns, a few requests each, so that all of them see
// the same machine.
func BenchmarkScale(b *testing.B) {
	most := 1_000_000
	if text, given := os.LookupEnv(scaleVariable); given {
		var err error
		most, err = strconv.Atoi(text)
		must(b, err)
	}
	for b.Loop() {
		var stores []*scaled
		for _, size := range []int{1_000, most / 10, most} {
			stores = append(stores, newScaled(b, size))
		}
		for _, s := range stores { // now that all are there: who says nothing for long is hung up on
			var err error
			s.wire, err = dial(b.Context(), s.url)
			must(b, err)
		}
		for round := range scaleRounds + 5 { // the first ones fill the caches
			for operation := range scaleOperations {
				for i := range stores {
					s := stores[(i+round)%len(stores)]
					took := s.measure(b, operation)
					if round >= 5 {
						s.took[operation] = append(s.took[operation], took...)
					}
				}
			}
		}
		for _, operation := range slices.Sorted(maps.Keys(scaleOperations)) {
			base := median(stores[0].took[operation])
			for _, s := range stores {
				m := median(s.took[operation])
				ratio := float64(m) / float64(base)
				b.Logf("%-6s at %7d sessions: median %v, %.2f of the smallest", operation, s.sessions, m.Round(time.Microsecond), ratio)
				if s == stores[len(stores)-1] {
					b.ReportMetric(ratio, operation+"-ratio")
					if ratio > mostScaleRatio {
						b.Errorf("%s takes %.2f times as long at %d sessions as at %d, at most %.2f is wanted", operation, ratio, s.sessions, stores[0].sessions, mostScaleRatio)
					}
				}
			}
		}
		for _, s := range stores {
			must(b, s.wire.conn.Close())
			s.kill()
		}
	}
}

func (s *scaled) measure(b *testing.B, operation string) (took []time.Duration) {
	b.Helper()
	op := scaleOperations[operation]
	for range scaleRequests {
		m := op.message(s, s.users[rand.IntN(len(s.users))])
		begin := time.Now()
		status, err := s.wire.roundTrip(m)
		took = append(took, time.Since(begin))
		must(b, err)
		if status != op.status {
			b.Fatalf("%s: %d", operation, status)
		}
	}
	return took
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
