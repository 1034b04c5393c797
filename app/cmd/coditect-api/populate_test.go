package main

import (
	"strings"
	"testing"
)

func TestPopulateCommand(t *testing.T) {
	t.Parallel()
	environ := settings(t.TempDir())[2:]
	if code, _, errs := invoke(t, environ, "populate", "--users", "0"); code != exitUsage || !strings.Contains(errs, "users: 0") {
		t.Errorf("%d %s", code, errs)
	}
	code, out, errs := invoke(t, environ, "populate", "--users", "3", "--sessions", "7")
	if code != exitOK || !strings.Contains(out, "3 users with 7 sessions") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	if code, out, errs := invoke(t, environ, "check"); code != exitOK {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, _, errs := invoke(t, environ, "populate", "--users", "3"); code != exitFault || !strings.Contains(errs, "the store is not empty") {
		t.Errorf("filled twice: %d %s", code, errs)
	}
}
