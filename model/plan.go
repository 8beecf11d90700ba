package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Action is what one step does. Each is one capability of a driver, except ActionApprove and ActionJoin, which are the
// engine's own.
type Action string

// The actions.
const (
	ActionFence      Action = "fence"       // prove that the copy at Site accepts no more writes
	ActionQuiesce    Action = "quiesce"     // stop accepting work at Site, with everything accepted carried over
	ActionPromote    Action = "promote"     // make the copy at Site the serving one
	ActionReverse    Action = "reverse"     // make Site follow Peer: re-protect the other way
	ActionRedirect   Action = "redirect"    // move traffic to Site
	ActionVerify     Action = "verify"      // ask a question, until it is answered well
	ActionReadMarker Action = "read-marker" // read the marker in the copy at Site: the measured RPO
	ActionDrill      Action = "drill"       // bring up an isolated copy at Site
	ActionRelease    Action = "release"     // remove what a drill step made
	ActionCapture    Action = "capture"     // make a recovery point
	ActionRestore    Action = "restore"     // bring a recovery point back
	ActionProve      Action = "prove"       // restore a recovery point apart from everything, start it and check it
	ActionCopy       Action = "copy"        // bring the recovery points' second copies up to date
	ActionExpire     Action = "expire"      // remove the recovery points that need not be kept
	ActionRun        Action = "run"         // a user's own step
	ActionApprove    Action = "approve"     // wait for people
	ActionJoin       Action = "join"        // nothing: where branches meet, such as the end of a sub-plan
)

// ValueType is the type of a step's output.
type ValueType string

// The types of outputs. An endpoint is host:port; a time is RFC 3339 with nanoseconds.
const (
	TypeText     ValueType = "text"
	TypeNumber   ValueType = "number"
	TypeEndpoint ValueType = "endpoint"
	TypeURL      ValueType = "url"
	TypeTime     ValueType = "time"
	TypeLSN      ValueType = "lsn"
)

// Value is one typed output of a step. Text is its canonical form.
type Value struct {
	Type ValueType `json:"type"`
	Text string    `json:"text"`
}

// Fact is one named thing that was seen, such as {"role", "primary"}: evidence in reports, details in descriptions.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// When says on which outcomes of its needs a step runs.
type When string

// OnSuccess steps run when all they need succeeded. Always steps run when all they need is over, however it ended:
// releases, which must happen also after failures and aborts.
const (
	OnSuccess When = ""
	Always    When = "always"
)

// Waiver is the name of a rule that a person may set aside in writing for one run.
type Waiver string

// Unfenced goes on without the proof that the old copy takes no more writes.
const Unfenced Waiver = "unfenced"

// Input is a reference from a step's settings to an earlier step's output.
type Input struct {
	Ref    string    `json:"ref"` // as written in the settings: "db.endpoint" in "${db.endpoint}"
	Step   StepID    `json:"step"`
	Output string    `json:"output"`
	Type   ValueType `json:"type"`
}

// Step is one node of a plan.
type Step struct {
	ID          StepID               `json:"id"`
	Title       string               `json:"title"`  // one line: what it does, to what, where
	Effect      string               `json:"effect"` // what changes outside, in words; empty when nothing does
	Action      Action               `json:"action"`
	Kind        Kind                 `json:"kind,omitempty"`     // the driver; empty for the engine's own actions
	Resource    Resource             `json:"resource,omitzero"`  // frozen: the run is not changed by later edits
	Site        SiteID               `json:"site,omitempty"`     // where it acts
	Peer        SiteID               `json:"peer,omitempty"`     // the other site of the move
	Needs       []StepID             `json:"needs,omitempty"`    // earlier steps only
	Inputs      []Input              `json:"inputs,omitempty"`   // filled into the settings before the step starts
	Outputs     map[string]ValueType `json:"outputs,omitempty"`  // what later steps may rely on
	When        When                 `json:"when,omitempty"`     //
	Releases    StepID               `json:"releases,omitempty"` // the step whose leavings this one removes; skipped if that never began
	Waiver      Waiver               `json:"waiver,omitempty"`   // may be set aside by a person, in writing
	Approvals   int                  `json:"approvals,omitempty"`
	Destructive bool                 `json:"destructive,omitempty"`
	Advisory    bool                 `json:"advisory,omitempty"` // its failure is recorded and holds nothing up
	Outage      bool                 `json:"outage,omitempty"`   // clients wait for this step: it counts for the RTO
	Timeout     Duration             `json:"timeout"`            // of one attempt, from begin to the end of observation
	Attempts    int                  `json:"attempts"`           // at most, before a person is asked
	App         AppID                `json:"app,omitempty"`
	Operation   Operation            `json:"operation,omitempty"` // of the (sub-)plan it belongs to
	Mode        Mode                 `json:"mode,omitempty"`
	Prepare     bool                 `json:"prepare,omitempty"` // of ActionReverse: a later step of the plan promotes the copy
	Prove       *ProveSpec           `json:"prove,omitempty"`   // of ActionProve
	Restore     *RestoreSpec         `json:"restore,omitempty"` // of ActionRestore
}

// Plan is the graph of steps that carries out one operation. Steps are in an order in which each follows all it needs.
// A Plan is immutable once a run uses it.
type Plan struct {
	Format    int       `json:"format"` // PlanFormat of the writer
	Name      string    `json:"name"`   // of a user's plan; else the operation and the app
	App       AppID     `json:"app,omitempty"`
	Operation Operation `json:"operation"`
	Mode      Mode      `json:"mode,omitempty"`
	From      SiteID    `json:"from,omitempty"` // where the app serves when the plan is made
	To        SiteID    `json:"to,omitempty"`
	Objective Objective `json:"objective"`
	Limits    Limits    `json:"limits"`
	Probe     *Check    `json:"probe,omitempty"`
	// GiveUp says that a step which failed for good fails the run, so that what was made is released without
	// waiting for a person: drills. Otherwise the branch pauses and asks.
	GiveUp bool   `json:"give_up,omitempty"`
	Steps  []Step `json:"steps"`
}

// PlanFormat is the version of Plan that this build writes. It reads this and all earlier ones.
const PlanFormat = 1

// Hash identifies a plan's content; an approval is for one hash.
func (p *Plan) Hash() string {
	sum := sha256.New()
	if err := p.Encode(sum); err != nil {
		panic(fmt.Sprintf("model: a plan cannot be marshalled: %v", err)) // all fields are plain data
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Encode writes what json.Marshal gives, a step at a time, so that a plan of many steps is never in memory as text.
func (p *Plan) Encode(w io.Writer) error {
	frame := *p
	if len(p.Steps) > 0 {
		frame.Steps = []Step{}
	}
	text, err := json.Marshal(frame)
	if err != nil || len(p.Steps) == 0 {
		return errors.Join(err, write(w, text))
	}
	end := bytes.LastIndex(text, []byte("]}")) // steps are the last field
	if err := write(w, text[:end]); err != nil {
		return err
	}
	for i := range p.Steps {
		step, err := json.Marshal(&p.Steps[i])
		if err != nil {
			return err
		}
		if i > 0 {
			step = append([]byte{','}, step...)
		}
		if err := write(w, step); err != nil {
			return err
		}
	}
	return write(w, text[end:])
}

func write(w io.Writer, text []byte) error {
	_, err := w.Write(text)
	return err
}

// Step finds a step by its id.
func (p *Plan) Step(id StepID) (Step, bool) {
	for _, s := range p.Steps {
		if s.ID == id {
			return s, true
		}
	}
	return Step{}, false
}

// Severity of a finding.
type Severity string

// Block findings stop an operation until mended or forced; the others are shown.
const (
	Block Severity = "block"
	Warn  Severity = "warn"
	Note  Severity = "note"
)

// Finding is something the operator should know before an operation: what, why it matters, what mends it.
type Finding struct {
	Severity Severity   `json:"severity"`
	Code     string     `json:"code"` // stable, kebab-case
	Resource ResourceID `json:"resource,omitempty"`
	Site     SiteID     `json:"site,omitempty"`
	Step     StepID     `json:"step,omitempty"`
	What     string     `json:"what"`
	Why      string     `json:"why,omitempty"`
	Fix      string     `json:"fix,omitempty"` // a command, where there is one
}

// Role is what a copy of a resource is at a site.
type Role string

// The roles.
const (
	RolePrimary     Role = "primary" // serves, takes writes
	RoleStandby     Role = "standby" // follows a primary
	RoleStopped     Role = "stopped" // there, not running
	RoleAbsent      Role = "absent"  // not there
	RoleUnreachable Role = "unreachable"
	RoleFenced      Role = "fenced" // there, proven to take no writes
	RoleUnknown     Role = "unknown"
)

// Description is what a resource is at one site, as of At.
type Description struct {
	Resource ResourceID       `json:"resource"`
	Site     SiteID           `json:"site"`
	At       time.Time        `json:"at"`
	Role     Role             `json:"role"`
	Healthy  bool             `json:"healthy"`
	Summary  string           `json:"summary"`
	LagBytes *int64           `json:"lag_bytes,omitempty"` // of a standby, behind its primary; nil when not known
	LagTime  *Duration        `json:"lag_time,omitempty"`
	Sync     bool             `json:"sync,omitempty"` // what the primary acknowledges is already here
	Outputs  map[string]Value `json:"outputs,omitempty"`
	Facts    []Fact           `json:"facts,omitempty"`
	// Stateless says that the resource's kind holds no data, so that nothing can be behind. Whoever asks the driver sets it.
	Stateless bool `json:"stateless,omitempty"`
}

// Point is a recovery point: a state of a resource, as of an instant, that it can be brought back to.
type Point struct {
	ID       string     `json:"id"`
	Resource ResourceID `json:"resource"`
	Site     SiteID     `json:"site"`
	At       time.Time  `json:"at"`             // the instant whose state it holds
	Live     bool       `json:"live,omitempty"` // moves forward by itself, like a standby
	Summary  string     `json:"summary"`
	ProvedAt *time.Time `json:"proved_at,omitempty"` // last proved by a real restore
	ProvedBy RunID      `json:"proved_by,omitempty"`
	// Proof is what the last real restore of it said, good or bad, where its kind keeps that; ProvedAt is the last good one.
	Proof *Proof `json:"proof,omitempty"`
	// Position is the state in the driver's own words; Bytes is how much it brings back. Both may be unknown.
	Position string `json:"position,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
}

// Marker is a timestamp that Lifeboat writes into a protected resource.
type Marker struct {
	Seq int64     `json:"seq"` // grows by one with each marker of a resource
	At  time.Time `json:"at"`  // when it was written, by the writer's clock
}
