package driver

import (
	"fmt"
	"slices"
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

// The names of the evidence that reports measure the RPO of resources without markers by.
const (
	asOf      = "holds all until"
	lastState = "last state"
	source    = "source"
	wasBehind = "was behind by"
)

// AsOf is evidence of a step that makes a copy serve: the copy holds all that was accepted until an instant, and what was accepted
// later may be lost. Reports measure the RPO of resources without markers by it.
func AsOf(at time.Time) model.Fact {
	return Fact(asOf, "%s", at.UTC().Format(time.RFC3339Nano))
}

// ReadAsOf is the instant of [AsOf] among a step's evidence.
func ReadAsOf(evidence []model.Fact) (at time.Time, ok bool) {
	text, ok := valueOf(asOf, evidence)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at, err == nil
}

// Behind is evidence of how far a copy was seen to be behind what it followed, and when, before it was made to serve: what is known of a
// loss that nothing proves. Reports say it, and measure nothing by it.
func Behind(lag time.Duration, at time.Time) model.Fact {
	return Fact(wasBehind, "%s at %s", lag, at.UTC().Format(time.RFC3339))
}

// ReadBehind is what [Behind] says among a step's evidence, in its words.
func ReadBehind(evidence []model.Fact) (said string, ok bool) { return valueOf(wasBehind, evidence) }

// LastState is evidence of a step that made sure first that the old copy accepts no writes, and then that what is named, such as
// "snapshot X", holds all that it had accepted. A move that goes on from the very thing, which [Source] says, lost nothing.
func LastState(name string) model.Fact { return Fact(lastState, "%s", name) }

// ReadLastState is what [LastState] names among a step's evidence.
func ReadLastState(evidence []model.Fact) (name string, ok bool) { return valueOf(lastState, evidence) }

// Source is evidence of a step that makes a copy serve: what that was made of, or was before.
func Source(name string) model.Fact { return Fact(source, "%s", name) }

// ReadSource is what [Source] names among a step's evidence.
func ReadSource(evidence []model.Fact) (name string, ok bool) { return valueOf(source, evidence) }

func valueOf(name string, evidence []model.Fact) (string, bool) {
	at := slices.IndexFunc(evidence, func(f model.Fact) bool { return f.Name == name })
	if at < 0 {
		return "", false
	}
	return evidence[at].Value, true
}

// Unproven is the error of a fence that cannot prove that the old copy accepts no more writes, with the code that [Fencer]
// asks for. The cause may be nil; byHand is what a person does about it, as in "power the host off".
func Unproven(cause error, subject, byHand, format string, args ...any) *failure.Error {
	return &failure.Error{Op: "fence", Subject: subject, Kind: failure.Unavailable, Message: "fence-unproven: " + fmt.Sprintf(format, args...), Cause: cause,
		Hint: byHand + ", then: lifeboat run force RUN STEP --reason \"…\""}
}

// MovedUnproven is the observation of a fence that has given the role to the other copy, and cannot prove that the old one accepts no
// more writes. Its kind is failure.Unsupported, so that a person is asked at once and nothing is tried again by itself: all but the
// proof is done, and clients wait. What was learnt of the move is kept with the step.
func MovedUnproven(why *failure.Error, evidence ...model.Fact) Observation {
	said := *why
	said.Kind = failure.Unsupported
	return Observation{State: Failed, Err: &said, Evidence: evidence}
}
