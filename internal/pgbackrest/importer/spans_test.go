package importer

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

func TestSpans(t *testing.T) {
	const seg = 1 << 20
	at := func(n int) pgwal.LSN { return pgwal.LSN(n) * seg }
	run := func(from, to int) (out []pgwal.LSN) {
		for n := from; n < to; n++ {
			out = append(out, at(n))
		}
		return out
	}
	join := func(all ...[]pgwal.LSN) (out []pgwal.LSN) {
		for _, a := range all {
			out = append(out, a...)
		}
		return out
	}
	left := func(t pgwal.Timeline, n int, more pgwal.LSN) []pgwal.Switch {
		return []pgwal.Switch{{Timeline: t, At: at(n) + more}}
	}
	for _, c := range []struct {
		name string
		held held
		want []string
	}{
		{"nothing", held{}, nil},
		{"one piece", held{segments: map[pgwal.Timeline][]pgwal.LSN{1: run(1, 5)}}, []string{"1:1 to 1:5 "}},
		{"a hole", held{segments: map[pgwal.Timeline][]pgwal.LSN{1: join(run(1, 5), run(7, 9))}},
			[]string{"1:1 to 1:5 ", "1:7 to 1:9 the repository lacks 2 segments from 000000010000000000000005 on"}},
		{"a damaged segment", held{segments: map[pgwal.Timeline][]pgwal.LSN{1: join(run(1, 5), run(6, 9))},
			why: map[pgwal.Position]string{{Timeline: 1, At: at(5)}: "it is damaged"}}, []string{"1:1 to 1:5 ", "1:6 to 1:9 it is damaged"}},
		{"a promotion", held{segments: map[pgwal.Timeline][]pgwal.LSN{1: run(1, 5), 2: run(5, 8)},
			histories: map[pgwal.Timeline][]pgwal.Switch{2: left(1, 5, 100)}}, []string{"1:1 to 2:8 "}},
		{"a promotion whose last segment was archived whole", held{segments: map[pgwal.Timeline][]pgwal.LSN{1: run(1, 6), 2: run(5, 8)},
			histories: map[pgwal.Timeline][]pgwal.Switch{2: left(1, 5, 100)}}, []string{"1:1 to 1:6 ", "1:1 to 2:8 timeline 2 goes another way than timeline 1"}},
		{"two promotions", held{segments: map[pgwal.Timeline][]pgwal.LSN{1: run(1, 5), 2: run(5, 8), 3: run(8, 9)},
			histories: map[pgwal.Timeline][]pgwal.Switch{2: left(1, 5, 100), 3: {{Timeline: 1, At: at(5) + 100}, {Timeline: 2, At: at(8) + 100}}}}, []string{"1:1 to 3:9 "}},
		{"a timeline without history", held{segments: map[pgwal.Timeline][]pgwal.LSN{1: run(1, 5), 2: run(5, 8)}},
			[]string{"1:1 to 1:5 ", "2:5 to 2:8 the repository has no history of timeline 2"}},
		{"a timeline whose first segments are gone", held{segments: map[pgwal.Timeline][]pgwal.LSN{1: run(1, 5), 2: run(6, 8)},
			histories: map[pgwal.Timeline][]pgwal.Switch{2: left(1, 5, 100)}}, []string{"1:1 to 1:5 ", "2:6 to 2:8 the repository does not have what timeline 2 goes on from"}},
	} {
		c.held.size = seg
		var got []string
		for _, s := range c.held.spans() {
			got = append(got, fmt.Sprintf("%d:%d to %d:%d %s", s.From.Timeline, s.From.At/seg, s.To.Timeline, s.To.At/seg, s.Why))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestMarksRise(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	mark := func(t pgwal.Timeline, at pgwal.LSN, after time.Duration) pgpoint.Mark {
		return pgpoint.Mark{Position: pgwal.Position{Timeline: t, At: at}, Time: noon.Add(after)}
	}
	got := rising([]pgpoint.Mark{mark(1, 90, 5*time.Minute), mark(1, 10, 0), mark(1, 20, 30*time.Second), mark(2, 50, 3*time.Minute), mark(1, 80, 7*time.Minute),
		mark(1, 40, 2*time.Minute)})
	want := []pgpoint.Mark{mark(1, 20, 30*time.Second), mark(1, 40, 2*time.Minute), mark(2, 50, 3*time.Minute), mark(1, 90, 5*time.Minute)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
}

func TestControlFile(t *testing.T) {
	text := make([]byte, maxControl)
	o := binary.LittleEndian
	o.PutUint64(text, 7)
	o.PutUint64(text[240:], math.Float64bits(1234567.0))
	o.PutUint32(text[248:], 8192)
	o.PutUint32(text[260:], 16<<20)
	o.PutUint32(text[284:], 1)
	got, err := parseControl(text)
	if want := (control{systemID: 7, page: 8192, segment: 16 << 20, checksums: true}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "short": text[:250], "no number": make([]byte, maxControl)} {
		if _, err := parseControl(bad); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%s: got %v, want Corrupt", name, err)
		}
	}
	o.PutUint32(text[260:], 3)
	if _, err := parseControl(text); failure.KindOf(err) != failure.Corrupt {
		t.Errorf("a size that cannot be: got %v, want Corrupt", err)
	}
}

// FuzzCommits holds that log of any content is gone through in any pieces alike.
func FuzzCommits(f *testing.F) {
	f.Add([]byte("\x10\xd1\x00\x00"), uint16(7))
	f.Fuzz(func(t *testing.T, data []byte, step uint16) {
		whole := commits{at: 0x3000000, size: pgwal.DefaultSegmentSize}
		whole.take(data)
		pieces := commits{at: 0x3000000, size: pgwal.DefaultSegmentSize}
		for rest := data; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			pieces.take(rest[:n])
			rest = rest[n:]
		}
		if whole.last != pieces.last || !whole.when.Equal(pieces.when) {
			t.Fatalf("at once %s %v, in pieces %s %v", whole.last, whole.when, pieces.last, pieces.when)
		}
	})
}
