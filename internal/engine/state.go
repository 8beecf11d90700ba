package engine

import (
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// State is a run as its events have left it. It has no clock, no I/O and no goroutine: [State.Apply] folds one event
// in, [State.Decide] says which events follow. A State is owned by one goroutine.
type State struct {
	Run   model.RunID
	Plan  *model.Plan
	Steps []StepState // as Plan.Steps

	Seq      int64 // of the last event
	Started  time.Time
	By       string
	Start    Start
	Owner    string
	Epoch    int64
	Paused   bool
	Aborting bool
	Outcome  api.Outcome
	Ended    time.Time
	Last     time.Time // of the last event
	Notes    []api.RunNote

	incarnation string
	planHash    string
	index       map[model.StepID]int
	dependents  [][]int32       // by step, the steps that need it
	open        int             // steps that are not final
	ready       []int           // steps whose needs are over, to be decided on, while they are queued
	retrying    []int           // steps that wait for their next attempt
	waive       []int           // steps that asked while a waiver was given
	sweep       bool            // the run was aborted since the last Decide
	handled     map[string]bool // keys of signals that were taken or refused
	active      counts
}

// counts of steps that hold a place under the limits.
type counts struct {
	steps int
	sites map[model.SiteID]int
	kinds map[model.Kind]int
}

// StepState is one step as its events have left it.
type StepState struct {
	Status   api.StepStatus
	Attempt  int // of the whole run
	Tries    int // since a person last said retry
	Token    string
	Terminal bool // nothing of the last attempt is under way
	Handle   *driver.Handle
	Inputs   map[string]model.Value
	Outputs  map[string]model.Value
	Evidence []model.Fact
	Phase    string
	Err      *failure.Error
	Force    bool
	Cancel   bool      // was asked to stop
	Began    bool      // an intent was journalled
	OK       bool      // final, and what needs it may go on
	BegunAt  time.Time // when the last handle came
	FirstAt  time.Time
	EndedAt  time.Time
	RetryAt  time.Time
	By       string
	Reason   string
	Approved []api.Approval

	begun      []begun // every token that left, oldest first: what a release has to look after
	part       int     // of a release: which of those it is at
	generation int     // of the token
	queued     bool
	waiting    int // needs that are not final
	bad        bool
}

// begun is one token under which a step left, with the handle that came back, if one did.
type begun struct {
	token  string
	handle *driver.Handle
}

// final statuses never change again.
func (s *StepState) final() bool {
	switch s.Status {
	case api.StepDone, api.StepWaived, api.StepSkipped, api.StepFailed, api.StepCanceled:
		return true
	}
	return false
}

// holdsPlace says whether the step counts against the limits.
func (s *StepState) holdsPlace() bool {
	return s.Status == api.StepBeginning || s.Status == api.StepRunning
}

// NewState makes the state of a run of plan before its first event. The incarnation is the journal's: it goes into every
// token. The plan is checked: steps in order, needs that exist, no id twice.
func NewState(run model.RunID, plan *model.Plan, incarnation string) (*State, error) {
	return newState(run, plan, plan.Hash(), incarnation)
}

// newState is NewState of a plan whose hash is known.
func newState(run model.RunID, plan *model.Plan, hash, incarnation string) (*State, error) {
	s := &State{
		Run: run, Plan: plan, incarnation: incarnation, planHash: hash,
		Steps: make([]StepState, len(plan.Steps)), index: make(map[model.StepID]int, len(plan.Steps)),
		open:    len(plan.Steps),
		handled: map[string]bool{},
		active:  counts{sites: map[model.SiteID]int{}, kinds: map[model.Kind]int{}},
	}
	invalid := func(id model.StepID, format string, args ...any) error {
		return failure.New(failure.Invalid, "plan step", string(id), format, args...)
	}
	if plan.Format > model.PlanFormat {
		return nil, failure.New(failure.Unsupported, "read plan", plan.Name, "format %d is newer than %d", plan.Format, model.PlanFormat).
			WithHint("use the lifeboat that started the run, or a newer one")
	}
	needs := make([][]int32, len(plan.Steps)) // steps that need the same share one
	for i := range plan.Steps {
		step := &plan.Steps[i]
		if _, dup := s.index[step.ID]; dup || step.ID == "" {
			return nil, invalid(step.ID, "its id is empty or taken")
		}
		if i > 0 && slices.Equal(step.Needs, plan.Steps[i-1].Needs) {
			needs[i] = needs[i-1]
		} else {
			for _, need := range step.Needs {
				n, ok := s.index[need]
				if !ok {
					return nil, invalid(step.ID, "needs %q, which is not an earlier step", need)
				}
				needs[i] = append(needs[i], int32(n))
			}
		}
		if step.Releases != "" {
			if _, ok := s.index[step.Releases]; !ok {
				return nil, invalid(step.ID, "releases %q, which is not an earlier step", step.Releases)
			}
		}
		s.index[step.ID] = i
		s.Steps[i] = StepState{Status: api.StepWaiting, waiting: len(step.Needs), Terminal: true}
		if len(step.Needs) == 0 {
			s.queue(i)
		}
	}
	s.dependents = invert(needs)
	return s, nil
}

// invert turns what each step needs into what needs each step.
func invert(needs [][]int32) [][]int32 {
	count, total := make([]int, len(needs)), 0
	for _, of := range needs {
		total += len(of)
		for _, n := range of {
			count[n]++
		}
	}
	flat, inverted := make([]int32, total), make([][]int32, len(needs))
	for n := range inverted {
		inverted[n], flat = flat[:0:count[n]], flat[count[n]:]
	}
	for i, of := range needs {
		for _, n := range of {
			inverted[n] = append(inverted[n], int32(i))
		}
	}
	return inverted
}

// Final says whether the run is over.
func (s *State) Final() bool { return s.Outcome != "" }

// StepOf finds a step's state by its id.
func (s *State) StepOf(id model.StepID) (*StepState, bool) {
	i, ok := s.index[id]
	if !ok {
		return nil, false
	}
	return &s.Steps[i], true
}

// Summary is the run in a list. Unattended is for the caller to know: it is not in the events.
func (s *State) Summary() api.RunSummary {
	sum := api.RunSummary{
		ID: s.Run, Name: s.Plan.Name, App: s.Plan.App, Operation: s.Plan.Operation, Mode: s.Plan.Mode,
		From: s.Plan.From, To: s.Plan.To, Outcome: s.Outcome, By: s.By, Started: s.Started,
		Done: len(s.Steps) - s.open, Total: len(s.Steps), Status: s.status(),
	}
	if s.Final() {
		ended := s.Ended
		sum.Ended = &ended
	}
	return sum
}

func (s *State) status() string {
	if s.Final() {
		return string(s.Outcome)
	}
	asking, approval, busy := false, false, false
	for i := range s.Steps {
		switch s.Steps[i].Status {
		case api.StepAsking:
			asking = true
		case api.StepApproval:
			approval = true
		case api.StepBeginning, api.StepRunning, api.StepRetrying:
			busy = true
		}
	}
	switch {
	case s.Aborting:
		return "aborting"
	case asking:
		return "asking"
	case s.Paused:
		return "paused"
	case approval && !busy:
		return "waiting-approval"
	}
	return "running"
}

// View is the run for people, as of now.
func (s *State) View(now time.Time) *api.RunView {
	v := &api.RunView{
		RunSummary: s.Summary(), At: now, PlanHash: s.planHash, Objective: s.Plan.Objective,
		Owner: s.Owner, Epoch: s.Epoch, Notes: append([]api.RunNote(nil), s.Notes...), Final: s.Final(),
		Steps: make([]api.StepView, len(s.Steps)),
	}
	for i := range s.Steps {
		step, st := &s.Plan.Steps[i], &s.Steps[i]
		v.Steps[i] = api.StepView{
			ID: step.ID, Title: step.Title, Resource: step.Resource.ID, Action: step.Action, Site: step.Site,
			Needs: step.Needs, Status: st.Status, Attempt: st.Attempt, Phase: st.Phase, Started: stamp(st.FirstAt),
			Ended: stamp(st.EndedAt), Outputs: st.Outputs, Evidence: st.Evidence, Err: st.Err, Reason: st.Reason,
			By: st.By, Approvals: append([]api.Approval(nil), st.Approved...), Needed: step.Approvals, Outage: step.Outage,
			Waiver: step.Waiver,
		}
		if st.Status == api.StepRetrying {
			v.Steps[i].RetryAt = stamp(st.RetryAt)
		}
	}
	return v
}

func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
