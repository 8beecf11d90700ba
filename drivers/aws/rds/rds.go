// Package rds keeps instances of Amazon RDS recoverable in another region: kind "aws.rds.instance".
//
// It makes snapshots, copies them to the other sites of the resource, removes what need not be kept, and brings the newest
// copy up where the application is to go on, with all that the settings say of an instance there. It is not for clusters
// (Aurora), keeps no vault, and never looks into a database: what it knows of recovery points is what AWS's own snapshots
// and their tags say.
//
// Start with [New], and a base that all drivers of AWS share. Work takes several calls, and is pushed forward by Observe (see
// package longwork); every step of it is judged by what is there, and what it makes is named after the step's token, so that AWS itself
// refuses to make it twice.
package rds

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/longwork"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Kind is what this driver handles.
const Kind model.Kind = "aws.rds.instance"

// lookAgain is the pause between two looks at what takes AWS minutes.
const lookAgain = 10 * time.Second

// Driver is the aws.rds.instance driver. It holds no state between calls.
type Driver struct {
	base *awsbase.Base
	stepwise
}

// stepwise is what is done step by step: see work.
type stepwise interface {
	driver.Capturer
	driver.Copier
	driver.Expirer
	driver.Prover
	driver.Restorer
	driver.Driller
	driver.Releaser
	driver.Fencer
	driver.Quiescer
	driver.Promoter
	driver.Reverser
	longwork.Observer
}

// New makes the driver on the base that the process's drivers of AWS share.
func New(base *awsbase.Base) *Driver {
	d := &Driver{base: base}
	d.stepwise = longwork.Frame[*work, handle]{Version: handleVersion, Again: lookAgain, Open: d.work}
	return d
}

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

var (
	_ driver.Driver            = (*Driver)(nil)
	_ driver.Lister            = (*Driver)(nil)
	_ driver.ResourceValidator = (*Driver)(nil)
	_ driver.Owner             = (*Driver)(nil)
	_ driver.OutputDeclarer    = (*Driver)(nil)
	_ driver.ActionDescriber   = (*Driver)(nil)
)
