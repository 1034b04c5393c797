package preview

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Style is how a plan is written to a terminal.
type Style struct {
	Color bool
	// Width cuts lines that are longer, in columns; 0 cuts none.
	Width int
}

// signs are what stands before a resource, and its colour.
var signs = map[string]struct{ sign, color string }{
	Same: {" ", ""}, Create: {"+", "\x1b[32m"}, Update: {"~", "\x1b[33m"}, Replace: {"!", "\x1b[31m"}, Delete: {"-", "\x1b[31m"},
}

// Tree writes the plan for a person.
func (p *Plan) Tree(w io.Writer, style Style) {
	line := func(color, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if runes := []rune(text); style.Width > 1 && len(runes) > style.Width {
			text = string(runes[:style.Width-1]) + "…"
		}
		if style.Color && color != "" {
			text = color + text + "\x1b[0m"
		}
		fmt.Fprintln(w, text)
	}
	line("", "%s", p.heading())
	for _, key := range p.StandIns {
		line("", "  %s is a stand-in: only your project has the real one", key)
	}
	line("", "")
	p.walk(func(r Resource, depth int) {
		s, indent := signs[r.Op], strings.Repeat("  ", depth)
		words := ""
		switch r.Op {
		case Replace:
			words = "  REPLACED: deleted and made anew"
		case Delete:
			words = "  deleted"
		}
		if r.Protected {
			words += "  protected"
		}
		line(s.color, "%s %s%s %s%s", s.sign, indent, kind(r.Type), r.Name, words)
		for _, c := range r.Changes {
			line(s.color, "  %s    %s", indent, c.String())
		}
	})
	line("", "")
	line("", "%s", p.Summary())
	if len(p.Findings) > 0 {
		line("", "\nRules that are broken:")
		for _, f := range p.Findings {
			line("\x1b[31m", "  %s: %s (%s)", f.Resource, f.Problem, f.Rule)
		}
	}
	if len(p.Cost.Lines) > 0 {
		line("", "\nAbout %.0f %s a month (prices of %s in %s):", p.Cost.Monthly, p.Cost.Currency, p.Cost.Dated, p.Cost.Region)
		for _, c := range p.Cost.Lines {
			line("", "  %8.2f  %s: %s", c.Monthly, c.Resource, c.Of)
		}
		line("", "  not counted: %s", strings.Join(p.Cost.NotCounted, "; "))
	}
}

// Markdown writes the plan for a pull request.
func (p *Plan) Markdown(w io.Writer) {
	fmt.Fprintf(w, "### %s\n\n%s\n", p.heading(), p.Summary())
	changed := false
	p.walk(func(r Resource, _ int) {
		if r.Op == Same || r.Component {
			return
		}
		if !changed {
			fmt.Fprint(w, "\n| | resource | what changes |\n|---|---|---|\n")
			changed = true
		}
		var why []string
		for _, c := range r.Changes {
			why = append(why, cell(c.String()))
		}
		what := r.Op
		if r.Op == Replace {
			what = "**replaced**"
		}
		fmt.Fprintf(w, "| %s | %s `%s` | %s |\n", what, kind(r.Type), r.Name, strings.Join(why, "<br>"))
	})
	if len(p.Findings) > 0 {
		fmt.Fprint(w, "\n**Rules that are broken**\n\n")
		for _, f := range p.Findings {
			fmt.Fprintf(w, "- %s: %s (%s)\n", f.Resource, f.Problem, f.Rule)
		}
	}
	if len(p.Cost.Lines) > 0 {
		fmt.Fprintf(w, "\nAbout **%.0f %s a month**, at the list prices of %s in %s; not counted: %s.\n",
			p.Cost.Monthly, p.Cost.Currency, p.Cost.Dated, p.Cost.Region, strings.Join(p.Cost.NotCounted, "; "))
	}
}

func cell(text string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text) }

func (p *Plan) heading() string {
	if p.Against == "" {
		return fmt.Sprintf("Plan of %s, from nothing", p.Environment)
	}
	return fmt.Sprintf("Plan of %s, against its settings at %s", p.Environment, p.Against)
}

// Counts is the number of resources by what is done to them, components left out.
func (p *Plan) Counts() map[string]int {
	counts := map[string]int{}
	for _, r := range p.Resources {
		if !r.Component {
			counts[r.Op]++
		}
	}
	return counts
}

// Summary counts what is done, in a sentence.
func (p *Plan) Summary() string {
	counts := p.Counts()
	total := 0
	var parts []string
	for _, part := range []struct{ op, words string }{
		{Create, "to create"}, {Update, "to update"}, {Replace, "TO REPLACE"}, {Delete, "to delete"}, {Same, "as they are"},
	} {
		total += counts[part.op]
		if counts[part.op] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[part.op], part.words))
		}
	}
	return fmt.Sprintf("%d resources: %s (%.1f s).", total, strings.Join(parts, ", "), p.Seconds)
}

// walk visits every resource below its component, siblings by kind and name.
func (p *Plan) walk(visit func(r Resource, depth int)) {
	known := map[string]bool{}
	for _, r := range p.Resources {
		known[r.URN] = true
	}
	children := map[string][]Resource{}
	for _, r := range p.Resources {
		parent := r.Parent
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], r)
	}
	var below func(parent string, depth int)
	below = func(parent string, depth int) {
		list := children[parent]
		slices.SortStableFunc(list, func(a, b Resource) int {
			return strings.Compare(kind(a.Type)+" "+a.Name, kind(b.Type)+" "+b.Name)
		})
		for _, r := range list {
			visit(r, depth)
			below(r.URN, depth+1)
		}
	}
	below("", 0)
}

// kind is the last part of a type token.
func kind(token string) string { return token[strings.LastIndex(token, ":")+1:] }
