package retention

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// GroupBy says what snapshots must have in common to be decided on together.
type GroupBy struct{ Host, Paths, Tags bool }

// ByHostAndPaths is restic's way unless another is asked for.
var ByHostAndPaths = GroupBy{Host: true, Paths: true}

// ParseGroupBy reads a list as --group-by takes it: "host,paths,tags", in any order; empty: all in one group.
func ParseGroupBy(text string) (GroupBy, error) {
	var by GroupBy
	for _, part := range strings.Split(text, ",") {
		switch part {
		case "host", "hosts":
			by.Host = true
		case "path", "paths":
			by.Paths = true
		case "tag", "tags":
			by.Tags = true
		case "":
		default:
			return GroupBy{}, failure.New(failure.Invalid, "read a grouping", "", "%q is none of host, paths, tags", part)
		}
	}
	return by, nil
}

// String is what ParseGroupBy reads.
func (by GroupBy) String() string {
	var parts []string
	if by.Host {
		parts = append(parts, "host")
	}
	if by.Paths {
		parts = append(parts, "paths")
	}
	if by.Tags {
		parts = append(parts, "tags")
	}
	return strings.Join(parts, ",")
}

// Key is what the snapshots of a group have in common; lists are sorted.
type Key struct {
	Host  string   `json:"hostname"`
	Paths []string `json:"paths"`
	Tags  []string `json:"tags"`
}

// String is for people.
func (k Key) String() string {
	var parts []string
	if k.Host != "" {
		parts = append(parts, "host "+k.Host)
	}
	if len(k.Paths) > 0 {
		parts = append(parts, "paths ["+strings.Join(k.Paths, ", ")+"]")
	}
	if len(k.Tags) > 0 {
		parts = append(parts, "tags ["+strings.Join(k.Tags, ", ")+"]")
	}
	return strings.Join(parts, ", ")
}

// Group is snapshots that are decided on together.
type Group struct {
	Key
	Snapshots []*snapshot.Snapshot // in the order in which they were given
}

// Grouped sorts snapshots into groups, and the groups by their keys.
func Grouped(list []*snapshot.Snapshot, by GroupBy) []Group {
	groups := map[string]*Group{}
	for _, s := range list {
		var k Key
		if by.Host {
			k.Host = s.Hostname
		}
		if by.Paths {
			k.Paths = slices.Sorted(slices.Values(s.Paths))
		}
		if by.Tags {
			k.Tags = slices.Sorted(slices.Values(s.Tags))
		}
		text, err := json.Marshal(k)
		if err != nil {
			panic(err) // strings can always be written
		}
		g := groups[string(text)]
		if g == nil {
			g = &Group{Key: k}
			groups[string(text)] = g
		}
		g.Snapshots = append(g.Snapshots, s)
	}
	sorted := make([]Group, 0, len(groups))
	for _, text := range slices.Sorted(maps.Keys(groups)) {
		sorted = append(sorted, *groups[text])
	}
	return sorted
}

// Options steer Decide. The zero Options are right but for Now.
type Options struct {
	Now   time.Time
	Rules Rules
	// AllowNone permits a policy to keep nothing of a group.
	AllowNone bool
}

// Decided is what is to become of a group: newest first.
type Decided struct {
	Key
	Decisions []Decision
}

// Decide applies p to each group of list. Conflict: nothing would stay of a group, and that was not allowed; nothing is
// decided then.
func Decide(list []*snapshot.Snapshot, p Policy, by GroupBy, o Options) ([]Decided, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	groups := Grouped(list, by)
	decided := make([]Decided, 0, len(groups))
	for _, g := range groups {
		d := Decided{g.Key, p.Apply(g.Snapshots, o.Now, o.Rules)}
		if !o.AllowNone && !slices.ContainsFunc(d.Decisions, func(d Decision) bool { return d.Keep }) {
			return nil, failure.New(failure.Conflict, "apply the retention", g.String(), "it would keep none of the %d snapshots", len(g.Snapshots)).
				WithHint("change the policy, or permit it: --unsafe-allow-remove-all")
		}
		decided = append(decided, d)
	}
	return decided, nil
}
