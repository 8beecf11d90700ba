package snapshots_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// store is a region's snapshots in memory.
type store struct {
	region string
	have   map[string]*snapshots.Snapshot
	down   error
}

func (s *store) List(context.Context) ([]*snapshots.Snapshot, error) {
	return slices.Collect(maps.Values(s.have)), s.down
}
func (s *store) Get(_ context.Context, id string) (*snapshots.Snapshot, error) {
	return s.have[id], s.down
}
func (s *store) Copy(_ context.Context, of *snapshots.Snapshot, region, key string, tags []awsbase.Tag) error {
	c := *of
	c.Status, c.From, c.Tags = "copying", region, map[string]string{"key": key}
	for _, t := range tags {
		c.Tags[t.Key] = t.Value
	}
	s.have[of.ID] = &c
	return s.down
}
func (s *store) Delete(_ context.Context, id string) error {
	delete(s.have, id)
	return s.down
}
func (s *store) Tag(_ context.Context, arn string, tags []awsbase.Tag) error {
	for _, one := range s.have {
		for _, t := range tags {
			if one.ARN == arn {
				one.Tags[t.Key] = t.Value
			}
		}
	}
	return s.down
}
func (s *store) AtOnce() int { return 2 }

var origin = awsbase.Origin{App: "shop", Resource: "db"}

// put adds a snapshot of the resource that is so old.
func (s *store) put(id, status string, age time.Duration, more map[string]string) *snapshots.Snapshot {
	tags := map[string]string{}
	for _, t := range origin.Tags(more) {
		tags[t.Key] = t.Value
	}
	s.have[id] = &snapshots.Snapshot{ID: id, ARN: awsbase.ARN("aws", "rds", s.region, "1", "snapshot:"+id), Status: status, At: time.Now().Add(-age), Tags: tags}
	return s.have[id]
}

// world is a resource at home and at two other sites, each of which keeps one copy.
func world() (k *snapshots.Keeper, home, near, far *store) {
	stores := map[model.SiteID]*store{}
	at := func(id model.SiteID) *snapshots.Site {
		stores[id] = &store{region: "r-" + string(id), have: map[string]*snapshots.Snapshot{}}
		return &snapshots.Site{ID: id, Region: stores[id].region, Key: "key-" + string(id), Store: stores[id]}
	}
	k = &snapshots.Keeper{Here: at("home"), Others: []*snapshots.Site{at("near"), at("far")}, Copies: &snapshots.Copies{Keep: &model.Retention{Last: 1}}}
	k.Target = driver.Target{App: "shop", Resource: model.Resource{ID: "db", Points: &model.PointPolicy{Keep: &model.Retention{Last: 2}}}}
	return k, stores["home"], stores["near"], stores["far"]
}

func ids(s *store) []string { return slices.Sorted(maps.Keys(s.have)) }

func wants(t *testing.T, what string, s *store, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, ids(s)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestCopyBringsTheNewestFirst(t *testing.T) {
	k, home, near, far := world()
	home.put("old", "available", 3*time.Hour, nil)
	newest := home.put("newest", "available", time.Hour, map[string]string{snapshots.TagProvedOK: "true", awsbase.TagToken: "t"})
	newest.Encrypted = true
	home.put("later", "available", 0, nil)
	home.put("made", "creating", 0, nil)
	far.put("newest", "failed", time.Hour, nil)
	seen, err := k.Copy(t.Context(), &newest.At)
	if err != nil || seen.State != driver.Pending {
		t.Fatalf("it is %s: %v", seen.State, err)
	}
	wants(t, "near", near, "newest")
	wants(t, "far, where the copy had failed", far)
	tags := map[string]string{awsbase.TagApp: "shop", awsbase.TagResource: "db", awsbase.TagToken: "t", snapshots.TagAt: newest.At.UTC().Format(time.RFC3339Nano), "key": "key-near"}
	if diff := cmp.Diff(tags, near.have["newest"].Tags); diff != "" {
		t.Errorf("the copy's tags (-want +got):\n%s", diff)
	}
	if seen, err = k.Copy(t.Context(), &newest.At); err != nil || seen.State != driver.Pending || !strings.Contains(seen.Phase, "far: a copy of newest is begun") {
		t.Errorf("then it is %s %q: %v", seen.State, seen.Phase, err)
	}
	near.have["newest"].Status, far.have["newest"].Status = "available", "available"
	if seen, err = k.Copy(t.Context(), &newest.At); err != nil || seen.State != driver.Done {
		t.Errorf("in the end it is %s %q: %v", seen.State, seen.Phase, err)
	}
	if seen, err = k.Copy(t.Context(), nil); err != nil || seen.State != driver.Done {
		t.Errorf("of nothing it is %s: %v", seen.State, err)
	}
}

func TestCopyWaitsForItsTurn(t *testing.T) {
	k, home, near, _ := world()
	k.Others = k.Others[:1]
	newest := home.put("newest", "available", 0, nil)
	for n := range 2 {
		near.have[fmt.Sprint("other", n)] = &snapshots.Snapshot{ID: fmt.Sprint("other", n), Status: "copying", From: "elsewhere"}
	}
	seen, err := k.Copy(t.Context(), &newest.At)
	if err != nil || seen.State != driver.Pending || !strings.Contains(seen.Phase, "2 copies to r-near are under way") || near.have["newest"] != nil {
		t.Errorf("it is %s %q: %v", seen.State, seen.Phase, err)
	}
}

func TestCopyWithoutAKey(t *testing.T) {
	k, home, near, far := world()
	newest := home.put("newest", "available", 0, nil)
	newest.Encrypted, k.Others[0].Key = true, ""
	if _, err := k.Copy(t.Context(), &newest.At); err != nil {
		t.Errorf("one site that lacks a key holds the other one up: %v", err)
	}
	wants(t, "near", near)
	wants(t, "far", far, "newest")
	far.have["newest"].Status = "available"
	if _, err := k.Copy(t.Context(), &newest.At); err == nil || failure.KindOf(err) != failure.Invalid {
		t.Errorf("in the end it says %v, want what is wrong with the settings", err)
	}
}

func TestExpireDeletesNothingThatIsNeeded(t *testing.T) {
	k, home, near, far := world()
	home.put("last-of-the-old", "available", 0, map[string]string{snapshots.TagOld: "true"})
	home.put("drill", "available", 0, map[string]string{snapshots.TagPassing: "drill"})
	home.put("made", "creating", 0, nil)
	for n := range 5 {
		home.put(fmt.Sprint("p", n), "available", time.Duration(n+1)*time.Hour, nil)
	}
	home.put("proved", "available", 9*time.Hour, map[string]string{snapshots.TagProvedAt: time.Now().Format(time.RFC3339), snapshots.TagProvedOK: "true"})
	home.put("broken", "failed", 9*time.Hour, nil)
	home.have["foreign"] = &snapshots.Snapshot{ID: "foreign", Status: "available"}
	near.put("p4", "available", 5*time.Hour, nil)
	near.put("p3", "available", 4*time.Hour, nil)
	seen, err := k.Expire(t.Context())
	if err != nil || seen.State != driver.Done {
		t.Fatalf("it is %s: %v", seen.State, err)
	}
	wants(t, "home", home, "drill", "foreign", "last-of-the-old", "made", "p0", "p1", "proved")
	wants(t, "near", near, "p3")

	// What a site that does not answer may lack stays.
	home.put("p0", "available", 10*time.Hour, nil)
	k.Copies.Keep.Last = 3
	far.down = failure.New(failure.Unavailable, "", "", "nobody answers")
	if _, err := k.Expire(t.Context()); err == nil || failure.KindOf(err) != failure.Unavailable {
		t.Errorf("a site that does not answer goes without a word: %v", err)
	}
	wants(t, "home", home, "drill", "foreign", "last-of-the-old", "made", "p0", "p1", "proved")
}

func TestNamed(t *testing.T) {
	k, home, _, _ := world()
	if _, err := k.Named(t.Context(), ""); err == nil || failure.KindOf(err) != failure.NotFound {
		t.Errorf("of none: %v", err)
	}
	home.put("point-a", "available", 2*time.Hour, nil)
	home.put("point-b", "available", time.Hour, nil)
	home.put("old", "available", 0, map[string]string{snapshots.TagOld: "true"})
	home.put("point-c", "creating", 0, nil)
	for id, want := range map[string]string{"": "point-b", "point-a": "point-a", "ol": "old"} {
		if got, err := k.Named(t.Context(), id); err != nil || got != want {
			t.Errorf("%q is %s %v, want %s", id, got, err, want)
		}
	}
	for id, want := range map[string]failure.Kind{"point": failure.Invalid, "point-c": failure.NotFound, "x": failure.NotFound} {
		if _, err := k.Named(t.Context(), id); err == nil || failure.KindOf(err) != want {
			t.Errorf("%q: %v, want %s", id, err, want)
		}
	}
}

func TestProve(t *testing.T) {
	k, home, _, _ := world()
	s := home.put("p", "available", time.Hour, nil)
	up, gone := driver.Waiting("comes up"), "is removed"
	bad := ""
	trial := snapshots.Trial{
		Up: func(context.Context) (driver.Observation, time.Time, string, error) {
			return up, time.Now().Add(-5 * time.Minute), bad, nil
		},
		Remove: func(context.Context) (string, error) { return gone, nil },
	}
	step := func(token string) driver.Observation {
		t.Helper()
		seen, err := snapshots.Prove(t.Context(), driver.Request{Run: "r1"}, token, k.Here, s, trial)
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	proof := func() *model.Proof {
		points, err := k.Points(t.Context())
		if err != nil || len(points) != 1 {
			t.Fatalf("points: %+v %v", points, err)
		}
		return points[0].Proof
	}
	if seen := step("one"); seen.State != driver.Pending || proof() != nil {
		t.Errorf("while it comes up it is %s, proof %+v", seen.State, proof())
	}
	up = driver.FailedWith(errors.New("no room"))
	if seen := step("one"); seen.State != driver.Failed || proof() != nil {
		t.Errorf("a failure that says nothing of the snapshot is %s, proof %+v", seen.State, proof())
	}
	bad = "it is damaged"
	if seen := step("one"); seen.State != driver.Pending || proof().OK || proof().What != bad || proof().Took.Std() != 5*time.Minute {
		t.Errorf("a bad one is %s, proof %+v", seen.State, proof())
	}
	up, bad = driver.Succeeded(), ""
	if seen := step("one"); seen.State != driver.Pending || seen.Phase != gone {
		t.Errorf("what is judged is judged again: %s %q", seen.State, seen.Phase)
	}
	gone = ""
	if seen := step("one"); seen.State != driver.Failed || seen.Err.Kind != failure.Corrupt {
		t.Errorf("the verdict is %s %v", seen.State, seen.Err)
	}
	step("two")
	if seen := step("two"); seen.State != driver.Done || !proof().OK || proof().By != "r1" {
		t.Errorf("the second verdict is %s, proof %+v", seen.State, proof())
	}
}
