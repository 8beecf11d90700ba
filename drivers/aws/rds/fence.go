package rds

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// The tags of an instance that is fenced: the run that did it, the groups that it was in, whether it has been rebooted since, and an
// instant at which that was over.
const (
	tagFenceRun      = "lifeboat:fence-run"
	tagFenceBefore   = "lifeboat:fence-before"
	tagFenceRebooted = "lifeboat:fence-rebooted"
	tagFencedAt      = "lifeboat:fenced-at"
)

func noFence(w *work) error {
	return failure.New(failure.Invalid, "", w.subject(), "nothing says how the instance is fenced").
		WithHint("set sites.%s.fence: {security_groups: [a group that lets nobody in]}", w.req.Site)
}

// unproven is the answer of a fence that cannot know.
func unproven(w *work, cause error, format string, args ...any) error {
	return driver.Unproven(cause, w.subject(), "make sure by other means that the old instance takes no writes and stays so", format, args...)
}

// fence shuts everybody out of the instance: it is put into groups that let nobody in, and rebooted, since sessions that are
// open outlive a change of groups.
func (w *work) fence(ctx context.Context) (driver.Observation, error) {
	at := w.here
	if at.set.Fence == nil {
		return driver.Observation{}, noFence(w)
	}
	i, err := at.instance(ctx, at.set.Instance)
	if err != nil && ctx.Err() == nil && failure.KindOf(err) == failure.Unavailable {
		return driver.Observation{}, unproven(w, err, "%s does not answer", at.s.Name())
	}
	switch {
	case err != nil:
		return driver.Observation{}, err
	case i == nil:
		return driver.Succeeded(driver.Fact("fence", "there is no instance %s in %s", at.set.Instance, at.s.Region())), nil
	case i.replica():
		return driver.Succeeded(driver.Fact("fence", "instance %s is a replica of %s and takes no writes", i.name(), aws.ToString(i.ReadReplicaSourceDBInstanceIdentifier))), nil
	case i.means() == dbstate.Leaving:
		return driver.Waiting("instance %s is being deleted", i.name()), nil
	case i.status() == "stopped" && !i.fenced(at.set):
		return driver.Observation{}, unproven(w, nil, "instance %s is stopped, and AWS starts it again by itself within seven days, open to its clients", i.name())
	case i.broken() && !i.rebooted(at.set):
		return driver.Observation{}, unproven(w, nil, "instance %s is %s: AWS takes no change of it in that state", i.name(), i.status())
	case i.rebooted(at.set):
		if i.status() == "rebooting" || i.status() == "modifying" {
			return driver.Waiting("instance %s is %s: open sessions end", i.name(), i.status()), nil
		}
		return driver.Succeeded(driver.Fact("fence", "instance %s is only in %s, and was rebooted since", i.name(), strings.Join(i.groups(), ", ")), driver.Fact("status", "%s", i.status())), nil
	case i.fenced(at.set):
		return w.endSessions(ctx, i)
	case !i.settled():
		return driver.Waiting("the security groups of instance %s are being changed", i.name()), nil
	}
	return w.shutIn(ctx, i)
}

// rebooted reports whether it is in the fence's groups only, and was rebooted there.
func (i *instance) rebooted(at Site) bool {
	return i.fenced(at) && i.settled() && i.tags[tagFenceRebooted] == "true"
}

// shutIn puts the instance into the fence's groups.
func (w *work) shutIn(ctx context.Context, i *instance) (driver.Observation, error) {
	if !i.ready() {
		return driver.Waiting("instance %s is %s: it can be fenced once it is available", i.name(), i.status()), nil
	}
	before, ok := awsbase.OneTag(i.groups())
	if !ok {
		if before = ""; len(w.here.set.SecurityGroups) == 0 {
			return driver.FailedWith(failure.New(failure.Invalid, "fence", w.subject(), "instance %s is in %d security groups, more than a tag can note", i.name(), len(i.groups())).
				WithHint("set sites.%s.security_groups: those that it is put back into", w.req.Site)), nil
		}
	}
	err := w.here.tag(ctx, i.arn(), map[string]string{tagFenceRun: string(w.req.Run), tagFenceBefore: before, tagFenceRebooted: "false", tagFencedAt: ""})
	if err != nil {
		return driver.Observation{}, err
	}
	name := i.name()
	_, err = w.here.api.ModifyDBInstance(ctx, &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: &name, VpcSecurityGroupIds: w.here.set.Fence.SecurityGroups, ApplyImmediately: aws.Bool(true)})
	if err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("instance %s is put into %s", name, strings.Join(w.here.set.Fence.SecurityGroups, ", ")), nil
}

// endSessions reboots the instance once it is in the fence's groups.
func (w *work) endSessions(ctx context.Context, i *instance) (driver.Observation, error) {
	if !i.ready() || !i.settled() {
		return driver.Waiting("instance %s is %s: it is rebooted once it is in its new groups", i.name(), i.status()), nil
	}
	name := i.name()
	if _, err := w.here.api.RebootDBInstance(ctx, &sdk.RebootDBInstanceInput{DBInstanceIdentifier: &name}); err != nil {
		return driver.Observation{}, err
	}
	if err := w.here.tag(ctx, i.arn(), map[string]string{tagFenceRebooted: "true", tagFenceRun: string(w.req.Run)}); err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("instance %s is rebooted: open sessions end", name), nil
}

// fencedIt reports whether this run fenced the instance. What is only previewed is no run.
func (w *work) fencedIt(i *instance) bool {
	return w.req.Run != "" && i.tags[tagFenceRun] == string(w.req.Run)
}

// unfence lets the instance serve again in the groups that it was in.
func (w *work) unfence(ctx context.Context, i *instance) (driver.Observation, error) {
	if !i.ready() || !i.settled() {
		return driver.Waiting("instance %s is %s: it is let out once it is available", i.name(), i.status()), nil
	}
	groups := w.here.set.SecurityGroups
	if before := strings.Fields(i.tags[tagFenceBefore]); len(before) > 0 {
		groups = before
	}
	if len(groups) == 0 {
		return driver.FailedWith(failure.New(failure.Invalid, "promote", i.name(), "nothing says which security groups it serves in").
			WithHint("set sites.%s.security_groups", w.req.Site)), nil
	}
	if err := w.here.tag(ctx, i.arn(), map[string]string{tagPromoted: string(w.req.Run), tagFenceRebooted: "false", tagFencedAt: "", tagAsked: ""}); err != nil {
		return driver.Observation{}, err
	}
	name := i.name()
	_, err := w.here.api.ModifyDBInstance(ctx, &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: &name, VpcSecurityGroupIds: slices.Clone(groups), ApplyImmediately: aws.Bool(true)})
	if err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("instance %s is put back into %s", name, strings.Join(groups, ", ")), nil
}

// quiesce fences the instance, and brings what it holds then to the peer, by the replica there or a snapshot: nothing is lost by
// the move.
func (w *work) quiesce(ctx context.Context) (driver.Observation, error) {
	fenced, err := w.fence(ctx)
	if err != nil || fenced.State != driver.Done {
		return fenced, err
	}
	bring := w.carryLast
	if w.set.replicated() && w.req.Peer != "" {
		bring = w.handOver
	}
	moved, err := bring(ctx)
	moved.Evidence, moved.Outputs = append(fenced.Evidence, moved.Evidence...), nil
	return moved, err
}

// carryLast brings the last state of the instance here, which is fenced, to the peer by a snapshot. That of one which follows another
// is not the last state of anything.
func (w *work) carryLast(ctx context.Context) (driver.Observation, error) {
	seen, err := w.carry(ctx, w.here, w.req.Peer, "last")
	if err != nil || seen.State != driver.Done {
		return seen, err
	}
	i, err := w.here.instance(ctx, w.here.set.Instance)
	if err == nil && i != nil && !i.replica() && i.fenced(w.here.set) {
		seen.Evidence = append(seen.Evidence, driver.LastState(source(launch{from: w.name("last")})))
	}
	return seen, err
}
