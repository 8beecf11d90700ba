package rds

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	vaultsnapshot "github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The tags that say what a real restore of a snapshot came to.
const (
	tagProvedAt    = "lifeboat:proved-at"
	tagProvedBy    = "lifeboat:proved-by"
	tagProvedOK    = "lifeboat:proved-ok"
	tagProvedTook  = "lifeboat:proved-took"
	tagProvedWhat  = "lifeboat:proved-what"
	tagProvedToken = "lifeboat:proved-token"
)

// tagOld is on the last snapshot of an instance that made way for a failback. It holds what was written there and never reached
// the site that served on, and is younger than points that hold more of what was written since: so no move takes it for the
// newest, and no retention deletes it. People can restore it by its name.
const tagOld = "lifeboat:old-instance"

// snapshot is one of the resource's, at one site.
type snapshot struct {
	types.DBSnapshot
	at   time.Time // the instant whose state it holds, the same for all its copies
	tags map[string]string
}

func (s *snapshot) id() string  { return aws.ToString(s.DBSnapshotIdentifier) }
func (s *snapshot) arn() string { return aws.ToString(s.DBSnapshotArn) }

func (s *snapshot) available() bool { return aws.ToString(s.Status) == "available" }

// old reports whether it is the last one of an instance that made way.
func (s *snapshot) old() bool { return s.tags[tagOld] != "" }

// proof is what the last real restore of it said.
func (s *snapshot) proof(site model.SiteID) *model.Proof {
	at, err := time.Parse(time.RFC3339, s.tags[tagProvedAt])
	if err != nil {
		return nil
	}
	took, _ := time.ParseDuration(s.tags[tagProvedTook]) // unreadable: not known
	return &model.Proof{OK: s.tags[tagProvedOK] == "true", At: at, By: model.RunID(s.tags[tagProvedBy]), Site: site, Took: model.Duration(took), What: s.tags[tagProvedWhat]}
}

func snapshotOf(of types.DBSnapshot) *snapshot {
	s := &snapshot{DBSnapshot: of, tags: tagMap(of.TagList)}
	for _, at := range []*time.Time{of.OriginalSnapshotCreateTime, of.SnapshotCreateTime} {
		if at != nil {
			s.at = *at
			break
		}
	}
	return s
}

// snapshots lists the resource's own at a site, newest first; those that are being made have no instant yet and come first.
func (p *place) snapshots(ctx context.Context, t driver.Target) ([]*snapshot, error) {
	var out []*snapshot
	pages := sdk.NewDescribeDBSnapshotsPaginator(p.api, &sdk.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual"), MaxRecords: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.DBSnapshots {
			s := snapshotOf(one)
			if o, ok := awsbase.ReadOrigin(s.tags); ok && o.App == string(t.App) && o.Resource == string(t.Resource.ID) {
				out = append(out, s)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *snapshot) int {
		if a.at.IsZero() != b.at.IsZero() {
			if a.at.IsZero() {
				return -1
			}
			return 1
		}
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return strings.Compare(b.id(), a.id())
	})
	return out, nil
}

// snapshot looks for one by its name; nil when there is none.
func (p *place) snapshot(ctx context.Context, name string) (*snapshot, error) {
	answer, err := p.api.DescribeDBSnapshots(ctx, &sdk.DescribeDBSnapshotsInput{DBSnapshotIdentifier: &name})
	if failure.Classified(err) && failure.KindOf(err) == failure.NotFound || err == nil && len(answer.DBSnapshots) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return snapshotOf(answer.DBSnapshots[0]), nil
}

// available are those that can be restored and go on where the app stopped, newest first.
func available(list []*snapshot) []*snapshot {
	return slices.DeleteFunc(restorable(list), (*snapshot).old)
}

// restorable are those that can be restored, newest first.
func restorable(list []*snapshot) []*snapshot {
	return slices.DeleteFunc(slices.Clone(list), func(s *snapshot) bool { return !s.available() })
}

// kept are those of a list, newest first, that a policy keeps. The newest always stays; without a policy all do.
func kept(list []*snapshot, keep *model.Retention, now time.Time) (map[string]bool, error) {
	out := map[string]bool{}
	if keep == nil {
		for _, s := range list {
			out[s.id()] = true
		}
		return out, nil
	}
	policy, err := retention.Parse(*keep)
	if err != nil {
		return nil, err
	}
	by := map[*vaultsnapshot.Snapshot]string{}
	var group []*vaultsnapshot.Snapshot
	for _, s := range list {
		v := &vaultsnapshot.Snapshot{Time: s.at}
		by[v] = s.id()
		group = append(group, v)
	}
	for n, decided := range policy.Apply(group, now, retention.Restic) {
		if decided.Keep || n == 0 {
			out[by[decided.Snapshot]] = true
		}
	}
	return out, nil
}

// keepAt is the policy of a site: what protect says where the app serves, and copies.keep elsewhere.
func (w *work) keepAt(id model.SiteID) *model.Retention {
	if id != w.req.Site && w.set.Copies != nil {
		return w.set.Copies.Keep
	}
	if w.req.Resource.Points == nil {
		return nil
	}
	return w.req.Resource.Points.Keep
}

// Points lists the snapshots at the site that can be restored, newest first.
func (d *Driver) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	p, _, err := d.place(ctx, t, t.Site)
	if err != nil {
		return nil, err
	}
	list, err := p.snapshots(ctx, t)
	if err != nil {
		return nil, failure.Wrap(err, "list points", string(t.Resource.ID)+" at "+string(t.Site))
	}
	out := []model.Point{}
	for _, s := range restorable(list) {
		point := model.Point{
			ID: s.id(), Resource: t.Resource.ID, Site: t.Site, At: s.at, Proof: s.proof(t.Site), Bytes: int64(aws.ToInt32(s.AllocatedStorage)) << 30,
			Summary: fmt.Sprintf("snapshot of %s, %s %s", aws.ToString(s.DBInstanceIdentifier), aws.ToString(s.Engine), aws.ToString(s.EngineVersion)),
		}
		if from := aws.ToString(s.SourceRegion); from != "" {
			point.Summary = "copy from " + from + " of a " + point.Summary
		}
		if s.old() {
			point.Summary = "last " + point.Summary + " before it made way for a failback; stays until you delete it"
		}
		if point.Proof != nil && point.Proof.OK {
			point.ProvedAt, point.ProvedBy = &point.Proof.At, point.Proof.By
		}
		out = append(out, point)
	}
	return out, nil
}
