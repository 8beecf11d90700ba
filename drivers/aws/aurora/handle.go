package aurora

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// handle is what a begin leaves for its observation. What the work has made is found by names that follow from the request.
type handle struct {
	Action model.Action `json:"action"`
	// Path is how the role moves: see the constants below.
	Path string `json:"path,omitempty"`
	// Asked is when AWS was asked to move it.
	Asked time.Time `json:"asked,omitzero"`
	// Why a managed move was not possible.
	Why string `json:"why,omitempty"`
}

// The ways in which a role moves.
const (
	byItself     = "found"      // it had moved already, or was moving
	bySwitchover = "switchover" // SwitchoverGlobalCluster
	byFailover   = "failover"   // FailoverGlobalCluster with allowed data loss
	byDetaching  = "detached"   // RemoveFromGlobalCluster
	byAbsence    = "absent"     // there is nothing that could take writes
)

func pending(phase string) driver.Observation {
	return driver.Observation{State: driver.Pending, Phase: phase}
}

func failed(err error) driver.Observation {
	return driver.Observation{State: driver.Failed, Err: failure.From(err)}
}
