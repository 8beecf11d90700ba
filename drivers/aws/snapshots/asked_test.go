package snapshots_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestAskedRestore: what a restore brings back, by AWS's own backups, by a snapshot, or not at all.
func TestAskedRestore(t *testing.T) {
	k, home, _, _ := world()
	k.Target.Resource.Kind = "aws.test"
	home.put("older", "available", 2*time.Hour, nil)
	home.put("newest", "available", time.Hour, nil)
	first, last := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC), time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	backed := func(context.Context) (*snapshots.Backups, error) {
		return &snapshots.Backups{Of: "shop", First: &first, Last: &last}, nil
	}
	empty := func(context.Context) (*snapshots.Backups, error) { return nil, nil }
	for _, c := range []struct {
		name    string
		spec    *model.RestoreSpec
		backups func(context.Context) (*snapshots.Backups, error)
		want    snapshots.Restored
		kind    failure.Kind
		says    string
	}{
		{name: "nothing is asked", kind: failure.Invalid, says: "nothing says what the copy is called"},
		{name: "a bad name", spec: &model.RestoreSpec{Name: "a--b"}, kind: failure.Invalid, says: "no identifier"},
		{name: "a long name", spec: &model.RestoreSpec{Name: strings.Repeat("a", 21)}, kind: failure.Invalid, says: "up to 20"},
		{name: "the app's own", spec: &model.RestoreSpec{Name: "shop"}, backups: backed, kind: failure.Exists, says: "site home"},
		{name: "the latest", spec: &model.RestoreSpec{Name: "Back"}, backups: backed, want: snapshots.Restored{Name: "back", Point: snapshots.Latest}},
		{name: "an instant", spec: &model.RestoreSpec{Name: "back", To: "2026-05-01T10:00:00Z"}, backups: backed, want: snapshots.Restored{Name: "back", Until: first.Add(2 * time.Hour)}},
		{name: "too late", spec: &model.RestoreSpec{Name: "back", To: "2026-05-01T13:00:00Z"}, backups: backed, kind: failure.Invalid, says: "the latest time that shop can be restored to is 2026-05-01T12:00:00Z"},
		{name: "too early", spec: &model.RestoreSpec{Name: "back", To: "2026-05-01T07:00:00Z"}, backups: backed, kind: failure.Invalid, says: "the earliest time that shop can be restored to is 2026-05-01T08:00:00Z"},
		{name: "a point at once", spec: &model.RestoreSpec{Name: "back", To: "immediate"}, backups: backed, want: snapshots.Restored{Name: "back", Point: "newest"}},
		{name: "without backups", spec: &model.RestoreSpec{Name: "back"}, backups: empty, want: snapshots.Restored{Name: "back", Point: "newest"}},
		{name: "an instant without backups", spec: &model.RestoreSpec{Name: "back", To: "2026-05-01T10:00:00Z"}, backups: empty, kind: failure.NotFound, says: "keeps no backups in r-home"},
		{name: "snapshots only", spec: &model.RestoreSpec{Name: "back", To: "latest"}, want: snapshots.Restored{Name: "back", Point: "newest"}},
		{name: "an instant of snapshots only", spec: &model.RestoreSpec{Name: "back", To: "2026-05-01T10:00:00Z"}, kind: failure.Unsupported, says: "snapshots only"},
		{name: "no instant", spec: &model.RestoreSpec{Name: "back", To: "lsn:0/1"}, backups: backed, kind: failure.Unsupported, says: `aws.test can be restored to latest or to an instant`},
		{name: "a named point", spec: &model.RestoreSpec{Name: "back", Point: "old"}, backups: backed, want: snapshots.Restored{Name: "back", Point: "older"}},
		{name: "a named point at an instant", spec: &model.RestoreSpec{Name: "back", Point: "old", To: "2026-05-01T10:00:00Z"}, backups: backed, kind: failure.Invalid, says: "one state"},
		{name: "no such point", spec: &model.RestoreSpec{Name: "back", Point: "gone"}, backups: backed, kind: failure.NotFound, says: "no snapshot in r-home is called gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := k.AskedRestore(t.Context(), c.spec, snapshots.Names{Own: "Shop", Limit: 20}, c.backups)
			if c.says == "" {
				if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
					t.Errorf("%v %s", err, diff)
				}
				return
			}
			if err == nil || failure.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || failure.HintOf(err) == "" {
				t.Errorf("%v (%v, hint %q), want one of %v that says %q", err, failure.KindOf(err), failure.HintOf(err), c.kind, c.says)
			}
		})
	}
}

// TestAskedProof: a proof is of a snapshot that is named, and asks nothing of what it holds.
func TestAskedProof(t *testing.T) {
	k, home, _, _ := world()
	home.put("one", "available", time.Hour, nil)
	if got, err := k.AskedProof(t.Context(), &model.ProveSpec{Point: "on"}); err != nil || got != "one" {
		t.Errorf("%q %v, want one", got, err)
	}
	for want, spec := range map[failure.Kind]*model.ProveSpec{failure.Invalid: nil, failure.Unsupported: {Point: "one", Checks: []string{"rows"}}, failure.NotFound: {Point: "two"}} {
		if _, err := k.AskedProof(t.Context(), spec); err == nil || failure.KindOf(err) != want {
			t.Errorf("%v: %v, want %v", spec, err, want)
		}
	}
	if _, err := k.AskedProof(t.Context(), &model.ProveSpec{Bisect: true}); err == nil || failure.KindOf(err) != failure.Unsupported {
		t.Errorf("a search: %v, want %v", err, failure.Unsupported)
	}
}

// TestDescribeAbsent: where a snapshot could be brought up, the site is healthy, and as far behind as that is old.
func TestDescribeAbsent(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	behind := model.Duration(time.Hour)
	for _, c := range []struct {
		ready []*snapshots.Snapshot
		want  model.Description
	}{
		{nil, model.Description{At: now, Role: model.RoleAbsent, Summary: "no cluster and no snapshot in eu-west-1"}},
		{[]*snapshots.Snapshot{{ID: "b", At: now.Add(-time.Hour)}, {ID: "a", At: now.Add(-2 * time.Hour)}}, model.Description{At: now, Role: model.RoleAbsent, Healthy: true, LagTime: &behind,
			Summary: "no cluster; the newest of 2 snapshots in eu-west-1 is 1h0m0s old",
			Facts:   []model.Fact{{Name: "newest snapshot", Value: "b"}, {Name: "age", Value: "1h0m0s"}, {Name: "snapshots", Value: "2"}}}},
	} {
		got := model.Description{At: now}
		snapshots.DescribeAbsent(&got, "cluster", "eu-west-1", c.ready)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Error(diff)
		}
	}
}
