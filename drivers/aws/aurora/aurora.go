// Package aurora moves Aurora global databases between regions: kind "aws.aurora.global".
//
// A global database has one cluster that takes writes and others, in other regions, that follow it. AWS itself takes the
// writer's role from one and gives it to another: by a switchover, which loses nothing and needs both, or by a failover with
// allowed loss of data, which needs the target's region alone. So a [Driver] fences by that very move: the old cluster is no
// writer any more, which the global database says, and the promotion that follows finds the role where it belongs. There is
// no quiescing of its own, as a switchover stops writes and waits until the last one has arrived.
//
// Only where AWS cannot move the role, a cluster is detached from the global database. Then nothing proves that the old one
// takes no writes (a person accepts that), and the way back is a rebuild: the old cluster is kept as a snapshot, which is
// proved by a restore, before it is deleted and made again as one that follows.
//
// It is no driver for clusters without a global database, it reads no data, and it changes no settings of what serves. Start
// with [New] and docs/drivers/aws.aurora.global.md.
package aurora

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
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
const besides = 5 * time.Second

// Driver is the aws.aurora.global driver. It holds no state between calls.
type Driver struct {
	base  *awsbase.Base
	now   func() time.Time
	again time.Duration
}

// New makes the driver.
func New(base *awsbase.Base) *Driver { return &Driver{base: base, now: time.Now, again: again} }

// Facts describes the driver.
func (d *Driver) Facts() driver.Facts {
	ends := map[string]model.ValueType{"endpoint": model.TypeEndpoint, "reader": model.TypeEndpoint}
	return driver.Facts{
		Kind:     Kind,
		Summary:  "an Aurora global database: switchover, failover, rebuild of the old cluster, drills",
		Settings: &Settings{},
		Site:     &Site{},
		Shared:   map[string]any{"aws": (*awsbase.Access)(nil)},
		Outputs:  map[model.Action]map[string]model.ValueType{model.ActionPromote: ends, model.ActionDrill: ends},
		Effects: map[model.Action]string{
			model.ActionFence:   "takes the writer's role from the cluster: by a switchover, or unplanned by a failover that may lose what had not been replicated",
			model.ActionPromote: "gives the cluster the writer's role, or detaches it when AWS cannot, which breaks the global database",
			model.ActionReverse: "waits until the old cluster follows; one that was detached is snapshotted, the snapshot proved, and the cluster deleted and made again",
			model.ActionDrill:   "makes a snapshot of the cluster, and a cluster with one instance of it in the isolated subnet group",
			model.ActionRelease: "deletes the drill's instance, cluster and snapshot",
		},
		Destructive: []model.Action{model.ActionReverse},
		Approved:    []model.Action{model.ActionReverse},
		Timeouts: map[model.Action]time.Duration{
			model.ActionFence: 20 * time.Minute, model.ActionPromote: 30 * time.Minute, model.ActionReverse: 6 * time.Hour,
			model.ActionDrill: 2 * time.Hour, model.ActionRelease: time.Hour,
		},
		Stateful: true,
	}
}

var (
	_ driver.Driver            = (*Driver)(nil)
	_ driver.ResourceValidator = (*Driver)(nil)
	_ driver.Fencer            = (*Driver)(nil)
	_ driver.Promoter          = (*Driver)(nil)
	_ driver.Reverser          = (*Driver)(nil)
	_ driver.Driller           = (*Driver)(nil)
	_ driver.Releaser          = (*Driver)(nil)
)
