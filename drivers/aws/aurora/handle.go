package aurora

import (
	"time"

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
	// Holds is an instant that the cluster had reached when it was asked for; zero when nobody knows.
	Holds time.Time `json:"holds,omitzero"`
	// Name is that of the cluster or the snapshot that is made.
	Name string `json:"name,omitempty"`
	// Point is the snapshot that is restored; Until the instant to restore to, or that of the newest snapshot that is copied.
	Point string    `json:"point,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// For is the action that was begun.
func (h handle) For() model.Action { return h.Action }

// The ways in which a role moves.
const (
	byItself = "found" // it had moved already, or was moving
	// SwitchoverGlobalCluster: AWS stops the writes, and moves the role once the follower has everything, so that nothing is lost (Aurora
	// User Guide, "Performing switchovers for Amazon Aurora global databases").
	bySwitchover = "switchover"
	byFailover   = "failover" // FailoverGlobalCluster with allowed data loss
	byDetaching  = "detached" // RemoveFromGlobalCluster
	byAbsence    = "absent"   // there is nothing that could take writes
)
