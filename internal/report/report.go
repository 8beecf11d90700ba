// Package report turns a run's [api.Report] into documents, and makes it evidence: a hash chain over its events and a
// signature over the whole, checked offline.
//
// It draws no conclusions: what was measured, and whether that met the objective, is in the report when it comes here.
//
// Start with [Sign], then [Render] for html, json, md or junit; [Verify] checks what Render wrote as json. [Timeline]
// draws the picture alone. The signing key comes from [LoadOrCreateKey]. How a reader checks a report without Lifeboat
// is in docs/reports.md.
package report

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Format is the version of api.Report's content that this build writes.
const Format = 1

// Formats are what Render writes.
var Formats = []string{"html", "json", "md", "junit"}

// The kinds of events that the pictures and lists look for; the engine's names.
const (
	stepIntent    = "step-intent"
	stepFailed    = "step-failed"
	approvalAsked = "approval-asked"
	ownerChanged  = "owner-changed"
	signal        = "signal"
)

// Render writes r in a format: html is one file that needs nothing else, json is what Verify checks, md is short
// enough for a ticket, junit is for continuous integration. Times are in the local zone, with their offset. An unknown
// format is failure.Invalid.
func Render(r *api.Report, format string) ([]byte, error) { return RenderIn(r, format, time.Local) }

// RenderIn is Render with times in a zone.
func RenderIn(r *api.Report, format string, zone *time.Location) ([]byte, error) {
	if r == nil {
		return nil, failure.New(failure.Internal, "render", "report", "there is none")
	}
	switch format {
	case "html":
		return renderHTML(r, zone)
	case "json":
		return renderJSON(r)
	case "md":
		return renderMarkdown(r, zone), nil
	case "junit":
		return renderJUnit(r)
	}
	return nil, failure.New(failure.Invalid, "render report as", format, "no such format").
		WithHint("formats: %s", strings.Join(Formats, ", "))
}

// heading is "failover of shop, east → west, unplanned".
func heading(r *api.Report) string {
	s := &r.Run.RunSummary
	text := string(s.Operation)
	if s.Operation == model.OpCustom || s.Operation == "" {
		text = s.Name
	}
	if s.App != "" {
		text += " of " + string(s.App)
	}
	switch {
	case s.From != "" && s.To != "" && s.Operation == model.OpDrill:
		text += ", at " + string(s.To) + " beside " + string(s.From)
	case s.From != "" && s.To != "":
		text += ", " + string(s.From) + " → " + string(s.To)
	}
	if s.Mode != "" {
		text += ", " + string(s.Mode)
	}
	return text
}

// verdict is the report in one sentence; its first word or two say it all.
func verdict(r *api.Report) string {
	switch {
	case r.OK:
		return "OK: it succeeded, every check passed and nothing was set aside"
	case !r.Run.Final:
		return "NOT OVER: the run is " + r.Run.Status
	}
	var why []string
	if r.Run.Outcome != api.Succeeded {
		why = append(why, "the run "+outcomeWords(r.Run.Outcome))
	}
	failed := 0
	for _, c := range r.Checks {
		if !c.Passed {
			failed++
		}
	}
	if failed > 0 {
		why = append(why, count(failed, "check")+" did not pass")
	}
	for _, m := range []struct {
		name string
		m    api.Measure
	}{{"RTO", r.RTO}, {"RPO", r.RPO}} {
		if m.m.Met != nil && !*m.m.Met {
			why = append(why, "the "+m.name+" objective was missed")
		}
	}
	if len(r.Waived) > 0 {
		why = append(why, count(len(r.Waived), "rule")+" set aside by a person")
	}
	if len(why) == 0 {
		why = append(why, "not all of it was shown to work")
	}
	return "NOT OK: " + strings.Join(why, ", ")
}

func outcomeWords(o api.Outcome) string {
	if o == api.Aborted {
		return "was aborted"
	}
	return string(o)
}

// measureWord is met, missed, or what keeps that from being said.
func measureWord(m api.Measure) string {
	switch {
	case m.Value == nil:
		return "not measured"
	case m.Met == nil:
		return "no objective"
	case *m.Met:
		return "met"
	}
	return "missed"
}

// end is when the run ended, or as of when the report is.
func end(r *api.Report) time.Time {
	if r.Run.Ended != nil {
		return *r.Run.Ended
	}
	return r.Run.At
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// printable drops characters that XML cannot hold and those that turn the direction of writing; line ends and tabs
// become blanks.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t' || c == '\r':
			return ' '
		case unicode.IsControl(c), c == unicode.ReplacementChar, c == '\ufffe', c == '\uffff',
			c >= '\u202a' && c <= '\u202e', c >= '\u2066' && c <= '\u2069':
			return -1
		}
		return c
	}, s)
}
