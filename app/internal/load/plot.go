package load

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// The size of every plot in its own units, and the margins of its area.
const (
	plotWidth, plotHeight                            = 720.0, 300.0
	marginLeft, marginRight, marginTop, marginBottom = 70.0, 30.0, 12.0, 34.0
)

// plot is an SVG under way. Colours come from the page's style by class.
type plot struct {
	b    strings.Builder
	x, y func(float64) float64 // from a value to a place
}

func newPlot(title string, x, y func(float64) float64) *plot {
	p := &plot{
		x: func(v float64) float64 { return marginLeft + x(v)*(plotWidth-marginLeft-marginRight) },
		y: func(v float64) float64 { return plotHeight - marginBottom - y(v)*(plotHeight-marginTop-marginBottom) },
	}
	fmt.Fprintf(&p.b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, plotWidth, plotHeight, template.HTMLEscapeString(title))
	return p
}

func (p *plot) end() template.HTML {
	p.b.WriteString("</svg>")
	return template.HTML(p.b.String()) //nolint:gosec // made here of numbers, class names and escaped text
}

func (p *plot) tickX(at float64, label string) {
	x := p.x(at)
	fmt.Fprintf(&p.b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/><text x="%.1f" y="%g" text-anchor="middle">%s</text>`,
		x, x, marginTop, plotHeight-marginBottom, x, plotHeight-marginBottom+18, template.HTMLEscapeString(label))
}

func (p *plot) tickY(at float64, label string) {
	y := p.y(at)
	fmt.Fprintf(&p.b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`,
		marginLeft, plotWidth-marginRight, y, y, marginLeft-8, y+4, template.HTMLEscapeString(label))
}

func (p *plot) line(class, title string, points [][2]float64) {
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(&p.b, `<polyline class="line %s" points="`, class)
	for _, at := range points {
		fmt.Fprintf(&p.b, "%.1f,%.1f ", p.x(at[0]), p.y(at[1]))
	}
	fmt.Fprintf(&p.b, `"><title>%s</title></polyline>`, template.HTMLEscapeString(title))
}

func (p *plot) bar(class string, from, to, low, high float64) {
	x, y := p.x(from), p.y(high)
	fmt.Fprintf(&p.b, `<rect class="%s" x="%.2f" y="%.2f" width="%.2f" height="%.2f"/>`, class, x, y, max(p.x(to)-x, .5), p.y(low)-y)
}

// logScale maps milliseconds to 0 … 1 over whole decades that hold least to most.
func logScale(least, most float64) (scale func(float64) float64, ticks []float64) {
	low := math.Floor(math.Log10(max(least, .01)))
	high := max(math.Ceil(math.Log10(max(most, .02))), low+1)
	for e := low; e <= high; e++ {
		ticks = append(ticks, math.Pow(10, e))
	}
	return func(v float64) float64 {
		return min(max((math.Log10(max(v, .001))-low)/(high-low), 0), 1)
	}, ticks
}

func (p *plot) ticksMillis(ticks []float64) {
	for _, t := range ticks {
		label := fmt.Sprintf("%g ms", t)
		if t >= 1000 {
			label = fmt.Sprintf("%g s", t/1000)
		}
		p.tickY(t, label)
	}
}

// plotPercentiles draws each operation's times by percentile; the axis widens
// the tail, where users get hurt: 90 %, 99 % and 99.9 % are equally far apart.
func plotPercentiles(s Stage) template.HTML {
	nines := func(q float64) float64 { return -math.Log10(1-min(q, 99.99)/100) / 4 }
	least, most := math.Inf(1), 0.0
	for _, o := range s.requests() {
		if o.Count > 0 {
			least, most = min(least, o.curve[0]), max(most, o.curve[len(o.curve)-1])
		}
	}
	y, ticks := logScale(min(least, most), most)
	p := newPlot("Time by percentile, one line for each operation", nines, y)
	p.ticksMillis(ticks)
	for _, q := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		p.tickX(q, fmt.Sprintf("%g %%", q))
	}
	for i, o := range s.requests() {
		var points [][2]float64
		for k, q := range curveQuantiles {
			// Beyond 1 in count a percentile would only repeat the largest time.
			if o.Count > 0 && (q <= 50 || float64(o.Count)*(100-q)/100 >= 1) {
				points = append(points, [2]float64{q, o.curve[k]})
			}
		}
		p.line(fmt.Sprintf("c%d", i), o.Name, points)
	}
	return p.end()
}

// plotLatency draws the median and the 99th percentile of each second.
func plotLatency(s Stage) template.HTML {
	least, most := math.Inf(1), 0.0
	for _, at := range s.Timeline {
		if at.Requests > 0 {
			least, most = min(least, at.P50), max(most, at.P99)
		}
	}
	y, ticks := logScale(min(least, most), most)
	p := newPlot("Median and 99th percentile over time", timeScale(s), y)
	p.ticksMillis(ticks)
	p.ticksSeconds(s)
	for _, kind := range []struct {
		class string
		of    func(Point) float64
	}{{"p99", func(at Point) float64 { return at.P99 }}, {"p50", func(at Point) float64 { return at.P50 }}} {
		var points [][2]float64
		for _, at := range s.Timeline {
			if at.Requests > 0 {
				points = append(points, [2]float64{float64(at.Second) + .5, kind.of(at)})
			}
		}
		p.line(kind.class, kind.class, points)
	}
	return p.end()
}

// plotThroughput draws the requests of each second, failures on top of what went well.
func plotThroughput(s Stage) template.HTML {
	most := 1.0
	for _, at := range s.Timeline {
		most = max(most, float64(at.Requests))
	}
	step := niceStep(most / 4)
	top := step * math.Ceil(most/step)
	p := newPlot("Requests of each second", timeScale(s), func(v float64) float64 { return v / top })
	for v := 0.0; v <= top; v += step {
		p.tickY(v, fmt.Sprintf("%g", v))
	}
	p.ticksSeconds(s)
	for _, at := range s.Timeline {
		from, to, good := float64(at.Second)+.08, float64(at.Second)+.92, float64(at.Requests-at.Failures)
		p.bar("good", from, to, 0, good)
		if at.Failures > 0 {
			p.bar("bad", from, to, good, float64(at.Requests))
		}
	}
	return p.end()
}

func timeScale(s Stage) func(float64) float64 {
	length := max(float64(len(s.Timeline)), 1)
	return func(second float64) float64 { return second / length }
}

func (p *plot) ticksSeconds(s Stage) {
	length := max(float64(len(s.Timeline)), 1)
	step := max(niceStep(length/8), 1)
	for v := 0.0; v <= length; v += step {
		p.tickX(v, fmt.Sprintf("%g s", v))
	}
}

// niceStep is the next of 1, 2, 5, 10, 20 … that is no less than v.
func niceStep(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(max(v, 1))))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*unit >= v {
			return m * unit
		}
	}
	return 10 * unit
}
