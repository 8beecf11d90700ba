package aurora

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/model"
)

// ClusterKind is a cluster that is in no global database.
const ClusterKind model.Kind = "aws.aurora.cluster"

// Cluster is the aws.aurora.cluster driver: a cluster without a global database, which comes back in another region by a copy of
// its snapshots. It holds no state between calls.
type Cluster struct {
	base *awsbase.Base
	clusterwise
}

// clusterwise is what is done step by step with single clusters.
type clusterwise interface {
	stepwise
	driver.Driller
	driver.Fencer
	driver.Quiescer
	driver.Promoter
	driver.Reverser
}

// NewCluster makes the driver on the base that the process's drivers of AWS share.
func NewCluster(base *awsbase.Base) *Cluster {
	d := &Cluster{base: base}
	d.clusterwise = frame(d.place)
	return d
}

// Facts describes the driver.
func (d *Cluster) Facts() driver.Facts {
	ends := map[string]model.ValueType{"endpoint": model.TypeEndpoint, "reader": model.TypeEndpoint}
	return driver.Facts{
		Kind:     ClusterKind,
		Summary:  "an Aurora cluster without a global database, kept by snapshots and their copies in other regions",
		Settings: &ClusterSettings{},
		Site:     &ClusterSite{},
		Shared:   map[string]any{"aws": (*awsbase.Access)(nil)},
		Outputs: map[model.Action]map[string]model.ValueType{
			model.ActionPromote: ends,
			model.ActionDrill:   ends,
			model.ActionRestore: ends,
			model.ActionCapture: pointOutputs,
		},
		Verbs: map[model.Action]string{
			model.ActionPromote: "bring up",
			model.ActionReverse: "protect the other way",
		},
		Effects: map[model.Action]string{
			model.ActionCapture: "makes a snapshot",
			model.ActionCopy:    "copies snapshots to the other sites",
			model.ActionExpire:  "deletes snapshots that need not be kept, and their copies",
			model.ActionPromote: "restores the newest copy under the site's name, with its instances",
			model.ActionFence:   "puts the cluster into the fence's security groups and reboots its instances, which ends all sessions",
			model.ActionQuiesce: "fences the cluster, and copies its last state to where it goes on",
			model.ActionDrill:   "restores the newest copy under another name, with one instance, in the drill's network",
			model.ActionRelease: "deletes the cluster that was made for it",
			model.ActionProve:   "restores the snapshot apart, writes down what came of it, and deletes the cluster",
			model.ActionRestore: "restores under another name, with as many instances as the site says",
			model.ActionReverse: "makes a snapshot where it serves and copies it here; in a failback deletes the old cluster, once its last state is proved",
		},
		Destructive: []model.Action{model.ActionExpire, model.ActionReverse},
		Approved:    []model.Action{model.ActionReverse},
		Timeouts: map[model.Action]time.Duration{
			model.ActionCapture: 6 * time.Hour, model.ActionCopy: 24 * time.Hour, model.ActionExpire: 30 * time.Minute,
			model.ActionPromote: 6 * time.Hour, model.ActionFence: 30 * time.Minute, model.ActionQuiesce: 12 * time.Hour,
			model.ActionDrill: 6 * time.Hour, model.ActionRelease: 2 * time.Hour, model.ActionProve: 8 * time.Hour,
			model.ActionRestore: 8 * time.Hour, model.ActionReverse: 24 * time.Hour,
		},
		Stateful: true,
		Vault:    driver.NoVault,
		Named:    true,
	}
}

// pointOutputs are a capture's.
var pointOutputs = map[string]model.ValueType{"point": model.TypeText, "at": model.TypeTime}

// Points lists the snapshots at the site that can be restored, newest first.
func (d *Cluster) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	return points(ctx, d.place, t)
}

var (
	_ driver.Driver            = (*Cluster)(nil)
	_ driver.ResourceValidator = (*Cluster)(nil)
	_ driver.Owner             = (*Cluster)(nil)
	_ driver.Lister            = (*Cluster)(nil)
)
