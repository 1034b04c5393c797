// Command document writes the documentation of the settings to a file.
package main

import (
	"bytes"
	"fmt"
	"os"

	"coditect.ai/platform/app/internal/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: document FILE")
		os.Exit(2)
	}
	var text bytes.Buffer
	err := config.WriteDocument(&text)
	if err == nil {
		err = os.WriteFile(os.Args[1], text.Bytes(), 0o644) //nolint:gosec // a file of the repository
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "document:", err)
		os.Exit(1)
	}
}
