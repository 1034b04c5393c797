package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/workflow"
)

// ProvenName is the name under which the last proven restore is kept in the store.
const ProvenName = "proven"

// Proven is the last restore that was held against its backup and served requests.
type Proven struct {
	At      time.Time `json:"at"`
	Backup  string    `json:"backup"`
	RPO     *float64  `json:"rpo"` // seconds; nil where it is not known
	RTO     float64   `json:"rto"` // seconds
	OK      bool      `json:"ok"`
	Records int64     `json:"records"`
	// By is "recovery" or "drill".
	By string `json:"by"`
}

// LastProven returns the last proven restore, or [workflow.ErrAbsent].
func LastProven(ctx context.Context, store workflow.Store) (Proven, error) {
	var p Proven
	content, _, err := store.Get(ctx, ProvenName)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(content, &p); err != nil {
		return p, fmt.Errorf("understand the last proven restore: %w", err)
	}
	if p.By != "drill" { // earlier versions wrote 0 for a moment of the loss that nobody knew
		p.RPO = nil
	}
	return p, nil
}

// Proven is the report's restore.
func (r Report) Proven() Proven {
	p := Proven{At: r.Ended, Backup: r.Backup.ID, RPO: r.RPO, RTO: r.RTO, OK: true, By: r.Kind}
	for _, n := range r.Found.Counts {
		p.Records += n
	}
	return p
}

// Record keeps the report's restore as the last proven one.
func (r Report) Record(ctx context.Context, store workflow.Store) error {
	content, err := json.Marshal(r.Proven())
	if err != nil {
		return fmt.Errorf("encode the proven restore: %w", err)
	}
	for { // another may record one at the same moment: the last counts
		_, version, err := store.Get(ctx, ProvenName)
		if err != nil && !errors.Is(err, workflow.ErrAbsent) {
			return fmt.Errorf("record the proven restore: %w", err)
		}
		_, err = store.Put(ctx, ProvenName, content, version)
		if err == nil || !errors.Is(err, workflow.ErrChanged) {
			return err
		}
	}
}

// Report is what a recovery or a drill has done and measured.
type Report struct {
	Kind        string            `json:"kind"` // "recovery" or "drill"
	Environment string            `json:"environment"`
	Began       time.Time         `json:"began"`
	Ended       time.Time         `json:"ended"`
	Backup      contract.Manifest `json:"backup"`
	// Found is what was counted after the restore. It is the same as the manifest's inventory.
	Found contract.Inventory `json:"found"`
	Aside string             `json:"aside,omitempty"`
	// RPO is the age of the backup when the environment was lost, RTO the time from
	// the recovery's begin until traffic was let in, both in seconds. RPO is nil
	// where the moment of the loss is not known.
	RPO      *float64    `json:"rpo_seconds"`
	RTO      float64     `json:"rto_seconds"`
	Lost     *time.Time  `json:"lost,omitempty"`
	Compared *Comparison `json:"compared,omitempty"`
	// Resumed is how often steps were begun again.
	Resumed int               `json:"resumed"`
	Steps   []workflow.Record `json:"steps"`
}

// Of makes the report of a finished recovery.
func Of(environment string, p *workflow.Progress[State]) Report {
	r := Report{
		Kind: "recovery", Environment: environment, Began: p.Began, Ended: *p.Ended, Backup: p.Data.Backup,
		Found: p.Data.Found, Aside: p.Data.Aside, RTO: p.Data.Admitted.Sub(p.Began).Seconds(), Steps: p.Steps,
	}
	r.count()
	return r
}

// OfDrill makes the report of a finished drill.
func OfDrill(environment string, p *workflow.Progress[Drilled]) Report {
	r := Of(environment, p.Data.Recovery)
	r.Kind, r.Began, r.Ended = "drill", p.Began, *p.Ended
	r.Lost, r.Compared = p.Data.Lost, p.Data.Compared
	rpo := max(0, r.Lost.Sub(r.Backup.CreatedAt).Seconds())
	r.RPO = &rpo
	var steps []workflow.Record
	for _, s := range p.Steps {
		steps = append(steps, s)
		if s.Name == "recover" {
			for _, inner := range p.Data.Recovery.Steps {
				inner.Name = "recover/" + inner.Name
				steps = append(steps, inner)
			}
		}
	}
	r.Steps = steps
	r.count()
	return r
}

func (r *Report) count() {
	r.Resumed = 0
	for _, s := range r.Steps {
		r.Resumed += max(0, s.Attempts-1)
	}
}

// view is a report as templates show it.
type view struct {
	Report

	Lines []line
}

type line struct{ Name, Value string }

func (r Report) lines() []line {
	lines := []line{
		{"Environment", r.Environment},
		{"Backup", fmt.Sprintf("%s, begun %s, %d bytes, schema %d, by %s", r.Backup.ID, r.Backup.CreatedAt.Format(time.RFC3339), r.Backup.DataSize, r.Backup.Inventory.SchemaVersion, r.Backup.ProgramVersion)},
		{"Records", describe(r.Found)},
		{"Fingerprint", r.Found.Fingerprint + r.proof()},
		{"RTO", fmt.Sprintf("%.1f s from the recovery's begin until traffic was let in", r.RTO)},
	}
	rpo := "not known: nobody knows when the environment was lost"
	if r.RPO != nil && r.Lost != nil {
		rpo = fmt.Sprintf("%.1f s from the backup's begin to the loss at %s", *r.RPO, r.Lost.Format(time.RFC3339Nano))
	}
	if r.Aside == "" { // a rollback takes away what it is told to
		lines = append(lines, line{"RPO", rpo})
	}
	if c := r.Compared; c != nil {
		lines = append(lines,
			line{"Acknowledged writes", fmt.Sprintf("%d, of which %d came back and %d were lost", c.Acknowledged, c.Recovered, c.Lost)},
			line{"Lost though acknowledged before the backup began", strconv.Itoa(c.Early)},
			line{"Back though an earlier one of the same user is lost", strconv.Itoa(c.Gaps)})
	}
	if r.Aside != "" {
		lines = append(lines, line{"Earlier records", "set aside in " + r.Aside})
	}
	if r.Resumed > 0 {
		lines = append(lines, line{"Interruptions", fmt.Sprintf("steps were begun again %d times; the times include the pauses", r.Resumed)})
	}
	return lines
}

// proof says what the fingerprint was compared with.
func (r Report) proof() string {
	if exact(r.Backup) {
		return ", as in the manifest"
	}
	return ", compared with nothing: the restored moment was not counted"
}

func took(s workflow.Record) string {
	if s.Began == nil || s.Ended == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f s", s.Ended.Sub(*s.Began).Seconds())
}

// Markdown writes the report for people.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Proven %s of %s, %s\n\n| | |\n|---|---|\n", r.Kind, r.Environment, r.Ended.Format(time.RFC3339))
	for _, l := range r.lines() {
		fmt.Fprintf(&b, "| %s | %s |\n", l.Name, l.Value)
	}
	b.WriteString("\n| step | attempts | time |\n|---|---|---|\n")
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "| %s: %s | %d | %s |\n", s.Name, s.Title, s.Attempts, took(s))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON writes the report for machines.
func (r Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

var page = template.Must(template.New("report").Funcs(template.FuncMap{"took": took}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Kind}} of {{.Environment}}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{border-bottom:1px solid #d0d7de;padding:.4rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}</style>
</head><body><h1>Proven {{.Kind}} of {{.Environment}}</h1><p>{{.Ended.Format "2006-01-02 15:04:05 MST"}}</p>
<table>{{range .Lines}}<tr><th scope="row">{{.Name}}</th><td>{{.Value}}</td></tr>{{end}}</table>
<table><thead><tr><th>Step</th><th>Attempts</th><th>Time</th></tr></thead><tbody>
{{range .Steps}}<tr><td>{{.Name}}: {{.Title}}</td><td>{{.Attempts}}</td><td>{{took .}}</td></tr>{{end}}
</tbody></table></body></html>
`))

// HTML writes the report as one page.
func (r Report) HTML(w io.Writer) error { return page.Execute(w, view{r, r.lines()}) }
