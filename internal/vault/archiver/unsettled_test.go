//go:build linux

package archiver

import (
	"testing"
	"time"
)

// TestUnsettled holds what changes are not trusted, by how fine the file system counts.
func TestUnsettled(t *testing.T) {
	start := time.Unix(1e9, 500)
	u := unsettled{start, start.Add(time.Minute)}
	for _, test := range []struct {
		at   time.Time
		want bool
	}{
		{start.Add(time.Second), true}, {start.Add(-step / 2), true}, {start.Add(-2 * step), false}, {time.Unix(1e9-1, 0), true}, {time.Unix(1e9-3, 0), false},
		{start.Add(2 * time.Minute), false}, {time.Unix(1e9+200, 0), false},
	} {
		if got := u.holds(test.at); got != test.want {
			t.Errorf("%v: %v", test.at, got)
		}
	}
	if (unsettled{}).holds(time.Now()) {
		t.Error("a parent that says nothing unsettles everything")
	}
}
