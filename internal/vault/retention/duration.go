package retention

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Duration is a span of the calendar, in restic's spelling "2y5m7d3h": m are months.
type Duration struct{ Years, Months, Days, Hours int }

// maxSpan bounds each number of a duration, far beyond every calendar in use: what is larger is a mistake.
const maxSpan = 1_000_000

// ParseDuration reads a duration. The empty text is the zero one; of a unit that comes twice the last counts, as with
// restic. Invalid: anything else than numbers with the units y, m, d and h; a negative number.
func ParseDuration(text string) (Duration, error) {
	var d Duration
	rest := strings.TrimSpace(text)
	for rest != "" {
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || n > maxSpan || digits == len(rest) {
			return Duration{}, badDuration(text)
		}
		switch rest[digits] {
		case 'y':
			d.Years = n
		case 'm':
			d.Months = n
		case 'd':
			d.Days = n
		case 'h':
			d.Hours = n
		default:
			return Duration{}, badDuration(text)
		}
		rest = rest[digits+1:]
	}
	return d, nil
}

func badDuration(text string) error {
	return failure.New(failure.Invalid, "read a duration", "", "%q is none", text).WithHint("numbers with units: 2y5m7d3h is two years, five months, seven days and three hours")
}

// String is restic's spelling.
func (d Duration) String() string {
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit string
	}{{d.Years, "y"}, {d.Months, "m"}, {d.Days, "d"}, {d.Hours, "h"}} {
		if part.n != 0 {
			fmt.Fprintf(&b, "%d%s", part.n, part.unit)
		}
	}
	return b.String()
}

func (d Duration) negative() bool { return d.Years < 0 || d.Months < 0 || d.Days < 0 || d.Hours < 0 }

// before is the instant that lies d before t, by the calendar of t's zone.
func (d Duration) before(t time.Time) time.Time {
	return t.AddDate(-d.Years, -d.Months, -d.Days).Add(-time.Duration(d.Hours) * time.Hour)
}

// ParseCount reads a count of snapshots as --keep-last and the like take it: a number, "unlimited" or -1 for All.
func ParseCount(text string) (int, error) {
	if text == "unlimited" {
		return All, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < All {
		return 0, failure.New(failure.Invalid, "read a count", "", "%q is neither a number nor \"unlimited\"", text)
	}
	return n, nil
}

// ParseTags reads a list of tags as --keep-tag takes it: "a,b". The empty text is the list of the empty tag.
func ParseTags(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}
