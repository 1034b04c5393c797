package rollout

import (
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

// HTML writes the rollout as a page that needs nothing else: stages, plots of
// both slots, history.
func (s *State) HTML(w io.Writer) error {
	page := struct {
		*State

		Headline string
		Plots    []plot
	}{s, s.Headline(), []plot{
		s.plot("Share of errors (%)", 100*s.Plan.Limits.Errors, func(x Sample) float64 { return 100 * x.share() }),
		s.plot("99th percentile (ms)", float64(s.Plan.Limits.P99.Milliseconds()), func(x Sample) float64 { return float64(x.P99.Microseconds()) / 1000 }),
		s.plot("Requests in the window", 0, func(x Sample) float64 { return x.Requests }),
	}}
	if err := reportPage.Execute(w, page); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// plot is one drawing: a line for each slot, and the limit.
type plot struct {
	Title          string
	Top            string
	Canary, Stable string // points of a polyline
	Limit          string // its height; "" without one
}

// Size of a plot, in the units of its view box.
const (
	plotWidth  = 720.0
	plotHeight = 140.0
)

func (s *State) plot(title string, limit float64, of func(Sample) float64) plot {
	p := plot{Title: title}
	if len(s.Judged) == 0 {
		return p
	}
	from, top := s.Judged[0].At, limit*1.1
	span := max(s.Last().At.Sub(from), time.Second)
	for _, j := range s.Judged {
		for _, sample := range []*Sample{j.Canary, j.Stable} {
			if sample != nil {
				top = max(top, of(*sample))
			}
		}
	}
	if top <= 0 {
		top = 1
	}
	height := func(v float64) float64 { return plotHeight - plotHeight*min(v/top, 1) }
	var canary, stable strings.Builder
	for _, j := range s.Judged {
		x := plotWidth * float64(j.At.Sub(from)) / float64(span)
		if j.Canary != nil {
			fmt.Fprintf(&canary, "%.1f,%.1f ", x, height(of(*j.Canary)))
		}
		if j.Stable != nil {
			fmt.Fprintf(&stable, "%.1f,%.1f ", x, height(of(*j.Stable)))
		}
	}
	p.Top, p.Canary, p.Stable = fmt.Sprintf("%.4g", top), canary.String(), stable.String()
	if limit > 0 {
		p.Limit = fmt.Sprintf("%.1f", height(limit))
	}
	return p
}

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"time":  func(t time.Time) string { return t.Format(time.RFC3339) },
	"short": short,
	"inc":   func(i int) int { return i + 1 },
}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Release {{.Release.Version}} in {{.Environment}}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:52rem;padding:0 1rem;color:#1d2733;background:#fff}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #d8dee6;vertical-align:top}
svg{width:100%;height:auto;background:#f5f7fa;overflow:visible}polyline{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
.canary{stroke:#b4460b;color:#b4460b}.stable{stroke:#1259a8;color:#1259a8}.limit{stroke:#8a94a1;stroke-dasharray:4}
@media(prefers-color-scheme:dark){body{color:#dfe6ee;background:#12171d}svg{background:#1b222b}td,th{border-color:#333d49}.canary{stroke:#f0904f;color:#f0904f}.stable{stroke:#6aaef5;color:#6aaef5}}
</style></head><body>
<h1>Release {{.Release.Version}} in {{.Environment}}</h1>
<p><strong>{{.Headline}}</strong></p>
{{with .Attention}}<p>Needs a person: {{.}}</p>{{end}}
<p>Begun {{time .Began}}{{with .Ended}}, ended {{time .}}{{end}}. Image <code>{{.Release.Image}}</code>.</p>
<table><tr><th>Stage</th><th>Requests</th><th>Soak</th><th>State</th></tr>
{{range $i, $stage := .Plan.Stages}}<tr><td>{{inc $i}}</td><td>{{$stage.Percent}} %</td><td>{{short $stage.Soak}}</td><td>{{$.StageState $i}}</td></tr>
{{end}}</table>
<p><span class="canary">&#9644; release, slot {{.Canary}}</span> &nbsp; <span class="stable">&#9644; former, slot {{.Stable}}</span></p>
{{range .Plots}}<h2>{{.Title}}</h2>
{{if .Top}}<svg viewBox="0 0 720 140" role="img" aria-label="{{.Title}}, 0 to {{.Top}}"><text x="4" y="14" font-size="12" fill="currentColor">{{.Top}}</text>
{{with .Limit}}<line class="limit" x1="0" x2="720" y1="{{.}}" y2="{{.}}"/>{{end}}<polyline class="stable" points="{{.Stable}}"/><polyline class="canary" points="{{.Canary}}"/></svg>
{{else}}<p>Nothing was measured.</p>{{end}}{{end}}
<h2>History</h2>
<table>{{range .Events}}<tr><td>{{time .At}}</td><td>{{.By}}</td><td>{{.Text}}</td></tr>
{{end}}</table>
</body></html>
`))
