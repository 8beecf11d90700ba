// Package aurora moves Aurora clusters between regions: global databases, kind "aws.aurora.global", and clusters that are in none,
// kind "aws.aurora.cluster".
//
// A single cluster comes back in another region by a copy of its snapshots: see [Cluster]. A global database has one cluster that takes writes and others, in other regions, that follow it. AWS itself takes the
// writer's role from one and gives it to another: by a switchover, which loses nothing and needs both, or by a failover with
// allowed loss of data, which needs the target's region alone. So a [Driver] fences by that very move: the old cluster is no
// writer any more, which the global database says, and the promotion that follows finds the role where it belongs. There is
// no quiescing of its own, as a switchover stops writes and waits until the last one has arrived.
//
// Only where AWS cannot move the role, a cluster is detached from the global database. Then nothing proves that the old one
// takes no writes (a person accepts that), and the way back is a rebuild: the old cluster is kept as a snapshot, which is
// proved by a restore, before it is deleted and made again as one that follows.
//
// It reads no data, and changes no settings of what serves. Start with [New] or [NewCluster], and docs/drivers.
package aurora

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/longwork"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Kind is what this driver handles.
const Kind model.Kind = "aws.aurora.global"

// handleVersion is the version of the handles that this build writes. It reads only this one.
const handleVersion = 1

// again is the pause between two looks. Aurora's transitions take from a minute to an hour.
const again = 5 * time.Second

// settle is how long after a call a region may still show the state before it, so that what is missing is no failure yet.
const settle = time.Minute

// besides bounds a question to the other region whose answer is worth knowing and not worth waiting for.
const besides = 4 * time.Second

// Driver is the aws.aurora.global driver. It holds no state between calls.
type Driver struct {
	base *awsbase.Base
	stepwise
}

// stepwise is what is done step by step with both kinds: see work.
type stepwise interface {
	driver.Capturer
	driver.Copier
	driver.Expirer
	driver.Prover
	driver.Restorer
	driver.Releaser
	longwork.Observer
}

// New makes the driver.
func New(base *awsbase.Base) *Driver {
	d := &Driver{base: base}
	d.stepwise = frame(d.place)
	return d
}

// Facts describes the driver.
func (d *Driver) Facts() driver.Facts {
	ends := map[string]model.ValueType{"endpoint": model.TypeEndpoint, "reader": model.TypeEndpoint}
	return driver.Facts{
		Kind:     Kind,
		Summary:  "an Aurora global database: switchover, failover, rebuild of the old cluster, drills, snapshots",
		Settings: &Settings{},
		Site:     &Site{},
		Shared:   map[string]any{"aws": (*awsbase.Access)(nil)},
		Outputs:  map[model.Action]map[string]model.ValueType{model.ActionPromote: ends, model.ActionDrill: ends, model.ActionRestore: ends, model.ActionCapture: pointOutputs},
		Effects: map[model.Action]string{
			model.ActionFence:   "takes the writer's role from the cluster: by a switchover, or unplanned by a failover that may lose what had not been replicated",
			model.ActionPromote: "gives the cluster the writer's role, or detaches it when AWS cannot, which breaks the global database",
			model.ActionReverse: "waits until the old cluster follows; one that was detached is snapshotted, the snapshot proved, and the cluster deleted and made again",
			model.ActionDrill:   "makes a snapshot of the cluster, and a cluster with one instance of it in the isolated subnet group",
			model.ActionRelease: "deletes the drill's instance, cluster and snapshot",
			model.ActionCapture: "makes a snapshot of the cluster that serves",
			model.ActionCopy:    "copies snapshots to the other sites",
			model.ActionExpire:  "deletes snapshots that need not be kept, and their copies",
			model.ActionProve:   "restores the snapshot apart, writes down what came of it, and deletes the cluster",
			model.ActionRestore: "restores a cluster of its own under another name, with as many instances as the site says",
		},
		Destructive: []model.Action{model.ActionExpire, model.ActionReverse},
		Approved:    []model.Action{model.ActionReverse},
		Timeouts: map[model.Action]time.Duration{
			model.ActionFence: 20 * time.Minute, model.ActionPromote: 30 * time.Minute, model.ActionReverse: 6 * time.Hour,
			model.ActionDrill: 2 * time.Hour, model.ActionRelease: time.Hour,
			model.ActionCapture: 6 * time.Hour, model.ActionCopy: 24 * time.Hour, model.ActionExpire: 30 * time.Minute,
			model.ActionProve: 8 * time.Hour, model.ActionRestore: 8 * time.Hour,
		},
		Stateful: true,
		Vault:    driver.NoVault,
		Named:    true,
	}
}

// Points lists the snapshots at the site that can be restored, newest first.
func (d *Driver) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	return points(ctx, d.place, t)
}

// Observe looks how far the work is, and takes the next step of what is not a single call.
func (d *Driver) Observe(ctx context.Context, req driver.Request, dh driver.Handle) (driver.Observation, error) {
	h, err := longwork.Read[handle](handleVersion, req, dh)
	if err != nil {
		return driver.Observation{}, err
	}
	var seen driver.Observation
	switch h.Action {
	case model.ActionFence, model.ActionPromote:
		seen, err = d.observeRole(ctx, req, h)
	case model.ActionReverse:
		seen, err = d.observeReverse(ctx, req)
	default:
		return d.stepwise.Observe(ctx, req, dh)
	}
	if seen.State == driver.Pending {
		seen.Again = again
	}
	return seen, failure.Wrap(err, "observe", string(req.Resource.ID))
}

var (
	_ driver.Driver            = (*Driver)(nil)
	_ driver.ResourceValidator = (*Driver)(nil)
	_ driver.Owner             = (*Driver)(nil)
	_ driver.Fencer            = (*Driver)(nil)
	_ driver.Promoter          = (*Driver)(nil)
	_ driver.Reverser          = (*Driver)(nil)
	_ driver.Driller           = (*Driver)(nil)
	_ driver.Lister            = (*Driver)(nil)
)
