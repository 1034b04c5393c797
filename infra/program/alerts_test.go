package program_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coditect.ai/platform/infra/monitoring"
)

// Each alert has the page that it sends its reader to, and the page says all that
// it must.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	for _, name := range monitoring.Names() {
		page, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbooks", name+".md"))
		if err != nil {
			t.Errorf("%s has no page: %v", name, err)
			continue
		}
		for _, part := range []string{"## What you see", "## Why", "## What to do", "## How to know it is over"} {
			if !strings.Contains(string(page), part) {
				t.Errorf("the page of %s lacks %q", name, part)
			}
		}
	}
}
