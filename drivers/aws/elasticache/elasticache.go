// Package elasticache moves caches of Amazon ElastiCache between regions: kind "aws.elasticache.global" is a global
// datastore, a Redis or Valkey cache with one replication group in each site's region; kind
// "aws.elasticache.replicationgroup" is a cache that carries no data: it is started cold at the other site.
//
// AWS knows one primary in a global datastore. A failover gives that role to another member, which needs the target's
// region alone, and takes it from the old one by the same act. So a [Global] fences by that very move: the old group is
// no primary any more. Done is judged by the members' roles and states, never by "available" alone.
//
// A [Group] is created at failover from the site's settings, or brought to its size where a small one stands by. What holds what
// it held before the app served elsewhere is replaced, as a stale answer is worse than none. A command of the user's warms it,
// as a step of the plan that traffic waits for.
//
// The package makes no datastores and adds no members to them, and it speaks no Redis: what a cache holds is the application's.
package elasticache

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/model"
)

// KindGlobal is what [Global] handles.
const KindGlobal model.Kind = "aws.elasticache.global"

// handleVersion is the version of the handles that this build writes. It reads only this one.
const handleVersion = 1

const (
	// again is the pause between two looks; a failover takes a minute or two.
	again = 5 * time.Second
	// unseen is how long after a failover was asked for the datastore may still look as if it had not been. After that, one
	// that looks so has not taken it.
	unseen = 3 * time.Minute
)

// Global is the aws.elasticache.global driver. It holds no state between calls.
type Global struct{ base *awsbase.Base }

// NewGlobal makes the driver.
func NewGlobal(base *awsbase.Base) *Global { return &Global{base: base} }

// Facts describes the driver.
func (d *Global) Facts() driver.Facts {
	return driver.Facts{
		Kind:     KindGlobal,
		Summary:  "a global datastore of Amazon ElastiCache: its members' roles are exchanged",
		Settings: &Settings{},
		Site:     &Site{},
		Shared:   map[string]any{"aws": (*awsbase.Access)(nil)},
		Outputs:  map[model.Action]map[string]model.ValueType{model.ActionPromote: {"endpoint": model.TypeEndpoint, "reader": model.TypeEndpoint}},
		Effects: map[model.Action]string{
			model.ActionFence:   "takes the primary's role from the group by giving it to the other site's; writes that had not been replicated are lost",
			model.ActionPromote: "makes the group the primary of the global datastore, unless the fence has done so",
			model.ActionReverse: "nothing: waits until AWS has made the group follow again",
		},
		Verbs:    map[model.Action]string{model.ActionReverse: "await the association of"},
		Timeouts: map[model.Action]time.Duration{model.ActionFence: 20 * time.Minute, model.ActionPromote: 20 * time.Minute, model.ActionReverse: time.Hour},
		Stateful: true,
		Lossy:    true, // AWS replicates between regions without waiting, and a failover waits for nothing
	}
}

var (
	_ driver.Driver            = (*Global)(nil)
	_ driver.Fencer            = (*Global)(nil)
	_ driver.Promoter          = (*Global)(nil)
	_ driver.Reverser          = (*Global)(nil)
	_ driver.ResourceValidator = (*Global)(nil)
	_ driver.Owner             = (*Global)(nil)
)
