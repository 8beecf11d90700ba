package command

import (
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// unproven is the error of a fence that cannot be proved.
func unproven(cause error, id model.ResourceID) *failure.Error {
	return driver.Unproven(cause, string(id), "retry once the host answers, or make sure by hand that it cannot serve (power off, block its network)",
		"it cannot be seen to be stopped")
}
