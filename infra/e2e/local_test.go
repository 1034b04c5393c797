package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// checkout is a copy of this repository in which the local environment is run
// as a newcomer would, on a port of its own.
type checkout struct {
	dir  string
	port int
}

// clone copies what git would commit into a new folder and gives the gateway a free port.
func clone(t *testing.T) *checkout {
	t.Helper()
	from := repository(t)
	list, err := output(t.Context(), from, nil, "git", "ls-files", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.Fatalf("list the checkout's files: %v\n%s", err, list)
	}
	c := &checkout{dir: filepath.Join(t.TempDir(), "checkout"), port: freePort(t)}
	for file := range strings.FieldsSeq(list) {
		info, err := os.Stat(filepath.Join(from, file))
		if os.IsNotExist(err) {
			continue // deleted, not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		copyFile(t, filepath.Join(from, file), filepath.Join(c.dir, file), info.Mode())
	}
	c.configure(t, "gatewayLocalPort", strconv.Itoa(c.port))
	// What this checkout has built already need not be compiled once more to be linked.
	if path := filepath.Join(from, ".bin", "pulumi"); exists(path) {
		if err := os.MkdirAll(filepath.Join(c.dir, ".bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(c.dir, ".bin", "pulumi")); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { c.wreck(t) })
	return c
}

// configure sets a key of Pulumi.local.yaml.
func (c *checkout) configure(t *testing.T, key, value string) {
	t.Helper()
	path := filepath.Join(c.dir, "Pulumi.local.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^  coditect:` + key + `:.*\n`)
	text := line.ReplaceAllString(string(data), "")
	text = regexp.MustCompile(`(?m)^config:.*\n`).ReplaceAllString(text, fmt.Sprintf("config:\n  coditect:%s: %q\n", key, value))
	if !strings.Contains(text, key) {
		t.Fatalf("no place for %s in\n%s", key, text)
	}
	write(t, path, text, 0o644)
}

// make runs a target and returns what it printed and its exit code.
func (c *checkout) make(ctx context.Context, args ...string) (string, int) {
	out, err := output(ctx, c.dir, c.environ(), "make", append([]string{"--no-print-directory"}, args...)...)
	return out, exitCode(err)
}

func (c *checkout) mustMake(t *testing.T, args ...string) string {
	t.Helper()
	out, code := c.make(t.Context(), args...)
	if code != 0 {
		t.Fatalf("make %s exits %d:\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// environ is this process's environment without what the Makefile that runs the tests has set.
func (c *checkout) environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name == "MAKEFLAGS" || name == "MAKELEVEL" || name == "MFLAGS" {
			continue
		}
		env = append(env, v)
	}
	return env
}

// processes lists those whose executable lies below the given folder of the checkout.
func (c *checkout) processes(below string) []int {
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, filepath.Join(c.dir, below)) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// pods are the service's processes; the one that backs it up is not among them.
func (c *checkout) pods() []int {
	return slices.DeleteFunc(c.processes(".data"), func(pid int) bool {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return strings.Contains(string(cmdline), "\x00backup\x00")
	})
}

func (c *checkout) daemons() []int { return c.processes(filepath.Join(".bin", "coditect")) }

// wreck ends whatever a failed test has left running.
func (c *checkout) wreck(t *testing.T) {
	t.Helper()
	for _, pid := range append(c.daemons(), c.processes(".data")...) {
		t.Logf("left running: %d", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func (c *checkout) url(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d/api/v5%s", c.port, path)
}

// answers is the status that the gateway gives to a GET of path; 0 is none.
func (c *checkout) answers(path string) int {
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Get(c.url(path))
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// quickstart runs the README's session as it is printed, on this checkout's port.
func (c *checkout) quickstart(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(c.dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) != 1 {
		t.Fatalf("the README has %d sessions to paste, want 1", len(blocks))
	}
	script := strings.ReplaceAll(blocks[0][1], "127.0.0.1:8088", fmt.Sprintf("127.0.0.1:%d", c.port))
	out, err := output(t.Context(), c.dir, c.environ(), "bash", "-euo", "pipefail", "-c", script)
	if err != nil {
		t.Fatalf("the README's session: %v\n%s", err, out)
	}
	return out
}

// TestLocalEnvironment is the life of one environment, told in order: each part begins where the last ended.
func TestLocalEnvironment(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the Pulumi command line and minutes")
	}
	c := clone(t)

	part := func(name string, fn func(t *testing.T)) {
		if !t.Run(name, fn) {
			t.FailNow()
		}
	}
	part("up", func(t *testing.T) {
		t.Helper()
		out := c.mustMake(t, "up")
		for _, want := range []string{strconv.Itoa(c.port), "blue", "100 %", "green", "Try:"} {
			if !strings.Contains(out, want) {
				t.Errorf("it does not tell %q:\n%s", want, out)
			}
		}
		if got := len(c.pods()); got != 2 {
			t.Errorf("%d pods run, want 2", got)
		}
	})
	part("the README's session", func(t *testing.T) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(c.quickstart(t)), "\n")
		for i, want := range []string{`"status":"healthy"`, `"email":"ada@example.com"`, `"name":"engine"`, `"next_cursor"`, `"success":true`, `"success":true`, `"code":"invalid_token"`} {
			if i >= len(lines) || !strings.Contains(lines[i], want) {
				t.Errorf("answer %d lacks %s:\n%s", i+1, want, strings.Join(lines, "\n"))
			}
		}
	})
	part("a second up changes nothing", func(t *testing.T) {
		t.Helper()
		before := c.pods()
		begun := time.Now()
		out := c.mustMake(t, "up")
		if !strings.Contains(out, "Nothing to change") {
			t.Errorf("it changed something:\n%s", out)
		}
		t.Logf("a second make up took %.1f s", time.Since(begun).Seconds())
		if after := c.pods(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("pods were %v and are %v", before, after)
		}
	})
	part("a killed pod is restarted and traffic goes on", c.killPod)
	part("a change is rolled out without losing a request", c.change)
	part("an update that is cut off is healed by the next", c.cutOff)
	part("a killed supervisor leaves no orphan", func(t *testing.T) {
		t.Helper()
		for _, pid := range c.daemons() {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, 10*time.Second, "no process is left", func() bool { return len(c.processes(".data"))+len(c.daemons()) == 0 })
		c.mustMake(t, "up")
		c.quickstart(t) // with ada still there: a second registration is refused, the login works
	})
	part("a cloud taken from under its state is made anew", func(t *testing.T) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(c.dir, ".data", "local", "simcloud")); err != nil {
			t.Fatal(err)
		}
		c.mustMake(t, "up")
		c.quickstart(t)
	})
	part("down with KEEP_DATA, then up: the data is there", func(t *testing.T) {
		t.Helper()
		c.mustMake(t, "down", "KEEP_DATA=1")
		c.gone(t)
		c.mustMake(t, "up")
		if got := c.login(t); got != http.StatusOK {
			t.Errorf("the login of before answers %d, want 200", got)
		}
	})
	part("a release goes out in stages, and a bad one goes back", c.release)
	part("down, then up: nothing is left", func(t *testing.T) {
		t.Helper()
		c.mustMake(t, "down")
		c.gone(t)
		if exists(filepath.Join(c.dir, ".data", "local")) {
			t.Error(".data/local is still there")
		}
		c.mustMake(t, "up")
		if got := c.login(t); got != http.StatusUnauthorized {
			t.Errorf("the login of before answers %d, want 401", got)
		}
		c.mustMake(t, "down")
	})
	part("a drill that is killed again and again proves a restore", c.drill)
	part("a port that is taken is told in one sentence", func(t *testing.T) {
		t.Helper()
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", c.port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out, code := c.make(t.Context(), "up")
		if want := fmt.Sprintf("coditect: port %d of the gateway is taken", c.port); code == 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, want a failure that says %q:\n%s", code, want, out)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		c.mustMake(t, "up")
		c.mustMake(t, "down")
		c.gone(t)
	})
}

// release rehearses a good release and a bad one, under load.
func (c *checkout) release(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("there is no Prometheus on PATH: install Debian's package prometheus, or `make prometheus`")
	}
	out := c.mustMake(t, "rollout")
	for _, want := range []string{"Stage 3 of 3: blue 0, green 100.", "The former release is gone.", "not one request was lost"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not tell %q:\n%s", want, out)
		}
	}
	out = c.mustMake(t, "rollout", "BAD=errors")
	for _, want := range []string{"requests failed, more than 5.00 %", "Back to the former release", "the former one failed nobody"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not tell %q:\n%s", want, out)
		}
	}
}

// drill kills the command in the middle of several steps; each next one goes on, and the last comes to the end.
func (c *checkout) drill(t *testing.T) {
	t.Helper()
	for _, point := range []string{"[2/7]", "[4/7]", "[2/8]", "[4/8]", "[8/8]", ""} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(c.dir, ".bin", "coditect"), "drill", "--env", "local", "--users", "500")
		cmd.Dir, cmd.Env = c.dir, append(c.environ(), "PATH="+filepath.Join(c.dir, ".bin")+":"+os.Getenv("PATH"))
		told, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for lines := bufio.NewScanner(told); lines.Scan(); {
			text.WriteString(lines.Text() + "\n")
			if point != "" && strings.Contains(lines.Text(), point) {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		err = cmd.Wait()
		if point != "" {
			continue // killed, as it should be
		}
		for _, want := range []string{", as in the manifest |", "RTO", "| Lost though acknowledged before the backup began | 0 |"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the report does not tell %q", want)
			}
		}
		if err != nil || t.Failed() {
			t.Fatalf("the drill ends with %v:\n%s", err, &text)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.dir, ".data", "drill", "local", "*")); len(left) > 0 {
		t.Errorf("of the scratch environment there is left: %v", left)
	}
	c.gone(t)
}

func (c *checkout) killPod(t *testing.T) {
	t.Helper()
	before := c.pods()
	stop, load := c.load(t)
	if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the pod is restarted", func() bool {
		now := c.pods()
		return len(now) == len(before) && fmt.Sprint(now) != fmt.Sprint(before)
	})
	stop()
	t.Logf("%d requests, %d lost with the killed process", load.sent.Load(), load.lost.Load())
	// What the killed process had in its hands is lost; whoever asks after that is served by its neighbour.
	if load.lost.Load() > loaders {
		t.Errorf("%d of %d requests lost, more than the %d that were under way", load.lost.Load(), load.sent.Load(), loaders)
	}
}

func (c *checkout) change(t *testing.T) {
	t.Helper()
	stop, load := c.load(t)
	c.configure(t, "serviceReplicas", "3")
	c.configure(t, "serviceMaxReplicas", "3")
	c.configure(t, "serviceMemoryLimit", "768Mi") // a new revision: every pod is replaced
	before := c.pods()
	out := c.mustMake(t, "up")
	if strings.Contains(out, "Nothing to change") {
		t.Errorf("it changed nothing:\n%s", out)
	}
	eventually(t, 30*time.Second, "three pods, none of the old revision", func() bool {
		after := c.pods()
		return len(after) == 3 && !slices.ContainsFunc(after, func(pid int) bool { return slices.Contains(before, pid) })
	})
	stop()
	t.Logf("%d requests during the change, %d lost", load.sent.Load(), load.lost.Load())
	if load.lost.Load() > 0 {
		t.Errorf("%d of %d requests lost", load.lost.Load(), load.sent.Load())
	}
}

// cutOff interrupts (and once kills) an update at several moments; the next one must end well each time.
func (c *checkout) cutOff(t *testing.T) {
	t.Helper()
	for i, after := range []time.Duration{2 * time.Second, 4 * time.Second, 3 * time.Second} {
		sig := syscall.SIGINT
		if i == 2 {
			sig = syscall.SIGKILL
		}
		c.configure(t, "serviceMemoryLimit", fmt.Sprintf("%dMi", 512+16*i))
		c.interrupt(t, after, sig)
		c.mustMake(t, "up")
		if out := c.mustMake(t, "up"); !strings.Contains(out, "Nothing to change") {
			t.Errorf("cut off by %v after %v: the second up after it still changes something:\n%s", sig, after, out)
		}
	}
	c.mustMake(t, "down", "KEEP_DATA=1")
	for _, after := range []time.Duration{1500 * time.Millisecond, 3 * time.Second} { // while it is being made from nothing
		c.interrupt(t, after, syscall.SIGINT)
	}
	c.mustMake(t, "up")
	if got := c.answers("/ready"); got != http.StatusOK {
		t.Errorf("ready answers %d", got)
	}
}

// interrupt starts `make up` in a process group of its own and signals the group after a while, as a terminal does.
func (c *checkout) interrupt(t *testing.T, after time.Duration, sig syscall.Signal) {
	t.Helper()
	cmd := exec.Command("make", "--no-print-directory", "up")
	cmd.Dir, cmd.Env = c.dir, c.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-time.After(after):
	case err := <-ended:
		t.Fatalf("it ended before %v: %v", after, err)
	}
	if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	select {
	case err := <-ended:
		t.Logf("cut off by %v after %v: %v, %.1f s later", sig, after, err, time.Since(begun).Seconds())
	case <-time.After(time.Minute):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		t.Fatalf("%v after %v did not end it within a minute", sig, after)
	}
}

const loaders = 4

type counts struct{ sent, lost atomic.Int64 }

// load asks the gateway all the time until stop is called.
func (c *checkout) load(t *testing.T) (stop func(), n *counts) {
	t.Helper()
	n = &counts{}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range loaders {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond):
				}
				n.sent.Add(1)
				if c.answers("/health") != http.StatusOK {
					n.lost.Add(1)
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // under way
	return func() { close(done); wg.Wait() }, n
}

// login signs in as the README's user and returns the status.
func (c *checkout) login(t *testing.T) int {
	t.Helper()
	res, err := http.Post(c.url("/auth/login"), "application/json", strings.NewReader(`{"email":"ada@example.com","password":"correct horse battery staple"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func (c *checkout) gone(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, "no process is left", func() bool { return len(c.processes(".data"))+len(c.daemons()) == 0 })
	if got := c.answers("/health"); got != 0 {
		t.Errorf("the gateway still answers %d", got)
	}
}

func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
