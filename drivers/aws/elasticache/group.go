package elasticache

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/longwork"
	"github.com/lifeboat-dr/lifeboat/model"
)

// KindGroup is what [Group] handles.
const KindGroup model.Kind = "aws.elasticache.replicationgroup"

// Group is the aws.elasticache.replicationgroup driver. It holds no state between calls.
type Group struct {
	base *awsbase.Base
	stepwise
}

// stepwise is what is done step by step: see groupWork.
type stepwise interface {
	driver.Capturer
	driver.Expirer
	driver.Prover
	driver.Restorer
	driver.Driller
	driver.Releaser
	driver.Promoter
	driver.Reverser
	longwork.Observer
}

// lookAgain is the pause between two looks at what takes AWS minutes.
const lookAgain = 10 * time.Second

// NewGroup makes the driver.
func NewGroup(base *awsbase.Base) *Group {
	d := &Group{base: base}
	d.stepwise = longwork.Frame[*groupWork, groupHandle]{Version: handleVersion, Again: lookAgain, Open: d.work}
	return d
}

// Facts describes the driver.
func (d *Group) Facts() driver.Facts {
	outputs := map[string]model.ValueType{"endpoint": model.TypeEndpoint, "reader": model.TypeEndpoint}
	return driver.Facts{
		Kind:     KindGroup,
		Summary:  "a replication group of Amazon ElastiCache that is started cold at the other site, and warmed before traffic comes",
		Settings: &GroupSettings{},
		Site:     &GroupSite{},
		Shared:   map[string]any{"aws": (*awsbase.Access)(nil)},
		Outputs: map[model.Action]map[string]model.ValueType{model.ActionPromote: outputs, model.ActionDrill: outputs, model.ActionRestore: outputs,
			model.ActionCapture: {"point": model.TypeText, "at": model.TypeTime}},
		Verbs: map[model.Action]string{
			model.ActionPromote: "start",
			model.ActionReverse: "make ready",
		},
		Effects: map[model.Action]string{
			model.ActionPromote: "creates the replication group, or brings one that stands by to its size; one that holds what it held before the app served elsewhere is deleted first",
			model.ActionReverse: "deletes the replication group that served here before, and creates the one that stands by, if the site has one",
			model.ActionDrill:   "creates a replication group under another name, in the drill's network",
			model.ActionRelease: "deletes the replication group that was made for it",
			model.ActionCapture: "makes a snapshot, which stays in its region",
			model.ActionExpire:  "deletes snapshots that need not be kept",
			model.ActionRestore: "creates a replication group under another name, with what the snapshot holds",
			model.ActionProve:   "restores the snapshot apart, writes down what came of it, and deletes the group",
		},
		Destructive: []model.Action{model.ActionReverse, model.ActionExpire},
		Timeouts: map[model.Action]time.Duration{model.ActionPromote: 2 * time.Hour, model.ActionReverse: 2 * time.Hour,
			model.ActionDrill: 2 * time.Hour, model.ActionRelease: time.Hour, model.ActionCapture: 2 * time.Hour, model.ActionExpire: 30 * time.Minute,
			model.ActionRestore: 4 * time.Hour, model.ActionProve: 4 * time.Hour},
		Vault: driver.NoVault,
		Named: true,
	}
}

// ActionOf says that a reverse deletes nothing where what is stale is kept.
func (d *Group) ActionOf(r model.Resource, action model.Action) driver.ActionFacts {
	set, err := driver.Decode[GroupSettings](r.Settings)
	if err == nil && set.Stale == staleKeep && action == model.ActionReverse {
		return driver.ActionFacts{Effect: "nothing: what is there stays (stale: keep)"}
	}
	return driver.ActionFacts{}
}

var (
	_ driver.Driver            = (*Group)(nil)
	_ driver.Lister            = (*Group)(nil)
	_ driver.PointKeeper       = (*Group)(nil)
	_ driver.ActionDescriber   = (*Group)(nil)
	_ driver.Hooker            = (*Group)(nil)
	_ driver.ResourceValidator = (*Group)(nil)
	_ driver.Owner             = (*Group)(nil)
)
