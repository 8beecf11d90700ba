package retention_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

var now = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

// at is a snapshot with an id of its own.
func at(t *testing.T, when string, tags ...string) *snapshot.Snapshot {
	t.Helper()
	instant, err := time.Parse(time.RFC3339, when)
	if err != nil {
		t.Fatal(err)
	}
	return &snapshot.Snapshot{ID: object.Hash([]byte(when)), Time: instant, Hostname: "h", Paths: []string{"/p"}, Tags: tags}
}

// reasons gives why each stays, newest first.
func reasons(p retention.Policy, rules retention.Rules, list ...*snapshot.Snapshot) [][]string {
	var all [][]string
	for _, d := range p.Apply(list, now, rules) {
		if d.Keep != (len(d.Reasons) > 0) {
			panic("kept without a reason")
		}
		all = append(all, d.Reasons)
	}
	return all
}

// TestRules holds each rule to what restic's manual says of it, and the two sets of rules apart.
func TestRules(t *testing.T) {
	week := []*snapshot.Snapshot{
		at(t, "2026-03-09T08:00:00Z"), at(t, "2026-03-10T08:00:00Z"), at(t, "2026-03-10T20:00:00Z", "a", "b"), at(t, "2026-03-15T11:00:00Z"),
		at(t, "2026-03-15T11:30:00Z", "a"), at(t, "2025-12-31T23:30:00-02:00"),
	}
	for _, c := range []struct {
		name   string
		policy retention.Policy
		rules  retention.Rules
		want   [][]string
	}{
		{"empty", retention.Policy{}, retention.Restic, [][]string{{"policy is empty"}, {"policy is empty"}, {"policy is empty"}, {"policy is empty"}, {"policy is empty"}, {"policy is empty"}}},
		{"last", retention.Policy{Last: 2}, retention.Restic, [][]string{{"last snapshot"}, {"last snapshot"}, nil, nil, nil, nil}},
		{"all", retention.Policy{Daily: retention.All}, retention.Restic, [][]string{{"daily snapshot"}, nil, {"daily snapshot"}, nil, {"daily snapshot"}, {"daily snapshot"}}},
		{"more than there are", retention.Policy{Yearly: 5}, retention.Restic, [][]string{{"yearly snapshot"}, nil, nil, nil, nil, {"yearly snapshot"}}},
		{"the zone of the snapshot", retention.Policy{Monthly: 2}, retention.Restic014, [][]string{{"monthly snapshot"}, nil, nil, nil, nil, {"monthly snapshot"}}},
		{"within", retention.Policy{Within: retention.Duration{Days: 5}}, retention.Restic, [][]string{{"within 5d"}, {"within 5d"}, {"within 5d"}, nil, nil, nil}},
		{"daily within", retention.Policy{WithinDaily: retention.Duration{Months: 1}}, retention.Restic014, [][]string{{"daily within 1m"}, nil, {"daily within 1m"}, nil, {"daily within 1m"}, nil}},
		{"tags", retention.Policy{Tags: [][]string{{"a"}, {"b", "a"}}}, retention.Restic, [][]string{{"has tags [a]"}, nil, {"has tags [a]", "has tags [b, a]"}, nil, nil, nil}},
		{"no tags", retention.Policy{Tags: [][]string{{""}}}, retention.Restic, [][]string{nil, {"has tags []"}, nil, {"has tags []"}, {"has tags []"}, {"has tags []"}}},
		{"no tags, by an empty list", retention.Policy{Tags: [][]string{{}}}, retention.Restic, [][]string{nil, {"has tags []"}, nil, {"has tags []"}, {"has tags []"}, {"has tags []"}}},
	} {
		if diff := cmp.Diff(c.want, reasons(c.policy, c.rules, week...)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	same := []*snapshot.Snapshot{at(t, "2026-03-01T01:00:00Z"), at(t, "2026-03-01T02:00:00Z"), at(t, "2026-03-01T03:00:00Z")}
	if diff := cmp.Diff([][]string{{"daily snapshot"}, nil, {"oldest daily snapshot"}}, reasons(retention.Policy{Daily: 3}, retention.Restic, same...)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"daily snapshot"}, nil, nil}, reasons(retention.Policy{Daily: 3}, retention.Restic014, same...)); diff != "" {
		t.Error(diff)
	}
}

func TestHold(t *testing.T) {
	until, err := retention.ParseHold("2026-03-14", "case 7")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tags []string
		want string // the reason; "" is no hold
	}{
		{nil, ""},
		{[]string{"lifeboat-hold-until=2030-01-01"}, ""},
		{[]string{"lifeboat-hold"}, "legal hold"},
		{[]string{"lifeboat-hold", "lifeboat-hold-until=2026-03-15"}, "legal hold until 2026-03-16T00:00:00Z"},
		{[]string{"lifeboat-hold", "lifeboat-hold-until=2026-03-14"}, ""},
		{[]string{"lifeboat-hold-until=2026-03-20", "lifeboat-hold", "lifeboat-hold-until=2026-03-10"}, "legal hold until 2026-03-21T00:00:00Z"},
		{[]string{"lifeboat-hold-until=soon", "lifeboat-hold", "lifeboat-hold-until=2026-03-10", "lifeboat-hold-reason=x"}, "legal hold: x"},
		{until.Tags(), ""},
		{retention.Hold{Until: now.Add(time.Second), Reason: "r"}.Tags(), "legal hold until 2026-03-15T12:00:01Z: r"},
	} {
		s := at(t, "2020-01-01T00:00:00Z", c.tags...)
		h, held := retention.HoldOf(s, now)
		if held != (c.want != "") || held && h.String() != c.want {
			t.Errorf("%q: %v %q, want %q", c.tags, held, h, c.want)
		}
		d := retention.Policy{Last: 1}.Apply([]*snapshot.Snapshot{s, at(t, "2021-01-01T00:00:00Z")}, now, retention.Restic)
		if d[1].Keep != held {
			t.Errorf("%q: kept: %v", c.tags, d[1])
		}
	}
	for _, bad := range [][2]string{{"tomorrow", ""}, {"2026-13-01", ""}, {"", "a,b"}, {"", "a\nb"}} {
		if _, err := retention.ParseHold(bad[0], bad[1]); !errors.Is(err, failure.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParse(t *testing.T) {
	p, err := retention.Parse(model.Retention{Last: -1, Within: " 2y5m7d3h", WithinDaily: "1d9d", Tags: [][]string{{"a"}}})
	want := retention.Policy{Last: -1, Within: retention.Duration{Years: 2, Months: 5, Days: 7, Hours: 3}, WithinDaily: retention.Duration{Days: 9}, Tags: [][]string{{"a"}}}
	if diff := cmp.Diff(want, p); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if p.Within.String() != "2y5m7d3h" || p.Empty() || !(retention.Policy{}).Empty() || (retention.Policy{WithinYearly: retention.Duration{Hours: 1}}).Empty() {
		t.Errorf("%v is not what it was read from, or empty", p)
	}
	for _, bad := range []model.Retention{{Last: -2}, {Yearly: -7}, {Within: "3"}, {Within: "d"}, {WithinHourly: "3w"}, {Within: "-3d"}, {Within: "3 d"},
		{Within: "99999999999999999999d"}, {Within: "1000001y"}, {Within: "٣d"}, {Tags: [][]string{{"a,b"}}}} {
		if p, err := retention.Parse(bad); !errors.Is(err, failure.Invalid) {
			t.Errorf("%+v: %+v, %v", bad, p, err)
		}
	}
	for text, want := range map[string]int{"0": 0, "7": 7, "-1": -1, "unlimited": -1} {
		if n, err := retention.ParseCount(text); n != want || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	for _, bad := range []string{"", "-2", "all", "1.5"} {
		if _, err := retention.ParseCount(bad); !errors.Is(err, failure.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if by, err := retention.ParseGroupBy("tags,host"); err != nil || by != (retention.GroupBy{Host: true, Tags: true}) || by.String() != "host,tags" {
		t.Errorf("%v, %v", by, err)
	}
	if _, err := retention.ParseGroupBy("user"); !errors.Is(err, failure.Invalid) {
		t.Error(err)
	}
}

func TestDecide(t *testing.T) {
	a, b, c := at(t, "2026-01-01T00:00:00Z"), at(t, "2026-01-02T00:00:00Z"), at(t, "2026-01-03T00:00:00Z", "x")
	b.Hostname, c.Paths = "other", []string{"/z", "/p"}
	list := []*snapshot.Snapshot{a, b, c}
	decided, err := retention.Decide(list, retention.Policy{Last: 1}, retention.ByHostAndPaths, retention.Options{Now: now})
	if err != nil || len(decided) != 3 || decided[0].String() != "host h, paths [/p, /z]" {
		t.Errorf("%+v, %v", decided, err)
	}
	if c.Paths[0] != "/z" {
		t.Error("grouping changed the snapshot")
	}
	if decided, err = retention.Decide(list, retention.Policy{Last: 1}, retention.GroupBy{}, retention.Options{Now: now}); err != nil || len(decided) != 1 || decided[0].Decisions[0].Snapshot != c {
		t.Errorf("%+v, %v", decided, err)
	}
	tags := retention.Policy{Tags: [][]string{{"x"}}}
	if decided, err := retention.Decide(list, tags, retention.ByHostAndPaths, retention.Options{Now: now}); !errors.Is(err, failure.Conflict) || decided != nil {
		t.Errorf("%+v, %v", decided, err)
	}
	if decided, err := retention.Decide(list, tags, retention.ByHostAndPaths, retention.Options{Now: now, AllowNone: true}); err != nil || len(decided) != 3 {
		t.Errorf("%+v, %v", decided, err)
	}
	if _, err := retention.Decide(list, retention.Policy{Last: -2}, retention.ByHostAndPaths, retention.Options{Now: now}); !errors.Is(err, failure.Invalid) {
		t.Error(err)
	}
	if decided, err := retention.Decide(nil, tags, retention.ByHostAndPaths, retention.Options{Now: now}); err != nil || len(decided) != 0 {
		t.Errorf("%+v, %v", decided, err)
	}
}
