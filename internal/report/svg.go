package report

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// The measures of the picture in CSS pixels.
const (
	svgWidth   = 1040
	labelWidth = 300 // titles, on the left
	noteWidth  = 210 // what bars show in words, right of the last bar's furthest end
	rowHeight  = 26
	barHeight  = 14
	headHeight = 52 // the outage's caption and the axis
	charWidth  = 6.6
	titleChars = 42 // that fit the label column
)

// svgStyle is inside the picture, so that it is the same in a page, in a README and alone; it follows the reader's
// light or dark theme. Colours differ in lightness too, and each bar is labelled in words.
const svgStyle = `
.lb-t{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1b1f24}
.lb-m{fill:#57606a}.lb-b{font-weight:600}
.lb-bg{fill:#fff}.lb-grid{stroke:#d8dee4;stroke-width:1}.lb-row{fill:#f6f8fa}
.lb-out{fill:#cf222e;fill-opacity:.1}.lb-oute{stroke:#cf222e;stroke-width:1}.lb-outt{fill:#a40e26}
.lb-obj{stroke:#57606a;stroke-width:1.5;stroke-dasharray:5 4}
.lb-done{fill:#1a7f37}.lb-waived{fill:#bf8700}.lb-failed{fill:#cf222e}.lb-running{fill:#0969da}
.lb-skipped{fill:none;stroke:#8c959f;stroke-dasharray:3 2}.lb-canceled{fill:#8c959f}
.lb-try{fill:#cf222e;fill-opacity:.45}.lb-idle{stroke:#8c959f;stroke-width:1.5;stroke-dasharray:2 3}
.lb-wait{stroke:#9a6700;stroke-width:1}.lb-hatch{stroke:#9a6700;stroke-width:1.6}.lb-gap{stroke:#57606a;stroke-width:1.2;fill:none}
@media (prefers-color-scheme:dark){
.lb-t{fill:#e6edf3}.lb-m{fill:#9198a1}.lb-bg{fill:#0d1117}.lb-grid{stroke:#30363d}.lb-row{fill:#151b23}
.lb-out{fill:#f85149;fill-opacity:.17}.lb-oute{stroke:#f85149}.lb-outt{fill:#ff7b72}.lb-obj{stroke:#9198a1}
.lb-done{fill:#3fb950}.lb-waived{fill:#d29922}.lb-failed{fill:#f85149}.lb-running{fill:#4493f8}
.lb-skipped{stroke:#656c76}.lb-canceled{fill:#656c76}.lb-try{fill:#f85149}.lb-idle{stroke:#656c76}
.lb-wait{stroke:#d29922}.lb-hatch{stroke:#d29922}.lb-gap{stroke:#9198a1}}
@media print{.lb-t{fill:#000}.lb-m{fill:#333}.lb-bg{fill:#fff}.lb-grid{stroke:#ccc}.lb-row{fill:#f4f4f4}.lb-outt{fill:#a40e26}.lb-out{fill-opacity:.15}}
`

// Timeline draws a report's run over time as a self-contained SVG: a row for each step, its attempts, the waits for
// people hatched, and the time in which clients had no service as a band. It is the picture in the HTML report.
func Timeline(r *api.Report) []byte {
	c := layOut(r)
	d := &drawing{c: c, height: headHeight + rowHeight*len(c.rows) + 12}
	fmt.Fprintf(&d.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="lb-title lb-desc">`,
		svgWidth, d.height, svgWidth, d.height)
	fmt.Fprintf(&d.b, "\n<title id=\"lb-title\">Timeline of %s</title>\n<desc id=\"lb-desc\">%s</desc>\n", text(heading(r)), text(describe(c)))
	fmt.Fprintf(&d.b, "<style>%s</style>\n", svgStyle)
	d.b.WriteString(`<defs><pattern id="lb-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">` +
		`<line class="lb-hatch" x1="0" y1="0" x2="0" y2="6"/></pattern></defs>` + "\n")
	fmt.Fprintf(&d.b, `<rect class="lb-bg" width="%d" height="%d" rx="6"/>`+"\n", svgWidth, d.height)
	d.stripes()
	d.outage(r)
	d.axis()
	for i, row := range c.rows {
		d.row(i, row)
	}
	d.b.WriteString("</svg>\n")
	return []byte(d.b.String())
}

type drawing struct {
	b      strings.Builder
	c      *chart
	height int
}

// x is where t is drawn.
func (d *drawing) x(t time.Time) float64 {
	return labelWidth + d.c.place(t)*(svgWidth-labelWidth-noteWidth)
}

func (d *drawing) stripes() {
	for i := 0; i < len(d.c.rows); i += 2 {
		fmt.Fprintf(&d.b, `<rect class="lb-row" x="0" y="%d" width="%d" height="%d"/>`+"\n", headHeight+i*rowHeight, svgWidth, rowHeight)
	}
}

// outage draws the band in which clients had no service, and where the objective ended.
func (d *drawing) outage(r *api.Report) {
	if d.c.outage == nil {
		return
	}
	x1, x2 := d.x(d.c.outage.from), d.x(d.c.outage.to)
	bottom := d.height - 8
	fmt.Fprintf(&d.b, `<rect class="lb-out" x="%.1f" y="20" width="%.1f" height="%d"/>`, x1, max(1, x2-x1), bottom-20)
	fmt.Fprintf(&d.b, `<line class="lb-oute" x1="%.1f" y1="20" x2="%.1f" y2="%d"/><line class="lb-oute" x1="%.1f" y1="20" x2="%.1f" y2="%d"/>`+"\n",
		x1, x1, bottom, x2, x2, bottom)
	caption := "clients without service: " + units.Duration(d.c.outage.length())
	if r.RTO.Objective != nil {
		caption += " (objective " + units.Duration(r.RTO.Objective.Std()) + ", " + measureWord(r.RTO) + ")"
	}
	left := min(x1, svgWidth-charWidth*float64(len(caption))-8)
	fmt.Fprintf(&d.b, `<text class="lb-t lb-b lb-outt" x="%.1f" y="14">%s</text>`+"\n", left, text(caption))
	if at := d.c.deadline; at != nil && at.After(d.c.from) && at.Before(d.c.to) {
		x := d.x(*at)
		fmt.Fprintf(&d.b, `<line class="lb-obj" x1="%.1f" y1="20" x2="%.1f" y2="%d"><title>the RTO objective ends here</title></line>`+"\n", x, x, bottom)
	}
}

// axis draws round times since the start, and a break where time is cut short.
func (d *drawing) axis() {
	last := -100.0
	for _, t := range d.c.ticks(7) {
		x := d.x(d.c.from.Add(t))
		fmt.Fprintf(&d.b, `<line class="lb-grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, x, headHeight-8, x, d.height-8)
		label := units.Duration(t)
		if x-last > charWidth*float64(len(label))+10 {
			fmt.Fprintf(&d.b, `<text class="lb-t lb-m" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x, headHeight-14, text(label))
			last = x
		}
		d.b.WriteString("\n")
	}
	for _, g := range d.c.gaps {
		x, y := (d.x(g.from)+d.x(g.to))/2, headHeight-8
		fmt.Fprintf(&d.b, `<path class="lb-gap" d="M%.1f %d l4 -5 l4 10 l4 -10 l4 5"><title>%s, drawn short</title></path>`+"\n",
			x-8, y, text(units.Duration(g.length())))
	}
}

// row draws one step: its title, the wait for people, its attempts, and what they show in words.
func (d *drawing) row(i int, r chartRow) {
	top := headHeight + i*rowHeight
	mid := float64(top) + rowHeight/2
	y := mid - barHeight/2
	fmt.Fprintf(&d.b, `<g><title>%s: %s</title>`, text(r.title), text(r.label))
	fmt.Fprintf(&d.b, `<text class="lb-t" x="10" y="%.1f">%s</text>`, mid+4, text(shorten(r.title, titleChars)))
	right := float64(labelWidth)
	bar := func(class string, s stretch, extra string) {
		x1, x2 := d.x(s.from), d.x(s.to)
		w := max(3, x2-x1)
		fmt.Fprintf(&d.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="2"%s/>`, class, x1, y, w, barHeight, extra)
		right = max(right, x1+w)
	}
	if r.wait != nil {
		bar("lb-wait", *r.wait, ` fill="url(#lb-hatch)"`)
	}
	for n, a := range r.attempts {
		if n > 0 { // between two attempts
			fmt.Fprintf(&d.b, `<line class="lb-idle" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, d.x(r.attempts[n-1].to), mid, d.x(a.from), mid)
		}
		class := barClass(r.status)
		if a.failed && (n < len(r.attempts)-1 || r.status != api.StepFailed) {
			class = "lb-try"
		}
		bar(class, a.stretch, "")
	}
	if r.wait == nil && len(r.attempts) == 0 { // it never ran: nothing to draw, the words say why
		fmt.Fprintf(&d.b, `<text class="lb-t lb-m" x="%d" y="%.1f">%s</text></g>`+"\n", labelWidth+6, mid+4, text(r.label))
		return
	}
	fmt.Fprintf(&d.b, `<text class="lb-t lb-m" x="%.1f" y="%.1f">%s</text></g>`+"\n", right+6, mid+4, text(r.label))
}

func barClass(s api.StepStatus) string {
	switch s {
	case api.StepDone, api.StepWaived, api.StepFailed, api.StepSkipped, api.StepCanceled:
		return "lb-" + string(s)
	case api.StepAsking:
		return "lb-failed"
	}
	return "lb-running"
}

// describe is the picture in words, for those who do not see it.
func describe(c *chart) string {
	out := fmt.Sprintf("%s over %s.", count(len(c.rows), "step"), units.Duration(c.to.Sub(c.from)))
	if c.outage != nil {
		out += fmt.Sprintf(" Clients were without service for %s, beginning %s after the start of the picture.",
			units.Duration(c.outage.length()), units.Duration(c.outage.from.Sub(c.from)))
	}
	for _, r := range c.rows {
		out += fmt.Sprintf(" %s: %s.", r.title, r.label)
	}
	return out
}

// shorten cuts s to n characters.
func shorten(s string, n int) string {
	runes := []rune(printable(s))
	if len(runes) <= n {
		return string(runes)
	}
	return strings.TrimRight(string(runes[:n-1]), " ") + "…"
}

// text escapes s for XML and HTML.
func text(s string) string { return template.HTMLEscapeString(printable(s)) }
