package workflow

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// victimVariable makes this test's binary the process that is killed; it names the directory.
const victimVariable = "WORKFLOW_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimVariable); dir != "" {
		os.Exit(victim(dir))
	}
	os.Exit(m.Run())
}

// victim runs a workflow whose steps each tell that they begin, wait to be
// killed if they are told to, leave a file and tell that they end.
func victim(dir string) int {
	w := Workflow[journey]{Name: "journey"}
	for _, name := range []string{"one", "two", "three"} {
		w.Steps = append(w.Steps, Step[journey]{Name: name, Deadline: time.Minute, Run: func(_ context.Context, at *At[journey]) error {
			for _, point := range []string{"begin", "middle", "end"} {
				fmt.Println(name, point)
				if os.Getenv("WORKFLOW_STOP") == name+" "+point {
					time.Sleep(time.Minute) // it is killed long before
				}
				if point == "middle" {
					if err := os.WriteFile(filepath.Join(dir, name), []byte("done"), 0o600); err != nil {
						return err
					}
				}
			}
			at.Data.mark(name)
			return nil
		}})
	}
	p, err := w.Execute(context.Background(), Options[journey]{Store: In(dir), Owner: Self()}, journey{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("finished", strings.Join(p.Data.Marks, ","))
	return 0
}

// TestKill: kill -9 at the beginning, in the middle and at the end of every
// step; the next process goes on at that step and comes to the same end.
func TestKill(t *testing.T) {
	for _, name := range []string{"one", "two", "three"} {
		for _, point := range []string{"begin", "middle", "end"} {
			t.Run(name+" "+point, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), victimVariable+"="+dir, "WORKFLOW_STOP="+name+" "+point)
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewScanner(out)
				for lines.Scan() && lines.Text() != name+" "+point {
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait() // killed, as it should be

				again := exec.CommandContext(t.Context(), os.Args[0])
				again.Env = append(os.Environ(), victimVariable+"="+dir)
				told, err := again.CombinedOutput()
				if err != nil {
					t.Fatalf("the second process: %v\n%s", err, told)
				}
				text := strings.Split(strings.TrimSpace(string(told)), "\n")
				if text[0] != name+" begin" || text[len(text)-1] != "finished one,two,three" {
					t.Errorf("the second process told %v", text)
				}
				for _, file := range []string{"one", "two", "three"} {
					if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
						t.Errorf("the effect of %s is missing: %v", file, err)
					}
				}
				if slices.Contains(text, "one begin") && name != "one" {
					t.Error("a step that was done ran again")
				}
			})
		}
	}
}
