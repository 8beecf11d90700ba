package rds

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// copiesAtOnce is how many copies to a region AWS makes at once (RDS User Guide, "Copying a DB snapshot", limitations).
const copiesAtOnce = 20

// store is the snapshots of instances at a site.
type store struct {
	session *awsbase.Session
	api     *sdk.Client
	option  string // the option group of copies
}

func (p *place) store() store { return store{p.s, p.api, p.set.OptionGroup} }

// kept is the place as one of snapshots.
func (p *place) kept() *snapshots.Site {
	return &snapshots.Site{ID: p.id, Region: p.s.Region(), Key: p.set.KMSKey, Store: p.store()}
}

func snapshotOf(of types.DBSnapshot) *snapshots.Snapshot {
	s := &snapshots.Snapshot{
		ID: aws.ToString(of.DBSnapshotIdentifier), ARN: aws.ToString(of.DBSnapshotArn), Status: aws.ToString(of.Status), Percent: aws.ToInt32(of.PercentProgress),
		Encrypted: aws.ToBool(of.Encrypted), From: aws.ToString(of.SourceRegion), Bytes: int64(aws.ToInt32(of.AllocatedStorage)) << 30, Tags: tagMap(of.TagList),
		Of: fmt.Sprintf("%s, %s %s", aws.ToString(of.DBInstanceIdentifier), aws.ToString(of.Engine), aws.ToString(of.EngineVersion)),
	}
	for _, at := range []*time.Time{of.OriginalSnapshotCreateTime, of.SnapshotCreateTime} {
		if at != nil {
			s.At = *at
			break
		}
	}
	return s
}

// List is the answer of one listing for all who ask.
func (s store) List(ctx context.Context) ([]*snapshots.Snapshot, error) {
	all, _, err := awsbase.PollerOf(s.session, "rds.snapshots", listAll).Get(ctx, everything)
	var out []*snapshots.Snapshot
	for _, one := range all {
		out = append(out, snapshotOf(one))
	}
	return out, err
}

// everything is what listings are asked for that hold all there is.
const everything = "*"

func listAll(ctx context.Context, s *awsbase.Session, _ []string) (map[string][]types.DBSnapshot, error) {
	client := sdk.NewFromConfig(s.Config("rds"))
	all, err := awsbase.All(ctx, sdk.NewDescribeDBSnapshotsPaginator(client, &sdk.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual"), MaxRecords: aws.Int32(100)}), snapshotsIn)
	return map[string][]types.DBSnapshot{everything: all}, err
}

func snapshotsIn(out *sdk.DescribeDBSnapshotsOutput) []types.DBSnapshot { return out.DBSnapshots }

// listSnapshots is the listing of the poller that all who wait share.
func listSnapshots(ctx context.Context, s *awsbase.Session, ids []string) (map[string]types.DBSnapshot, error) {
	api := sdk.NewFromConfig(s.Config("rds"))
	out := map[string]types.DBSnapshot{}
	for chunk := range slices.Chunk(ids, filterMax) {
		some, err := awsbase.All(ctx, sdk.NewDescribeDBSnapshotsPaginator(api, &sdk.DescribeDBSnapshotsInput{
			Filters: []types.Filter{{Name: aws.String("db-snapshot-id"), Values: chunk}}, SnapshotType: aws.String("manual"), MaxRecords: aws.Int32(100)}), snapshotsIn)
		if err != nil {
			return nil, err
		}
		for _, one := range some {
			out[aws.ToString(one.DBSnapshotIdentifier)] = one
		}
	}
	return out, nil
}

// Get looks at a snapshot among those that others look at. What that listing does not have is asked for by name, as listings lag
// behind.
func (s store) Get(ctx context.Context, id string) (*snapshots.Snapshot, error) {
	one, found, err := awsbase.PollerOf(s.session, "rds.snapshot", listSnapshots).Get(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case found:
		return snapshotOf(one), nil
	}
	return s.named(ctx, id)
}

// named asks for one snapshot alone: what it says is true now.
func (s store) named(ctx context.Context, id string) (*snapshots.Snapshot, error) {
	answer, err := s.api.DescribeDBSnapshots(ctx, &sdk.DescribeDBSnapshotsInput{DBSnapshotIdentifier: &id})
	one, err := awsbase.One(answer, err, snapshotsIn)
	if err != nil || one == nil {
		return nil, err
	}
	return snapshotOf(*one), nil
}

func (s store) Copy(ctx context.Context, of *snapshots.Snapshot, region, key string, tags []awsbase.Tag) error {
	in := &sdk.CopyDBSnapshotInput{SourceDBSnapshotIdentifier: &of.ARN, TargetDBSnapshotIdentifier: &of.ID, KmsKeyId: some(key), OptionGroupName: some(s.option), Tags: tagList(tags)}
	if region != s.api.Options().Region {
		in.SourceRegion = &region
	}
	_, err := s.api.CopyDBSnapshot(ctx, in)
	return err
}

func (s store) Delete(ctx context.Context, id string) error {
	_, err := s.api.DeleteDBSnapshot(ctx, &sdk.DeleteDBSnapshotInput{DBSnapshotIdentifier: &id})
	return err
}

func (s store) Tag(ctx context.Context, arn string, tags []awsbase.Tag) error {
	_, err := s.api.AddTagsToResource(ctx, &sdk.AddTagsToResourceInput{ResourceName: &arn, Tags: tagList(tags)})
	return err
}

func (s store) AtOnce() int { return copiesAtOnce }

// keeper keeps the snapshots of the work's resource.
func (w *work) keeper(others ...*place) *snapshots.Keeper {
	k := &snapshots.Keeper{Target: w.req.Target, Here: w.here.kept(), Copies: w.set.Copies}
	for _, o := range others {
		k.Others = append(k.Others, o.kept())
	}
	return k
}

// Points lists the snapshots at the site that can be restored, newest first.
func (d *Driver) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	w, err := d.work(ctx, driver.Request{Target: t})
	if err != nil {
		return nil, err
	}
	list, err := w.keeper().Points(ctx)
	return list, failure.Wrap(err, "list points", w.subject())
}
