// Package schedule says when something that recurs is due.
//
// It knows cron expressions and no clock, and starts nothing: who protects asks [Due] now and then. The expressions are
// those of github.com/robfig/cron: five fields, or @hourly, @daily, @weekly, @monthly, @yearly, @every 15m. All are in
// UTC, so that no hour comes twice or not at all, unless one begins with CRON_TZ=Europe/Paris.
package schedule

import (
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Schedule is a parsed expression.
type Schedule struct {
	text string
	cron cron.Schedule
}

// Parse reads an expression. What it cannot read is failure.Invalid, and so is what never comes, such as 30 February.
func Parse(text string) (Schedule, error) {
	invalid := func(format string, args ...any) (Schedule, error) {
		return Schedule{}, failure.New(failure.Invalid, "", "", format, args...).
			WithHint("write minute, hour, day of month, month, day of week, as in \"*/15 * * * *\"; or @hourly, @daily, @every 15m")
	}
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		if !strings.Contains(text, " ") { // the library panics
			return invalid("%q is not a schedule: it is a time zone alone", text)
		}
	}
	if every, ok := strings.CutPrefix(text, "@every "); ok { // the library makes a second of what is less
		if d, err := time.ParseDuration(every); err == nil && d < time.Second {
			return invalid("%q is not a schedule: the shortest interval is 1s", text)
		}
	}
	c, err := cron.ParseStandard(text)
	if err != nil {
		return invalid("%q is not a schedule: %s", text, strings.TrimSpace(err.Error()))
	}
	if c.Next(time.Unix(0, 0).UTC()).IsZero() {
		return invalid("%q never comes", text)
	}
	return Schedule{text, c}, nil
}

// String is the expression.
func (s Schedule) String() string { return s.text }

// Next is the first instant after t at which it comes.
func (s Schedule) Next(t time.Time) time.Time { return s.cron.Next(t.UTC()) }

// Due reports whether it has come since last, which is zero for "never done". However often it came meanwhile, it is due
// once.
func (s Schedule) Due(last, now time.Time) bool {
	return last.IsZero() || !s.Next(last).After(now)
}
