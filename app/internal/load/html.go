package load

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

//go:embed report.html
var reportPage string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"ms":      writeMillis,
	"percent": func(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) },
	"rate":    func(perSecond float64) string { return fmt.Sprintf("%.1f", perSecond) },
	"count":   thousands,
	"failures": func(o Operation) string {
		var parts []string
		for _, code := range slices.Sorted(maps.Keys(o.Failures)) {
			parts = append(parts, fmt.Sprintf("%s × %d", code, o.Failures[code]))
		}
		return strings.Join(parts, ", ")
	},
	"colour":      func(i int) string { return fmt.Sprintf("c%d", i) },
	"percentiles": plotPercentiles,
	"latency":     plotLatency,
	"throughput":  plotThroughput,
}).Parse(reportPage))

// WriteHTML writes the report as one page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	if err := page.Execute(w, r); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// requests are the operations without whole lives.
func (s Stage) requests() []Operation { return s.Operations[:len(s.Operations)-1] }

// Rows are the table's: each operation, then all of them.
func (s Stage) Rows() []Operation { return append(slices.Clone(s.Operations), s.All) }

// Legend names the lines of the plot of percentiles.
func (s Stage) Legend() []string { return operationNames[:opLife] }

// thousands writes a count with thin spaces.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}
