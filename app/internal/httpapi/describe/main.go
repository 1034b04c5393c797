// Command describe writes the API's OpenAPI document to a file.
package main

import (
	"fmt"
	"os"

	"coditect.ai/platform/app/internal/httpapi"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: describe FILE")
		os.Exit(2)
	}
	text, err := httpapi.Document()
	if err == nil {
		err = os.WriteFile(os.Args[1], text, 0o644) //nolint:gosec // a file of the repository
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "describe:", err)
		os.Exit(1)
	}
}
