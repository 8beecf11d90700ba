// Package rds keeps instances of Amazon RDS recoverable in another region: kind "aws.rds.instance".
//
// It makes snapshots, copies them to the other sites of the resource, removes what need not be kept, and brings the newest
// copy up where the application is to go on, with all that the settings say of an instance there. It is not for clusters
// (Aurora), keeps no vault, and never looks into a database: what it knows of recovery points is what AWS's own snapshots
// and their tags say.
//
// Start with [New], and a base that all drivers of AWS share. Work that takes several calls is pushed forward by Observe;
// every step of it is judged by what is there, and what it makes is named after the step's token, so that AWS itself
// refuses to make it twice.
package rds

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Kind is what this driver handles.
const Kind model.Kind = "aws.rds.instance"

// lookAgain is the pause between two looks at what takes AWS minutes.
const lookAgain = 10 * time.Second

// Driver is the aws.rds.instance driver. It holds no state between calls.
type Driver struct{ base *awsbase.Base }

// New makes the driver on the base that the process's drivers of AWS share.
func New(base *awsbase.Base) *Driver { return &Driver{base} }

// Facts describes the driver.
func (d *Driver) Facts() driver.Facts {
	endpoint := map[string]model.ValueType{"endpoint": model.TypeEndpoint}
	return driver.Facts{
		Kind:     Kind,
		Summary:  "an instance of Amazon RDS, kept by replicas, snapshots and their copies in other regions",
		Settings: &Settings{},
		Site:     &Site{},
		Outputs: map[model.Action]map[string]model.ValueType{
			model.ActionPromote: endpoint,
			model.ActionDrill:   endpoint,
			model.ActionRestore: endpoint,
			model.ActionCapture: {"point": model.TypeText, "at": model.TypeTime},
		},
		Verbs: map[model.Action]string{
			model.ActionPromote: "bring up",
			model.ActionReverse: "protect the other way",
		},
		Effects: map[model.Action]string{
			model.ActionCapture: "makes a snapshot",
			model.ActionCopy:    "copies snapshots to the other sites",
			model.ActionExpire:  "deletes snapshots that need not be kept, and their copies",
			model.ActionPromote: "restores the newest copy under the site's name",
			model.ActionFence:   "puts the instance into the fence's security groups and reboots it, which ends all sessions",
			model.ActionQuiesce: "fences the instance, and copies its last state to where it goes on",
			model.ActionDrill:   "restores the newest copy under another name, in the drill's network",
			model.ActionRelease: "deletes the instance that was made for it",
			model.ActionProve:   "restores the snapshot apart, writes down what came of it, and deletes the instance",
			model.ActionRestore: "restores under another name",
			model.ActionReverse: "makes a snapshot where it serves and copies it here; in a failback deletes the old instance, once its last state is proved",
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
		Shared:   map[string]any{"aws": (*awsbase.Access)(nil)},
		Named:    true,
	}
}

// outSecret is the output that holds the ARN of the secret with the master password.
const outSecret = "secret"

// OutputsOf adds the secret of an instance whose password AWS manages.
func (d *Driver) OutputsOf(r model.Resource, action model.Action) (map[string]model.ValueType, error) {
	out := map[string]model.ValueType{}
	if action != model.ActionPromote && action != model.ActionRestore {
		return out, nil
	}
	for _, id := range r.SiteIDs() {
		at, err := driver.Decode[Site](r.Sites[id])
		if err != nil {
			return nil, err
		}
		if at.ManagePassword {
			out[outSecret] = model.TypeText
		}
	}
	return out, nil
}

// ActionOf says what is different where replicas follow.
func (d *Driver) ActionOf(r model.Resource, action model.Action) driver.ActionFacts {
	set, err := driver.Decode[Settings](r.Settings)
	if err != nil || !set.replicated() {
		return driver.ActionFacts{}
	}
	switch action {
	case model.ActionPromote:
		return driver.ActionFacts{Verb: "promote", Effect: "makes the replica an instance of its own, for good", Timeout: 2 * time.Hour}
	case model.ActionQuiesce:
		return driver.ActionFacts{Effect: "fences the instance, and waits until the replica holds its last state"}
	case model.ActionCopy:
		return driver.ActionFacts{Effect: "copies snapshots to the other sites, and makes replicas that are missing there"}
	case model.ActionDrill:
		return driver.ActionFacts{Effect: "makes a snapshot of the replica, and restores it under another name, in the drill's network"}
	case model.ActionReverse:
		return driver.ActionFacts{Verb: "follow", Effect: "makes a replica here of what serves; in a failback deletes the old instance before, once its last state is proved", Destructive: true}
	}
	return driver.ActionFacts{}
}

// Capture makes a snapshot of the instance at the site.
func (d *Driver) Capture(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Copy brings what the retention of the other sites keeps to them.
func (d *Driver) Copy(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Expire deletes snapshots at all sites that their retention does not keep.
func (d *Driver) Expire(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Promote brings the newest copy at the site up under the site's name.
func (d *Driver) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Fence shuts everybody out of the instance at the site.
func (d *Driver) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Quiesce fences the instance and brings its last state to the peer.
func (d *Driver) Quiesce(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Drill brings an isolated copy up.
func (d *Driver) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Release deletes what a drill or a proof made.
func (d *Driver) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if req.Released == nil || req.Released.Token == "" {
		return driver.Handle{}, failure.New(failure.Invalid, "release", string(req.Resource.ID), "nothing says what is released")
	}
	return d.begin(ctx, req)
}

// Prove restores a snapshot apart and writes what came of it into its tags.
func (d *Driver) Prove(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Restore brings a state back under a name of its own.
func (d *Driver) Restore(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Reverse protects the site that serves by copies at this one.
func (d *Driver) Reverse(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

var (
	_ driver.Driver            = (*Driver)(nil)
	_ driver.Capturer          = (*Driver)(nil)
	_ driver.Copier            = (*Driver)(nil)
	_ driver.Expirer           = (*Driver)(nil)
	_ driver.Lister            = (*Driver)(nil)
	_ driver.Promoter          = (*Driver)(nil)
	_ driver.Fencer            = (*Driver)(nil)
	_ driver.Quiescer          = (*Driver)(nil)
	_ driver.Driller           = (*Driver)(nil)
	_ driver.Releaser          = (*Driver)(nil)
	_ driver.Prover            = (*Driver)(nil)
	_ driver.Restorer          = (*Driver)(nil)
	_ driver.Reverser          = (*Driver)(nil)
	_ driver.ResourceValidator = (*Driver)(nil)
	_ driver.OutputDeclarer    = (*Driver)(nil)
	_ driver.ActionDescriber   = (*Driver)(nil)
)
