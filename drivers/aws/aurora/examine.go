package aurora

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Examine looks for what work will miss at a site.
func (d *Driver) Examine(ctx context.Context, x driver.Examination) (driver.Examined, error) {
	return examine(ctx, d.base, x, d, d.place, func(ctx context.Context, e *examination, req driver.Request, p *place) {
		here := req.Site == x.Site
		switch {
		case here && req.Action == model.ActionReverse && (req.Prepare || req.Operation == model.OpFailback):
			e.Makes(preflight.ClusterSnapshots, 2)
			e.launch(ctx, req, p, true)
			e.launch(ctx, req, p, false)
			e.Key(ctx, req.Resource.ID, p.at.KMSKey, "the cluster that is made again is encrypted with it")
		case here && req.Action == model.ActionDrill:
			e.Makes(preflight.ClusterSnapshots, 1)
			e.launch(ctx, req, p, true)
		default:
			e.points(ctx, req, p)
		}
	})
}

// Examine looks for what work will miss at a site.
func (d *Cluster) Examine(ctx context.Context, x driver.Examination) (driver.Examined, error) {
	return examine(ctx, d.base, x, d, d.place, func(ctx context.Context, e *examination, req driver.Request, p *place) {
		e.move(ctx, req, p)
	})
}

// examine looks at the steps of each resource in their order.
func examine(ctx context.Context, base *awsbase.Base, x driver.Examination, d driver.Permitter, open func(context.Context, driver.Target, model.SiteID) (*place, error),
	step func(ctx context.Context, e *examination, req driver.Request, p *place)) (driver.Examined, error) {
	return preflight.Examine(ctx, base, x, d, func(ctx context.Context, s *preflight.Site, work []driver.Request) error {
		e := &examination{Site: s, x: x}
		for _, req := range work {
			p, err := open(ctx, req.Target, x.Site)
			if err != nil {
				return err
			}
			step(ctx, e, req, p)
		}
		return nil
	})
}

// examination is one of a resource at a site.
type examination struct {
	*preflight.Site
	x      driver.Examination
	looked bool   // newest is known
	newest string // snapshot
}

// move looks for what one step needs that moves a cluster.
func (e *examination) move(ctx context.Context, req driver.Request, p *place) {
	id, here := req.Resource.ID, req.Site == e.x.Site
	e.fresh(ctx, req.Target, p)
	switch req.Action {
	case model.ActionFence:
	case model.ActionQuiesce, model.ActionReverse:
		e.Makes(preflight.ClusterSnapshots, 1)
		if here == (req.Action == model.ActionReverse) {
			e.Key(ctx, id, p.at.KMSKey, "copies of snapshots are encrypted with it")
		}
		if here && (&work{req: req}).makesWay() {
			e.launch(ctx, req, p, true)
		}
	case model.ActionPromote:
		if here {
			e.launch(ctx, req, p, false)
		}
	case model.ActionDrill:
		if here {
			e.launch(ctx, req, p, true)
		}
	default:
		e.points(ctx, req, p)
	}
	if here && (req.Action == model.ActionFence || req.Action == model.ActionQuiesce) && p.at.Fence != nil {
		e.Security(ctx, id, p.at.Fence.SecurityGroups)
	}
}

// points looks for what one step needs of what both kinds do with snapshots.
func (e *examination) points(ctx context.Context, req driver.Request, p *place) {
	here := req.Site == e.x.Site
	switch req.Action {
	case model.ActionCapture:
		if here {
			e.Makes(preflight.ClusterSnapshots, 1)
		}
	case model.ActionCopy:
		if !here {
			e.Makes(preflight.ClusterSnapshots, 1)
			e.Key(ctx, req.Resource.ID, p.at.KMSKey, "copies of snapshots are encrypted with it")
			e.fresh(ctx, req.Target, p)
		}
	case model.ActionRestore:
		if here {
			e.launch(ctx, req, p, false)
		}
	case model.ActionProve:
		if here {
			e.launch(ctx, req, p, true)
		}
	}
}

// fresh looks at the newest snapshot that is there, once.
func (e *examination) fresh(ctx context.Context, t driver.Target, p *place) {
	id := t.Resource.ID
	if e.looked {
		return
	}
	e.looked = true
	e.Ask(ctx, func(ctx context.Context) error {
		ready, err := preflight.Once(ctx, e.Site, "snapshots of "+string(id), func(ctx context.Context) ([]*snapshots.Snapshot, error) {
			return (&snapshots.Keeper{Target: t}).Ready(ctx, p.kept())
		})
		if err != nil || len(ready) == 0 {
			return err // that there is none, the check of the steps that need one says
		}
		e.Fresh(id, e.x, ready[0].At)
		e.newest = ready[0].ID
		return nil
	})
}

// launch looks for what a restore needs.
func (e *examination) launch(ctx context.Context, req driver.Request, p *place, apart bool) {
	id, at, number, class := req.Resource.ID, p.at.Site, p.at.number(), p.at.Instances.Class
	if apart {
		if at.Drill == nil {
			return // its step says so
		}
		at.SubnetGroup, at.SecurityGroups, number = at.Drill.SubnetGroup, at.Drill.SecurityGroups, 1
		if at.Drill.Class != "" {
			class = at.Drill.Class
		}
	}
	e.Makes(preflight.Clusters, 1)
	e.Makes(preflight.Instances, number)
	e.Network(ctx, id, at.SubnetGroup, at.SecurityGroups)
	e.Group(ctx, id, preflight.ParameterGroup, at.ParameterGroup)
	e.Group(ctx, id, preflight.ClusterParameterGroup, at.ClusterParameterGroup)
	if class == "" {
		return
	}
	e.Ask(ctx, func(ctx context.Context) error {
		v, err := preflight.Once(ctx, e.Site, "cluster "+p.at.Cluster, p.look)
		switch {
		case err != nil:
			return err
		case v.cluster != nil:
			e.Offered(ctx, id, aws.ToString(v.cluster.Engine), aws.ToString(v.cluster.EngineVersion), class)
		case e.newest != "":
			s, err := preflight.Once(ctx, e.Site, "snapshot "+e.newest, func(ctx context.Context) (*types.DBClusterSnapshot, error) {
				return p.store().describe(ctx, e.newest)
			})
			if err != nil || s == nil {
				return err
			}
			e.Offered(ctx, id, aws.ToString(s.Engine), aws.ToString(s.EngineVersion), class)
		}
		return nil
	})
}

var (
	_ driver.Examiner = (*Driver)(nil)
	_ driver.Examiner = (*Cluster)(nil)
)
