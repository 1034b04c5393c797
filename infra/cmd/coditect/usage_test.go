package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// said runs a command line and returns its exit code and what it wrote to standard error.
func said(t *testing.T, args ...string) (code int, text string) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = write
	code = run(t.Context(), args)
	os.Stderr = was
	_ = write.Close()
	raw, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	return code, string(raw)
}

// What is typed wrong ends with a failure and a sentence that tells what, before
// anything is opened, begun or recorded.
func TestTypedWrong(t *testing.T) {
	t.Chdir("../../..")
	for line, want := range map[string]string{
		"nonsense":         `coditect: unknown command "nonsense"`,
		"rollout nonsense": `coditect: unknown command "nonsense" for "coditect rollout"`,
		"retire nonsense":  `coditect: unknown command "nonsense" for "coditect retire"`,
		"status --colour":  "coditect: unknown flag: --colour",
		"up --env bogus":   `there is no environment "bogus": it is one of`,
		"up --env prod":    "`pulumi up --stack prod` does it there",
		"down --env prod":  "`pulumi destroy --stack prod` does it there",
		"drill --env dev":  "a CronJob rehearses it",
		"console --env x":  `there is no environment "x"`,
		"rollout start --image foo:latest --version 1":                                  `--image is "foo:latest": name an image by digest`,
		"rollout start --version 1\x1b[31m --image x@sha256:" + strings.Repeat("0", 64): "--version is",
		"rollout abort --reason a\x1b[31mb":                                             "--reason is",
		"retire abort --reason a\x07b":                                                  "--reason is",
		"console --port 99999":                                                          "--port is 99999: it is a number from 1 to 65535",
		"drift --timeout -1s":                                                           "--timeout is -1s",
	} {
		code, text := said(t, strings.Fields(line)...)
		if code != exitFailed || !strings.Contains(text, want) || strings.Contains(text, "could not unknown") || strings.Contains(text, "\x1b") {
			t.Errorf("%q ends with %d and says %q, want %q", line, code, text, want)
		}
	}
}
