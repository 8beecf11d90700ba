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
type Cluster struct{ base *awsbase.Base }

// NewCluster makes the driver on the base that the process's drivers of AWS share.
func NewCluster(base *awsbase.Base) *Cluster { return &Cluster{base} }

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

func (d *Cluster) begin(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return places(d.place).begin(ctx, req)
}

// Capture makes a snapshot of the cluster at the site.
func (d *Cluster) Capture(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Copy brings what the retention of the other sites keeps to them.
func (d *Cluster) Copy(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Expire deletes snapshots at all sites that their retention does not keep.
func (d *Cluster) Expire(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Promote brings the newest copy at the site up under the site's name.
func (d *Cluster) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Fence shuts everybody out of the cluster at the site.
func (d *Cluster) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Quiesce fences the cluster and brings its last state to the peer.
func (d *Cluster) Quiesce(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Drill brings an isolated copy up.
func (d *Cluster) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Release deletes what a drill or a proof made.
func (d *Cluster) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Prove restores a snapshot apart and writes what came of it into its tags.
func (d *Cluster) Prove(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Restore brings a state back under a name of its own.
func (d *Cluster) Restore(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Reverse protects the site that serves by copies at this one.
func (d *Cluster) Reverse(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Points lists the snapshots at the site that can be restored, newest first.
func (d *Cluster) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	return places(d.place).points(ctx, t)
}

// Observe takes the next step of the work if there is one to take, and says what it waits for.
func (d *Cluster) Observe(ctx context.Context, req driver.Request, dh driver.Handle) (driver.Observation, error) {
	h, err := readHandle(req, dh)
	if err != nil {
		return driver.Observation{}, err
	}
	return places(d.place).observe(ctx, req, h)
}

var (
	_ driver.Driver            = (*Cluster)(nil)
	_ driver.ResourceValidator = (*Cluster)(nil)
	_ driver.Capturer          = (*Cluster)(nil)
	_ driver.Copier            = (*Cluster)(nil)
	_ driver.Expirer           = (*Cluster)(nil)
	_ driver.Lister            = (*Cluster)(nil)
	_ driver.Promoter          = (*Cluster)(nil)
	_ driver.Fencer            = (*Cluster)(nil)
	_ driver.Quiescer          = (*Cluster)(nil)
	_ driver.Driller           = (*Cluster)(nil)
	_ driver.Releaser          = (*Cluster)(nil)
	_ driver.Prover            = (*Cluster)(nil)
	_ driver.Restorer          = (*Cluster)(nil)
	_ driver.Reverser          = (*Cluster)(nil)
)
