package lifecycle

import (
	"fmt"
	"testing"
	"time"

	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/stacks"
)

// BenchmarkEngine records, for each environment before simulated clouds, how many
// resources it has and what the engine takes for its first update, one that changes
// nothing, and a preview, with the program's own time. What changes nothing must not
// take longer than the first: it is told as a part of it.
func BenchmarkEngine(b *testing.B) {
	for _, env := range stacks.Environments() {
		b.Run(string(env), func(b *testing.B) {
			for b.Loop() {
				w := begin(b, env, program.Deploy)
				took := func(do func() error) float64 {
					b.Helper()
					began := time.Now()
					if err := do(); err != nil {
						b.Fatal(engine.Explain(err))
					}
					return time.Since(began).Seconds()
				}
				resources := 0
				first := took(func() error {
					for _, n := range w.up(b, nil) {
						resources += n
					}
					return nil
				})
				stack := w.open(b, nil)
				again := took(func() error {
					result, err := stack.Up(b.Context())
					if err == nil && len(*result.Summary.ResourceChanges) != 1 {
						err = fmt.Errorf("an update that changes nothing did %v", *result.Summary.ResourceChanges)
					}
					return err
				})
				preview := took(func() error {
					_, err := stack.Preview(b.Context())
					return err
				})
				b.ReportMetric(float64(resources), "resources")
				b.ReportMetric(first, "s-first")
				b.ReportMetric(again, "s-again")
				b.ReportMetric(preview, "s-preview")
				b.ReportMetric(again/first, "again/first")
				if again > first {
					b.Errorf("an update that changes nothing took %.1f s, the first %.1f s", again, first)
				}
			}
		})
	}
}
