package httpapi_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browserTime is what a browser may take for a whole test on a busy machine.
const browserTime = 5 * time.Minute

// group is a browser's processes: its own and those that it starts.
type group struct{ leader *exec.Cmd }

// join makes cmd the group's leader.
func (g *group) join(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	g.leader = cmd
}

// end kills all of the group at once; none of it ignores that.
func (g *group) end() {
	if g.leader != nil && g.leader.Process != nil {
		_ = syscall.Kill(-g.leader.Process.Pid, syscall.SIGKILL) // most often it is gone already
	}
}

// profile makes a directory for a browser to keep its state in. The browser's
// helpers outlive its first process and write meanwhile, so that testing's own
// directory could not be removed: this one is emptied until it stays empty,
// and no test fails for it.
func profile(t *testing.T) (dir string, processes *group) {
	t.Helper()
	dir, err := os.MkdirTemp("", "browser") //nolint:usetesting // see above
	must(t, err)
	processes = &group{}
	t.Cleanup(func() {
		processes.end()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			err := os.RemoveAll(dir)
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Logf("the browser's directory stays: %v", err)
				return
			}
		}
	})
	return dir, processes
}

// browser starts Chromium for a test.
func browser(t *testing.T) (ctx context.Context, complaints func() []string) {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("no chromium on PATH: install the Debian package chromium to try the documentation in a real browser")
	}
	dir, processes := profile(t)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), browserTime) // cleaning up ends it
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, // the page is our own
		chromedp.UserDataDir(dir), chromedp.ModifyCmdFunc(processes.join),
		chromedp.WindowSize(1440, 1000), chromedp.WSURLReadTimeout(browserTime))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var said []string
	chromedp.ListenTarget(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			said = append(said, e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			if !strings.Contains(e.Entry.Text, "status of 4") { // a refusal that the test asked for
				said = append(said, e.Entry.Text)
			}
		}
	})
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

// A developer opens the page, registers, signs in, and opens a session, all by
// clicking; the browser finds nothing to complain about, its policy included.
func TestDocumentationInARealBrowser(t *testing.T) {
	ctx, complaints := browser(t)
	s := newService(t)
	send := func(operation string) chromedp.Tasks {
		form := "#" + operation + " form"
		return chromedp.Tasks{
			chromedp.ScrollIntoView(form),
			chromedp.Click(form+" button[type=submit]", chromedp.ByQuery),
			chromedp.WaitVisible("#"+operation+" .status b", chromedp.ByQuery),
		}
	}
	status := func(operation, want string) chromedp.Action {
		return chromedp.ActionFunc(func(ctx context.Context) error {
			var got, body string
			if err := chromedp.Run(ctx, chromedp.Text("#"+operation+" .status b", &got, chromedp.ByQuery), chromedp.Text("#"+operation+" .reply pre", &body, chromedp.ByQuery)); err != nil {
				return err
			}
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s, want %s\n%s", operation, got, want, body)
			}
			return nil
		})
	}
	var operations int
	var identity, filled string
	must(t, chromedp.Run(ctx,
		chromedp.Navigate(s.server.URL+api("/docs")),
		chromedp.WaitVisible("#createSession", chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelectorAll("article").length`, &operations),
		picture("top"),
		send("createSession"), status("createSession", "401"), // not signed in yet
		send("register"), status("register", "201"),
		send("login"), status("login", "200"),
		chromedp.Text("#identity", &identity, chromedp.ByQuery),
		send("refresh"), status("refresh", "200"), // the page has put the token in
		chromedp.Evaluate(`document.querySelector("#createSession .reply").replaceChildren()`, nil),
		send("createSession"), status("createSession", "201"),
		picture("session"),
		chromedp.Value("#getSession input", &filled, chromedp.ByQuery),
		send("getSession"), status("getSession", "200"),
		send("logout"), status("logout", "200"),
	))
	if operations != len(watcher.operations) {
		t.Errorf("the page shows %d operations of %d", operations, len(watcher.operations))
	}
	if !strings.Contains(identity, "ada@example.com") || len(filled) != 36 {
		t.Errorf("signed in as %q, with the session %q", identity, filled)
	}

	// By keyboard: find an operation and send its body.
	var shown int
	var focused, left string
	must(t, chromedp.Run(ctx,
		chromedp.KeyEvent("/"),
		chromedp.Evaluate(`document.activeElement.id`, &focused),
		chromedp.Evaluate(`document.activeElement.value = ""`, nil), // the driver types what a real key press would not
		chromedp.SendKeys("#filter", "sign a device", chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelectorAll("article:not([hidden])").length`, &shown),
		chromedp.Evaluate(`document.querySelector("#login .reply").replaceChildren()`, nil),
		chromedp.Focus("#login textarea", chromedp.ByQuery),
		chromedp.Evaluate(`document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", ctrlKey: true, bubbles: true}))`, nil),
		chromedp.WaitVisible("#login .status b", chromedp.ByQuery), status("login", "200"),
		chromedp.Text("#identity b", &left, chromedp.ByQuery),
	))
	if focused != "filter" {
		t.Errorf("/ went to %q", focused)
	}
	if shown == 0 || shown >= operations {
		t.Errorf("the filter shows %d operations of %d", shown, operations)
	}

	// On a phone nothing is wider than the screen.
	var wide bool
	must(t, chromedp.Run(ctx,
		chromedp.EmulateViewport(390, 844),
		chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth`, &wide),
		picture("phone"),
	))
	if wide {
		t.Error("on a phone the page scrolls sideways")
	}
	if said := complaints(); len(said) > 0 {
		t.Errorf("the browser complains: %q", said)
	}
}

// picture keeps a screenshot in the directory that KEEP_SCREENSHOTS names, to look at.
func picture(name string) chromedp.Action {
	dir := os.Getenv("KEEP_SCREENSHOTS")
	if dir == "" {
		return chromedp.Tasks{}
	}
	return chromedp.ActionFunc(func(ctx context.Context) error {
		var image []byte
		if err := chromedp.Run(ctx, chromedp.CaptureScreenshot(&image)); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name+".png"), image, 0o600)
	})
}
