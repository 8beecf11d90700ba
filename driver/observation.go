package driver

import (
	"fmt"
	"time"

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

// asOf is the name of the evidence that AsOf makes.
const asOf = "holds all until"

// AsOf is evidence of a step that makes a copy serve: the copy holds all that was accepted until an instant, and what was accepted
// later may be lost. Reports measure the RPO of resources without markers by it.
func AsOf(at time.Time) model.Fact {
	return Fact(asOf, "%s", at.UTC().Format(time.RFC3339Nano))
}

// ReadAsOf is the instant of [AsOf] among a step's evidence.
func ReadAsOf(evidence []model.Fact) (at time.Time, ok bool) {
	for _, f := range evidence {
		if f.Name == asOf {
			at, err := time.Parse(time.RFC3339Nano, f.Value)
			return at, err == nil
		}
	}
	return time.Time{}, false
}

// Unproven is the error of a fence that cannot prove that the old copy accepts no more writes, with the code that [Fencer]
// asks for. The cause may be nil; byHand is what a person does about it, as in "power the host off".
func Unproven(cause error, subject, byHand, format string, args ...any) *failure.Error {
	return &failure.Error{Op: "fence", Subject: subject, Kind: failure.Unavailable, Message: "fence-unproven: " + fmt.Sprintf(format, args...), Cause: cause,
		Hint: byHand + ", then: lifeboat run force RUN STEP --reason \"…\""}
}
