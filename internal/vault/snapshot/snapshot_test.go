package snapshot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

var (
	id = object.Hash([]byte("tree"))
	at = time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
)

func TestRoundTrip(t *testing.T) {
	want := &snapshot.Snapshot{Time: at, Tree: &id, Parent: &id, Paths: []string{"/a"}, Hostname: "h", Username: "u", UID: 1, GID: 2,
		Excludes: []string{"*.o"}, Tags: []string{"x"}, Original: &id, ProgramVersion: "restic 0.99", Summary: json.RawMessage(`{"of_tomorrow":1}`),
		Extra: map[string]json.RawMessage{"new": json.RawMessage(`[1]`)}}
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := snapshot.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []*snapshot.Snapshot{{Time: at}, {Tree: &id}} {
		if _, err := bad.Encode(); !errors.Is(err, failure.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, bad := range []string{``, `{}`, `{"tree":null}`, `{"tree":"x"}`, `[]`} {
		if _, err := snapshot.Decode([]byte(bad)); !errors.Is(err, failure.Corrupt) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestFilter(t *testing.T) {
	s := &snapshot.Snapshot{Time: at, Hostname: "h", Paths: []string{"/a", "/b"}, Tags: []string{"x", "y"}}
	for i, tt := range []struct {
		f    snapshot.Filter
		want bool
	}{
		{snapshot.Filter{}, true},
		{snapshot.Filter{Hosts: []string{"g", "h"}}, true},
		{snapshot.Filter{Hosts: []string{"g"}}, false},
		{snapshot.Filter{Paths: []string{"/b"}}, true},
		{snapshot.Filter{Paths: []string{"/b", "/c"}}, false},
		{snapshot.Filter{Tags: [][]string{{"z"}, {"x", "y"}}}, true},
		{snapshot.Filter{Tags: [][]string{{"z"}, {"x", "z"}}}, false},
		{snapshot.Filter{Tags: [][]string{{}}}, false},
		{snapshot.Filter{Until: at}, true},
		{snapshot.Filter{Until: at.Add(-1)}, false},
	} {
		if got := tt.f.Matches(s); got != tt.want {
			t.Errorf("%d: %+v matches %v, want %v", i, tt.f, got, tt.want)
		}
	}
	if !(snapshot.Filter{Tags: [][]string{{}}}).Matches(&snapshot.Snapshot{}) {
		t.Error("no tags are not matched by no tags")
	}
}

func FuzzDecode(f *testing.F) {
	s := &snapshot.Snapshot{Time: at, Tree: &id, Tags: []string{"x"}}
	text, err := s.Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(text), `{}`, `{"tree":"` + id.String() + `","summary":null,"TIME":"2020-01-01T00:00:00Z","x":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := snapshot.Decode(data)
		if err != nil {
			if !errors.Is(err, failure.Corrupt) {
				t.Error(err)
			}
			return
		}
		text, err := first.Encode()
		if err != nil {
			return
		}
		second, err := snapshot.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := second.Encode(); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%v\n%s\n%s", err, text, again)
		}
	})
}
