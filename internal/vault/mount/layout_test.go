package mount

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// shown lists everything of a layout, sorted: directories end with a slash, links say where they lead.
func shown(l layout) []string {
	var all []string
	for dir, s := range l {
		for name, p := range s {
			line := dir + "/" + name
			switch {
			case p.shelf:
				line += "/"
			case p.link != "":
				line += " -> " + p.link
			default:
				line += " = " + p.snapshot.ID.Short()
			}
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

// TestArrange holds the places of snapshots with odd tags, one time, and no tags.
func TestArrange(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.FixedZone("", 3600))
	all := []*snapshot.Snapshot{
		{ID: object.ID{1}, Time: at, Hostname: "a", Username: "u"},
		{ID: object.ID{2}, Time: at, Hostname: "a", Username: "u", Tags: []string{"x", ".."}},
		{ID: object.ID{3}, Time: at.Add(time.Hour), Hostname: "b/c", Tags: []string{"x", "", "y/z"}},
	}
	first, second := "2024-02-29T12:00:00+01:00", "2024-02-29T13:00:00+01:00"
	for _, test := range []struct {
		templates []string
		want      []string
	}{
		{nil, nil},
		{[]string{"ids/%i"}, []string{"/ids/", "/ids/01000000 = 01000000", "/ids/02000000 = 02000000", "/ids/03000000 = 03000000"}},
		{[]string{"snapshots/%T"}, []string{"/snapshots/", "/snapshots/" + first + " = 01000000", "/snapshots/" + first + "-1 = 02000000",
			"/snapshots/" + second + " = 03000000", "/snapshots/latest -> " + second}},
		{[]string{"hosts/%h/%T"}, []string{"/hosts/", "/hosts/a/", "/hosts/a/" + first + " = 01000000", "/hosts/a/" + first + "-1 = 02000000",
			"/hosts/a/latest -> " + first + "-1", "/hosts/b_c/", "/hosts/b_c/" + second + " = 03000000", "/hosts/b_c/latest -> " + second}},
		{[]string{"tags/%t/%T"}, []string{"/tags/", "/tags/_/", "/tags/_/" + second + " = 03000000", "/tags/_/latest -> " + second,
			"/tags/__/", "/tags/__/" + first + " = 02000000", "/tags/__/latest -> " + first,
			"/tags/x/", "/tags/x/" + first + " = 02000000", "/tags/x/" + second + " = 03000000", "/tags/x/latest -> " + second,
			"/tags/y_z/", "/tags/y_z/" + second + " = 03000000", "/tags/y_z/latest -> " + second}},
		{[]string{"%T-%u%%"}, []string{"/" + first + "-u% = 01000000", "/" + first + "-u%-1 = 02000000", "/" + second + "-_% = 03000000"}},
	} {
		slices.Sort(test.want)
		if diff := cmp.Diff(test.want, shown(arrange(all, test.templates, time.RFC3339))); diff != "" {
			t.Errorf("%q: %s", test.templates, diff)
		}
	}
	if got := shown(arrange(nil, DefaultPaths(), time.RFC3339)); !slices.Equal(got, []string{"/hosts/", "/ids/", "/snapshots/", "/tags/"}) {
		t.Errorf("without snapshots: %v", got)
	}
}

// FuzzArrange holds that every shelf can be reached from the root and no name leads elsewhere.
func FuzzArrange(f *testing.F) {
	f.Add("ids/%i", "host", "tag", "user")
	f.Add("a/../%T", "..", "/", ".")
	f.Add("%t%t//%", "", "x\x00y", "%T")
	f.Fuzz(func(t *testing.T, template, host, tag, user string) {
		if checkTemplates([]string{template}, time.RFC3339) != nil {
			return
		}
		s := &snapshot.Snapshot{ID: object.ID{1}, Hostname: host, Tags: []string{tag, tag}, Username: user}
		l := arrange([]*snapshot.Snapshot{s, s}, []string{template}, time.RFC3339)
		reached := map[string]bool{}
		var walk func(dir string)
		walk = func(dir string) {
			reached[dir] = true
			for name, p := range l[dir] {
				if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
					t.Errorf("%q holds the name %q", dir, name)
				}
				if p.shelf {
					walk(dir + "/" + name)
				}
			}
		}
		walk("")
		for dir := range maps.Keys(l) {
			if !reached[dir] {
				t.Errorf("%q cannot be reached: %v", dir, shown(l))
			}
		}
	})
}

// TestCache holds that it keeps what was used last, up to its size, and that what failed is tried again.
func TestCache(t *testing.T) {
	c := newCache[string](30)
	put := func(n byte, size int64) {
		s, mine := c.claim(object.ID{n})
		if !mine {
			t.Fatalf("%d is there", n)
		}
		if _, again := c.claim(object.ID{n}); again {
			t.Errorf("%d is loaded twice", n)
		}
		c.fill(s, fmt.Sprint(n), size, nil)
	}
	has := func(n byte) bool {
		s, mine := c.claim(object.ID{n})
		if mine {
			c.fill(s, "", 0, errors.New("no"))
			return false
		}
		got, err := s.wait(t.Context())
		return err == nil && got == fmt.Sprint(n)
	}
	put(1, 10)
	put(2, 10)
	put(3, 10)
	if !has(1) || !has(2) || !has(3) || c.used != 30 {
		t.Errorf("%d bytes are kept", c.used)
	}
	has(1)
	put(4, 10)
	if has(2) || !has(1) || !has(3) || !has(4) || c.used != 30 {
		t.Errorf("what was used least is kept: %d bytes", c.used)
	}
	put(5, 100) // one that is too large is kept alone
	if !has(5) || has(1) || has(3) || has(4) || c.used != 100 || len(c.slots) != 1 {
		t.Errorf("%d bytes, %d slots", c.used, len(c.slots))
	}
	for range 2 {
		if has(6) {
			t.Error("a failure is kept")
		}
	}
}

// TestTemplates holds what is refused.
func TestTemplates(t *testing.T) {
	for _, bad := range [][2]string{{"", time.RFC3339}, {"/", time.RFC3339}, {"a/..", time.RFC3339}, {"../%i", time.RFC3339}, {"%i", ""}, {"%i", "/x"}, {"%i", "x/"}} {
		if err := checkTemplates([]string{"ids/%i", bad[0]}, bad[1]); !errors.Is(err, failure.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := checkTemplates(DefaultPaths(), time.RFC3339); err != nil {
		t.Error(err)
	}
}
