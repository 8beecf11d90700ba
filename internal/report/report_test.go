package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

var update = flag.Bool("update", false, "write the golden files and the picture in docs")

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got, go test -update rewrites):\n%s", path, diff)
	}
}

func TestRender(t *testing.T) {
	for _, format := range Formats {
		t.Run(format, func(t *testing.T) {
			got, err := RenderIn(signedSample(), format, testZone)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "failover."+format), got)
		})
	}
}

func TestRenderUnknownFormat(t *testing.T) {
	if _, err := Render(sampleReport(), "pdf"); !errors.Is(err, failure.Invalid) || failure.HintOf(err) == "" {
		t.Errorf("Render as pdf: %v, want Invalid with a hint", err)
	}
}

func TestRenderAlmostNothing(t *testing.T) {
	for _, format := range Formats {
		if _, err := Render(&api.Report{}, format); err != nil {
			t.Errorf("%s of an empty report: %v", format, err)
		}
	}
}

// Everything that could leave the page, run in it, or come from elsewhere.
func TestHTMLStandsAlone(t *testing.T) {
	b, err := Render(signedSample(), "html")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`<script`, `src=`, `url\(http`, `@import`, `<link`, `href=`, "\x1b", "\x00", `by Ben <b>`} {
		if loc := regexp.MustCompile(bad).FindIndex(b); loc != nil {
			t.Errorf("the page holds %q: …%s…", bad, b[max(0, loc[0]-40):min(len(b), loc[1]+40)])
		}
	}
}

func TestXMLIsWellFormed(t *testing.T) {
	junit, err := Render(signedSample(), "junit")
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string][]byte{"junit": junit, "svg": Timeline(signedSample())} {
		dec := xml.NewDecoder(bytes.NewReader(doc))
		for {
			_, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

func TestTimelineCutsLongWaitsShort(t *testing.T) {
	r := sampleReport()
	shift := func(p **time.Time) {
		if *p != nil && (*p).After(at(3)) {
			later := (*p).Add(20 * time.Minute)
			*p = &later
		}
	}
	for i := range r.Run.Steps {
		st := &r.Run.Steps[i]
		shift(&st.Started)
		shift(&st.Ended)
		for j := range st.Approvals {
			if st.Approvals[j].At.After(at(3)) {
				st.Approvals[j].At = st.Approvals[j].At.Add(20 * time.Minute)
			}
		}
	}
	for i := range r.Events {
		if r.Events[i].At.After(at(3)) {
			r.Events[i].At = r.Events[i].At.Add(20 * time.Minute)
		}
	}
	shift(&r.Run.Ended)
	r.RTO.From, r.RTO.To = nil, nil
	c := layOut(r)
	if len(c.gaps) != 1 {
		t.Fatalf("gaps: %v, want the wait for approval", c.gaps)
	}
	if got := c.place(c.gaps[0].to) - c.place(c.gaps[0].from); got < gapShare-1e-9 || got > gapShare+1e-9 {
		t.Errorf("the gap takes %v of the width, want %v", got, gapShare)
	}
	last := -1.0
	for s := -2.0; s < 1300; s += 0.5 {
		if x := c.place(at(s)); x < last || x < 0 || x > 1 {
			t.Fatalf("place(%v s) = %v after %v", s, x, last)
		} else {
			last = x
		}
	}
}

func TestAttemptsAreVisible(t *testing.T) {
	for _, row := range layOut(sampleReport()).rows {
		if row.title != "Promote db at west" {
			continue
		}
		want := []attempt{{stretch{at(3.1), at(4)}, true}, {stretch{at(4.5), at(6)}, false}}
		if diff := cmp.Diff(want, row.attempts, cmp.AllowUnexported(attempt{}, stretch{})); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if want := "done, 2.9 s, 2 attempts"; row.label != want {
			t.Errorf("label %q, want %q", row.label, want)
		}
		return
	}
	t.Error("no row for the step")
}

func TestMarkdownCannotBeBrokenOutOf(t *testing.T) {
	for in, want := range map[string]string{
		"a | b": `a \| b`, "<b>": `\<b\>`, "x\ny": "x y", "![i](u)": `\!\[i\](u)`, "a&b": "a&amp;b",
	} {
		if got := md(in); got != want {
			t.Errorf("md(%q) = %q, want %q", in, got, want)
		}
	}
	if got := code("a`b"); strings.Contains(got, "`") {
		t.Errorf("code left a backquote: %q", got)
	}
}

// TestPicture holds the picture in the README to what the code draws.
func TestPicture(t *testing.T) {
	golden(t, "../../docs/img/report-timeline.svg", Timeline(pictureReport()))
}

// pictureReport is a failover that went well.
func pictureReport() *api.Report {
	r := sampleReport()
	r.OK, r.Run.Outcome, r.Run.Status, r.Waived = true, api.Succeeded, "succeeded", nil
	r.Run.Steps[0].Status, r.Run.Steps[0].Err, r.Run.Steps[0].Reason = api.StepDone, nil, ""
	r.Run.Steps[3].Title = "Start web at west"
	r.Run.Steps[6].Title, r.Run.Steps[6].Status, r.Run.Steps[6].Err = "Check: orders are readable", api.StepDone, nil
	r.Run.Steps[7].Status, r.Run.Steps[7].Started, r.Run.Steps[7].Ended = api.StepDone, atp(7.2), atp(7.9)
	r.Run.Ended, r.Run.At, r.Run.Done = atp(7.9), at(7.9), 8
	return r
}
