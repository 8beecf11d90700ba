// Package retention decides which recovery points stay, and says why: restic's forget, as a pure function.
//
// It removes nothing and reads nothing; the vault's Forget does. The decisions are restic's, down to the words of the
// reasons, and a test holds them to the real restic's on random histories. What comes on top is the legal hold (hold.go)
// and the refusal to decide that nothing stays. Start with [Parse] and [Decide].
//
// Times: hours, days, weeks, months and years are those of each snapshot's own time zone, as it is written in the
// snapshot. What is "within" counts back from the newest snapshot of the group that is not in the future, by its
// calendar. As with restic, and for the same reason (Go's package time), the calendar is the local zone of this process
// when the snapshot's offset was the local one then, and knows daylight saving; otherwise the offset is fixed.
package retention

import (
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// All, as a count, keeps every snapshot of its kind.
const All = -1

// Policy says what stays. The zero Policy keeps everything.
type Policy struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly                                 int // All, or how many
	Within, WithinHourly, WithinDaily, WithinWeekly, WithinMonthly, WithinYearly Duration
	// Tags keeps a snapshot that has all tags of one of these lists. The tag "" stands for "has no tags"; an empty list
	// says the same.
	Tags [][]string
}

// Parse reads a configured policy. Invalid: a count below -1, a duration that is none, a tag with a comma.
func Parse(r model.Retention) (Policy, error) {
	p := Policy{Last: r.Last, Hourly: r.Hourly, Daily: r.Daily, Weekly: r.Weekly, Monthly: r.Monthly, Yearly: r.Yearly, Tags: r.Tags}
	for _, w := range []struct {
		name string
		text string
		to   *Duration
	}{
		{"within", r.Within, &p.Within}, {"within_hourly", r.WithinHourly, &p.WithinHourly}, {"within_daily", r.WithinDaily, &p.WithinDaily},
		{"within_weekly", r.WithinWeekly, &p.WithinWeekly}, {"within_monthly", r.WithinMonthly, &p.WithinMonthly}, {"within_yearly", r.WithinYearly, &p.WithinYearly},
	} {
		d, err := ParseDuration(w.text)
		if err != nil {
			return Policy{}, failure.Wrap(err, "read the retention", w.name)
		}
		*w.to = d
	}
	return p, p.Check()
}

// Check is Invalid for a policy that means nothing.
func (p Policy) Check() error {
	for _, n := range p.counts() {
		if n.count < All {
			return failure.New(failure.Invalid, "read the retention", n.name, "%d is below %d, which means all", n.count, All)
		}
	}
	for _, w := range p.withins() {
		if w.within.negative() {
			return failure.New(failure.Invalid, "read the retention", w.name, "%s is negative", w.within)
		}
	}
	for _, list := range p.Tags {
		for _, tag := range list {
			if strings.Contains(tag, ",") {
				return failure.New(failure.Invalid, "read the retention", "tags", "the tag %q holds a comma, which separates tags", tag)
			}
		}
	}
	return nil
}

// Empty reports whether nothing is said about what stays.
func (p Policy) Empty() bool {
	for _, n := range p.counts() {
		if n.count != 0 {
			return false
		}
	}
	for _, w := range p.withins() {
		if w.within != (Duration{}) {
			return false
		}
	}
	return len(p.Tags) == 0
}

type count struct {
	name, reason string
	count        int
	slot         func(time.Time, int) int
}

// counts lists the rules that count, in restic's order.
func (p Policy) counts() [6]count {
	return [6]count{
		{"last", "last snapshot", p.Last, func(_ time.Time, n int) int { return n }},
		{"hourly", "hourly snapshot", p.Hourly, hour},
		{"daily", "daily snapshot", p.Daily, day},
		{"weekly", "weekly snapshot", p.Weekly, week},
		{"monthly", "monthly snapshot", p.Monthly, month},
		{"yearly", "yearly snapshot", p.Yearly, year},
	}
}

type within struct {
	name, reason string
	within       Duration
	slot         func(time.Time, int) int
}

// withins lists the rules that look back; the first has no slots.
func (p Policy) withins() [6]within {
	return [6]within{
		{"within", "within", p.Within, nil},
		{"within_hourly", "hourly within", p.WithinHourly, hour},
		{"within_daily", "daily within", p.WithinDaily, day},
		{"within_weekly", "weekly within", p.WithinWeekly, week},
		{"within_monthly", "monthly within", p.WithinMonthly, month},
		{"within_yearly", "yearly within", p.WithinYearly, year},
	}
}

func hour(t time.Time, _ int) int  { return day(t, 0)*100 + t.Hour() }
func day(t time.Time, _ int) int   { return month(t, 0)*100 + t.Day() }
func month(t time.Time, _ int) int { return t.Year()*100 + int(t.Month()) }
func year(t time.Time, _ int) int  { return t.Year() }
func week(t time.Time, _ int) int {
	y, w := t.ISOWeek()
	return y*100 + w
}

// Rules are whose decisions are taken where restic's versions differ. All of them keep what Restic014 keeps.
type Rules uint8

const (
	// Restic is restic from 0.16.0 on: besides, the oldest snapshot of a group stays while a rule has not found as many
	// as it wants, or reaches back further than it: no history is cut short by a rule that is not satisfied yet.
	Restic Rules = iota
	// Restic014 is restic up to 0.15.
	Restic014
)

// Decision is what is to become of one snapshot.
type Decision struct {
	Snapshot *snapshot.Snapshot
	Keep     bool
	// Reasons say why it stays, in restic's words ("daily snapshot", "within 1y5m", "has tags [a, b]"); a hold comes first.
	Reasons []string
	Left    Counters
}

// Counters are how many more each rule keeps after a snapshot; All stays All.
type Counters struct {
	Last    int `json:"last,omitempty"`
	Hourly  int `json:"hourly,omitempty"`
	Daily   int `json:"daily,omitempty"`
	Weekly  int `json:"weekly,omitempty"`
	Monthly int `json:"monthly,omitempty"`
	Yearly  int `json:"yearly,omitempty"`
}

// Apply decides on the snapshots of one group: newest first, and in the given order where times are equal. Now says what
// is in the future, and which holds have ended. An empty policy keeps everything.
func (p Policy) Apply(list []*snapshot.Snapshot, now time.Time, rules Rules) []Decision {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *snapshot.Snapshot) int { return b.Time.Compare(a.Time) })
	a := applying{policy: p, rules: rules, counts: p.counts(), withins: p.withins(), latest: latest(list, now), oldest: len(list) - 1}
	for i := range a.last {
		a.last[i] = -1
	}
	decisions := make([]Decision, 0, len(list))
	for i, s := range list {
		var reasons []string
		if h, held := HoldOf(s, now); held {
			reasons = append(reasons, h.String())
		}
		if p.Empty() {
			reasons = append(reasons, "policy is empty")
		} else {
			reasons = a.reasons(reasons, i, s)
		}
		decisions = append(decisions, Decision{s, len(reasons) > 0, reasons, a.left()})
	}
	return decisions
}

// latest is the time of the newest snapshot that is not in the future, or the zero time.
func latest(list []*snapshot.Snapshot, now time.Time) time.Time {
	var newest time.Time
	for _, s := range list {
		if s.Time.After(newest) && s.Time.Before(now) {
			newest = s.Time
		}
	}
	return newest
}

// applying is one run over a group.
type applying struct {
	policy  Policy
	rules   Rules
	counts  [6]count
	withins [6]within
	last    [12]int // the slot that each rule kept last
	latest  time.Time
	oldest  int
}

// reasons appends why the i-th snapshot stays.
func (a *applying) reasons(reasons []string, i int, s *snapshot.Snapshot) []string {
	for _, list := range a.policy.Tags {
		if hasTags(s, list) {
			reasons = append(reasons, "has tags ["+strings.Join(list, ", ")+"]")
		}
	}
	if w := a.withins[0]; w.within != (Duration{}) && s.Time.After(w.within.before(a.latest)) {
		reasons = append(reasons, w.reason+" "+w.within.String())
	}
	for n := range a.counts {
		c := &a.counts[n]
		if c.count == 0 {
			continue
		}
		if why, keep := a.slot(n, i, c.slot(s.Time, i), c.reason); keep {
			reasons = append(reasons, why)
			if c.count > 0 {
				c.count--
			}
		}
	}
	for n, w := range a.withins {
		if w.slot == nil || w.within == (Duration{}) || !s.Time.After(w.within.before(a.latest)) {
			continue
		}
		if why, keep := a.slot(len(a.counts)+n, i, w.slot(s.Time, i), w.reason); keep {
			reasons = append(reasons, why+" "+w.within.String())
		}
	}
	return reasons
}

// slot decides whether rule n keeps the i-th snapshot, which lies in slot.
func (a *applying) slot(n, i, slot int, reason string) (string, bool) {
	if slot == a.last[n] {
		if a.rules == Restic014 || i != a.oldest {
			return "", false
		}
		reason = "oldest " + reason
	}
	a.last[n] = slot
	return reason, true
}

func (a *applying) left() Counters {
	c := a.counts
	return Counters{c[0].count, c[1].count, c[2].count, c[3].count, c[4].count, c[5].count}
}

// hasTags is restic's: the tag "" is had by a snapshot without tags, and ends the question.
func hasTags(s *snapshot.Snapshot, list []string) bool {
	if len(list) == 0 {
		return len(s.Tags) == 0
	}
	for _, tag := range list {
		if tag == "" && len(s.Tags) == 0 {
			return true
		}
		if !slices.Contains(s.Tags, tag) {
			return false
		}
	}
	return true
}
