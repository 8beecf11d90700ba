package api

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Rehearsals runs plans where nothing real can be touched: against a stand-in for AWS that is made from what AWS says there is, in
// a time of its own.
type Rehearsals interface {
	// Rehearse carries out the operation there and says how it went. Tell is called, one call at a time, for each step whose
	// status has changed. A plan that does not get through is no error: [Rehearsal.OK] is false.
	Rehearse(ctx context.Context, req RehearseRequest, tell func(RehearsedStep)) (*Rehearsal, error)
}

// RehearseRequest says what is rehearsed: an operation of an app, or a plan of the user's own.
type RehearseRequest struct {
	App       model.AppID     `json:"app,omitempty"`
	Operation model.Operation `json:"operation"` // failover, failback or drill; custom for a plan of the user's own
	// Custom and Payload are a plan of the user's own, as in a PlanRequest. App, Mode and To are empty then.
	Custom  string       `json:"custom,omitempty"`
	Payload *PayloadAsk  `json:"payload,omitempty"`
	Mode    model.Mode   `json:"mode,omitempty"` // of a failover; empty: unplanned
	To      model.SiteID `json:"to,omitempty"`   // empty: the app's first recovery site, or home for a failback
	// Lost is the site that fails before the operation begins; empty: in an unplanned failover the one where the app serves, the
	// other site of a StatePayload document that moves all of its databases unplanned, else none.
	Lost model.SiteID `json:"lost,omitempty"`
	// How Lost fails: a word of [LostHow]; empty: refusing.
	How string `json:"how,omitempty"`
	// Stuck are steps whose work never ends.
	Stuck []model.StepID `json:"stuck,omitempty"`
}

// LostHow are the ways in which a site can fail in a rehearsal: connections are refused, calls are never answered, all answers are
// errors of the server, answers come late, or looking works and changing does not.
func LostHow() []string { return []string{"refusing", "hanging", "500", "slow", "half"} }

// Rehearsal is how a rehearsal went. Durations are of the stand-in's time.
type Rehearsal struct {
	App       model.AppID     `json:"app,omitempty"`
	Plan      string          `json:"plan,omitempty"` // the plan of the user's own that was rehearsed
	Operation model.Operation `json:"operation"`
	Mode      model.Mode      `json:"mode,omitempty"`
	From      model.SiteID    `json:"from,omitempty"`
	To        model.SiteID    `json:"to,omitempty"`
	Lost      model.SiteID    `json:"lost,omitempty"`
	How       string          `json:"how,omitempty"`
	At        time.Time       `json:"at"`                // when AWS was looked at
	Outcome   Outcome         `json:"outcome,omitempty"` // of the run; empty: it was not started, or did not end
	OK        bool            `json:"ok"`                // it succeeded, within the objectives
	Verdict   string          `json:"verdict"`
	RTO       Measure         `json:"rto"`
	RPO       Measure         `json:"rpo"`
	Took      model.Duration  `json:"took"` // from the start to the end of the run
	Steps     []RehearsedStep `json:"steps"`
	Path      []model.StepID  `json:"path"` // the steps that the RTO is made of, in order
	// Asked is what people were asked, with the answer that was taken for theirs. Their time counts as none.
	Asked []RehearsalAsk `json:"asked,omitempty"`
	// StoodIn are the resources and checks of which only the time was rehearsed, if that is known.
	StoodIn []StandIn `json:"stood_in,omitempty"`
	// Unseen is what could not be looked at in AWS, and so is not in the stand-in, or only as others tell of it.
	Unseen   []Unseen        `json:"unseen,omitempty"`
	Findings []model.Finding `json:"findings"`
	// Calls are those that the run made of the stand-in, each once. Examined is what AWS itself says that the plan would miss there,
	// as the doctor asks it: permissions, quotas, keys, what is offered; and what could not be found out. What blocks makes OK false.
	Calls    []RehearsedCall `json:"calls"`
	Examined []model.Finding `json:"examined,omitempty"`
	Looks    int             `json:"looks"` // calls by which AWS was listed
	Runs     int             `json:"runs"`  // earlier runs that measured times are of
}

// What a rehearsed step's time rests on.
const (
	TimeMeasured = "measured" // earlier runs of this app
	TimeUsual    = "usual"    // what is usual for small databases
	TimeUnknown  = "unknown"  // nothing: it counts as none
	TimePeople   = "people"   // people's time, which counts as none
)

// RehearsedStep is one step.
type RehearsedStep struct {
	ID       model.StepID     `json:"id"`
	Title    string           `json:"title"`
	Resource model.ResourceID `json:"resource,omitempty"`
	Site     model.SiteID     `json:"site,omitempty"`
	Status   StepStatus       `json:"status"`
	Phase    string           `json:"phase,omitempty"`
	At       model.Duration   `json:"at"`    // its begin, from the start of the run
	Took     model.Duration   `json:"took"`  // so far
	Basis    string           `json:"basis"` // TimeMeasured, ...
	StoodIn  bool             `json:"stood_in,omitempty"`
	Critical bool             `json:"critical,omitempty"` // it is on Rehearsal.Path
	Err      *failure.Error   `json:"error,omitempty"`
}

// RehearsedCall is a call of AWS, as policies name it. Region is empty for services that are in no region.
type RehearsedCall struct {
	Account string `json:"account"`
	Region  string `json:"region,omitempty"`
	Call    string `json:"call"`
}

// RehearsalAsk is a decision that a person would have to take.
type RehearsalAsk struct {
	Step   model.StepID `json:"step"`
	What   string       `json:"what"`
	Answer string       `json:"answer"`
}

// StandIn is a resource or a check that was stood in for.
type StandIn struct {
	Name string     `json:"name"`
	Kind model.Kind `json:"kind"`
}

// Unseen is something that could not be looked at.
type Unseen struct {
	Site model.SiteID   `json:"site"`
	What string         `json:"what"`
	Err  *failure.Error `json:"error"`
}
