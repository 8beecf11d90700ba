package driver_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestRefs(t *testing.T) {
	for settings, want := range map[string][]string{
		``:                                nil,
		`{}`:                              nil,
		`{"a":"${db.endpoint}"}`:          {"db.endpoint"},
		`{"a":"${z.x}${b.y} and ${z.x}"}`: {"b.y", "z.x"},
		`{"a":["x",{"b":"${c.d}"}]}`:      {"c.d"},
		`{"a":"$${c.d}"}`:                 nil,
		`{"a":"$$${c.d}"}`:                nil, // a dollar, then a literal
		`{"${a.b}":1}`:                    nil, // keys are not values
		`{"a":"${self.endpoint}"}`:        nil,
		`{"a":"${} $x {y} ${"}`:           {""},
		`{"a":12345678901234567890}`:      nil,
	} {
		if got := driver.Refs(json.RawMessage(settings)); !cmp.Equal(got, want) {
			t.Errorf("%s: refs %q, want %q", settings, got, want)
		}
	}
}

func TestFill(t *testing.T) {
	values := map[string]model.Value{
		"db.endpoint": driver.Endpoint("10.0.0.1:5432"),
		"db.nasty":    driver.Text(`"},"x":{"` + "\n${db.endpoint}"),
	}
	for settings, want := range map[string]string{
		``:                                   ``,
		`{"a":"${db.endpoint}"}`:             `{"a":"10.0.0.1:5432"}`,
		`{"a":"h=${db.endpoint}&x"}`:         `{"a":"h=10.0.0.1:5432\u0026x"}`,
		`{"a":"$${db.endpoint}"}`:            `{"a":"${db.endpoint}"}`,
		`{"a":"${self.endpoint}"}`:           `{"a":"${self.endpoint}"}`,
		`{"${db.endpoint}":"x"}`:             `{"${db.endpoint}":"x"}`,
		`{"n":12345678901234567890}`:         `{"n":12345678901234567890}`,
		`{"b":[true,null,"${db.endpoint}"]}`: `{"b":[true,null,"10.0.0.1:5432"]}`,
		// A value cannot break out of its string, and is not looked into for further references.
		`{"a":"${db.nasty}"}`: `{"a":"\"},\"x\":{\"\n${db.endpoint}"}`,
	} {
		got, err := driver.Fill(json.RawMessage(settings), values)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v\nwant %s", settings, got, err, want)
		}
	}
	_, err := driver.Fill(json.RawMessage(`{"a":"${web.url}"}`), values)
	if !errors.Is(err, failure.Invalid) || failure.HintOf(err) == "" || !strings.Contains(err.Error(), "${web.url}") {
		t.Errorf("a missing value: %v, want an invalid one that names it, with a hint", err)
	}
	if _, err := driver.Fill(json.RawMessage(`{"a":`), values); !errors.Is(err, failure.Invalid) {
		t.Errorf("broken JSON: %v", err)
	}
}

// FuzzFill holds the law of references: when each of Refs has a value Fill succeeds and leaves none of them; when
// one has none it fails; and whatever a value holds, it stays inside of its string.
func FuzzFill(f *testing.F) {
	for _, seed := range []struct{ settings, value string }{
		{`{"a":"${db.endpoint}"}`, "10.0.0.1:5432"},
		{`{"a":["${x.y}","$${x.y}",{"b":"${self.z} ${x.y}${q.r}"}],"n":1e400}`, `"quoted" \ and`},
		{`"${a.b}"`, "${a.b}"}, {`{"a":"$${${x}}"}`, ""}, {`[]`, "\x00"}, {`{"a":"${}"}`, "x"},
	} {
		f.Add(seed.settings, seed.value)
	}
	f.Fuzz(func(t *testing.T, settings, value string) {
		var before any
		if json.Unmarshal([]byte(settings), &before) != nil {
			return
		}
		if strings.Contains(value, "${") {
			value = strings.ReplaceAll(value, "${", "$ {") // else what is left cannot be told from what came in
		}
		refs := driver.Refs(json.RawMessage(settings))
		values := map[string]model.Value{}
		for _, ref := range refs {
			if strings.HasPrefix(ref, "self.") {
				t.Fatalf("%s: the driver's own %q is listed", settings, ref)
			}
			values[ref] = driver.Text(value)
		}
		filled, err := driver.Fill(json.RawMessage(settings), values)
		if err != nil {
			t.Fatalf("%s with all of %q: %v", settings, refs, err)
		}
		var after any
		if err := json.Unmarshal(filled, &after); err != nil {
			t.Fatalf("%s is filled to %s: %v", settings, filled, err)
		}
		if got, want := shape(after), shape(before); got != want {
			t.Fatalf("%s is filled to %s: the shape %s has become %s", settings, filled, want, got)
		}
		for _, ref := range refs {
			less := map[string]model.Value{}
			for k, v := range values {
				if k != ref {
					less[k] = v
				}
			}
			if out, err := driver.Fill(json.RawMessage(settings), less); !errors.Is(err, failure.Invalid) {
				t.Fatalf("%s without %q: %s, %v", settings, ref, out, err)
			}
		}
	})
}

// shape is a JSON document without its strings' contents.
func shape(v any) string {
	switch v := v.(type) {
	case string:
		return `"`
	case []any:
		out := "["
		for _, x := range v {
			out += shape(x) + ","
		}
		return out + "]"
	case map[string]any:
		rest := map[string]string{}
		for k, x := range v {
			rest[k] = shape(x)
		}
		text, err := json.Marshal(rest) // in order of keys
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
