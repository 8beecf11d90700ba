package driver

import (
	"fmt"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Waiting is an observation of work that goes on, with what is waited for.
func Waiting(format string, args ...any) Observation {
	return Observation{State: Pending, Phase: fmt.Sprintf(format, args...)}
}

// Succeeded is an observation of work that reached its state, with what proves it.
func Succeeded(evidence ...model.Fact) Observation {
	return Observation{State: Done, Evidence: evidence}
}

// FailedWith is an observation of work that will not reach its state, and why.
func FailedWith(err error) Observation {
	return Observation{State: Failed, Err: failure.From(err)}
}

// Fact is a piece of evidence.
func Fact(name, format string, args ...any) model.Fact {
	return model.Fact{Name: name, Value: fmt.Sprintf(format, args...)}
}
