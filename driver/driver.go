// Package driver is the contract between the engine and what makes one kind of resource recoverable.
//
// A driver implements [Driver] and whichever capabilities its kind has: [Fencer], [Promoter], [Quiescer], [Reverser],
// [Redirector], [Verifier], [Driller], [Releaser], [MarkerReader], [Capturer], [Copier], [Expirer], [Restorer], [Prover], [Runner], [Canceler],
// [MarkerWriter], [Lister], [Ranger], [Streamer], [ResourceValidator], [Owner], [OutputDeclarer], [ActionDescriber],
// [Permitter], [Examiner], [Hooker], [PointKeeper]. They are found with [As], which also looks through wrappers.
//
// # Begin, then observe
//
// Everything that changes the world is begun by a capability method, which returns a [Handle] without waiting for the
// end, and is then watched with Observe. The engine journals the intent (with the request's token) before the begin,
// and the handle before the first observe; after a crash another process calls begin again with the same token
// (Resumed is set), or observes the same handle. A driver therefore promises:
//
//  1. Begin with a token whose work has begun already does not begin it a second time: it finds what the token began,
//     or the state it would lead to, and returns a handle to that.
//  2. Nothing lives in the driver's memory between calls. Requests, handles and observations are JSON.
//  3. Observe judges by role and state reached, never by "the API said available", and changes nothing. The exception
//     is work that the driver itself must push forward (poll, then next call): Observe may take the next step of it if
//     that step is idempotent.
//  4. Begin returns within seconds. A call that may or may not have had its effect ends in failure.Indeterminate.
//  5. Every call respects its context. Errors carry a kind of package failure, and a hint for the person on call.
//
// Retries, timeouts, limits and audit sit in the engine around these calls, not in drivers.
//
// The conformance suite is in driver/drivertest; a scriptable fake in driver/fake.
package driver

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Driver is what every driver can do. Methods are safe for concurrent use.
type Driver interface {
	// Facts describes the driver itself. It is constant.
	Facts() Facts
	// Describe looks at the resource at one site and changes nothing. A site that does not answer is no error: it is
	// a Description with RoleUnreachable. An error means that the question could not be asked (bad settings).
	Describe(ctx context.Context, t Target) (model.Description, error)
	// Check says what stands in the way of beginning req now, and what the operator should know. It changes nothing
	// and is called for the plan view as well as just before begin. No findings means: go. In the plan view the
	// settings of later sites may still hold ${…} references that are not known yet, and earlier steps have not run:
	// a driver reports only what an earlier step of the same plan will not mend (req.Preview is set).
	Check(ctx context.Context, req Request) ([]model.Finding, error)
	// Observe asks what became of the work behind h, which a begin for the same request returned.
	Observe(ctx context.Context, req Request, h Handle) (Observation, error)
}

// Target is one resource at one site, as asked from outside of a run.
type Target struct {
	App      model.AppID    `json:"app"`
	Resource model.Resource `json:"resource"`
	Site     model.SiteID   `json:"site"`
	Peer     model.SiteID   `json:"peer,omitempty"` // the site it follows or moves from, if any
}

// Request is one action on one resource, complete in itself.
type Request struct {
	Target
	Action    model.Action           `json:"action"`
	Operation model.Operation        `json:"operation"`
	Mode      model.Mode             `json:"mode,omitempty"`
	Run       model.RunID            `json:"run"`
	Step      model.StepID           `json:"step"`
	Attempt   int                    `json:"attempt"` // from 1
	Token     string                 `json:"token"`   // idempotency key of this attempt, at most 52 of [a-z2-7]
	Resumed   bool                   `json:"resumed,omitempty"`
	Force     bool                   `json:"force,omitempty"`   // a person asked to go on past this action's own findings
	Preview   bool                   `json:"preview,omitempty"` // Check only: nothing has been done yet
	Inputs    map[string]model.Value `json:"inputs,omitempty"`  // resolved references, also filled into the settings
	Released  *Released              `json:"released,omitempty"`
	Prepare   bool                   `json:"prepare,omitempty"` // of ActionReverse: a later step of the plan promotes the copy
	Prove     *model.ProveSpec       `json:"prove,omitempty"`   // of ActionProve
	Restore   *model.RestoreSpec     `json:"restore,omitempty"` // of ActionRestore
}

// Preview is what a step asks of its driver, on paper: before a run, with no token and no inputs.
func Preview(step model.Step) Request {
	return Request{
		Target: Target{App: step.App, Resource: step.Resource, Site: step.Site, Peer: step.Peer},
		Action: step.Action, Operation: step.Operation, Mode: step.Mode, Step: step.ID, Attempt: 1, Preview: true,
		Prepare: step.Prepare, Prove: step.Prove, Restore: step.Restore,
	}
}

// Released tells a release what the step it undoes had begun and made.
type Released struct {
	Step    model.StepID           `json:"step"`
	Token   string                 `json:"token"`
	Handle  Handle                 `json:"handle"` // zero when the begin's answer was never recorded: find by token
	Outputs map[string]model.Value `json:"outputs,omitempty"`
}

// State of observed work.
type State string

// Pending work goes on; Done reached its state; Failed never will (Observation.Err says why).
const (
	Pending State = "pending"
	Done    State = "done"
	Failed  State = "failed"
)

// Observation is what Observe saw.
type Observation struct {
	State    State                  `json:"state"`
	Phase    string                 `json:"phase,omitempty"` // for people: what is waited for, with numbers
	Again    time.Duration          `json:"again,omitempty"` // ask again after this; zero: the engine's default
	Outputs  map[string]model.Value `json:"outputs,omitempty"`
	Evidence []model.Fact           `json:"evidence,omitempty"` // what proves it; of what failed, what is known of it
	Err      *failure.Error         `json:"err,omitempty"`
}

// Facts describes a driver.
type Facts struct {
	Kind    model.Kind
	Summary string // one line for `lifeboat schema` and the docs
	// Settings and Site are pointers to zero structs: the resource's own settings and those at each site. A nil one
	// means "takes none". Field names come from json tags; a jsonschema tag may describe them. Types that implement
	// Validator are asked after decoding.
	Settings any
	Site     any
	// Outputs that a step of each action leaves for later steps.
	Outputs map[model.Action]map[string]model.ValueType
	// Verbs are better words for people than the action's own name: a process is "started", not "promoted".
	Verbs map[model.Action]string
	// Effects say what an action changes outside, as shown before it runs: "stops the server and writes
	// standby.signal". An action with an effect that destroys something is listed in Destructive too.
	Effects     map[model.Action]string
	Destructive []model.Action
	// Timeouts of one attempt; DefaultTimeout where an action is not listed.
	Timeouts map[model.Action]time.Duration
	// Reversible drivers can be re-protected the other way after a move. Stateful ones hold data that a second writer
	// would corrupt: traffic moves only after they are fenced.
	Stateful bool
	// Lossy kinds move without waiting until all that was accepted has arrived, in a planned move too.
	Lossy bool
	// Vault says whether resources of the kind keep recovery points in a vault.
	Vault VaultUse
	// Shared are fields of Site that a site of the file can say once for all resources of a family of kinds, such as the
	// account and region under aws. It gives the field's type, a pointer to a zero struct, by the field's name. What a
	// resource says itself wins as a whole.
	Shared map[string]any
	// Named says that a restored copy gets a name (RestoreSpec.Name) rather than a folder.
	Named bool
	// Approved are actions that in a failback delete what cannot be made again from elsewhere, and in no other operation;
	// they are listed in Destructive too. A failback with one of them waits for at least one person's approval, also when
	// the app asks for none.
	Approved []model.Action
}

// VaultUse says whether a resource names a vault.
type VaultUse string

// The uses of a vault. A kind without one takes no vault; when it is a [Capturer] all the same, it keeps recovery points by
// means of its own, such as a provider's snapshots, and takes a policy for them.
const (
	NoVault       VaultUse = ""
	VaultOptional VaultUse = "optional"
	VaultRequired VaultUse = "required"
)

// KeepsPoints says whether r keeps recovery points: in its vault, or by means that its kind has of its own.
func KeepsPoints(d Driver, r model.Resource) bool {
	if keeper, ok := As[PointKeeper](d); ok && !keeper.KeepsPoints(r) {
		return false
	}
	return Can(d, model.ActionCapture) && (d.Facts().Vault == NoVault || r.Vault != nil)
}

// PointKeeper is implemented by kinds that can keep recovery points and do not for all of their resources. It looks at
// nothing but r.
type PointKeeper interface{ KeepsPoints(r model.Resource) bool }

// DefaultTimeout bounds one attempt of a step whose driver says nothing else.
const DefaultTimeout = 10 * time.Minute

// Validator is implemented by settings structs that have rules beyond their types. The message names the field as
// "field: what is wrong", so that the configuration can show its position.
type Validator interface{ Validate() error }

// ResourceValidator is implemented by drivers with rules that no one part of a resource's settings shows: those that go
// over its own settings, its vault and its sites. It looks at nothing but r, whose parts have passed their own rules. The
// message begins as a Validator's does, with the path in the resource: "settings.recovery: what is wrong".
type ResourceValidator interface {
	ValidateResource(r model.Resource) error
}

// Owner is implemented by kinds whose resources are things that have a name outside. Owns gives those of r at all of its sites, in
// words such as "instance orders in eu-west-1 of account 111111111111", and looks at nothing but r, which is valid. No two
// resources are the same thing, of whatever kind they are: each would move what is the other's.
type Owner interface {
	Owns(r model.Resource) []string
}

// Text, Number, Endpoint, URL and Time make typed outputs.
func Text(s string) model.Value     { return model.Value{Type: model.TypeText, Text: s} }
func Number(s string) model.Value   { return model.Value{Type: model.TypeNumber, Text: s} }
func Endpoint(s string) model.Value { return model.Value{Type: model.TypeEndpoint, Text: s} }
func URL(s string) model.Value      { return model.Value{Type: model.TypeURL, Text: s} }
func Time(t time.Time) model.Value {
	return model.Value{Type: model.TypeTime, Text: t.UTC().Format(time.RFC3339Nano)}
}
