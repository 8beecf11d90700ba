package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/schedule"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNextIsInUTC(t *testing.T) {
	for _, c := range []struct{ expr, after, want string }{
		{"*/15 * * * *", "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z"},
		{"30 2 * * *", "2026-03-29T01:00:00+01:00", "2026-03-29T02:30:00Z"}, // an hour that Berlin does not have
		{"@every 1h", "2026-01-01T10:20:30Z", "2026-01-01T11:20:30Z"},
		{"@daily", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"},
		{"CRON_TZ=America/New_York 0 12 * * *", "2026-07-01T00:00:00Z", "2026-07-01T16:00:00Z"},
	} {
		s, err := schedule.Parse(c.expr)
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		if got := s.Next(at(t, c.after)); !got.Equal(at(t, c.want)) {
			t.Errorf("%s after %s: %s, want %s", c.expr, c.after, got, c.want)
		}
	}
}

func TestDue(t *testing.T) {
	s, err := schedule.Parse("0 * * * *")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		last, now string
		want      bool
	}{
		{"", "2026-01-01T10:20:00Z", true}, // never done
		{"2026-01-01T10:00:00Z", "2026-01-01T10:59:59Z", false},
		{"2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", true},
		{"2026-01-01T10:00:00Z", "2026-01-05T11:30:00Z", true},
		{"2026-01-05T11:30:01Z", "2026-01-05T11:30:00Z", false}, // a clock that was set back
	} {
		var last time.Time
		if c.last != "" {
			last = at(t, c.last)
		}
		if got := s.Due(last, at(t, c.now)); got != c.want {
			t.Errorf("last %q, now %s: %t, want %t", c.last, c.now, got, c.want)
		}
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for _, text := range []string{"", "every day", "* * * *", "61 * * * *", "0 0 30 2 *", "@every", "@every -1h", "@fortnightly", "TZ=UTC", "@every 20ms", "* * * * * *", "\x00"} {
		_, err := schedule.Parse(text)
		if err == nil {
			t.Errorf("%q is read", text)
			continue
		}
		if failure.KindOf(err) != failure.Invalid || failure.HintOf(err) == "" || !strings.Contains(err.Error(), "schedule") && !strings.Contains(err.Error(), "never") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"*/5 * * * *", "@every 1s", "CRON_TZ=UTC 0 0 1 1 *", "TZ=", "0 0 29 2 *"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := schedule.Parse(text)
		if err != nil {
			return
		}
		now := time.Unix(1_700_000_000, 0)
		if next := s.Next(now); !next.After(now) {
			t.Errorf("%q comes at %s after %s", text, next, now)
		}
	})
}
