package elasticache

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// store is the snapshots of groups at a site. ElastiCache copies none to another region (User Guide, "Copying backups").
type store struct{ api *sdk.Client }

// kept is the place as one of snapshots.
func (p *place) kept() *snapshots.Site {
	return &snapshots.Site{ID: p.id, Region: p.s.Region(), Store: store{p.api}}
}

// keeper keeps the resource's snapshots at the site of the request, which are nowhere else.
func (w *groupWork) keeper() *snapshots.Keeper {
	return &snapshots.Keeper{Target: w.req.Target, Here: w.here.kept()}
}

// List asks for the tags of those alone whose names Lifeboat may have given: ElastiCache tells no tags in its listing.
func (s store) List(ctx context.Context) ([]*snapshots.Snapshot, error) {
	all, err := awsbase.All(ctx, sdk.NewDescribeSnapshotsPaginator(s.api, &sdk.DescribeSnapshotsInput{SnapshotSource: aws.String("user")}), snapshotsIn)
	if err != nil {
		return nil, err
	}
	var out []*snapshots.Snapshot
	for _, one := range all {
		if !strings.Contains(aws.ToString(one.SnapshotName), "-lb-") {
			continue
		}
		if kept, err := s.tagged(ctx, one); err != nil {
			return nil, err
		} else if kept != nil {
			out = append(out, kept)
		}
	}
	return out, nil
}

func snapshotsIn(out *sdk.DescribeSnapshotsOutput) []types.Snapshot { return out.Snapshots }

// Get asks for one by its name.
func (s store) Get(ctx context.Context, id string) (*snapshots.Snapshot, error) {
	answer, err := s.api.DescribeSnapshots(ctx, &sdk.DescribeSnapshotsInput{SnapshotName: &id})
	one, err := awsbase.One(answer, err, snapshotsIn)
	if err != nil || one == nil {
		return nil, err
	}
	return s.tagged(ctx, *one)
}

// tagged is a snapshot with its tags; nil when it went meanwhile. What it holds is as of the first of its shards.
func (s store) tagged(ctx context.Context, of types.Snapshot) (*snapshots.Snapshot, error) {
	out := &snapshots.Snapshot{
		ID: aws.ToString(of.SnapshotName), ARN: aws.ToString(of.ARN), Status: aws.ToString(of.SnapshotStatus), Encrypted: of.KmsKeyId != nil,
		Of: fmt.Sprintf("%s, %s %s", aws.ToString(of.ReplicationGroupId), aws.ToString(of.Engine), aws.ToString(of.EngineVersion)),
	}
	for _, n := range of.NodeSnapshots {
		if at := aws.ToTime(n.SnapshotCreateTime); !at.IsZero() && (out.At.IsZero() || at.Before(out.At)) {
			out.At = at
		}
	}
	if out.Status == "restoring" { // a group is created of it: it is as whole as before
		out.Status = available
	}
	if out.Available() {
		out.Percent = 100
	}
	answer, err := s.api.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceName: of.ARN})
	if awsbase.Gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out.Tags = awsbase.TagMap(answer.TagList, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
	return out, nil
}

// Copy is what ElastiCache cannot do.
func (s store) Copy(_ context.Context, of *snapshots.Snapshot, _, _ string, _ []awsbase.Tag) error {
	return failure.New(failure.Unsupported, "copy", of.ID, "ElastiCache copies no snapshots to another region")
}

// Delete deletes one.
func (s store) Delete(ctx context.Context, id string) error {
	_, err := s.api.DeleteSnapshot(ctx, &sdk.DeleteSnapshotInput{SnapshotName: &id})
	return err
}

// Tag adds tags to one.
func (s store) Tag(ctx context.Context, arn string, tags []awsbase.Tag) error {
	_, err := s.api.AddTagsToResource(ctx, &sdk.AddTagsToResourceInput{ResourceName: &arn, Tags: tagList(tags)})
	return err
}

// AtOnce is how many copies there can be.
func (s store) AtOnce() int { return 0 }

// tagList makes ElastiCache's tags of ours.
func tagList(tags []awsbase.Tag) []types.Tag {
	return awsbase.TagsAs(tags, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

// KeepsPoints reports whether snapshots are made of r: where a policy asks for them.
func (d *Group) KeepsPoints(r model.Resource) bool { return r.Points != nil }

// Points lists the snapshots at the site that can be restored, newest first.
func (d *Group) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	p, err := d.place(ctx, t, t.Site)
	if err != nil {
		return nil, err
	}
	return (&snapshots.Keeper{Target: t, Here: p.kept()}).Points(ctx)
}

// mine reports whether this step made the thing with the tags, at this attempt or an earlier one.
func (w *groupWork) mine(tags map[string]string) bool {
	o, _ := awsbase.ReadOrigin(tags)
	own := awsbase.OriginOf(w.req)
	return o.Token == own.Token || o == awsbase.Origin{App: own.App, Resource: own.Resource, Run: own.Run, Step: own.Step, Token: o.Token}
}

// capture makes a snapshot of the site's group.
func (w *groupWork) capture(ctx context.Context, h groupHandle) (driver.Observation, error) {
	return snapshots.Capture(ctx, w.here.kept(), h.Name, w.mine, func(ctx context.Context) (driver.Observation, error) {
		c, err := w.here.cache(ctx, w.here.at.Group)
		switch {
		case err != nil:
			return driver.Observation{}, err
		case c == nil:
			return driver.FailedWith(failure.New(failure.NotFound, "capture", w.here.at.Group, "there is no such group in %s", w.here.s.Region()).
				WithHint("lifeboat status %s shows where the app serves", w.req.App)), nil
		case c.status() != available:
			return driver.Waiting("group %s is %s: a snapshot is made once it is available", c.name(), c.status()), nil
		}
		in := &sdk.CreateSnapshotInput{SnapshotName: &h.Name, ReplicationGroupId: &w.here.at.Group, KmsKeyId: awsbase.Optional(w.here.at.KMSKey), Tags: tagList(awsbase.OriginOf(w.req).Tags(nil))}
		if _, err := w.here.api.CreateSnapshot(ctx, in); err != nil {
			return driver.Observation{}, err
		}
		return driver.Waiting("snapshot %s is begun", h.Name), nil
	})
}

// decideRestore finds the snapshot that is asked for, and what its group is called.
func (w *groupWork) decideRestore(ctx context.Context, h *groupHandle) error {
	asked, err := w.keeper().AskedRestore(ctx, w.req.Restore, snapshots.Names{Own: w.here.at.Group, Limit: groupName}, nil)
	h.Name, h.Point = asked.Name, asked.Point
	return w.regional(err)
}

// decideProve finds the snapshot that is to be proved.
func (w *groupWork) decideProve(ctx context.Context, h *groupHandle) (err error) {
	if w.here.at.Drill == nil {
		return noDrill(w)
	}
	h.Name = w.apart("prove", w.req.Token)
	h.Point, err = w.keeper().AskedProof(ctx, w.req.Prove)
	return w.regional(err)
}

// regional says of a snapshot that is not at the site where it may be.
func (w *groupWork) regional(err error) error {
	if !awsbase.Gone(err) {
		return err
	}
	return failure.From(err).WithHint("snapshots of caches are in the region where they were made: lifeboat points %s, and --site", w.req.App)
}

// restore brings a snapshot up under a name of its own, with what the site says.
func (w *groupWork) restore(ctx context.Context, h groupHandle) (driver.Observation, error) {
	s := w.serving()
	s.from = h.Point
	return w.bringUp(ctx, h.Name, s)
}

// bringUp creates a group, once, and waits until it is up.
func (w *groupWork) bringUp(ctx context.Context, name string, s size) (driver.Observation, error) {
	c, err := w.here.cache(ctx, name)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case c == nil:
		return w.create(ctx, name, s)
	case !w.mine(c.tags):
		return driver.FailedWith(failure.New(failure.Exists, string(w.req.Action), name, "a group of this name is there, and this step did not make it").WithHint("choose another name, or delete it")), nil
	}
	if seen, wait := coming(c); wait {
		return seen, nil
	}
	return serves(c), nil
}

// prove restores a snapshot apart, writes down what came of it, and deletes the group.
func (w *groupWork) prove(ctx context.Context, h groupHandle) (driver.Observation, error) {
	at := w.here.kept()
	s, err := at.Store.Get(ctx, h.Point)
	if err != nil {
		return driver.Observation{}, err
	}
	if s == nil {
		return driver.FailedWith(failure.New(failure.NotFound, "prove", h.Point, "the snapshot is gone").WithHint("prove another one")), nil
	}
	return snapshots.Prove(ctx, w.req, w.req.Token, at, s, snapshots.Trial{
		Up: func(ctx context.Context) (seen driver.Observation, began time.Time, bad string, err error) {
			small := w.small()
			small.from = h.Point
			seen, err = w.bringUp(ctx, h.Name, small)
			if err != nil || seen.State == driver.Pending {
				return seen, began, "", err
			}
			c, err := w.here.cache(ctx, h.Name)
			if err != nil || c == nil {
				return driver.Waiting("group %s is not to be seen", h.Name), began, "", err
			}
			if c.status() == createFailed && w.mine(c.tags) {
				bad = "its restore ended as " + createFailed
			}
			return seen, c.when(tagMade), bad, nil
		},
		Remove: func(ctx context.Context) (string, error) { return w.removed(ctx, h.Name, w.req.Token) },
	})
}
