package emulator

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// Step is something that is done in a scene, and what comes of it in a word. The same steps run in the same order on the fake and
// on the emulators. Want is what AWS says, and so the fake; Moto and Ministack hold what those say instead: "" for the same, "-"
// where the step is not run. Where they differ, Why says who is right, and docs/aws-emulators.md names the step.
//
// A step keeps errors in its word, and leaves the test to [Compare].
type Step[S any] struct {
	ID              string
	Do              func(s S) string
	Want            string
	Moto, Ministack string
	Why             string
}

// Endpoint is a started emulator, and a client that reaches it.
type Endpoint struct {
	Name, URL string
	HTTP      *http.Client
}

// Compare holds that the fake and the emulators say what the steps say of them, and that the document names every difference.
// Fake runs what it is given in a scene on the fake, emulated makes a scene on an emulator. With AWSTEST_TABLE set the table for
// the document is printed.
func Compare[S any](t *testing.T, steps []Step[S], fake func(t *testing.T, run func(S)), emulated func(t *testing.T, at Endpoint) S) {
	t.Run("fake", func(t *testing.T) {
		fake(t, func(s S) {
			for _, step := range steps {
				if got := step.Do(s); got != step.Want {
					t.Errorf("%s: the fake says %q, want %q", step.ID, got, step.Want)
				}
			}
		})
	})
	for name, want := range map[string]func(Step[S]) string{
		Moto:      func(s Step[S]) string { return or(s.Moto, s.Want) },
		Ministack: func(s Step[S]) string { return or(s.Ministack, s.Want) },
	} {
		if !wanted(steps, want) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patient(t, name, steps, want, emulated)
		})
	}
	documented(t, steps)
}

func wanted[S any](steps []Step[S], want func(Step[S]) string) bool {
	for _, s := range steps {
		if want(s) != "-" {
			return true
		}
	}
	return false
}

// patient runs the steps on an emulator. A call whose answer broke off may have had its effect: all begins anew with another server.
func patient[S any](t *testing.T, name string, steps []Step[S], want func(Step[S]) string, emulated func(t *testing.T, at Endpoint) S) {
	t.Helper()
	for range 10 {
		line := &line{}
		s := emulated(t, Endpoint{name, Start(t, name), &http.Client{Transport: line}})
		whole := true
		for _, step := range steps {
			w := want(step)
			if w == "-" {
				continue
			}
			got := step.Do(s)
			if whole = !line.broke.Load(); !whole {
				break
			}
			if got != w {
				t.Errorf("%s: %s says %q, want %q", step.ID, name, got, w)
			}
		}
		if whole {
			return
		}
		t.Logf("an answer of %s broke off", name)
	}
	t.Errorf("answers of %s break off each time", name)
}

// documented compares the differences with the document, and prints its table when asked to.
func documented[S any](t *testing.T, steps []Step[S]) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(root(), "docs", "aws-emulators.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		differs := s.Moto != "" && s.Moto != "-" || s.Ministack != "" && s.Ministack != "-"
		if named := strings.Contains(string(doc), "`"+s.ID+"`"); differs != named {
			t.Errorf("%s: differs %v, named in docs/aws-emulators.md %v", s.ID, differs, named)
		}
		if differs != (s.Why != "") {
			t.Errorf("%s: a difference needs a reason, and a reason a difference", s.ID)
		}
		if s.Why != "" && os.Getenv("AWSTEST_TABLE") != "" {
			fmt.Printf("| `%s` | %s | %s | %s | %s |\n", s.ID, s.Want, or(s.Moto, "="), or(s.Ministack, "="), s.Why)
		}
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// line goes to an emulator and notices when an answer broke off.
type line struct{ broke atomic.Bool }

// RoundTrip is for http.Client.
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		l.broke.Store(true)
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}
