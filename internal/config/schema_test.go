package config

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

func compileSchema(t testing.TB) *validator.Schema {
	t.Helper()
	raw, err := Schema(testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler() // checks the schema against draft 2020-12's own
	if err := c.AddResource("lifeboat.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("lifeboat.json")
	if err != nil {
		t.Fatalf("the schema is not valid: %v", err)
	}
	return s
}

// asJSON gives a document as an editor's validator sees it; nil when it is not YAML.
func asJSON(t testing.TB, doc string) any {
	t.Helper()
	p := newProblems(Name, []byte(doc))
	n := parse([]byte(doc), p)
	if n == nil || p.any() {
		return nil
	}
	v, err := validator.UnmarshalJSON(bytes.NewReader(n.json()))
	if err != nil {
		t.Fatalf("%v in %s", err, n.json())
	}
	return v
}

func TestSchemaAcceptsWhatLoads(t *testing.T) {
	schema := compileSchema(t)
	files, _ := filepath.Glob("testdata/good/*.yaml")
	for _, f := range files {
		if err := schema.Validate(asJSON(t, readFile(t, f))); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	if len(files) == 0 {
		t.Error("the good documents are gone")
	}
}

// What a schema cannot say: references between values, uniqueness by meaning, circles, durations of zero, the rules of
// a Validator, and what becomes of a document that does not parse.
var beyondSchema = []string{
	"app-home-in-recovery", "app-marker-nowhere", "app-probe-interval-alone", "app-unknown-site", "check-twice",
	"duration-zero", "hook-own-output-before", "needs-circle", "needs-itself", "plan-call-circle",
	"plan-call-circle-by-hook", "plan-step-circle", "plan-step-twice", "probe-reference", "reference-comes-later",
	"reference-itself", "reference-not-needed", "reference-self-in-check", "reference-syntax", "reference-unknown-output",
	"reference-unknown-resource", "resource-site-missing", "resource-site-of-other", "settings-outputs-disagree",
	"settings-validator", "settings-validator-nested", "settings-validator-nowhere",
}

func TestSchemaRefusesWhatTheLoaderRefuses(t *testing.T) {
	schema := compileSchema(t)
	beyond := map[string]bool{}
	for _, name := range beyondSchema {
		beyond[name] = true
	}
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	judged := 0
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		doc := asJSON(t, readFile(t, f))
		if doc == nil {
			continue
		}
		judged++
		switch err := schema.Validate(doc); {
		case err == nil && !beyond[name]:
			t.Errorf("%s: the schema accepts it", name)
		case err != nil && beyond[name]:
			t.Errorf("%s: the schema can refuse it after all: %v", name, err)
		}
		delete(beyond, name)
	}
	if len(beyond) > 0 || judged < 60 {
		t.Errorf("judged %d documents; not among them: %v", judged, beyond)
	}
}

func TestSchemaDescribesEveryField(t *testing.T) {
	raw, err := Schema(testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Defs map[string]struct {
			Properties map[string]any
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	fields := 0
	for _, def := range []string{"document", "journal", "limits", "site", "app", "objective", "protect", "probe", "resource",
		"check", "hook", "vault", "s3", "points", "keep", "prove", "hookStep", "plan", "step"} {
		for name, p := range s.Defs[def].Properties {
			fields++
			if m, ok := p.(map[string]any); !ok || m["description"] == nil || m["description"] == "" {
				t.Errorf("%s.%s has no description", def, name)
			}
		}
	}
	if fields < 70 {
		t.Errorf("only %d fields were looked at", fields)
	}
}
