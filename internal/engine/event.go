package engine

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// EventKind names what happened. A kind that a build does not know makes it refuse to own the run.
type EventKind string

// The kinds. Facts come from outside of the core; decisions are derived by [State.Decide] and journalled like facts,
// so that a replay never decides again.
const (
	RunStarted    EventKind = "run-started"    // fact: the plan was accepted
	OwnerChanged  EventKind = "owner-changed"  // fact: another process drives the run
	StepIntent    EventKind = "step-intent"    // decision: an attempt is about to leave
	StepHandle    EventKind = "step-handle"    // fact: the attempt was begun
	StepProgress  EventKind = "step-progress"  // fact: the phase changed
	StepDone      EventKind = "step-done"      // fact, or decision for the engine's own actions
	StepFailed    EventKind = "step-failed"    // fact: the attempt failed; the core decides what follows
	StepCanceled  EventKind = "step-canceled"  // fact, or decision where nothing was under way
	StepSkipped   EventKind = "step-skipped"   // decision
	StepWaived    EventKind = "step-waived"    // decision: a rule was set aside in writing
	ApprovalAsked EventKind = "approval-asked" // decision
	Signalled     EventKind = "signal"         // fact: a person's word, taken or refused
	ProbeChanged  EventKind = "probe-changed"  // fact: what a client of the app saw changed
	Finished      EventKind = "finished"       // decision: the last event
)

// Event is one thing that happened to a run. Which fields are set depends on Kind. Events are written once, in order
// of Seq, and never change meaning; a new meaning is a new kind.
type Event struct {
	Seq      int64                  `json:"seq"`
	At       time.Time              `json:"at"`
	Kind     EventKind              `json:"kind"`
	Step     model.StepID           `json:"step,omitempty"`
	Attempt  int                    `json:"attempt,omitempty"`
	Token    string                 `json:"token,omitempty"`
	Handle   *driver.Handle         `json:"handle,omitempty"`
	Inputs   map[string]model.Value `json:"inputs,omitempty"`
	Outputs  map[string]model.Value `json:"outputs,omitempty"`
	Evidence []model.Fact           `json:"evidence,omitempty"`
	Phase    string                 `json:"phase,omitempty"`
	Err      *failure.Error         `json:"error,omitempty"`
	// Terminal says of a failed attempt that nothing of it is still under way; only then does the next attempt get
	// a token of its own.
	Terminal bool `json:"terminal,omitempty"`
	// Pause is the backoff that the failed attempt earns, chosen when the event is made (it holds the jitter).
	Pause   model.Duration    `json:"pause,omitempty"`
	Signal  api.Signal        `json:"signal,omitempty"`
	Key     string            `json:"key,omitempty"`     // of the signal: the same key is the same signal
	Refused string            `json:"refused,omitempty"` // why a signal has no effect
	By      string            `json:"by,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Set     map[string]string `json:"set,omitempty"`
	Epoch   int64             `json:"epoch,omitempty"`
	Start   *Start            `json:"start,omitempty"`
	Up      bool              `json:"up,omitempty"`      // ProbeChanged
	Seen    *time.Time        `json:"seen,omitempty"`    // ProbeChanged down: the last good answer, if one is known
	Outcome api.Outcome       `json:"outcome,omitempty"` // Finished
}

// Start is what a run is started with.
type Start struct {
	PlanHash string `json:"plan_hash"`
	// Waivers hold the reasons, in writing, for rules that the run may set aside when it comes to that.
	Waivers map[model.Waiver]string `json:"waivers,omitempty"`
	Force   bool                    `json:"force,omitempty"`
}

// EffectKind names what the runner is to do outside.
type EffectKind string

// The effects. None leaves before the events it follows from are durable.
const (
	Begin   EffectKind = "begin"
	Observe EffectKind = "observe"
	Cancel  EffectKind = "cancel"
	Wake    EffectKind = "wake" // call Decide again at At
)

// Effect is one thing that the runner is to do, derived from events.
type Effect struct {
	Kind    EffectKind
	Step    int // index into the plan's steps
	Resumed bool
	At      time.Time
}
