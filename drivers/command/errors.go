package command

import (
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// unproven is the error of a fence that cannot be proved.
func unproven(cause error, id model.ResourceID) *failure.Error {
	e := failure.New(failure.Unavailable, "fence", string(id), "fence-unproven: it cannot be seen to be stopped")
	e.Cause = cause
	return e.WithHint("make sure by hand that it cannot serve (power off, block its network), then: " +
		"lifeboat run skip RUN STEP --reason, or retry once the host answers")
}
