package elasticache

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Check says what stands in the way of the request.
func (d *Group) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	w, err := d.work(ctx, req)
	if err != nil {
		return nil, err
	}
	found, err := w.check(ctx)
	if err == nil {
		return found, nil
	}
	switch kind := failure.KindOf(err); {
	case ctx.Err() != nil:
		return nil, failure.Wrap(context.Cause(ctx), "check", w.subject())
	case kind == failure.Unavailable || kind == failure.Throttled:
		severity := model.Block
		if req.Action == model.ActionRelease {
			severity = model.Warn
		}
		found = append(found, w.finding(severity, "cache-unreachable", awsbase.OneLine(err.Error()), "the region's control plane is needed", failure.HintOf(err)))
	default:
		found = append(found, w.finding(model.Block, "cache-not-looked-at", awsbase.OneLine(err.Error()), "what stands in the way there cannot be known", failure.HintOf(err)))
	}
	return found, nil
}

func (w *groupWork) finding(severity model.Severity, code, what, why, fix string) model.Finding {
	return model.Finding{Severity: severity, Code: code, Resource: w.req.Resource.ID, Site: w.req.Site, Step: w.req.Step, What: what, Why: why, Fix: fix}
}

func (w *groupWork) check(ctx context.Context) ([]model.Finding, error) {
	switch w.req.Action {
	case model.ActionPromote:
		return w.checkPromote(ctx)
	case model.ActionDrill:
		if w.here.at.Drill == nil {
			err := noDrill(w)
			return []model.Finding{w.finding(model.Block, "cache-no-drill-network", awsbase.OneLine(err.Error()), "a drill never touches the network that serves", failure.HintOf(err))}, nil
		}
		return w.checkNetwork(ctx, w.here.at.Drill.SubnetGroup, w.here.at.ParameterGroup)
	case model.ActionRestore, model.ActionProve:
		return w.checkPoint(ctx)
	case model.ActionCapture:
		c, err := w.here.cache(ctx, w.here.at.Group)
		if err == nil && c == nil {
			return []model.Finding{w.finding(model.Block, "cache-no-group", "there is no group "+w.here.at.Group+" in "+w.here.s.Region(), "there is nothing to make a snapshot of", "")}, nil
		}
		return nil, err
	case model.ActionReverse:
		if w.req.Preview {
			return nil, nil // the plan's own promotion decides what is there then
		}
		_, err := w.former(ctx)
		if err != nil && failure.KindOf(err) == failure.Conflict {
			return []model.Finding{w.finding(model.Block, "cache-in-use", awsbase.OneLine(err.Error()), "a group that is in use is not deleted", failure.HintOf(err))}, nil
		}
		return nil, err
	}
	return nil, nil
}

// checkPoint says what a restore or a proof would be refused for.
func (w *groupWork) checkPoint(ctx context.Context) ([]model.Finding, error) {
	h, err := w.Decide(ctx)
	if err == nil && w.req.Action == model.ActionRestore {
		var c *cache
		if c, err = w.here.cache(ctx, h.Name); err == nil && c != nil && !w.mine(c.tags) {
			return []model.Finding{w.finding(model.Block, "cache-name-taken", "a group "+h.Name+" is there already", "a restore writes over nothing", "choose another name: --as NAME")}, nil
		}
	}
	if err == nil || ctx.Err() != nil {
		return nil, err
	}
	switch failure.KindOf(err) {
	case failure.Invalid, failure.NotFound, failure.Unsupported:
		return []model.Finding{w.finding(model.Block, "cache-point", awsbase.OneLine(err.Error()), failure.HintOf(err), "")}, nil
	}
	return nil, err
}

func (w *groupWork) checkPromote(ctx context.Context) ([]model.Finding, error) {
	var found []model.Finding
	if w.here.set.Warm == nil {
		found = append(found, w.finding(model.Warn, "cache-cold", "the cache comes up empty, and nothing warms it",
			"all that it would have answered falls on the database at once when traffic comes", "set warm: {command: […]} in the resource's settings"))
	}
	if w.req.Resource.Points != nil {
		found = append(found, w.finding(model.Warn, "cache-left-behind", "its snapshots stay in their region: here it comes up empty",
			"ElastiCache copies no snapshots to another region", "if what it holds must survive the loss of a region: kind "+string(KindGlobal)))
	}
	c, err := w.here.cache(ctx, w.here.at.Group)
	if err != nil {
		return found, err
	}
	if c == nil {
		more, err := w.checkNetwork(ctx, w.here.at.SubnetGroup, w.here.at.ParameterGroup)
		return append(found, more...), err
	}
	if engine := aws.ToString(c.Engine); engine != "" && engine != w.here.set.Engine {
		found = append(found, w.finding(model.Block, "cache-other-engine", fmt.Sprintf("group %s is of engine %s, not %s", c.name(), engine, w.here.set.Engine),
			"clients would find another engine than the settings say", "set engine, or delete the group"))
	}
	if shards := len(c.NodeGroups); shards > 0 && shards != w.here.set.Shards {
		found = append(found, w.finding(model.Block, "cache-other-shards", fmt.Sprintf("group %s has %s, not %d", c.name(), count(shards, "shard"), w.here.set.Shards),
			"it is brought to its size in node type and replicas only", "set shards, or delete the group so that it is created anew"))
	}
	old, unknown, err := w.outdated(ctx)
	switch {
	case err != nil:
		return found, err
	case unknown != "":
		found = append(found, w.finding(model.Warn, "cache-may-be-stale", unknown, "group "+c.name()+" may hold what it held before the app served elsewhere, and serves it",
			"delete it before, so that it is created anew; or empty it in the warm-up"))
	case old != nil && !(w.req.Preview && w.req.Operation == model.OpFailback): // the plan's own reverse replaces it before
		found = append(found, w.finding(model.Warn, "cache-replaced", "group "+c.name()+" holds what it held before "+string(w.req.Peer)+" served: it is deleted and created anew",
			"that takes longer than a creation alone", ""))
	}
	return found, nil
}

// checkNetwork looks for what a creation refers to.
func (w *groupWork) checkNetwork(ctx context.Context, subnets, parameters string) ([]model.Finding, error) {
	var found []model.Finding
	missing := func(what, name, command string) {
		found = append(found, w.finding(model.Block, "cache-missing-group", fmt.Sprintf("there is no %s %s in %s", what, name, w.here.s.Region()),
			"the replication group cannot be created without it", command))
	}
	if subnets != "" {
		_, err := w.here.api.DescribeCacheSubnetGroups(ctx, &sdk.DescribeCacheSubnetGroupsInput{CacheSubnetGroupName: &subnets})
		if awsbase.Gone(err) {
			missing("cache subnet group", subnets, "aws elasticache create-cache-subnet-group --region "+w.here.s.Region()+" --cache-subnet-group-name "+subnets+" …")
		} else if err != nil {
			return found, err
		}
	}
	if parameters != "" {
		_, err := w.here.api.DescribeCacheParameterGroups(ctx, &sdk.DescribeCacheParameterGroupsInput{CacheParameterGroupName: &parameters})
		if awsbase.Gone(err) {
			missing("cache parameter group", parameters, "aws elasticache create-cache-parameter-group --region "+w.here.s.Region()+" --cache-parameter-group-name "+parameters+" …")
		} else if err != nil {
			return found, err
		}
	}
	return found, nil
}
