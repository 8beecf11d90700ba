package aurora

import (
	"encoding/json"
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

func newHandle(h handle) (driver.Handle, error) {
	data, err := json.Marshal(h)
	if err != nil {
		return driver.Handle{}, failure.WrapAs(failure.Internal, err, "write handle", "")
	}
	return driver.Handle{Version: handleVersion, Data: data}, nil
}

func readHandle(h driver.Handle) (handle, error) {
	var v handle
	if h.Version != handleVersion {
		return v, failure.New(failure.Unsupported, "observe", "", "a handle of version %d", h.Version).
			WithHint("finish the run with the version of lifeboat that began it")
	}
	if err := json.Unmarshal(h.Data, &v); err != nil {
		return v, failure.WrapAs(failure.Corrupt, err, "read handle", "")
	}
	return v, nil
}

func pending(phase string) driver.Observation {
	return driver.Observation{State: driver.Pending, Phase: phase}
}

func failed(err error) driver.Observation {
	return driver.Observation{State: driver.Failed, Err: failure.From(err)}
}
