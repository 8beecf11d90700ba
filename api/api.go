// Package api is the one door to Lifeboat: the service that the command line, and later the console and other
// programs, call. It is answered in-process by internal/service, and over the wire when there is a controller.
//
// Requests and replies are plain data that can be written as JSON; `-o json` prints replies as they are.
package api

import (
	"context"
	"iter"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Service is everything that Lifeboat does. Errors carry kinds of package failure.
type Service interface {
	// Plan derives a plan and looks at the world, and changes nothing.
	Plan(ctx context.Context, req PlanRequest) (*PlanReply, error)
	// Start makes a run durable and begins to drive it from this process. It returns once the run is recorded; the
	// run goes on until Close, and can be taken up by any other process after that.
	Start(ctx context.Context, req StartRequest) (*RunView, error)
	// Drive takes up a run that nobody drives, or waits in line behind the one who does. It returns at once.
	Drive(ctx context.Context, run model.RunID) error
	// Runs lists runs, newest first.
	Runs(ctx context.Context, req RunsRequest) ([]RunSummary, error)
	// Run shows one run as of now. An id may be shortened as long as it is unique; "last" is the newest.
	Run(ctx context.Context, run model.RunID) (*RunView, error)
	// Watch yields the run's view each time it changes, ending after a final one or with an error.
	Watch(ctx context.Context, run model.RunID) iter.Seq2[*RunView, error]
	// Signal sends a person's word to a run: approval, pause, retry, ... It returns once the word is durable.
	Signal(ctx context.Context, req SignalRequest) (*SignalReply, error)
	// Report gives the report of a finished run, or what there is of an unfinished one.
	Report(ctx context.Context, run model.RunID) (*Report, error)
	// Status describes an app's resources at all its sites.
	Status(ctx context.Context, app model.AppID) (*StatusReply, error)
	// Points lists an app's recovery points, each with what its last real restore said, and the stretches of time in which
	// its resources can be brought back to every state.
	Points(ctx context.Context, app model.AppID) (*PointsReply, error)
	// Doctor tries an app's operations on paper and says what they would miss. It changes nothing.
	Doctor(ctx context.Context, req DoctorRequest, watch DoctorWatch) (*DoctorReply, error)
	// Policy says which permissions an app's operations need of its providers, or a user's own plan. Of an app it asks nobody.
	Policy(ctx context.Context, req PolicyRequest) (*PolicyReply, error)
	// Protect writes markers, probes the app, and makes the recovery points that are due by their schedules: once, or at
	// the app's intervals until ctx ends. Each round is yielded.
	Protect(ctx context.Context, req ProtectRequest) iter.Seq2[*ProtectRound, error]
	// Close stops driving, leaving runs to be taken up again, and gives up what the service holds.
	Close() error
}

// PlanRequest asks for the plan of an operation on an app, or with Custom for a user's own plan.
type PlanRequest struct {
	App       model.AppID     `json:"app,omitempty"`
	Operation model.Operation `json:"operation"`
	Mode      model.Mode      `json:"mode,omitempty"` // empty: planned if the home site answers, else unplanned
	To        model.SiteID    `json:"to,omitempty"`   // empty: the app's first recovery site, or home for a failback
	From      model.SiteID    `json:"from,omitempty"` // empty: where the app serves now, as seen
	Custom    string          `json:"custom,omitempty"`
	// Payload is a StatePayload document that is the plan Custom, in place of one of lifeboat.yaml.
	Payload *PayloadAsk `json:"payload,omitempty"`
	// Resources are those to protect or to prove; empty: all that have recovery points. A restore takes exactly one, other
	// operations none.
	Resources []model.ResourceID `json:"resources,omitempty"`
	// Prove says what a prove proves, nil: what the policies say. Restore says what a restore restores, and where.
	Prove   *ProveAsk          `json:"prove,omitempty"`
	Restore *model.RestoreSpec `json:"restore,omitempty"`
}

// PayloadAsk is a StatePayload document, and where it is to run.
type PayloadAsk struct {
	File    string       `json:"file"` // for people
	Content []byte       `json:"content"`
	Site    model.SiteID `json:"site"`           // where the databases are brought up, or made to follow again
	Peer    model.SiteID `json:"peer,omitempty"` // the other site; empty: the only other one that is in AWS
}

// PayloadReply is a StatePayload document as it was read, and with a site the plan that would run there.
type PayloadReply struct {
	Payload *model.Payload `json:"payload"`
	Site    model.SiteID   `json:"site,omitempty"` // where it was asked to run
	Plan    *PlanReply     `json:"plan,omitempty"`
}

// ProveAsk says which points are proved, and how.
type ProveAsk struct {
	Points []string `json:"points,omitempty"` // by their ids, or beginnings of them; empty: as Every says
	Every  string   `json:"every,omitempty"`  // newest, all, or a share such as 20%; empty: each resource's policy, else newest
	Checks []string `json:"checks,omitempty"` // beside the policy's
	// Bisect finds the newest state of one resource that passes Checks; the policy's are not asked then. It ends once good
	// and bad are no further apart than Within, or, when that is zero, than one transaction.
	Bisect bool           `json:"bisect,omitempty"`
	Within model.Duration `json:"within,omitempty"`
}

// PlanReply is a plan with what was seen while making it.
type PlanReply struct {
	Plan       *model.Plan         `json:"plan"`
	Hash       string              `json:"hash"`
	Findings   []model.Finding     `json:"findings"`
	Prediction Prediction          `json:"prediction"`
	Sites      []model.Description `json:"sites"` // the resources as seen
}

// Prediction says what the operation would cost if it ran now.
type Prediction struct {
	// RTO is the critical path through the steps that clients wait for, over the durations of earlier runs; nil when
	// there is no history of some step on it (Unknown lists those).
	RTO     *model.Duration `json:"rto,omitempty"`
	Unknown []model.StepID  `json:"unknown,omitempty"`
	Runs    int             `json:"runs"` // how many earlier runs it rests on
	// RPO is what would be lost now; nil when it cannot be told, and then Basis says why.
	RPO   *model.Duration `json:"rpo,omitempty"`
	Basis string          `json:"basis"`
}

// StartRequest starts an operation. The plan is derived again; when Hash is set and the plan has become another one,
// nothing starts (failure.Conflict).
type StartRequest struct {
	PlanRequest
	Hash           string `json:"hash,omitempty"`
	AcceptUnfenced string `json:"accept_unfenced,omitempty"` // the reason, in writing
	Force          bool   `json:"force,omitempty"`           // start although something blocks it
	By             string `json:"by"`                        // who asks
	Key            string `json:"key,omitempty"`             // the caller's idempotency key: the same key is the same run
}

// Outcome of a run.
type Outcome string

// Outcomes. A run that is not over has the empty outcome.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Aborted   Outcome = "aborted"
)

// RunsRequest narrows a listing.
type RunsRequest struct {
	App    model.AppID `json:"app,omitempty"`
	Active bool        `json:"active,omitempty"`
	Limit  int         `json:"limit,omitempty"`
}

// RunSummary is a run in a list.
type RunSummary struct {
	ID        model.RunID     `json:"id"`
	Name      string          `json:"name"`
	App       model.AppID     `json:"app,omitempty"`
	Operation model.Operation `json:"operation"`
	Mode      model.Mode      `json:"mode,omitempty"`
	From      model.SiteID    `json:"from,omitempty"`
	To        model.SiteID    `json:"to,omitempty"`
	Status    string          `json:"status"` // running, paused, asking, waiting-approval, unattended, or the outcome
	Outcome   Outcome         `json:"outcome,omitempty"`
	By        string          `json:"by,omitempty"`
	Started   time.Time       `json:"started"`
	Ended     *time.Time      `json:"ended,omitempty"`
	Done      int             `json:"done"`
	Total     int             `json:"total"`
}

// StepStatus is how far a step is.
type StepStatus string

// The statuses. Asking means: failed for good, a person decides. The last four are final.
const (
	StepWaiting   StepStatus = "waiting"  // for what it needs, or for a place under a limit
	StepApproval  StepStatus = "approval" // for people
	StepBeginning StepStatus = "beginning"
	StepRunning   StepStatus = "running"
	StepRetrying  StepStatus = "retrying" // until RetryAt
	StepAsking    StepStatus = "asking"
	StepDone      StepStatus = "done"
	StepWaived    StepStatus = "waived"  // set aside by a person, in writing
	StepSkipped   StepStatus = "skipped" // by a person, or because what it needs did not succeed
	StepFailed    StepStatus = "failed"
	StepCanceled  StepStatus = "canceled"
)

// StepView is one step of a run.
type StepView struct {
	ID        model.StepID           `json:"id"`
	Title     string                 `json:"title"`
	Resource  model.ResourceID       `json:"resource,omitempty"`
	Action    model.Action           `json:"action"`
	Site      model.SiteID           `json:"site,omitempty"`
	Needs     []model.StepID         `json:"needs,omitempty"`
	Status    StepStatus             `json:"status"`
	Attempt   int                    `json:"attempt,omitempty"`
	Phase     string                 `json:"phase,omitempty"`
	Started   *time.Time             `json:"started,omitempty"` // first intent
	Ended     *time.Time             `json:"ended,omitempty"`
	RetryAt   *time.Time             `json:"retry_at,omitempty"`
	Outputs   map[string]model.Value `json:"outputs,omitempty"`
	Evidence  []model.Fact           `json:"evidence,omitempty"`
	Err       *failure.Error         `json:"error,omitempty"`
	Reason    string                 `json:"reason,omitempty"` // a person's, for skip, force and waiver
	By        string                 `json:"by,omitempty"`
	Approvals []Approval             `json:"approvals,omitempty"`
	Needed    int                    `json:"approvals_needed,omitempty"`
	Outage    bool                   `json:"outage,omitempty"`
	// Waiver is the rule behind the step, if any: such a step cannot be skipped, only set aside in writing (force).
	Waiver model.Waiver `json:"waiver,omitempty"`
}

// Approval is one person's yes.
type Approval struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// RunView is a run as of At.
type RunView struct {
	RunSummary
	At        time.Time       `json:"at"`
	PlanHash  string          `json:"plan_hash"`
	Objective model.Objective `json:"objective"`
	Owner     string          `json:"owner,omitempty"` // who drives it; empty: nobody
	Epoch     int64           `json:"epoch"`
	Unread    int             `json:"unread,omitempty"` // people's signals that whoever drives it has not read yet
	Steps     []StepView      `json:"steps"`
	Notes     []RunNote       `json:"notes,omitempty"` // what people and owners did, in order
	Final     bool            `json:"final"`
}

// RunNote is something that happened to the run as a whole.
type RunNote struct {
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"`
	What string    `json:"what"`
}

// Signal is a person's word to a run.
type Signal string

// The signals. Skip, force and waive need a reason; skip, force, retry and approve name a step (approve and retry
// without one mean the only step that waits).
const (
	Approve Signal = "approve"
	Pause   Signal = "pause"
	Resume  Signal = "resume"
	Retry   Signal = "retry"
	Skip    Signal = "skip"
	Force   Signal = "force"
	Abort   Signal = "abort"
)

// SignalRequest sends a signal.
type SignalRequest struct {
	Run    model.RunID       `json:"run"`
	Signal Signal            `json:"signal"`
	Step   model.StepID      `json:"step,omitempty"`
	Reason string            `json:"reason,omitempty"`
	By     string            `json:"by"`
	Set    map[string]string `json:"set,omitempty"` // skip: outputs in place of the step's
	Key    string            `json:"key,omitempty"` // the caller's idempotency key
}

// SignalReply says what became of it so far.
type SignalReply struct {
	Run      model.RunID  `json:"run"`
	Step     model.StepID `json:"step,omitempty"`
	Attended bool         `json:"attended"` // somebody drives the run and will act on it; else: lifeboat run resume
}

// StatusReply describes an app.
type StatusReply struct {
	App       model.AppID         `json:"app"`
	Serving   model.SiteID        `json:"serving,omitempty"` // where its stateful resources are primary
	Home      model.SiteID        `json:"home"`
	Objective model.Objective     `json:"objective"`
	Resources []model.Description `json:"resources"`
	Streams   []model.Stream      `json:"streams,omitempty"` // of resources whose record of changes flows to other sites
	Findings  []model.Finding     `json:"findings"`
	Active    []RunSummary        `json:"active,omitempty"`
	LastDrill *RunSummary         `json:"last_drill,omitempty"`
}

// PointsReply is what an app can be brought back to.
type PointsReply struct {
	Points []model.Point `json:"points"` // newest first
	Ranges []model.Range `json:"ranges"` // by resource, oldest first
	// Missed says which places could not be asked: what they have is not in the lists.
	Missed []*failure.Error `json:"missed,omitempty"`
}

// ProtectRequest asks for markers and probes.
type ProtectRequest struct {
	App   model.AppID     `json:"app"`
	Every *model.Duration `json:"every,omitempty"` // override the app's interval; nil: the app's; with Once: ignored
	Once  bool            `json:"once,omitempty"`
	// Stop ends what receives the app's changes at its sites, and does nothing else: Protect starts it again.
	Stop bool `json:"stop,omitempty"`
	// Metrics is where Prometheus' text is served meanwhile, as HOST:PORT at /metrics; without a host it is reached from this
	// machine only. Empty: nowhere.
	Metrics string `json:"metrics,omitempty"`
}

// ProtectRound is one round of protection.
type ProtectRound struct {
	At      time.Time                         `json:"at"`
	Markers map[model.ResourceID]model.Marker `json:"markers,omitempty"`
	ProbeOK *bool                             `json:"probe_ok,omitempty"`
	// Points are the recovery points whose making began or ended since the round before, by schedule.
	Points []PointRound `json:"points,omitempty"`
	// Proofs are the same of proofs: runs of the operation prove.
	Proofs []PointRound     `json:"proofs,omitempty"`
	Errors []*failure.Error `json:"errors,omitempty"`
	// Streams are how the records of changes flow, as of the last look.
	Streams []model.Stream `json:"streams,omitempty"`
}

// PointRound is how far the making of recovery points by schedule is, a run of the operation protect, or their proof.
type PointRound struct {
	Resources []model.ResourceID `json:"resources"`
	Run       model.RunID        `json:"run"`
	Outcome   Outcome            `json:"outcome,omitempty"` // empty: it has just begun
	Why       string             `json:"why,omitempty"`     // of points that no schedule asked for
}

// Measure is one measured duration against its objective.
type Measure struct {
	Value     *model.Duration `json:"value,omitempty"` // nil: not measured, and Basis says why
	Seconds   *float64        `json:"seconds,omitempty"`
	Objective *model.Duration `json:"objective,omitempty"`
	Met       *bool           `json:"met,omitempty"`
	Basis     string          `json:"basis"` // from what it was measured
	// From and To are the instants that Value spans, where there are two such instants: for the RTO the clients' last
	// good answer before the outage and their first good one after it. Both or neither are set.
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
}

// CheckResult is one check of a run.
type CheckResult struct {
	Name   string         `json:"name"`
	Step   model.StepID   `json:"step"`
	Passed bool           `json:"passed"`
	Detail string         `json:"detail,omitempty"`
	Took   model.Duration `json:"took"`
}

// Report is what happened in a run, against the objective.
type Report struct {
	Format    int           `json:"format"`
	Run       RunView       `json:"run"`
	Plan      *model.Plan   `json:"plan"`
	OK        bool          `json:"ok"` // succeeded, every check passed, nothing set aside
	RTO       Measure       `json:"rto"`
	RPO       Measure       `json:"rpo"`
	Checks    []CheckResult `json:"checks"`
	Waived    []StepView    `json:"waived,omitempty"`
	Events    []Event       `json:"events"`
	Signature *Signature    `json:"signature,omitempty"`
}

// Event is one journalled event, as shown in a report.
type Event struct {
	Seq  int64        `json:"seq"`
	At   time.Time    `json:"at"`
	Kind string       `json:"kind"`
	Step model.StepID `json:"step,omitempty"`
	By   string       `json:"by,omitempty"`
	Text string       `json:"text"`
	Hash string       `json:"hash"` // over this event and the hash before it
}

// Signature makes a report verifiable offline: Ed25519 over Head, which is the last event's hash, and the report's
// content hash.
type Signature struct {
	Algorithm string `json:"algorithm"`
	PublicKey string `json:"public_key"`
	Head      string `json:"head"`
	Content   string `json:"content"`
	Value     string `json:"value"`
}

// Documents is what needs no state and no site: configuration files and reports as documents.
type Documents interface {
	// Init writes a commented lifeboat.yaml to path. It never overwrites (failure.Exists).
	Init(ctx context.Context, path string) error
	// Validate reads and checks a configuration, whole. All its errors are reported at once, each with its position.
	Validate(ctx context.Context, path string) (*ValidateReply, error)
	// Schema is the JSON Schema of lifeboat.yaml, for editors.
	Schema(ctx context.Context) ([]byte, error)
	// Payload reads a StatePayload document of AWS's DR Orchestrator Framework. What is wrong with it is in its remarks. File is
	// its name for people.
	Payload(ctx context.Context, file string, content []byte) (*model.Payload, error)
	// Render writes a report as html, json, md or junit.
	Render(ctx context.Context, r *Report, format string) ([]byte, error)
	// VerifyReport checks a JSON report's hash chain and signature, offline.
	VerifyReport(ctx context.Context, report []byte) (*VerifyReply, error)
}

// ValidateReply says what a configuration holds. When it is wrong, Problems is not empty.
type ValidateReply struct {
	Path     string    `json:"path"`
	Sites    int       `json:"sites"`
	Apps     int       `json:"apps"`
	Plans    int       `json:"plans"`
	Problems []Problem `json:"problems,omitempty"`
	// AppIDs and PlanNames name the apps and the user's own plans, sorted; as far as they could be read when there are
	// problems. Commands that take "all apps", and completion in shells, go by them.
	AppIDs    []model.AppID `json:"app_ids,omitempty"`
	PlanNames []string      `json:"plan_names,omitempty"`
}

// Problem is one mistake in a configuration file. Line and Column count from 1; zero when there is no place for it.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Source  string `json:"source,omitempty"` // the line itself
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// VerifyReply says what a report's signature covers.
type VerifyReply struct {
	Valid     bool   `json:"valid"`
	PublicKey string `json:"public_key"`
	Events    int    `json:"events"`
	Problem   string `json:"problem,omitempty"`
}
