package engine

import (
	"encoding/json"
	"fmt"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Apply folds one event into the state and returns the effects that follow once it is durable. It is the only thing
// that changes a State. An event that cannot follow what came before is failure.Corrupt, one of a kind that this build
// does not know failure.Unsupported; the state is then unusable.
func (s *State) Apply(e Event) ([]Effect, error) {
	if e.Seq != s.Seq+1 {
		return nil, s.corrupt(e, "it follows event %d", s.Seq)
	}
	if s.Final() {
		return nil, s.corrupt(e, "the run is over")
	}
	s.Seq, s.Last = e.Seq, e.At
	switch e.Kind {
	case RunStarted:
		if e.Seq != 1 || e.Start == nil {
			return nil, s.corrupt(e, "a run starts once")
		}
		if e.Start.PlanHash != s.planHash {
			return nil, s.corrupt(e, "it is for plan %s, and this is plan %s", e.Start.PlanHash, s.planHash)
		}
		s.Started, s.By, s.Start = e.At, e.By, *e.Start
		return nil, nil
	case OwnerChanged:
		if s.Epoch > 0 {
			s.note(e, "took the run over")
		}
		s.Owner, s.Epoch = e.By, e.Epoch
		return nil, nil
	case Signalled:
		return s.applySignal(e)
	case ProbeChanged:
		return nil, nil
	case Finished:
		s.Outcome, s.Ended = e.Outcome, e.At
		return nil, nil
	case StepIntent, StepHandle, StepProgress, StepDone, StepFailed, StepCanceled, StepSkipped, StepWaived, ApprovalAsked:
		i, ok := s.index[e.Step]
		if !ok {
			return nil, s.corrupt(e, "the plan has no such step")
		}
		if s.Steps[i].final() {
			return nil, s.corrupt(e, "the step is over (%s)", s.Steps[i].Status)
		}
		return s.applyStep(i, e)
	}
	return nil, failure.New(failure.Unsupported, "read event", string(e.Kind), "run %s holds an event that this lifeboat does not know", s.Run).
		WithHint("use the lifeboat that started the run, or a newer one")
}

func (s *State) corrupt(e Event, format string, args ...any) error {
	return failure.New(failure.Corrupt, "replay run", string(s.Run), "event %d (%s %s): %s", e.Seq, e.Kind, e.Step, fmt.Sprintf(format, args...)).
		WithHint("the journal of this run cannot be trusted: carry on by hand with lifeboat run show %s", s.Run)
}

func (s *State) note(e Event, what string) {
	s.Notes = append(s.Notes, api.RunNote{At: e.At, By: e.By, What: what})
}

func (s *State) applyStep(i int, e Event) ([]Effect, error) {
	st := &s.Steps[i]
	switch e.Kind {
	case StepIntent:
		return s.applyIntent(i, e)
	case StepHandle:
		if st.Status != api.StepBeginning || e.Handle == nil {
			return nil, s.corrupt(e, "the step is %s", st.Status)
		}
		st.Handle, st.Status, st.BegunAt = e.Handle, api.StepRunning, e.At
		st.begun[len(st.begun)-1].handle = e.Handle
		if st.Cancel {
			return []Effect{{Kind: Cancel, Step: i}}, nil
		}
		return []Effect{{Kind: Observe, Step: i}}, nil
	case StepProgress:
		st.Phase = e.Phase
	case StepDone:
		if s.releaseNext(i) {
			return nil, nil
		}
		st.Outputs, st.Evidence, st.Phase, st.Err = e.Outputs, e.Evidence, e.Phase, nil
		s.finish(i, e, api.StepDone, true)
	case StepFailed:
		if e.Err == nil {
			return nil, s.corrupt(e, "it does not say why")
		}
		return s.applyFailure(i, e), nil
	case StepCanceled:
		st.Err = e.Err
		s.finish(i, e, api.StepCanceled, false)
	case StepSkipped:
		st.Reason = e.Reason
		s.finish(i, e, api.StepSkipped, s.Plan.Steps[i].Releases != "") // nothing to release is a success
	case StepWaived:
		st.Reason, st.By = e.Reason, e.By
		s.finish(i, e, api.StepWaived, true)
		s.note(e, fmt.Sprintf("%s set aside: %s", e.Step, e.Reason))
	case ApprovalAsked:
		st.Status, st.queued, st.FirstAt = api.StepApproval, false, e.At
	}
	return nil, nil
}

// releaseNext says whether a release that has removed what one token left has another to look after: every attempt of
// the step that it undoes may have left something.
func (s *State) releaseNext(i int) bool {
	step, st := &s.Plan.Steps[i], &s.Steps[i]
	if step.Releases == "" || st.part+1 >= len(s.Steps[s.index[step.Releases]].begun) {
		return false
	}
	s.hold(i, -1)
	st.part++
	st.Status, st.Terminal, st.Tries = api.StepWaiting, true, 0
	s.queue(i)
	return true
}

func (s *State) applyIntent(i int, e Event) ([]Effect, error) {
	st := &s.Steps[i]
	if st.Status != api.StepWaiting && st.Status != api.StepRetrying {
		return nil, s.corrupt(e, "the step is %s", st.Status)
	}
	if e.Token == "" {
		return nil, s.corrupt(e, "it has no token")
	}
	if of := s.Plan.Steps[i].Releases; of != "" && !s.Steps[s.index[of]].Began {
		return nil, s.corrupt(e, "%s never began, so there is nothing to release", of)
	}
	resumed := e.Token == st.Token
	if !resumed {
		st.generation++
		st.Handle = nil
		st.begun = append(st.begun, begun{token: e.Token})
	}
	st.Status, st.queued, st.Began, st.Terminal = api.StepBeginning, false, true, false
	st.Attempt, st.Token, st.Inputs, st.Phase = e.Attempt, e.Token, e.Inputs, ""
	st.Tries++
	if st.FirstAt.IsZero() {
		st.FirstAt = e.At
	}
	s.hold(i, 1)
	if st.Handle != nil { // the last attempt was begun and is not known to be over: go on watching it
		st.Status, st.BegunAt = api.StepRunning, e.At
		return []Effect{{Kind: Observe, Step: i}}, nil
	}
	return []Effect{{Kind: Begin, Step: i, Resumed: resumed}}, nil
}

// applyFailure decides, by rules alone, what a failed attempt leads to: another one, a waiver, the end, or a question.
func (s *State) applyFailure(i int, e Event) []Effect {
	step, st := &s.Plan.Steps[i], &s.Steps[i]
	if st.holdsPlace() {
		s.hold(i, -1)
	}
	st.Err, st.Evidence, st.Terminal, st.queued = e.Err, e.Evidence, e.Terminal, false
	if st.FirstAt.IsZero() {
		st.FirstAt = e.At
	}
	switch {
	case st.Cancel:
		st.Status = api.StepWaiting // holds no place any more
		s.finish(i, e, api.StepFailed, false)
	case e.Err.Kind.Retryable() && st.Tries < step.Attempts:
		st.Status, st.RetryAt = api.StepRetrying, e.At.Add(e.Pause.Std())
		s.retrying = append(s.retrying, i)
		return []Effect{{Kind: Wake, Step: i, At: st.RetryAt}}
	case step.Waiver != "" && s.Start.Waivers[step.Waiver] != "":
		st.Status = api.StepAsking
		s.waive = append(s.waive, i)
	case step.Advisory, s.Aborting && step.When != model.Always, s.Plan.GiveUp && step.Releases == "":
		st.Status = api.StepWaiting
		s.finish(i, e, api.StepFailed, false)
	default:
		st.Status = api.StepAsking
	}
	return nil
}

// finish makes a step final and counts it off at those that need it.
func (s *State) finish(i int, e Event, status api.StepStatus, ok bool) {
	st := &s.Steps[i]
	if st.holdsPlace() {
		s.hold(i, -1)
	}
	st.Status, st.OK, st.EndedAt, st.queued = status, ok, e.At, false
	if st.Began && st.FirstAt.IsZero() {
		st.FirstAt = e.At
	}
	s.open--
	for _, d := range s.dependents[i] {
		dep := &s.Steps[d]
		dep.waiting--
		if !ok {
			dep.bad = true
		}
		if dep.waiting == 0 && !dep.final() {
			s.queue(int(d))
		}
	}
}

// queue puts a step among those that Decide looks at.
func (s *State) queue(i int) {
	if !s.Steps[i].queued {
		s.Steps[i].queued = true
		s.ready = append(s.ready, i)
	}
}

func (s *State) hold(i, by int) {
	step := &s.Plan.Steps[i]
	s.active.steps += by
	s.active.sites[step.Site] += by
	s.active.kinds[step.Kind] += by
}

func (s *State) applySignal(e Event) ([]Effect, error) {
	what := string(e.Signal)
	if e.Step != "" {
		what += " " + string(e.Step)
	}
	if e.Reason != "" {
		what += ": " + e.Reason
	}
	if e.Key != "" {
		s.handled[e.Key] = true
	}
	if e.Refused != "" {
		s.note(e, what+" (refused: "+e.Refused+")")
		return nil, nil
	}
	s.note(e, what)
	switch e.Signal {
	case api.Pause:
		s.Paused = true
		return nil, nil
	case api.Resume:
		s.Paused = false
		return nil, nil
	case api.Abort:
		return s.applyAbort(), nil
	}
	i, ok := s.index[e.Step]
	if !ok || s.Steps[i].final() {
		return nil, s.corrupt(e, "the step is unknown or over")
	}
	st := &s.Steps[i]
	switch e.Signal {
	case api.Approve:
		st.Approved = append(st.Approved, api.Approval{By: e.By, At: e.At, Reason: e.Reason})
		if st.Status == api.StepApproval {
			s.queue(i)
		}
	case api.Retry:
		s.again(i, e)
	case api.Force:
		if s.Plan.Steps[i].Waiver != "" {
			st.Reason, st.By = e.Reason, e.By
			s.finish(i, e, api.StepWaived, true)
			return nil, nil
		}
		st.Force, st.Reason, st.By = true, e.Reason, e.By
		s.again(i, e)
	case api.Skip:
		st.Reason, st.By = e.Reason, e.By
		st.Outputs = map[string]model.Value{}
		for name, text := range e.Set {
			st.Outputs[name] = model.Value{Type: s.Plan.Steps[i].Outputs[name], Text: text}
		}
		s.finish(i, e, api.StepSkipped, true)
	default:
		return nil, failure.New(failure.Unsupported, "read event", string(e.Signal), "run %s holds a signal that this lifeboat does not know", s.Run)
	}
	return nil, nil
}

// again makes a step that asks, or waits for its next attempt, due now.
func (s *State) again(i int, e Event) {
	st := &s.Steps[i]
	if st.Status == api.StepAsking {
		st.Tries = 0
		s.retrying = append(s.retrying, i)
	}
	st.Status, st.RetryAt = api.StepRetrying, e.At
}

func (s *State) applyAbort() []Effect {
	s.Aborting, s.Paused, s.sweep = true, false, true
	var effects []Effect
	for i := range s.Steps {
		st := &s.Steps[i]
		if !st.holdsPlace() || s.Plan.Steps[i].When == model.Always {
			continue
		}
		st.Cancel = true
		if st.Status == api.StepRunning {
			effects = append(effects, Effect{Kind: Cancel, Step: i})
		}
	}
	return effects
}

// Resume gives the effects that are due for a state that was read back: whatever was under way when its last owner
// went silent is begun again under the same token, or watched again.
func (s *State) Resume() []Effect {
	var effects []Effect
	for i := range s.Steps {
		st := &s.Steps[i]
		switch {
		case st.Status == api.StepBeginning:
			effects = append(effects, Effect{Kind: Begin, Step: i, Resumed: true})
		case st.Status == api.StepRunning && st.Cancel:
			effects = append(effects, Effect{Kind: Cancel, Step: i})
		case st.Status == api.StepRunning:
			effects = append(effects, Effect{Kind: Observe, Step: i, Resumed: true})
		case st.Status == api.StepRetrying:
			effects = append(effects, Effect{Kind: Wake, Step: i, At: st.RetryAt})
		}
	}
	return effects
}

// Request is what the driver of step i is asked, as the state stands.
func (s *State) Request(i int) (driver.Request, error) {
	step, st := &s.Plan.Steps[i], &s.Steps[i]
	req := driver.Request{
		Target: driver.Target{App: step.App, Resource: step.Resource, Site: step.Site, Peer: step.Peer},
		Action: step.Action, Operation: step.Operation, Mode: step.Mode, Run: s.Run, Step: step.ID,
		Attempt: st.Attempt, Token: st.Token, Force: st.Force, Inputs: st.Inputs, Prepare: step.Prepare, Prove: step.Prove, Restore: step.Restore,
	}
	if step.Releases != "" {
		r := &s.Steps[s.index[step.Releases]]
		left := r.begun[st.part]
		req.Released = &driver.Released{Step: step.Releases, Token: left.token}
		if left.token == r.Token {
			req.Released.Outputs = r.Outputs
		}
		if left.handle != nil {
			req.Released.Handle = *left.handle
		}
	}
	var err error
	if req.Resource.Settings, err = driver.FillKnown(step.Resource.Settings, st.Inputs); err != nil {
		return req, err
	}
	req.Resource.Sites = make(map[model.SiteID]json.RawMessage, len(step.Resource.Sites))
	for site, raw := range step.Resource.Sites {
		if req.Resource.Sites[site], err = driver.FillKnown(raw, st.Inputs); err != nil {
			return req, err
		}
	}
	return req, nil
}
