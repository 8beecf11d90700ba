package aurora

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
)

// copiesAtOnce is how many copies of cluster snapshots to a region AWS makes at once (Aurora User Guide, "DB cluster snapshot
// copying", limitations).
const copiesAtOnce = 5

// store is the snapshots of clusters at a site.
type store struct {
	session *awsbase.Session
	api     *rds.Client
}

func (p *place) store() store { return store{p.session, p.rds} }

// kept is the place as one of snapshots.
func (p *place) kept() *snapshots.Site {
	return &snapshots.Site{ID: p.id, Region: p.session.Region(), Key: p.at.key(), Store: p.store()}
}

func (s store) of(one types.DBClusterSnapshot) *snapshots.Snapshot {
	out := &snapshots.Snapshot{
		ID: aws.ToString(one.DBClusterSnapshotIdentifier), ARN: aws.ToString(one.DBClusterSnapshotArn), Status: aws.ToString(one.Status), Percent: aws.ToInt32(one.PercentProgress),
		Encrypted: aws.ToBool(one.StorageEncrypted), Tags: tagMap(one.TagList),
		Of: fmt.Sprintf("%s, %s %s", aws.ToString(one.DBClusterIdentifier), aws.ToString(one.Engine), aws.ToString(one.EngineVersion)),
	}
	if _, _, region, _, _, ok := awsbase.SplitARN(aws.ToString(one.SourceDBClusterSnapshotArn)); ok && region != s.api.Options().Region {
		out.From = region
	}
	if gib := aws.ToInt32(one.AllocatedStorage); gib > 1 { // Aurora says 1 where it does not count
		out.Bytes = int64(gib) << 30
	}
	// The time that AWS says of a copy is the copy's own.
	if at, err := time.Parse(time.RFC3339, out.Tags[snapshots.TagAt]); err == nil {
		out.At = at
	} else if one.SnapshotCreateTime != nil {
		out.At = *one.SnapshotCreateTime
	}
	return out
}

// List is the answer of one listing for all who ask.
func (s store) List(ctx context.Context) ([]*snapshots.Snapshot, error) {
	all, _, err := awsbase.PollerOf(s.session, "aurora.snapshots", listSnapshots).Get(ctx, everything)
	var out []*snapshots.Snapshot
	for _, one := range all {
		out = append(out, s.of(one))
	}
	return out, err
}

// everything is what listings are asked for that hold all there is.
const everything = "*"

func listSnapshots(ctx context.Context, s *awsbase.Session, _ []string) (map[string][]types.DBClusterSnapshot, error) {
	client := rds.NewFromConfig(s.Config("rds"))
	all, err := awsbase.All(ctx, rds.NewDescribeDBClusterSnapshotsPaginator(client, &rds.DescribeDBClusterSnapshotsInput{SnapshotType: aws.String("manual"), MaxRecords: aws.Int32(100)}), snapshotsIn)
	return map[string][]types.DBClusterSnapshot{everything: all}, err
}

func snapshotsIn(out *rds.DescribeDBClusterSnapshotsOutput) []types.DBClusterSnapshot {
	return out.DBClusterSnapshots
}

func (s store) Get(ctx context.Context, id string) (*snapshots.Snapshot, error) {
	one, err := s.describe(ctx, id)
	if err != nil || one == nil {
		return nil, err
	}
	return s.of(*one), nil
}

// describe asks for one by name; nil: there is none.
func (s store) describe(ctx context.Context, id string) (*types.DBClusterSnapshot, error) {
	out, err := s.api.DescribeDBClusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{DBClusterSnapshotIdentifier: &id})
	return awsbase.One(out, err, snapshotsIn)
}

func (s store) Copy(ctx context.Context, of *snapshots.Snapshot, region, key string, tags []awsbase.Tag) error {
	in := &rds.CopyDBClusterSnapshotInput{SourceDBClusterSnapshotIdentifier: &of.ARN, TargetDBClusterSnapshotIdentifier: &of.ID, KmsKeyId: awsbase.Optional(key), Tags: tagList(tags)}
	if region != s.api.Options().Region {
		in.SourceRegion = &region
	}
	_, err := s.api.CopyDBClusterSnapshot(ctx, in)
	return err
}

func (s store) Delete(ctx context.Context, id string) error {
	_, err := s.api.DeleteDBClusterSnapshot(ctx, &rds.DeleteDBClusterSnapshotInput{DBClusterSnapshotIdentifier: &id})
	return err
}

func (s store) Tag(ctx context.Context, arn string, tags []awsbase.Tag) error {
	_, err := s.api.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: &arn, Tags: tagList(tags)})
	return err
}

func (s store) AtOnce() int { return copiesAtOnce }

func tagList(tags []awsbase.Tag) []types.Tag {
	return awsbase.TagsAs(tags, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

func tagMap(tags []types.Tag) map[string]string {
	return awsbase.TagMap(tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
}
