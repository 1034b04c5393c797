//go:build fdb && fdbdouble

package fdbkv_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/kv/fdbkv/fdbdouble"
)

// maxAge makes transactions of the double too old sooner than a cluster's.
func maxAge(t *testing.T, clusterFile string) time.Duration {
	t.Helper()
	text, err := os.ReadFile(clusterFile)
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(string(text), "@")
	fdbdouble.Named(name).SetWindow(time.Second)
	return time.Second
}
