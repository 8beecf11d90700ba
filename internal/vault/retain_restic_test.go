package vault_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestDecisionsEqualRestic writes random histories into one repository, each under a host of its own, and has restic
// decide on all of them, under random policies, groupings and local time zones: what stays, what goes and why must be
// the same. Which of restic's rules are meant goes by the version of the restic that judges.
func TestDecisionsEqualRestic(t *testing.T) {
	t.Parallel()
	histories, policies := 520, 10
	if os.Getenv("LIFEBOAT_LONG") != "" {
		histories, policies = 2000, 100
	}
	rules := retention.Restic
	if out, err := exec.CommandContext(t.Context(), "restic", "version").Output(); err != nil {
		t.Fatal("restic judges the vault and is missing: test/servers/install.sh restic")
	} else if v := string(out); strings.HasPrefix(v, "restic 0.14.") || strings.HasPrefix(v, "restic 0.15.") {
		rules = retention.Restic014
	}
	r := rand.New(rand.NewPCG(14, 7))
	v, store := create(t)
	s := begin(t, v)
	root, err := s.SaveTree(t.Context(), &tree.Tree{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range histories {
		for _, sn := range history(t, r, n) {
			sn.Tree = &root
			if _, err := s.Commit(t.Context(), sn); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	repo := export(t, store)
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	decided := 0
	for range policies {
		args, keep, by := randomPolicy(r)
		zone := zones[r.IntN(len(zones))]
		decided += compareDecisions(t, repo, zone, args, all, keep, by, rules)
	}
	if want := histories * policies / 2; decided < want { // a newer restic refuses some policies as a whole, and so do we
		t.Errorf("%d groups were compared, want %d at least", decided, want)
	}
	t.Logf("%d snapshots of %d histories, %d groups decided", len(all), histories, decided)
}

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"}

// history is a random one: some regular, some scattered, around the turns of years and of daylight saving, with
// snapshots in one second, at one instant, and in the future.
func history(t *testing.T, r *rand.Rand, n int) []*snapshot.Snapshot {
	t.Helper()
	loc, err := time.LoadLocation(zones[r.IntN(len(zones))])
	if err != nil {
		t.Fatal(err)
	}
	starts := []time.Time{
		time.Date(2024, 3, 29, 22, 0, 0, 0, loc), time.Date(2023, 10, 28, 20, 30, 0, 0, loc), time.Date(2024, 12, 28, 12, 0, 0, 0, loc),
		time.Date(2024, 2, 27, 1, 0, 0, 0, loc), time.Date(2021, 1, 1, 0, 0, 0, 0, loc), time.Now().In(loc).Add(-40 * time.Hour).Truncate(time.Second),
	}
	when := starts[r.IntN(len(starts))]
	steps := []time.Duration{0, 300 * time.Millisecond, time.Second, 20 * time.Minute, time.Hour, 7 * time.Hour, 24 * time.Hour, 24 * time.Hour, 9 * 24 * time.Hour, 31 * 24 * time.Hour, 200 * 24 * time.Hour}
	step := steps[r.IntN(len(steps))]
	var list []*snapshot.Snapshot
	ties := 0
	for range 1 + r.IntN(14) {
		if r.IntN(2) == 0 {
			step = steps[r.IntN(len(steps))]
		}
		if step == 0 {
			if ties++; ties > 2 {
				step = time.Hour
			}
		}
		when = when.Add(step)
		sn := &snapshot.Snapshot{Time: when, Hostname: fmt.Sprintf("h%d", n), Paths: []string{"/a"}}
		if r.IntN(6) == 0 { // as somebody would write it who moved
			sn.Time = when.In(time.FixedZone("", (r.IntN(27)-12)*3600+r.IntN(4)*900))
		}
		if r.IntN(8) == 0 {
			sn.Paths = []string{"/b", "/a"}
		}
		for _, tag := range []string{"x", "y", "z"} {
			if r.IntN(4) == 0 {
				sn.Tags = append(sn.Tags, tag)
			}
		}
		if r.IntN(2) == 0 {
			slices.Reverse(sn.Tags)
		}
		if r.IntN(30) == 0 { // a text of its own for the same instant
			sn.Time = sn.Time.UTC()
		}
		list = append(list, sn)
	}
	// Snapshots about where a policy that looks back from the last one ends, by the calendar.
	for range r.IntN(3) {
		spans := [][3]int{{0, 0, 1}, {0, 0, 7}, {0, 0, 40}, {0, 1, 0}, {0, 6, 0}, {1, 0, 0}, {0, 1, 31}}
		span := spans[r.IntN(len(spans))]
		edge := when.AddDate(-span[0], -span[1], -span[2]).Add([]time.Duration{-30 * time.Minute, 0, 1, 30 * time.Minute}[r.IntN(4)])
		list = append(list, &snapshot.Snapshot{Time: edge, Hostname: fmt.Sprintf("h%d", n), Paths: []string{"/a"}, Tags: []string{"edge"}})
	}
	return list
}

// randomPolicy gives the same policy as arguments for restic and as ours.
func randomPolicy(r *rand.Rand) ([]string, retention.Policy, retention.GroupBy) {
	var m model.Retention
	var args []string
	counts := map[string]*int{"last": &m.Last, "hourly": &m.Hourly, "daily": &m.Daily, "weekly": &m.Weekly, "monthly": &m.Monthly, "yearly": &m.Yearly}
	withins := map[string]*string{"within": &m.Within, "within-hourly": &m.WithinHourly, "within-daily": &m.WithinDaily, "within-weekly": &m.WithinWeekly,
		"within-monthly": &m.WithinMonthly, "within-yearly": &m.WithinYearly}
	for len(args) == 0 {
		for _, name := range []string{"last", "hourly", "daily", "weekly", "monthly", "yearly"} {
			if r.IntN(4) == 0 {
				*counts[name] = 1 + r.IntN(5)
				args = append(args, fmt.Sprintf("--keep-%s=%d", name, *counts[name]))
			}
		}
		for _, name := range []string{"within", "within-hourly", "within-daily", "within-weekly", "within-monthly", "within-yearly"} {
			if r.IntN(6) == 0 {
				*withins[name] = []string{"1h", "23h", "1d", "7d", "40d", "1m", "6m", "1y", "2y5m7d3h", "1m31d", "3d1d"}[r.IntN(11)]
				args = append(args, "--keep-"+name+"="+*withins[name])
			}
		}
		for _, tags := range []string{"x", "y,z", "", ",x"} {
			if r.IntN(8) == 0 {
				m.Tags = append(m.Tags, retention.ParseTags(tags))
				args = append(args, "--keep-tag="+tags)
			}
		}
	}
	p, err := retention.Parse(m)
	if err != nil {
		panic(err)
	}
	text := []string{"host,paths", "host", "host,tags", "tags,paths,host"}[r.IntN(4)]
	by, err := retention.ParseGroupBy(text)
	if err != nil {
		panic(err)
	}
	return append(args, "--group-by="+text), p, by
}

type resticGroup struct {
	Tags    []string              `json:"tags"`
	Host    string                `json:"host"`
	Paths   []string              `json:"paths"`
	Keep    []struct{ ID string } `json:"keep"`
	Remove  []struct{ ID string } `json:"remove"`
	Reasons []struct{ Matches []string }
}

// compareDecisions gives how many groups were compared.
func compareDecisions(t *testing.T, repo, zone string, args []string, all []*snapshot.Snapshot, p retention.Policy, by retention.GroupBy, rules retention.Rules) int {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	local := make([]*snapshot.Snapshot, len(all)) // as a process in that zone reads them
	for i, s := range all {
		c := *s
		if c.Time, err = time.ParseInLocation(time.RFC3339Nano, s.Time.Format(time.RFC3339Nano), loc); err != nil {
			t.Fatal(err)
		}
		local[i] = &c
	}
	cmd := exec.CommandContext(t.Context(), "restic", append([]string{"-r", repo, "--no-cache", "--no-lock", "forget", "--dry-run", "--json"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "TZ="+zone)
	now := time.Now()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	_, refused := retention.Decide(local, p, by, retention.Options{Now: now, Rules: rules})
	if rules != retention.Restic014 && (err != nil) != (refused != nil) {
		t.Errorf("restic forget %v: %v %s\nours: %v", args, err, &stderr, refused)
	}
	groups := retention.Grouped(local, by)
	if err != nil && refused != nil && strings.Contains(stderr.String(), "refusing to delete last snapshot") {
		return 0
	}
	if err != nil {
		t.Fatalf("restic forget %v: %v\n%s", args, err, &stderr)
	}
	var theirs []resticGroup
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := map[string]map[string][]string{} // by key, the reasons of those that stay
	for _, g := range theirs {
		reasons := map[string][]string{}
		for i, s := range g.Keep {
			reasons[s.ID] = g.Reasons[i].Matches
		}
		want[retention.Key{Host: g.Host, Paths: g.Paths, Tags: g.Tags}.String()] = reasons
	}
	if len(groups) != len(theirs) {
		t.Errorf("%v: %d groups, want %d", args, len(groups), len(theirs))
	}
	for _, g := range groups {
		if !matches(g.Snapshots, 0, func(list []*snapshot.Snapshot) bool {
			return sameReasons(p.Apply(list, now, rules), want[g.String()])
		}) {
			var text strings.Builder
			for _, d := range p.Apply(g.Snapshots, now, rules) {
				fmt.Fprintf(&text, "%s %s %v\n  ours:   %q\n  theirs: %q\n", d.Snapshot.ID.Short(), d.Snapshot.Time.Format(time.RFC3339Nano), d.Snapshot.Tags, d.Reasons, want[g.String()][d.Snapshot.ID.String()])
			}
			t.Errorf("TZ=%s %v, %s:\n%s", zone, args, g, &text)
		}
	}
	return len(groups)
}

// matches tries the orders of snapshots at one instant, which restic takes as they happen to be loaded. The list is in
// the order of time.
func matches(list []*snapshot.Snapshot, from int, try func([]*snapshot.Snapshot) bool) bool {
	end := from + 1
	for end < len(list) && list[end].Time.Equal(list[from].Time) {
		end++
	}
	if from >= len(list) {
		return try(list)
	}
	return permute(list, from, end, func() bool { return matches(list, end, try) })
}

func permute(list []*snapshot.Snapshot, from, end int, try func() bool) bool {
	if end-from <= 1 {
		return try()
	}
	for i := from; i < end; i++ {
		list[from], list[i] = list[i], list[from]
		if permute(list, from+1, end, try) {
			return true
		}
		list[from], list[i] = list[i], list[from]
	}
	return false
}

func sameReasons(ours []retention.Decision, theirs map[string][]string) bool {
	kept := 0
	for _, d := range ours {
		reasons, keep := theirs[d.Snapshot.ID.String()]
		if keep != d.Keep || !slices.Equal(reasons, d.Reasons) {
			return false
		}
		if keep {
			kept++
		}
	}
	return kept == len(theirs)
}
