package report

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// The JUnit document, as Jenkins' xunit schema and GitLab read it.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Errors     int             `xml:"errors,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property,omitempty"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure,omitempty"`
		Skipped *junitMessage `xml:"skipped,omitempty"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// renderJUnit writes three suites: objectives, checks and steps, one case each. What a person set aside, and what was
// not measured, is skipped with its reason and never passed.
func renderJUnit(r *api.Report) ([]byte, error) {
	name := heading(r)
	objectives := []junitCase{junitObjective("RTO", r.RTO), junitObjective("RPO", r.RPO)}
	var checks, steps []junitCase
	for _, c := range r.Checks {
		jc := junitCase{Name: c.Name, Class: "check." + string(c.Step), Time: seconds(c.Took.Std())}
		if !c.Passed {
			jc.Failure = &junitMessage{Message: "the check did not pass", Type: "check", Text: printable(c.Detail)}
		}
		checks = append(checks, jc)
	}
	for _, st := range r.Run.Steps {
		steps = append(steps, junitStep(r, st))
	}
	doc := junitSuites{Name: printable(name), Time: seconds(end(r).Sub(r.Run.Started))}
	for _, s := range []struct {
		name  string
		cases []junitCase
	}{{"objectives", objectives}, {"checks", checks}, {"steps", steps}} {
		doc.add(r, printable(name)+": "+s.name, s.cases)
	}
	out, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "render", "report")
	}
	return append([]byte(xml.Header), append(out, '\n')...), nil
}

func (d *junitSuites) add(r *api.Report, name string, cases []junitCase) {
	s := junitSuite{
		Name: name, Tests: len(cases), Cases: cases, Time: d.Time, Timestamp: r.Run.Started.UTC().Format(time.RFC3339),
		Properties: []junitProperty{
			{"run", string(r.Run.ID)}, {"outcome", string(r.Run.Outcome)}, {"plan", r.Run.PlanHash}, {"ok", fmt.Sprint(r.OK)},
		},
	}
	for _, c := range cases {
		if c.Failure != nil {
			s.Failures++
		}
		if c.Skipped != nil {
			s.Skipped++
		}
	}
	d.Tests += s.Tests
	d.Failures += s.Failures
	d.Skipped += s.Skipped
	d.Suites = append(d.Suites, s)
}

func junitObjective(name string, m api.Measure) junitCase {
	c := junitCase{Name: name, Class: "objective", Time: "0", Out: printable(m.Basis)}
	if m.Value != nil {
		c.Time = seconds(m.Value.Std())
	}
	word := measureWord(m)
	switch word {
	case "missed":
		c.Failure = &junitMessage{Type: "objective", Message: fmt.Sprintf("%s was %s, the objective is %s", name,
			units.Duration(m.Value.Std()), units.Duration(m.Objective.Std())), Text: printable(m.Basis)}
	case "not measured", "no objective":
		c.Skipped = &junitMessage{Message: word + ": " + printable(m.Basis)}
	}
	return c
}

func junitStep(r *api.Report, st api.StepView) junitCase {
	c := junitCase{Name: string(st.ID) + ": " + printable(st.Title), Class: "step." + string(st.Action), Time: "0"}
	if st.Started != nil {
		to := end(r)
		if st.Ended != nil {
			to = *st.Ended
		}
		c.Time = seconds(to.Sub(*st.Started))
	}
	var facts []string
	for _, f := range st.Evidence {
		facts = append(facts, printable(f.Name)+": "+printable(f.Value))
	}
	c.Out = strings.Join(facts, "\n")
	message := printable(strings.TrimSpace(said(strings.TrimSpace(string(st.Status)+" "+st.By), st.Reason)))
	detail, kind := "", ""
	if st.Err != nil {
		detail, kind = printable(st.Err.Error()), st.Err.Kind.String()
	}
	switch st.Status {
	case api.StepDone:
	case api.StepWaived, api.StepSkipped:
		c.Skipped = &junitMessage{Message: message, Text: detail}
	case api.StepFailed, api.StepAsking, api.StepCanceled:
		c.Failure = &junitMessage{Message: message, Type: kind, Text: detail}
	default:
		c.Skipped = &junitMessage{Message: "not over: " + message}
	}
	return c
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", max(0, d).Seconds()) }
