package preflight

import (
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/model"
)

// clockOff is how far this machine's clock may be off AWS's before that is told of. Requests are refused from five minutes on (IAM User
// Guide, "Elements of an AWS API request signature").
const clockOff = 5 * time.Second

// clock tells of a clock that is off.
func (s *Site) clock(who awsbase.Identity) {
	way := "ahead of"
	if who.Ahead < 0 {
		way = "behind"
	}
	if who.Ahead.Abs() <= clockOff {
		return
	}
	s.found.add(model.Finding{Severity: model.Warn, Code: "aws-clock", What: "this machine's clock is " + way + " AWS's",
		Why: fmt.Sprintf("by %s at least: the age of snapshots, what is due, and the RPO of reports are off by as much; AWS refuses requests that are five minutes off", who.Ahead.Abs().Round(time.Second)),
		Fix: "timedatectl set-ntp true"})
}
