package rds

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// copiesAtOnce is how many copies to a region AWS makes at once (RDS User Guide, "Copying a DB snapshot", limitations).
const copiesAtOnce = 20

// capture makes a snapshot of the site's instance, with more tags than those of its origin, and waits until it is available.
func (w *work) capture(ctx context.Context, at *place, name string, more map[string]string) (driver.Observation, error) {
	s, err := at.snapshot(ctx, name)
	if err != nil {
		return driver.Observation{}, err
	}
	if s == nil {
		return w.makeSnapshot(ctx, at, name, more)
	}
	if s.tags[awsbase.TagToken] != w.req.Token {
		return failed(failure.New(failure.Exists, "capture", name, "a snapshot of this name is not ours").WithHint("delete or rename it")), nil
	}
	switch status := aws.ToString(s.Status); status {
	case "available":
		seen := done(fact("snapshot", "%s", name), fact("at", "%s", s.at.UTC().Format(time.RFC3339)), fact("region", "%s", at.s.Region()))
		seen.Outputs = map[string]model.Value{"point": driver.Text(name), "at": driver.Time(s.at)}
		return seen, nil
	case "failed":
		return failed(failure.New(failure.Unavailable, "capture", name, "AWS says that the snapshot failed").WithHint("look at the instance's events; the next attempt makes another one")), nil
	default:
		return waiting("snapshot %s is %s, %d %%", name, status, aws.ToInt32(s.PercentProgress)), nil
	}
}

// makeSnapshot begins one once the instance can be backed up.
func (w *work) makeSnapshot(ctx context.Context, at *place, name string, more map[string]string) (driver.Observation, error) {
	i, err := at.instance(ctx, at.set.Instance)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case i == nil:
		return failed(failure.New(failure.NotFound, "capture", at.set.Instance, "there is no such instance in %s", at.s.Region()).WithHint("lifeboat status shows where the app serves")), nil
	case i.status() != "available" && i.status() != "storage-optimization":
		return waiting("instance %s is %s: a snapshot is made once it is available", i.name(), i.status()), nil
	}
	source := i.name()
	_, err = at.api.CreateDBSnapshot(ctx, &sdk.CreateDBSnapshotInput{DBInstanceIdentifier: &source, DBSnapshotIdentifier: &name,
		Tags: tagList(awsbase.OriginOf(w.req).Tags(more))})
	if err != nil {
		return driver.Observation{}, err
	}
	return waiting("snapshot %s is begun", name), nil
}

// newest is the instant of the newest snapshot at the site: later ones are not this step's to copy.
func (w *work) newest(ctx context.Context) (*time.Time, error) {
	list, err := w.here.snapshots(ctx, w.req.Target)
	if err != nil {
		return nil, err
	}
	if ready := available(list); len(ready) > 0 {
		return &ready[0].at, nil
	}
	return nil, nil
}

// copies brings to each other site what its retention keeps, and is done when all of it is available there. A site that does
// not answer holds up none of the others.
func (w *work) copies(ctx context.Context, h handle) (driver.Observation, error) {
	others, err := w.others(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	list, err := w.here.snapshots(ctx, w.req.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	var have []*snapshot
	for _, s := range available(list) {
		if h.Until != nil && !s.at.After(*h.Until) {
			have = append(have, s)
		}
	}
	var evidence []model.Fact
	var phases []string
	var failures []error
	for _, to := range others {
		state, err := w.copyMissing(ctx, to, have)
		switch {
		case err != nil && !busy(err):
			failures = append(failures, failure.Wrap(err, "copy to", string(to.id)))
		case err != nil:
			phases = append(phases, fmt.Sprintf("%s: %v", to.id, err))
		case state != "":
			phases = append(phases, string(to.id)+": "+state)
		default:
			evidence = append(evidence, fact("copies at "+string(to.id), "up to date with %s", w.req.Site))
		}
	}
	switch {
	case len(failures) > 0 && len(phases) == 0:
		return driver.Observation{}, errors.Join(failures...)
	case len(failures) > 0:
		phases = append(phases, oneLine(errors.Join(failures...).Error()))
		fallthrough
	case len(phases) > 0:
		return waiting("%s", strings.Join(phases, "; ")), nil
	}
	return done(evidence...), nil
}

// copyMissing brings the newest snapshot that a site should have and has not under way, one at a time. It says what is waited
// for; nothing when all is there.
func (w *work) copyMissing(ctx context.Context, to *place, have []*snapshot) (string, error) {
	wanted, err := kept(have, w.keepAt(to.id), time.Now())
	if err != nil {
		return "", err
	}
	there, err := to.snapshots(ctx, w.req.Target)
	if err != nil {
		return "", err
	}
	state := map[string]*snapshot{}
	for _, s := range there {
		state[s.id()] = s
	}
	for _, s := range have { // newest first
		if !wanted[s.id()] {
			continue
		}
		phase, err := w.copyOne(ctx, s, to, state[s.id()])
		if err != nil || phase != "" {
			return phase, err
		}
	}
	return "", nil
}

// copyOne brings one snapshot to another site. It says what is waited for; nothing when it is available there.
func (w *work) copyOne(ctx context.Context, s *snapshot, to *place, there *snapshot) (string, error) {
	name := s.id()
	if there != nil {
		switch status := aws.ToString(there.Status); status {
		case "available":
			return "", nil
		case "failed":
			if _, err := to.api.DeleteDBSnapshot(ctx, &sdk.DeleteDBSnapshotInput{DBSnapshotIdentifier: &name}); err != nil && failure.KindOf(err) != failure.NotFound {
				return "", err
			}
			return "the copy of " + name + " failed and is made again", nil
		default:
			return fmt.Sprintf("the copy of %s is %s, %d %%", name, status, aws.ToInt32(there.PercentProgress)), nil
		}
	}
	if n, err := to.copying(ctx); err != nil {
		return "", err
	} else if n >= copiesAtOnce {
		return fmt.Sprintf("%d copies to %s are under way, as many as AWS makes at once", n, to.s.Region()), nil
	}
	in := &sdk.CopyDBSnapshotInput{SourceDBSnapshotIdentifier: s.DBSnapshotArn, TargetDBSnapshotIdentifier: &name, Tags: tagList(copyTags(s))}
	if region := w.regionOf(s); region != to.s.Region() {
		in.SourceRegion = &region
	}
	if aws.ToBool(s.Encrypted) {
		if to.set.KMSKey == "" {
			return "", failure.New(failure.Invalid, "", name, "it is encrypted, and site %s names no key for its copy", to.id).WithHint("set sites.%s.kms_key to a key of %s", to.id, to.s.Region())
		}
		in.KmsKeyId = &to.set.KMSKey
	}
	if to.set.OptionGroup != "" {
		in.OptionGroupName = &to.set.OptionGroup
	}
	if _, err := to.api.CopyDBSnapshot(ctx, in); err != nil {
		return "", err
	}
	return "a copy of " + name + " is begun", nil
}

// regionOf is the region that a snapshot is in.
func (w *work) regionOf(s *snapshot) string {
	_, _, region, _, _, ok := awsbase.SplitARN(s.arn())
	if !ok {
		return w.here.s.Region()
	}
	return region
}

// copyTags are those of a copy: whose it is, but not what a restore of the other one said.
func copyTags(s *snapshot) []awsbase.Tag {
	o, _ := awsbase.ReadOrigin(s.tags)
	return o.Tags(nil)
}

// copying counts the copies from other regions that are under way to the site's, whoever makes them.
func (p *place) copying(ctx context.Context) (int, error) {
	n := 0
	pages := sdk.NewDescribeDBSnapshotsPaginator(p.api, &sdk.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual"), MaxRecords: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, err
		}
		for _, s := range page.DBSnapshots {
			status := aws.ToString(s.Status)
			if aws.ToString(s.SourceRegion) != "" && status != "available" && status != "failed" {
				n++
			}
		}
	}
	return n, nil
}

// expire deletes what the retention of the sites does not keep. Where the app serves, what another site is still to get a copy
// of stays; a site that does not answer may lack all of them.
func (w *work) expire(ctx context.Context) (driver.Observation, error) {
	others, err := w.others(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	home, err := w.here.snapshots(ctx, w.req.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	evidence := []model.Fact{}
	var failures []error
	needed := map[string]bool{}
	for _, at := range others {
		there, err := at.snapshots(ctx, w.req.Target)
		if err == nil {
			var n int
			n, err = w.drop(ctx, at, there, nil)
			evidence = append(evidence, fact("deleted at "+string(at.id), "%d", n))
		}
		if err != nil {
			failures = append(failures, failure.Wrap(err, "expire at", string(at.id)))
		}
		wanted, err := kept(available(home), w.keepAt(at.id), time.Now())
		if err != nil {
			return driver.Observation{}, err
		}
		for _, s := range available(there) {
			delete(wanted, s.id())
		}
		for id := range wanted {
			needed[id] = true
		}
	}
	n, err := w.drop(ctx, w.here, home, needed)
	if err != nil {
		return driver.Observation{}, err
	}
	if len(failures) > 0 {
		return driver.Observation{}, errors.Join(failures...)
	}
	return done(append(evidence, fact("deleted at "+string(w.req.Site), "%d", n), fact("waiting for a copy elsewhere", "%d", len(needed)))...), nil
}

// drop deletes at one site what its policy does not keep: never the newest that can be restored, the newest that a restore has
// proved, what is being made, or what is needed.
func (w *work) drop(ctx context.Context, at *place, list []*snapshot, needed map[string]bool) (int, error) {
	keep := w.keepAt(at.id)
	if keep == nil {
		return 0, nil
	}
	ready := available(list)
	stay, err := kept(ready, keep, time.Now())
	if err != nil {
		return 0, err
	}
	for _, s := range ready {
		if p := s.proof(at.id); p != nil && p.OK {
			stay[s.id()] = true
			break
		}
	}
	n := 0
	for _, s := range list {
		failedCopy := aws.ToString(s.Status) == "failed"
		if !s.available() && !failedCopy || s.old() || stay[s.id()] || needed[s.id()] {
			continue
		}
		name := s.id()
		if _, err := at.api.DeleteDBSnapshot(ctx, &sdk.DeleteDBSnapshotInput{DBSnapshotIdentifier: &name}); err != nil && failure.KindOf(err) != failure.NotFound {
			return n, failure.Wrap(err, "delete snapshot", name)
		}
		n++
	}
	return n, nil
}
