package pgwal_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

func TestLSN(t *testing.T) {
	for text, want := range map[string]pgwal.LSN{"0/0": 0, "16/B374D848": 0x16B374D848, "ffffffff/ffffffff": ^pgwal.LSN(0)} {
		got, err := pgwal.ParseLSN(text)
		if err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
		back, err := pgwal.ParseLSN(got.String())
		if err != nil || back != got {
			t.Errorf("%s is written as %s", text, got)
		}
	}
	for _, text := range []string{"", "0", "/", "0/", "0/G", "1/2/3", "100000000/0", "-1/0", "+1/0", "0/123456789"} {
		if got, err := pgwal.ParseLSN(text); err == nil || failure.KindOf(err) != failure.Invalid {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

// The names are those that pg_walfile_name gives.
func TestSegmentNames(t *testing.T) {
	for _, c := range []struct {
		t    pgwal.Timeline
		at   pgwal.LSN
		size pgwal.SegmentSize
		want string
	}{
		{1, 0x01000028, 16 << 20, "000000010000000000000001"},
		{1, 0x1FF000000, 16 << 20, "0000000100000001000000FF"},
		{0x1A, 0x200000000, 16 << 20, "0000001A0000000200000000"},
		{1, 0x140000000, 1 << 30, "000000010000000100000001"},
		{1, 0x100100000, 1 << 20, "000000010000000100000001"},
	} {
		if got := pgwal.SegmentName(c.t, c.at, c.size); got != c.want {
			t.Errorf("%s of %d MiB: %s, want %s", c.at, c.size>>20, got, c.want)
		}
		tl, at, err := pgwal.ParseSegmentName(c.want, c.size)
		if err != nil || tl != c.t || at != c.size.Start(c.at) {
			t.Errorf("%s is %d, %s, %v", c.want, tl, at, err)
		}
	}
	for _, name := range []string{"", "00000001000000000000000", "000000000000000000000001", "000000010000000000000100", "00000001000000000000000a", "00000001.history", "0000000100000000000000ZZ"} {
		if _, _, err := pgwal.ParseSegmentName(name, pgwal.DefaultSegmentSize); err == nil {
			t.Errorf("%q is the name of a segment", name)
		}
	}
}

func TestHistory(t *testing.T) {
	text := "1\t0/3000110\tno recovery target specified\n\n# a comment\n2\t0/5000000\tbefore 2026-01-01 00:00:00+00\n"
	got, err := pgwal.ParseHistory(4, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []pgwal.Switch{{1, 0x3000110, "no recovery target specified"}, {2, 0x5000000, "before 2026-01-01 00:00:00+00"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for at, want := range map[pgwal.LSN]pgwal.Timeline{0: 1, 0x300010F: 1, 0x3000110: 2, 0x4FFFFFF: 2, 0x5000000: 4} {
		if on := pgwal.On(4, got, at); on != want {
			t.Errorf("%s is on %d, want %d", at, on, want)
		}
	}
	for _, text := range []string{"1", "x 0/0", "1 y", "2 0/1\n1 0/2", "1 0/2\n2 0/1", "4 0/1", "0 0/1"} {
		if got, err := pgwal.ParseHistory(4, []byte(text)); err == nil || failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add([]byte("1\t0/3000110\tx\n"), "000000010000000000000001")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		_, _ = pgwal.ParseHistory(9, content)
		_, _ = pgwal.ParseHeader(content)
		pgwal.CheckPages(content, 0, 0xD110)
		if tl, at, err := pgwal.ParseSegmentName(name, pgwal.DefaultSegmentSize); err == nil {
			if got := pgwal.SegmentName(tl, at, pgwal.DefaultSegmentSize); got != name {
				t.Errorf("%s is written as %s", name, got)
			}
		}
	})
}
