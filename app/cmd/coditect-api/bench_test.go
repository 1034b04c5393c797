package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/argon2"

	"coditect.ai/platform/app/contract"
)

// The benchmarks hold the service to figures: each measures the real process
// over loopback beside what it is compared with, in turns, and fails when the
// figure is missed. One pass of each is a whole measurement:
//
//	go test -run '^$' -bench . -benchtime 1x ./cmd/coditect-api
const (
	leastHealthRatio  = 0.8 // of a bare net/http handler's requests per second
	leastSessionRatio = 0.5 // of a bare handler that verifies one HS256 token
	leastLoginRatio   = 0.9 // of raw Argon2id on the same cores
	mostHealthP99     = 100 * time.Millisecond
	mostStart         = 150 * time.Millisecond
	residentFloor     = 64 << 20
)

// What the bare handlers answer and verify with.
const (
	bareHealthVariable  = "BARE_HEALTH"
	bareSessionVariable = "BARE_SESSION"
	bareKeyVariable     = "BARE_KEY"
)

// serveBare is the program of childBare: the least that net/http can do for
// the same answers.
func serveBare() {
	healthBody, sessionBody := []byte(os.Getenv(bareHealthVariable)), []byte(os.Getenv(bareSessionVariable))
	key, err := base64.StdEncoding.DecodeString(os.Getenv(bareKeyVariable))
	if err != nil {
		panic(err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}))
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(healthBody)
	})
	http.HandleFunc("/session", func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if _, err := parser.ParseWithClaims(token, &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(sessionBody)
	})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(socket.Addr())
	panic(http.Serve(socket, nil))
}

// startBare runs serveBare in a process of its own and returns its base URL.
func startBare(b *testing.B, health, session, key string) string {
	b.Helper()
	cmd := program(b, []string{
		childVariable + "=" + childBare,
		bareHealthVariable + "=" + health, bareSessionVariable + "=" + session, bareKeyVariable + "=" + key,
	})
	out, err := cmd.StdoutPipe()
	must(b, err)
	cmd.Stderr = os.Stderr
	must(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Kill() // by its id; it has no other end
		_ = cmd.Wait()
	})
	var address string
	_, err = fmt.Fscanln(out, &address)
	must(b, err)
	return "http://" + address
}

// compared measures two loads in turns and returns the median of the ratios.
func compared(b *testing.B, rounds int, reference, ours func() float64) (ratio, perSecond float64) {
	b.Helper()
	reference()
	ours()
	var ratios, rates []float64
	for range rounds {
		r, o := reference(), ours()
		ratios, rates = append(ratios, o/r), append(rates, o)
	}
	slices.Sort(ratios)
	slices.Sort(rates)
	return ratios[rounds/2], rates[rounds/2]
}

// atLeast reports a ratio and fails the benchmark when it is missed.
func atLeast(b *testing.B, ratio, least float64) {
	b.Helper()
	b.ReportMetric(ratio, "ratio")
	if ratio < least {
		b.Errorf("ratio %.3f, at least %.2f is wanted", ratio, least)
	}
}

const (
	round       = 250 * time.Millisecond // short, so that both sides of a pair see the same machine
	rounds      = 15
	connections = 8
)

func BenchmarkHealth(b *testing.B) {
	for b.Loop() {
		api := serveChild(b, settings(b.TempDir()))
		api.waitReady()
		_, body, err := call(b.Context(), http.MethodGet, api.url+"/health", "", "")
		must(b, err)
		bare := startBare(b, string(body), "", "")
		ratio, rate := compared(b, rounds,
			func() float64 {
				return drive(b, bare, connections, message("GET", bare+"/health", "", ""), 0, round).perSecond(http.StatusOK)
			},
			func() float64 {
				return drive(b, api.url, connections, message("GET", api.url+"/health", "", ""), 0, round).perSecond(http.StatusOK)
			})
		b.ReportMetric(rate, "req/s")
		atLeast(b, ratio, leastHealthRatio)
	}
}

func BenchmarkGetSession(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		api := serveChild(b, settings(dir))
		api.waitReady()
		token := api.register("bench@example.org")
		_, body, err := call(b.Context(), http.MethodPost, api.url+"/sessions", token, `{"name":"bench","workspace_path":"/home/bench"}`)
		must(b, err)
		var made createdSession
		must(b, json.Unmarshal(body, &made))
		key, err := os.ReadFile(keyFile(dir))
		must(b, err)
		bare := startBare(b, "", string(body), strings.TrimSpace(string(key)))
		ratio, rate := compared(b, rounds,
			func() float64 {
				return drive(b, bare, connections, message("GET", bare+"/session", token, ""), 0, round).perSecond(http.StatusOK)
			},
			func() float64 {
				return drive(b, api.url, connections, message("GET", api.url+"/sessions/"+made.Data.ID, token, ""), 0, round).perSecond(http.StatusOK)
			})
		b.ReportMetric(rate, "req/s")
		atLeast(b, ratio, leastSessionRatio)
	}
}

func BenchmarkLogin(b *testing.B) {
	for b.Loop() {
		api := serveChild(b, settings(b.TempDir()))
		api.waitReady()
		api.register("bench@example.org")
		login := message("POST", api.url+"/auth/login", "", fmt.Sprintf(`{"email":"bench@example.org","password":%q}`, password))
		ratio, rate := compared(b, 9,
			func() float64 { return rawArgon2(time.Second) },
			func() float64 {
				return drive(b, api.url, 4*runtime.GOMAXPROCS(0), login, 0, time.Second).perSecond(http.StatusOK)
			})
		b.ReportMetric(rate, "logins/s")
		atLeast(b, ratio, leastLoginRatio)
	}
}

// rawArgon2 hashes passwords on every core and returns how many a second.
func rawArgon2(length time.Duration) float64 {
	var hashes atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for time.Since(begin) < length {
				argon2.IDKey([]byte(password), []byte("0123456789abcdef"), 2, contract.PasswordHashMemory>>10, 1, 32)
				hashes.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(hashes.Load()) / time.Since(begin).Seconds()
}

// With many more logins than slots the memory stays bounded, and /health goes
// on answering.
func BenchmarkLoginCrowd(b *testing.B) {
	const clients, length = 100, 8 * time.Second
	for b.Loop() {
		api := serveChild(b, settings(b.TempDir()))
		api.waitReady()
		api.register("bench@example.org")
		login := message("POST", api.url+"/auth/login", "", fmt.Sprintf(`{"email":"bench@example.org","password":%q}`, password))
		var logins, health measured
		var both sync.WaitGroup
		both.Go(func() { logins = drive(b, api.url, clients, login, 0, length) })
		both.Go(func() {
			health = drive(b, api.url, 2, message("GET", api.url+"/health", "", ""), 5*time.Millisecond, length)
		})
		both.Wait()
		slots := runtime.GOMAXPROCS(0)
		peak, most := peakResident(b, api.cmd), residentFloor+slots*contract.PasswordHashMemory
		p99 := health.percentile(.99)
		b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		b.ReportMetric(float64(most)/(1<<20), "allowed-MiB")
		b.ReportMetric(float64(p99)/1e6, "health-p99-ms")
		b.ReportMetric(float64(health.percentile(1))/1e6, "health-max-ms")
		b.ReportMetric(logins.perSecond(http.StatusOK), "logins/s")
		b.ReportMetric(logins.perSecond(http.StatusServiceUnavailable), "busy/s")
		if peak > most {
			b.Errorf("%d bytes resident, at most %d are wanted", peak, most)
		}
		if p99 > mostHealthP99 {
			b.Errorf("/health took %v at the 99th percentile, at most %v is wanted", p99, mostHealthP99)
		}
		for status := range logins.statuses {
			if status != http.StatusOK && status != http.StatusServiceUnavailable {
				b.Errorf("logins answered %v", logins.statuses)
			}
		}
		if len(health.statuses) != 1 || health.statuses[http.StatusOK] == 0 {
			b.Errorf("/health answered %v", health.statuses)
		}
	}
}

// peakResident is the most memory that a process has had resident, in bytes.
func peakResident(b *testing.B, cmd *exec.Cmd) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	must(b, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			must(b, err)
			return kib << 10
		}
	}
	b.Fatal("no VmHWM")
	return 0
}

// Durable creations by 1, 10 and 100 clients, and how many share a sync.
func BenchmarkCreateSession(b *testing.B) {
	for _, clients := range []int{1, 10, 100} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			for b.Loop() {
				internal := freeAddress(b)
				api := serveChild(b, append(settings(b.TempDir()), contract.EnvInternalListen+"="+internal))
				api.waitReady()
				create := message("POST", api.url+"/sessions", api.register("bench@example.org"), `{"name":"bench","workspace_path":"/home/bench"}`)
				syncs, commits := meter(b, internal, "coditect_engine_syncs_total"), meter(b, internal, "coditect_engine_commits_total")
				l := drive(b, api.url, clients, create, 0, 3*time.Second)
				syncs, commits = meter(b, internal, "coditect_engine_syncs_total")-syncs, meter(b, internal, "coditect_engine_commits_total")-commits
				b.ReportMetric(l.perSecond(http.StatusCreated), "sessions/s")
				b.ReportMetric(syncs/commits, "syncs/commit")
				b.ReportMetric(float64(l.percentile(.5))/1e6, "p50-ms")
				b.ReportMetric(float64(l.percentile(.99))/1e6, "p99-ms")
				if len(l.statuses) != 1 || l.statuses[http.StatusCreated] == 0 {
					b.Errorf("answered %v", l.statuses)
				}
			}
		})
	}
}

// meter reads one metric without labels but the slot.
func meter(b *testing.B, internal, name string) float64 {
	b.Helper()
	status, body, err := call(b.Context(), http.MethodGet, "http://"+internal+contract.MetricsPath, "", "")
	must(b, err)
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, name+"{") {
			value, err := strconv.ParseFloat(strings.Fields(line)[1], 64)
			must(b, err)
			return value
		}
	}
	b.Fatalf("no %s in the answer %d", name, status)
	return 0
}

// From exec to the first answer of /health.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		var took []time.Duration
		for range 15 {
			address := freeAddress(b)
			cmd := program(b, append(settings(dir), contract.EnvListen+"="+address), "serve")
			cmd.Stderr = io.Discard
			begin := time.Now()
			must(b, cmd.Start())
			for {
				if status, _, err := call(b.Context(), http.MethodGet, "http://"+address+contract.HealthPath, "", ""); err == nil && status == http.StatusOK {
					break
				}
				if time.Since(begin) > 10*time.Second {
					b.Fatal("does not answer")
				}
				time.Sleep(time.Millisecond)
			}
			took = append(took, time.Since(begin))
			must(b, cmd.Process.Kill())
			_ = cmd.Wait() // killed
		}
		slices.Sort(took)
		median := took[len(took)/2]
		b.ReportMetric(float64(median)/1e6, "median-ms")
		b.ReportMetric(float64(took[len(took)-1])/1e6, "max-ms")
		if median > mostStart {
			b.Errorf("%v from exec to the first answer, at most %v is wanted", median, mostStart)
		}
	}
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	socket, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	must(tb, err)
	must(tb, socket.Close())
	return socket.Addr().String()
}
