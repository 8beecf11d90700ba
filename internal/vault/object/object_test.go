package object_test

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

func TestParseID(t *testing.T) {
	want := object.Hash([]byte("x"))
	got, err := object.ParseID(want.String())
	if err != nil || got != want || got.IsZero() || !strings.HasPrefix(want.String(), want.Short()) {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "ab", strings.Repeat("g", 64), strings.Repeat("A", 64), want.String() + "0", want.String()[1:] + "/"} {
		if _, err := object.ParseID(bad); !errors.Is(err, failure.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestUnknown(t *testing.T) {
	text := `{ "known":1,"a":{"x":[1,"}"],"y":"\"}"},"KNOWN":2, "b" : [ ] ,"c":null,"d":-1.5e3,"é\"":"\\"}`
	got := object.Unknown([]byte(text), map[string]bool{"known": true})
	want := map[string]string{"a": `{"x":[1,"}"],"y":"\"}"}`, "b": `[ ]`, "c": `null`, "d": `-1.5e3`, `é"`: `"\\"`}
	for name, value := range want {
		if string(got[name]) != value {
			t.Errorf("%s is %s, want %s", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d members, want %d: %s", len(got), len(want), got)
	}
}

// FuzzUnknown compares the scanner with encoding/json, for every valid object.
func FuzzUnknown(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1}`, `{"a":{"b":[{}]},"c":"]}\\"}`, `[1]`, `null`, `{"a":1,"a":2}`, ` { "x" : true } `, `{"\u00e9":[[],{}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil {
			object.Unknown(data, nil) // no panic
			return
		}
		got := object.Unknown(data, nil)
		if len(want) == 0 && len(got) == 0 {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %q, want %q", data, got, want)
		}
		text, err := object.Append([]byte(`{"first":0}`), slices.Sorted(maps.Keys(got)), got)
		if err != nil || !json.Valid(text) {
			t.Errorf("%s: %s, %v", data, text, err)
		}
	})
}
