package httpapi_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The security page proves nothing with tests that are not there.
func TestSecurityPageNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "security.md"))
	must(t, err)
	var code strings.Builder
	root := filepath.Join("..", "..")
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	}))
	tests := code.String()
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	proofs := 0
	for line := range strings.Lines(string(page)) {
		for _, found := range named.FindAllStringSubmatch(line, -1) {
			proofs++
			if !strings.Contains(tests, "\nfunc "+found[1]+"(") {
				t.Errorf("there is no %s: %s", found[1], line)
			}
		}
		if strings.Count(line, "|") == 4 && !strings.HasPrefix(line, "|---") && !strings.HasPrefix(line, "| ASVS") && !named.MatchString(line) {
			t.Errorf("nothing proves this: %s", line)
		}
	}
	if proofs < 100 {
		t.Errorf("%d proofs: is this the page?", proofs)
	}
}
