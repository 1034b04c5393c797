package local

import "testing"

// TestTabulate: what is too wide for the terminal is told below each other, and nothing is left out.
func TestTabulate(t *testing.T) {
	lines := []string{"  http://127.0.0.1:8088", "  api-blue\t100 %\t2 of 2 pods ready", "    api-blue-7c9d\t127.0.0.1:4711\tready, pid 12"}
	wide := "  http://127.0.0.1:8088\n  api-blue         100 %           2 of 2 pods ready\n    api-blue-7c9d  127.0.0.1:4711  ready, pid 12\n"
	narrow := "  http://127.0.0.1:8088\n  api-blue\n    100 %\n    2 of 2 pods ready\n    api-blue-7c9d\n      127.0.0.1:4711\n      ready, pid 12\n"
	for width, want := range map[int]string{0: wide, 80: wide, 52: wide, 51: narrow, 30: narrow} {
		if got := tabulate(lines, width); got != want {
			t.Errorf("%d columns:\n%s\nwant\n%s", width, got, want)
		}
	}
}
