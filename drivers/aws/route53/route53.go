// Package route53 moves clients from site to site by changing records of Amazon Route 53: kind "aws.route53.record".
//
// A resource names one or several names of a zone; a [Driver] changes the records of all of them in one batch, which
// takes effect as a whole or not at all, and waits until Route 53 says that all its name servers have it. Each record
// is replaced on the condition that it still is what was read just before, so that somebody else's change is noticed
// and never overwritten by accident. Records that the resource does not name are never touched.
//
// It makes no zones and no health checks, and it is no resolver: what caches still hold is in the evidence. Changing
// records needs Route 53's control plane, which runs in one region of a partition (us-east-1 for aws, cn-northwest-1
// for aws-cn); answering queries does not.
package route53

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Kind is what this driver handles.
const Kind model.Kind = "aws.route53.record"

// handleVersion is the version of the handles that this build writes. It reads only this one.
const handleVersion = 1

// again is the pause between two looks at a change. Route 53 needs up to a minute, and takes five calls a second.
const again = 3 * time.Second

// Driver is the aws.route53.record driver. It holds no state between calls.
type Driver struct{ base *awsbase.Base }

// New makes the driver.
func New(base *awsbase.Base) *Driver { return &Driver{base: base} }

// Facts describes the driver.
func (d *Driver) Facts() driver.Facts {
	return driver.Facts{
		Kind:     Kind,
		Summary:  "records of Amazon Route 53: simple, weighted, failover or alias, several names in one change",
		Settings: &Settings{},
		Site:     &Site{},
		Shared:   map[string]any{"aws": (*awsbase.Access)(nil)},
		Verbs:    map[model.Action]string{model.ActionRedirect: "switch the names"},
		Effects:  map[model.Action]string{model.ActionRedirect: "replaces the named records by those of the site, all in one change"},
		Timeouts: map[model.Action]time.Duration{model.ActionRedirect: 10 * time.Minute},
	}
}

var (
	_ driver.Driver            = (*Driver)(nil)
	_ driver.Redirector        = (*Driver)(nil)
	_ driver.ResourceValidator = (*Driver)(nil)
	_ driver.Owner             = (*Driver)(nil)
)
