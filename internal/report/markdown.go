package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// renderMarkdown writes what a ticket needs: the verdict, the measurements, checks that failed, what was set aside,
// the steps in one table, and how to check the whole. It is CommonMark with GitHub's tables.
func renderMarkdown(r *api.Report, zone *time.Location) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n**%s**\n\n", md(heading(r)), md(verdict(r)))
	fmt.Fprintf(&b, "Run `%s`", code(string(r.Run.ID)))
	if r.Run.By != "" {
		fmt.Fprintf(&b, " by %s", md(r.Run.By))
	}
	fmt.Fprintf(&b, ", %s, %s, %d of %s.\n\n", units.Instant(r.Run.Started, zone), units.Duration(end(r).Sub(r.Run.Started)),
		r.Run.Done, count(r.Run.Total, "step"))
	b.WriteString("| | objective | measured | | from |\n|---|---|---|---|---|\n")
	for _, v := range []measureView{viewMeasure("RTO", "", r.RTO, zone), viewMeasure("RPO", "", r.RPO, zone)} {
		fmt.Fprintf(&b, "| %s | %s | **%s** | %s | %s |\n", v.Name, v.Objective, v.Value, v.Word, md(v.Basis))
	}
	passed, failed := 0, ""
	for _, c := range r.Checks {
		if c.Passed {
			passed++
		} else {
			failed += fmt.Sprintf("- **failed**: %s (`%s`) %s\n", md(c.Name), code(string(c.Step)), md(c.Detail))
		}
	}
	fmt.Fprintf(&b, "\nChecks: %d of %d passed.\n", passed, len(r.Checks))
	if failed != "" {
		b.WriteString("\n" + failed)
	}
	if list := people(r); len(list) > 0 {
		b.WriteString("\nWhat people did:\n\n")
		for _, p := range list {
			fmt.Fprintf(&b, "- %s %s: %s\n", units.Instant(p.At, zone), md(p.By), md(p.What))
		}
	}
	b.WriteString("\n| step | status | took | |\n|---|---|---|---|\n")
	for _, st := range r.Run.Steps {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", md(st.Title), st.Status, stepTook(r, st), md(remark(st)))
	}
	if r.Signature != nil {
		fmt.Fprintf(&b, "\nThe JSON form of this report is signed by `%s`; check it with `lifeboat report verify %s.json`.\n",
			code(r.Signature.PublicKey), code(string(r.Run.ID)))
	}
	return []byte(b.String())
}

// remark is what is worth a word about a step in a table.
func remark(st api.StepView) string {
	var parts []string
	if st.Attempt > 1 {
		parts = append(parts, count(st.Attempt, "attempt"))
	}
	if st.Reason != "" {
		parts = append(parts, said(strings.TrimSpace("by "+st.By), st.Reason))
	}
	if st.Err != nil {
		parts = append(parts, st.Err.Error())
	}
	return strings.Join(parts, "; ")
}

// md escapes text so that Markdown shows it as it is, on one line, also in a cell of a table.
func md(s string) string {
	var b strings.Builder
	for _, c := range printable(s) {
		switch {
		case strings.ContainsRune("\\`*_{}[]<>#|~!@", c):
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '&':
			b.WriteString("&amp;")
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// code makes text safe inside of backquotes.
func code(s string) string { return strings.NewReplacer("`", "'", "|", "¦").Replace(printable(s)) }
