package console_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"coditect.ai/platform/infra/console"
	"coditect.ai/platform/infra/journal"
)

// browser starts Chromium for a test.
func browser(t *testing.T) (ctx context.Context, complaints func() []string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium on PATH: install the Debian package chromium to try the console in a real browser")
	}
	// The browser's last processes may still write while its directory is removed: no test fails for that.
	profile, err := os.MkdirTemp("", "console-browser") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for deadline := time.Now().Add(patience); os.RemoveAll(profile) != nil && time.Now().Before(deadline); {
			time.Sleep(20 * time.Millisecond)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, // the page is our own
		chromedp.UserDataDir(profile), chromedp.WindowSize(1280, 1100), chromedp.WSURLReadTimeout(time.Minute))...)
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
			said = append(said, e.Entry.Text)
		}
	})
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

// example is an environment in the middle of a release.
func example(_ context.Context, s *console.Snapshot) error {
	now := time.Now()
	s.Environments = []console.Environment{
		{
			Name: "local", URL: "http://127.0.0.1:8088/api/v5", Health: console.Healthy,
			Slots: []console.Slot{{Name: "blue", Weight: 90, Share: new(0.898), Ready: 2, Desired: 2}, {Name: "green", Weight: 10, Share: new(0.102), Ready: 2, Desired: 2}},
		},
		{
			Name: "staging", URL: "https://staging.coditect.ai/api/v5", Health: console.Down, Detail: "no answer within 2 s",
			Slots: []console.Slot{{Name: "coditect-api-v5-blue", Weight: 100, Desired: 2}},
		},
	}
	s.Retirement = &console.Retirement{State: "approval", Text: "waits for approval to leave the route", Waiting: "Waits for approval", Until: now.Add(48 * time.Hour), Attention: "Nobody has used API v2 for a week: approve."}
	r := &console.Rollout{
		ID: "r1", Version: "v5.2.0", State: "soaking", Waiting: "10 % until enough requests are judged", Until: now.Add(time.Hour),
		Stages: []console.Stage{{Name: "prepare", State: "done"}, {Name: "10 %", State: "now"}, {Name: "50 %", State: "next"}, {Name: "100 %", State: "next"}},
		Stable: console.Series{Slot: "blue"}, Canary: console.Series{Slot: "green"},
	}
	for i := range 40 {
		at := now.Add(time.Duration(i-40) * 5 * time.Second)
		wave := float64(i%7) / 1000
		r.Stable.Points = append(r.Stable.Points, console.Point{At: at, Requests: 180 + float64(i%5), ErrorRate: wave / 4, P99: 0.045 + wave})
		r.Canary.Points = append(r.Canary.Points, console.Point{At: at, Requests: 20 + float64(i%3), ErrorRate: wave / 2, P99: 0.06 + 2*wave})
	}
	s.Rollout = r
	s.Backups = []console.Backup{{ID: "20261125T120000Z", At: now.Add(-3 * time.Minute), Bytes: 4_200_000, Records: 123_456}}
	s.Proven = &console.Proven{At: now.Add(-26 * time.Hour), Backup: "20261124T100000Z", RPO: new(4.2), RTO: 38, OK: true}
	s.Operations = []journal.Entry{{ID: "a", At: now.Add(-time.Hour), Actor: "ada", Environment: "local", Command: "rollout start", Outcome: journal.Succeeded, Seconds: 12}}
	return nil
}

// An operator looks, starts an action, is asked to name the environment, and sees it run.
func TestConsoleInARealBrowser(t *testing.T) {
	ctx, complaints := browser(t)
	p := open(t, console.Options{
		Sources: []console.Source{{Name: "example", Fill: example}},
		Actions: []console.Action{
			{ID: "pause", Title: "Pause the release", Consequence: "The split stays as it is until the release is resumed.", Command: []string{"/bin/echo", "paused"}},
			{ID: "abort", Title: "Abort the release", Danger: true, Consequence: "All requests go back to the stable slot.", Command: []string{"/bin/false"}},
		},
	})
	text := func(selector, want string) chromedp.Action {
		return chromedp.ActionFunc(func(ctx context.Context) error {
			var got string
			err := chromedp.Poll(fmt.Sprintf("(document.querySelector(%q)?.textContent || '').includes(%q)", selector, want), nil, chromedp.WithPollingTimeout(patience)).Do(ctx)
			if err != nil {
				_ = chromedp.Text("body", &got, chromedp.ByQuery).Do(ctx)
				return fmt.Errorf("%s never shows %q: %w; the page: %s", selector, want, err, got)
			}
			return nil
		})
	}
	var disabled bool
	var plots int
	if err := chromedp.Run(ctx,
		chromedp.Navigate(p.url),
		text("#live", "live"),
		text("[data-environment=local]", "89.8 %"), text("[data-environment=staging]", "down"), text("[data-environment=staging]", "–"),
		text("#legacy", "API v2 waits for approval to leave the route"), text("#legacy .attention", "Nobody has used API v2"),
		text("#rollout .now", "10 %"), text("#recovery", "123,456"), text("#operations", "rollout start"),
		chromedp.Evaluate(`document.querySelectorAll(".plot path").length`, &plots),
		picture("console"),
		chromedp.Click("#do-pause", chromedp.ByQuery),
		chromedp.WaitVisible("#confirm", chromedp.ByQuery),
		chromedp.SendKeys("#typed", "prod", chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelector("#go").disabled`, &disabled),
		picture("confirm"),
		chromedp.Evaluate(`document.querySelector("#typed").value = ""`, nil),
		chromedp.SendKeys("#typed", "local", chromedp.ByQuery),
		chromedp.Click("#go", chromedp.ByQuery),
		text("#last-run pre", "paused"), text("#last-run", "succeeded"),
	); err != nil {
		t.Fatal(err)
	}
	if !disabled {
		t.Error("the wrong environment's name confirms an action")
	}
	if plots != 6 {
		t.Errorf("%d lines are plotted, want both slots in three plots", plots)
	}
	var wide bool
	if err := chromedp.Run(ctx,
		chromedp.EmulateViewport(390, 844),
		chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth`, &wide),
		picture("phone"),
	); err != nil {
		t.Fatal(err)
	}
	if wide {
		t.Error("on a phone the page scrolls sideways")
	}
	if said := complaints(); len(said) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(said, "\n"))
	}
}

// Where nobody knows when an environment was lost, no figure is made up.
func TestLossThatIsNotKnown(t *testing.T) {
	ctx, complaints := browser(t)
	p := open(t, console.Options{Sources: []console.Source{{Name: "example", Fill: func(_ context.Context, s *console.Snapshot) error {
		s.Proven = &console.Proven{At: time.Now(), Backup: "20261124T100000Z", RTO: 38, OK: true}
		return nil
	}}}})
	var shown string
	if err := chromedp.Run(ctx, chromedp.Navigate(p.url),
		chromedp.Poll(`(document.querySelector("#recovery")?.textContent || "").includes("back after")`, nil, chromedp.WithPollingTimeout(patience)),
		chromedp.Text("#recovery", &shown, chromedp.ByQuery), picture("unknown-loss"),
	); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(shown, "how much was lost is not known") || strings.Contains(shown, "of writes lost") {
		t.Errorf("it shows %q", shown)
	}
	if said := complaints(); len(said) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(said, "\n"))
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
