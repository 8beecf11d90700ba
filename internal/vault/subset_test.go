package vault

import (
	"errors"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// TestSubset holds that the parts of a whole do not overlap and leave nothing out, and that shares and sizes are kept.
func TestSubset(t *testing.T) {
	sizes := map[object.ID]int64{}
	for i := range 1000 {
		sizes[object.Hash([]byte{byte(i), byte(i >> 8)})] = 1 << 20
	}
	choose := func(text string) map[object.ID]bool {
		s, err := ParseSubset(text)
		if err != nil || s.String() != text {
			t.Fatalf("%q: %v, %v", text, s, err)
		}
		return s.choose(sizes)
	}
	seen := map[object.ID]int{}
	for _, part := range []string{"1/3", "2/3", "3/3"} {
		for id := range choose(part) {
			seen[id]++
			if want := int(id[0])%3 == int(part[0]-'1'); !want {
				t.Errorf("%s is in %s", id, part)
			}
		}
	}
	for id := range sizes {
		if seen[id] != 1 {
			t.Errorf("%s is in %d parts", id, seen[id])
		}
	}
	for text, want := range map[string]int{"": 1000, "100%": 1000, "10%": 100, "0.01%": 1, "50M": 50, "50m": 50, "1G": 1000, "1": 1, "1048577": 2, "1536K": 2, "1T": 1000} {
		if got := len(choose(text)); got != want {
			t.Errorf("%q: %d packs, want %d", text, got, want)
		}
	}
	if s, _ := ParseSubset("5%"); len(s.choose(nil)) != 0 {
		t.Error("a subset of nothing is something")
	}
	for _, bad := range []string{"0/3", "4/3", "1/257", "-1/3", "1/", "/", "x%", "0%", "101%", "NaN%", "-5%", "M", "-1M", "0", "9999999T", "1.5G", "5 M"} {
		if s, err := ParseSubset(bad); !errors.Is(err, failure.Invalid) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
}
