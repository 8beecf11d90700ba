package statepayload

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/model"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestDocuments holds what is read of each document, and every remark, to the letter.
func TestDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d documents (%v)", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			doc := Read(name+".json", content)
			if blocked, fault := Blocked(doc.Remarks), strings.HasPrefix(name, "fault-"); blocked && !fault {
				t.Error("a good document cannot be run")
			}
			got := written(doc)
			golden := strings.TrimSuffix(file, ".json") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got; -update rewrites it:\n%s", diff)
			}
		})
	}
}

// written is a document as the golden files have it.
func written(doc *model.Payload) string {
	var b strings.Builder
	for i, l := range doc.Layers {
		fmt.Fprintf(&b, "layer %d, numbered %q\n", i, l.Number)
		for _, a := range l.Actions {
			fmt.Fprintf(&b, "  %s %s %q %s\n", a.Path, a.Type, a.Name, a.Written)
			for _, p := range a.Parameters {
				fmt.Fprintf(&b, "    %d:%d %s = %s %q\n", p.Line, p.Column, p.Name, p.From, p.Text)
			}
		}
	}
	for _, r := range doc.Remarks {
		fmt.Fprintf(&b, "%s %d:%d %s [%s]\n    %s\n", r.Severity, r.Line, r.Column, r.Path, r.Code, r.What)
		for _, more := range []string{r.Why, r.Fix} {
			if more != "" {
				fmt.Fprintf(&b, "    %s\n", more)
			}
		}
	}
	return b.String()
}

// TestEveryRemark fails when a remark that the code can make is in no golden file.
func TestEveryRemark(t *testing.T) {
	codes := regexp.MustCompile(`"(payload-[a-z]+)"`)
	var have bytes.Buffer
	goldens, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range goldens {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		have.Write(content)
	}
	n := 0
	for _, file := range []string{"statepayload.go", "parameter.go", "values.go", "tree.go"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range codes.FindAllSubmatch(content, -1) {
			n++
			if code := string(m[1]); code != "payload-size" && !strings.Contains(have.String(), "["+code+"]") {
				t.Errorf("%s: no golden file shows %s", file, code)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d remarks found in the source", n)
	}
}

// TestSize refuses what Step Functions would not take.
func TestSize(t *testing.T) {
	good := []byte(`{"StatePayload": [{"layer": 1, "resources": [{"resourceType": "PromoteRDSReadReplica", "resourceName": "x", "parameters": {"RDSInstanceIdentifier": "a"}}]}]}`)
	fits := append(slices.Clone(good), bytes.Repeat([]byte(" "), MaxSize-len(good))...)
	if doc := Read("x.json", fits); Blocked(doc.Remarks) {
		t.Errorf("a document of %d bytes: %v", len(fits), doc.Remarks)
	}
	if doc := Read("x.json", append(fits, ' ')); len(doc.Remarks) != 1 || doc.Remarks[0].Code != "payload-size" {
		t.Errorf("a document of %d bytes: %v", len(fits)+1, doc.Remarks)
	}
}

// TestTypes holds the table to the framework's: six types and four older names, with as many parameters as it reads.
func TestTypes(t *testing.T) {
	want := map[string]int{PlannedFailoverAurora: 2, UnPlannedFailoverAurora: 3, PromoteRDSReadReplica: 1, FailoverElastiCacheCluster: 3, CreateRDSReadReplica: 14, CreateAuroraSecondaryDBCluster: 22}
	got := map[string]int{}
	for _, k := range kinds {
		for _, p := range k.parameters {
			if p.wanted {
				got[k.name]++
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters that the framework reads (-want +got):\n%s", diff)
	}
	if n := len(Types()); n != 10 {
		t.Errorf("%d names of types, want 10", n)
	}
	for old, now := range older {
		if k := kindOf(old); k == nil || k.name != now {
			t.Errorf("%s is not %s", old, now)
		}
	}
}

// TestBool takes what the framework takes for true only.
func TestBool(t *testing.T) {
	for text, want := range map[string][2]bool{"true": {true, true}, "True": {true, true}, "1": {true, true}, "yes": {true, true}, "false": {false, true}, "False": {false, true}, "0": {false, true}, "no": {false, true}, "": {}, "on": {}} {
		if value, ok := Bool(text); value != want[0] || ok != want[1] {
			t.Errorf("Bool(%q) = %t, %t", text, value, ok)
		}
	}
}

// FuzzRead: no document makes it panic, every place is in the document, nothing is accepted in silence, and what is read of a
// document that is written down again is the same.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no corpus (%v)", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		doc := Read("x.json", content)
		lines := 1 + bytes.Count(content, []byte("\n"))
		for _, r := range doc.Remarks {
			if r.Line < 0 || r.Line > lines || r.What == "" || r.Code == "" {
				t.Errorf("a remark of line %d of %d: %+v", r.Line, lines, r)
			}
		}
		if Blocked(doc.Remarks) {
			return
		}
		if !json.Valid(content) {
			t.Fatal("what is no JSON was taken")
		}
		for _, l := range doc.Layers {
			for _, a := range l.Actions {
				k := kindOf(a.Type)
				for _, p := range k.parameters {
					if _, ok := a.Parameter(p.name); !ok && p.use == needed {
						t.Errorf("%s lacks %s, and can be run", a.Path, p.name)
					}
				}
			}
		}
		var dense bytes.Buffer
		if err := json.Compact(&dense, content); err != nil {
			t.Fatal(err)
		}
		again := Read("x.json", dense.Bytes())
		if diff := cmp.Diff(actions(doc), actions(again)); diff != "" {
			t.Errorf("written densely it says something else:\n%s", diff)
		}
	})
}

// actions are a document's, without their places.
func actions(doc *model.Payload) (all []string) {
	for i, l := range doc.Layers {
		for _, a := range l.Actions {
			line := fmt.Sprint(i, a.Path, a.Type, a.Name)
			for _, p := range a.Parameters {
				line += fmt.Sprint(" ", p.Name, p.From, p.Text)
			}
			all = append(all, line)
		}
	}
	return all
}
